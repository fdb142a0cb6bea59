"""The evidence as a picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lipsync_cli.errors import OutputError
from lipsync_cli.plot import (
    HEIGHT,
    WIDTH,
    by_time,
    clock,
    coloured,
    draw_evidence,
    save_evidence,
    verdict_of,
)
from lipsync_cli.results import OffsetResult

detect = pytest.importorskip("lipsync_cli.detect", exc_type=ImportError)

MEASURED = OffsetResult(
    file="/somewhere/talk.mp4",
    status="measured",
    reason=None,
    offset_ms=120.4,
    interval_ms=(112.0, 128.0),
    direction="audio early",
    probability=0.987,
    offset_frames=3.0,
    frame_rate=25.0,
    measurable_s=12.4,
)
CANNOT_TELL = replace(
    MEASURED,
    status="cannot_tell",
    reason="nobody in the picture speaks",
    offset_ms=None,
    interval_ms=None,
    direction=None,
    probability=0.2,
)


def evidence(*, peak_ms: float = 120.0, rows: int = 10, faces: int = 3) -> detect.Evidence:
    """A lag matrix with one ridge, and the curves that belong to it."""
    lags = np.arange(-1500.0, 1501.0, 10.0)
    ridge = np.exp(-(((lags - peak_ms) / 40) ** 2))
    posterior = ridge**8 / (ridge**8).sum()
    face = np.full((60, 50, 3), (180, 200, 220), dtype=np.uint8)
    return detect.Evidence(
        lags_ms=lags,
        curve=posterior.astype(np.float32),
        diagonal=(0.1 + 0.4 * ridge).astype(np.float32),
        matrix=np.tile(ridge, (rows, 1)).astype(np.float32),
        rows_s=np.arange(rows, dtype=np.float64),
        thumbnails=tuple((2.0 * i, face, i) for i in range(faces)),
    )


def bluest_column(picture: Image.Image, y: int) -> int:
    """Column of a row where the heat map is darkest, away from the axes and the zero line."""
    row = np.asarray(picture.convert("L"), dtype=float)[y, 112:1238]
    return 112 + int(np.median(np.flatnonzero(row <= row.min() + 2)))


@pytest.mark.parametrize(
    ("result", "seen"),
    [
        (MEASURED, evidence()),
        (MEASURED, evidence(faces=0)),
        (MEASURED, evidence(rows=1, faces=40)),
        (CANNOT_TELL, evidence()),
        (CANNOT_TELL, replace(evidence(faces=0), rows_s=np.zeros(0), matrix=np.zeros((0, 301)))),
        (CANNOT_TELL, None),
    ],
)
def test_every_answer_has_a_picture(
    tmp_path: Path, result: OffsetResult, seen: detect.Evidence | None
) -> None:
    save_evidence(detect.Measurement(result, seen), tmp_path / "evidence.png")
    with Image.open(tmp_path / "evidence.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (WIDTH, HEIGHT))


def test_unknown_values_are_no_reason_to_fail() -> None:
    seen = evidence()
    seen.matrix[3] = np.nan
    blank = replace(seen, curve=seen.curve * np.nan, diagonal=seen.diagonal * np.nan)
    for known in (seen, blank, replace(blank, matrix=seen.matrix * np.nan)):
        draw_evidence(detect.Measurement(MEASURED, known))


@pytest.mark.parametrize("peak_ms", [-640.0, 120.0, 900.0])
def test_the_ridge_is_drawn_where_its_offset_is(peak_ms: float) -> None:
    picture = draw_evidence(detect.Measurement(CANNOT_TELL, evidence(peak_ms=peak_ms)))
    expected = 110 + (peak_ms + 1500) / 3000 * (WIDTH - 150)
    assert bluest_column(picture, 500) == pytest.approx(expected, abs=5)


def test_the_verdict_says_the_direction_in_words() -> None:
    headline, basis = verdict_of(MEASURED)
    assert headline == "Audio 120 ms early"
    assert basis == "95 % between +112 and +128 ms, p = 0.99, from 12.4 s of speech"
    late = replace(MEASURED, offset_ms=-80.0, interval_ms=(-90.0, -70.0), direction="audio late")
    assert verdict_of(late)[0] == "Audio 80 ms late"
    level = replace(MEASURED, offset_ms=4.0, interval_ms=(-4.0, 12.0), direction="in sync")
    assert verdict_of(level)[0] == "In sync (audio 4 ms early)"
    assert verdict_of(CANNOT_TELL) == ("Cannot tell", "nobody in the picture speaks")


def test_more_agreement_is_darker_and_the_unknown_is_grey() -> None:
    colours = coloured(np.array([[0.0, 0.0, 0.0, 0.3, 0.6, 1.0, np.nan]])).astype(int)[0]
    assert np.all(np.diff(colours[2:6].sum(axis=1)) < 0)
    assert np.ptp(colours[6]) < 4


def test_two_faces_share_their_seconds_and_a_gap_stays_empty() -> None:
    rows_s = np.array([0.5, 0.5, 1.5, 3.6])
    matrix = np.array([[0.1, 0.2], [0.4, np.nan], [0.3, 0.3], [0.5, 0.6]])
    start_s, rows = by_time(rows_s, matrix)
    assert start_s == 0.5
    np.testing.assert_array_equal(rows, [[0.4, 0.2], [0.3, 0.3], [np.nan] * 2, [0.5, 0.6]])


@pytest.mark.parametrize(
    ("time_s", "text"), [(0.0, "0 s"), (7.25, "7.25 s"), (42.4, "42 s"), (75.0, "1:15")]
)
def test_times_read_like_a_clock(time_s: float, text: str) -> None:
    assert clock(time_s) == text


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="folder"):
        save_evidence(detect.Measurement(MEASURED), tmp_path / "missing" / "evidence.png")

"""Verdicts: intervals against limits, stretches against whole files, times as timecode."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lipsync_cli.errors import UsageError
from lipsync_cli.results import ScoreResult, Segment
from lipsync_cli.scoring.timecode import timecode
from lipsync_cli.scoring.tolerance import Tolerance
from lipsync_cli.scoring.verdict import inside, judge, judged, probability_inside


def result(offset_ms: float | None, half_ms: float = 10.0, **fields: Any) -> ScoreResult:
    values: dict[str, Any] = {
        "file": "a.mp4",
        "status": "measured",
        "reason": None if offset_ms is not None else "no face found",
        "offset_ms": offset_ms,
        "interval_ms": None if offset_ms is None else (offset_ms - half_ms, offset_ms + half_ms),
        "direction": None,
        "probability": 0.99,
        "offset_frames": None,
        "frame_rate": 25.0,
        "duration_s": 60.0,
    }
    return ScoreResult(**{**values, **fields})


def segment(start_s: float, end_s: float, offset_ms: float | None, p: float = 0.99) -> Segment:
    interval = None if offset_ms is None else (offset_ms - 10, offset_ms + 10)
    return Segment(start_s, end_s, offset_ms, interval, p)


@pytest.mark.parametrize(
    ("offset_ms", "half_ms", "limits", "outcome", "borderline"),
    [
        (0.0, 10.0, "ebu", "pass", False),
        (30.0, 10.0, "ebu", "pass", False),
        (-50.0, 10.0, "ebu", "pass", False),
        (35.0, 10.0, "ebu", "pass", True),
        (45.0, 10.0, "ebu", "fail", True),
        (51.0, 10.0, "ebu", "fail", False),
        (-71.0, 10.0, "ebu", "fail", False),
        # 20 ms wide limits cannot be proved by an interval of 40 ms, but refuted.
        (0.0, 20.0, "ebu-production", "not_checkable", False),
        (30.0, 20.0, "ebu-production", "fail", False),
        (39.0, 0.5, "netflix", "pass", False),
        (None, 0.0, "ebu", "not_checkable", False),
    ],
)
def test_an_interval_is_judged_by_limits(
    offset_ms: float | None, half_ms: float, limits: str, outcome: str, borderline: bool
) -> None:
    verdict = judge(result(offset_ms, half_ms), limits)
    assert (verdict.outcome, verdict.borderline) == (outcome, borderline)
    assert (verdict.reason is None) == (outcome == "pass" and not borderline)


def test_says_why_it_cannot_be_checked() -> None:
    assert judge(result(None), "ebu").reason == "no face found"
    assert "±20 ms" in str(judge(result(0.0, 20.0), "5,15").reason)
    no_rate = judge(result(0.0, frame_rate=None), "netflix")
    assert no_rate.outcome == "not_checkable" and "frame rate" in str(no_rate.reason)


def test_what_is_no_tolerance_stays_wrong_usage() -> None:
    with pytest.raises(UsageError, match="is no tolerance"):
        judge(result(0.0, frame_rate=None), "strict")


def test_a_stretch_that_is_out_fails_a_file_whose_mean_is_not() -> None:
    parts = (segment(0, 30, 0.0), segment(30, 45, 120.0), segment(45, 60, None))
    file = result(20.0, segments=parts)
    assert judge(result(20.0), "ebu").outcome == "pass"
    verdict = judge(file, "ebu")
    assert verdict.outcome == "fail" and not verdict.borderline
    (out,) = verdict.ranges
    assert (out.start, out.end, out.certain) == ("00:00:30:00", "00:00:45:00", True)


@pytest.mark.parametrize("part", [segment(30, 60, 120.0, p=0.92), segment(30, 60, 45.0)])
def test_a_doubtful_stretch_only_makes_it_borderline(part: Segment) -> None:
    verdict = judge(result(10.0, segments=(segment(0, 30, 0.0), part)), "ebu")
    assert (verdict.outcome, verdict.borderline) == ("pass", True)
    assert [out.certain for out in verdict.ranges] == [False]


def test_a_stretch_ends_with_the_programme() -> None:
    parts = (segment(0.0, 13.0, 120.0),)
    (out,) = judge(result(120.0, segments=parts, duration_s=12.68), "ebu").ranges
    assert (out.end_s, out.end) == (12.68, "00:00:12:17")


def test_a_failing_file_without_sure_stretches_is_out_as_a_whole() -> None:
    verdict = judge(result(120.0, segments=(segment(0, 60, None),)), "ebu")
    assert verdict.outcome == "fail"
    assert [(out.start_s, out.end_s) for out in verdict.ranges] == [(0.0, 60.0)]


def test_verdicts_are_kept_under_the_names_they_were_asked_for_by() -> None:
    assert list(judged(result(0.0), ("ebu", "40,60")).verdicts) == ["ebu", "40,60"]


def test_probability_is_the_mass_of_a_normal_distribution() -> None:
    offset, half, limits = 30.0, 33.0, Tolerance(40.0, 60.0)
    sigma = half / 1.96
    grid = np.linspace(-60.0, 40.0, 200_001)
    density = np.exp(-0.5 * ((grid - offset) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
    expected = float(density.mean() * 100.0)
    found = inside(offset, (offset - half, offset + half), limits)
    assert found == pytest.approx(expected, abs=1e-4)
    judged_by = judge(result(offset, half, probability=0.9), "ebu")
    assert judged_by.probability == pytest.approx(0.9 * expected, abs=1e-3)


@pytest.mark.parametrize(("base", "drop"), [(30, 2), (60, 4)])
def test_drop_frame_counts_as_smpte_12m_says(base: int, drop: int) -> None:
    """Numbers 0 to drop - 1 are left out at each minute that is not a multiple of ten."""
    labels = [
        f"{minute // 60:02d}:{minute % 60:02d}:{second:02d};{number:02d}"
        for minute in range(62)
        for second in range(60)
        for number in range(base)
        if second or number >= drop or minute % 10 == 0
    ]
    rate = base * 1000 / 1001
    for i in (0, 1799, 1800, 3597, 3598, 17981, 17982, 35963, 107891, 107892, len(labels) - 1):
        assert timecode(i / rate, rate) == labels[i]


def test_other_rates_count_every_frame() -> None:
    assert timecode(60.0, 30.0) == "00:01:00:00"
    assert timecode(3600.0, 24000 / 1001) == "00:59:56:10"
    assert timecode(2.5, None) == "00:00:02.500"


def test_where_the_offset_changes_every_moment_counts() -> None:
    parts = (segment(0, 30, 0.0, p=0.9), segment(30, 40, 500.0), segment(40, 60, None))
    changing = result(125.0, segments=parts, pattern="steps")
    assert probability_inside(changing, Tolerance(40.0, 40.0)) == pytest.approx(0.9 * 30 / 40)
    constant = result(0.0, segments=parts, pattern="constant")
    assert probability_inside(constant, Tolerance(40.0, 40.0)) == pytest.approx(0.99)


@pytest.mark.parametrize(
    ("offset_ms", "outcome", "borderline"),
    [(0.0, "pass", False), (-55.0, "pass", True), (45.0, "fail", True), (60.0, "fail", False)],
)
def test_the_mean_of_a_changing_offset_decides_nothing(
    offset_ms: float, outcome: str, borderline: bool
) -> None:
    parts = (segment(0, 30, 0.0), segment(30, 60, offset_ms))
    verdict = judge(result(0.0, segments=parts, pattern="steps"), "ebu")
    assert (verdict.outcome, verdict.borderline) == (outcome, borderline)

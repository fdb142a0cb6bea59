"""The whole measurement with the shipped weights, on a rendered face whose truth is known."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import ClipFactory

from lipsync_cli.detect import detect_offset, measure
from lipsync_cli.errors import MissingStream, UnreadableMedia, UsageError
from lipsync_cli.fix import fix_sync
from lipsync_cli.render import render_clip

SECONDS = 8.0


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face whose sound is 160 ms early."""
    path = tmp_path_factory.mktemp("talking") / "talking.mp4"
    render_clip(path, duration_s=SECONDS, size=256, audio_offset_ms=160.0, seed=3)
    return path


def test_known_error_is_found_repaired_and_gone(talking: Path, tmp_path: Path) -> None:
    found = detect_offset(talking)
    assert found.status == "measured", found.reason
    assert found.offset_ms == pytest.approx(160, abs=40)
    assert found.direction == "audio early"
    assert found.interval_ms is not None and found.interval_ms[0] < found.offset_ms
    repaired = fix_sync(talking, output=tmp_path / "out.mp4", measured=found)
    assert repaired.residual_ms == pytest.approx(0, abs=25)


@pytest.mark.parametrize("shift_ms", [-333.3, 217.0])
def test_a_known_change_is_measured(talking: Path, tmp_path: Path, shift_ms: float) -> None:
    """No border of picture or sound may hold the answer where it was."""
    shifted = tmp_path / "shifted.mp4"
    fix_sync(talking, output=shifted, offset_ms=shift_ms)
    before, after = detect_offset(talking), detect_offset(shifted)
    assert before.offset_ms is not None and after.offset_ms is not None
    assert after.offset_ms - before.offset_ms == pytest.approx(-shift_ms, abs=25)


def test_evidence_goes_with_the_answer(talking: Path) -> None:
    told: list[float] = []
    measurement = measure(talking, evidence=True, search_ms=500, progress=told.append)
    evidence, result = measurement.evidence, measurement.result
    assert evidence is not None
    assert evidence.lags_ms[0] == -500 and evidence.lags_ms[-1] == 500
    assert evidence.matrix.shape == (len(evidence.rows_s), len(evidence.lags_ms))
    peak_ms = evidence.lags_ms[int(np.argmax(evidence.curve))]
    assert peak_ms == pytest.approx(result.offset_ms, abs=40)
    assert evidence.thumbnails
    assert told == sorted(told) and told[-1] <= 1.0


def test_silent_face_is_no_answer(tmp_path: Path) -> None:
    path = render_clip(tmp_path / "mute.mp4", duration_s=4.0, size=192, silent=True).path
    result = detect_offset(path)
    assert result.status == "cannot_tell"
    assert result.offset_ms is None and result.interval_ms is None
    assert result.reason


def test_no_face_is_no_answer(clip: ClipFactory) -> None:
    result = detect_offset(clip(".mp4", duration_s=3.0))
    assert result.status == "cannot_tell"
    assert result.reason == "no face found"
    assert result.to_dict()["offset_ms"] is None


@pytest.mark.parametrize("fps", [Fraction(1), Fraction(15)])
def test_slow_pictures_are_no_crash(clip: ClipFactory, fps: Fraction) -> None:
    assert detect_offset(clip(".mp4", duration_s=3.0, fps=fps)).status == "cannot_tell"


def test_unusable_inputs_are_named(clip: ClipFactory, tmp_path: Path) -> None:
    with pytest.raises(MissingStream, match="audio"):
        detect_offset(clip(".mp4", duration_s=1.0, acodec=None))
    text = tmp_path / "text.mp4"
    text.write_text("this is no video")
    with pytest.raises(UnreadableMedia):
        detect_offset(text)
    with pytest.raises(UsageError, match="search"):
        detect_offset(text, search_ms=1e6)

"""The programmes that drift is measured on: what was planted is what a ruler reads in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import ClipFactory
from ruler import beep_times_s, flash_times_s

from lipsync_cli.media.resample import Retimer
from lipsync_cli.results import OffsetResult, Step
from lipsync_cli.training.drift.benchmark import _row, table
from lipsync_cli.training.drift.programme import Planted, read_person, write_programme
from lipsync_cli.training.sync.labels import TABLE_ZERO_MS

PLANTED = Planted(30.0, 1000.0, ((6.0, -150.0), (10.0, 400.0)))


def test_sound_goes_where_the_offset_says() -> None:
    """Sound that is early by o is heard o before its picture."""
    rate, clicks_s = 16_000, np.array([0.7, 2.5, 5.0, 7.0, 8.8, 11.5])
    sound = np.zeros((1, 14 * rate))
    sound[0, np.round(clicks_s * rate).astype(int)] = 1.0
    retimer = Retimer(PLANTED.sound_curve(), rate, 1, 0.0, 0)
    retimer.push(sound)
    retimer.finish()
    heard = np.abs(retimer.take(14 * rate)[0])
    found_s = np.flatnonzero(heard > 0.5) / rate
    levels_ms = np.array([30, 30, 30, -120, -120, 280])
    expected_s = clicks_s - (levels_ms + 1.0 * clicks_s) / 1000
    assert found_s == pytest.approx(expected_s, abs=1 / rate)
    assert PLANTED.offset_at(clicks_s) == pytest.approx(levels_ms + 1.0 * clicks_s)


def test_programme_holds_what_was_planted(clip: ClipFactory, tmp_path: Path) -> None:
    # The lag at which the table of own offsets calls a clip of 25 fps in sync.
    people = [read_person(clip(suffix), -TABLE_ZERO_MS) for suffix in (".mp4", ".mkv")]
    planted = Planted(60.0, 0.0, ((8.0, -200.0),))
    length_s = write_programme(people, 15.0, planted, tmp_path / "programme.mp4")
    assert length_s == pytest.approx(16.0)
    flashes, beeps = (
        flash_times_s(tmp_path / "programme.mp4"),
        beep_times_s(tmp_path / "programme.mp4"),
    )
    assert len(flashes) == len(beeps) == 28
    leads_ms = (flashes - beeps) * 1000
    assert leads_ms == pytest.approx(np.where(flashes < 8, 60, -140), abs=2)


def test_table_tells_what_is_wrong() -> None:
    found = OffsetResult(
        file="",
        status="measured",
        reason=None,
        offset_ms=100.0,
        interval_ms=None,
        direction=None,
        probability=1.0,
        offset_frames=None,
        frame_rate=25.0,
        pattern="steps",
        drift_ppm=990.0,
        drift_interval_ppm=(980.0, 1010.0),
        steps=(Step(6.2, -140.0, 5.9, 6.5),),
    )
    row = _row(14.0, PLANTED, found, 1.0)
    assert [(s.error_s, s.error_ms) for s in row.steps] == [(0.2, 10.0), (None, None)]
    lines = table([row])
    assert "| +1000 ppm | +990.0 ppm | 980.0 to 1010.0 |" in lines[2]
    assert "not found" in lines[-1]

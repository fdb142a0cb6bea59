"""The programmes that drift is measured on: what was planted is what a ruler reads in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ClipFactory
from ruler import beep_times_s, flash_times_s

from lipsync_cli.faces.stream import TrackChunk
from lipsync_cli.media.audio import AudioBlock
from lipsync_cli.media.offset_curve import OffsetCurve, Piece
from lipsync_cli.media.resample import Retimer
from lipsync_cli.media.silence import Loudness
from lipsync_cli.results import OffsetResult, Step
from lipsync_cli.sync.model import SyncModel
from lipsync_cli.sync.model_file import load_model, save_model
from lipsync_cli.sync.stream import SyncStream
from lipsync_cli.training.drift.benchmark import compared
from lipsync_cli.training.drift.programme import Planted, read_person, write_programme
from lipsync_cli.training.drift.report import summary, table
from lipsync_cli.training.drift.talk import REACH, in_turn, put_off, talker, watch
from lipsync_cli.training.sync.augment import plain_crops
from lipsync_cli.training.sync.cache import SIDE, Clip
from lipsync_cli.training.sync.labels import TABLE_ZERO_MS

PLANTED = Planted(30.0, 1000.0, ((6.0, -150.0), (10.0, 400.0)))


def measurement(steps: tuple[Step, ...]) -> OffsetResult:
    return OffsetResult(
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
        steps=steps,
    )


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
    found = replace(
        measurement((Step(6.2, -140.0, 5.9, 6.5),)),
        drift_ppm=990.0,
        drift_interval_ppm=(980.0, 1010.0),
    )
    row = compared(14.0, PLANTED, found, 1.0)
    assert [(s.error_s, s.error_ms) for s in row.steps] == [(0.2, 10.0), (None, None)]
    lines = table([row])
    assert "| +1000 ppm | +990.0 ppm | 980.0 to 1010.0 |" in lines[2]
    assert "not found" in lines[-1]


def test_programme_in_memory_gives_the_evidence_of_a_file(tmp_path: Path) -> None:
    """What is embedded once and compared later is what streaming the same clips would find."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    save_model(SyncModel(), {}, tmp_path / "sync.pt")
    model = load_model(tmp_path / "sync.pt", torch.device("cpu"))
    crops = rng.integers(0, 255, (90, SIDE, SIDE), dtype=np.uint8)
    sound = rng.normal(0, 3000, 4 * 16_000).astype(np.int16)
    # The sound begins earlier than the pictures, and is late by 40 ms.
    clip = Clip("a", "a", "wild", crops, 1.0 + np.arange(90) / 25, sound, 0.7, -40.0)
    person = talker(model, clip)
    talk = in_turn([person], 3.0)
    late = put_off(talk.sound, Planted(-80.0))
    found = watch(model, talk, late).tracks[0]

    stream = SyncStream(model, REACH)
    stream.push_sound(AudioBlock(0.0, late))
    mouths, flat = np.ascontiguousarray(plain_crops(crops)), np.zeros((90, 5, 2), np.float32)
    shown = clip.pts_s - 1.0, flat[:, 0], flat, flat, mouths
    stream.push_faces(TrackChunk(0, *shown, True, (64, 64)))
    expected = stream.close()[0]
    assert found.start_s.tolist() == expected.start_s.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)
    np.testing.assert_allclose(found.weight, expected.weight, atol=1e-3)
    assert np.abs(expected.scores).max() > 0.05
    # In sync, the sound of picture time 0 is 0.34 s behind its beginning; here 80 ms later.
    assert person.sound[:100] == pytest.approx(sound[5440:5540] / 32768, abs=1e-6)
    assert late[1280:1380] == pytest.approx(person.sound[:100], abs=1e-6)


def test_left_over_counts_what_is_heard() -> None:
    """Golden values: a step cut 0.6 s too late, of which 0.2 s are speech."""
    planted = Planted(0.0, 0.0, ((20.0, 200.0),))
    power = np.full(4000, 1e-2)
    power[2020:2080] = 1e-8
    found = measurement((Step(20.6, 204.0, 20.0, 21.0), Step(33.0, 50.0, 32.0, 34.0)))
    applied = OffsetCurve((Piece(0.0, 0.002), Piece(20.6, 0.206)))
    row = compared(40.0, planted, found, 1.0, applied=applied, heard=Loudness(0.0, power))
    (step,) = row.steps
    assert (step.error_s, step.error_ms, row.false_steps) == (0.6, 4.0, 1)
    assert step.wrong_s == pytest.approx(0.6, abs=0.03)
    # Sound that is 200 ms early is 200 ms before the picture: the silence ends at 21.0 s.
    assert step.wrong_spoken_s == pytest.approx(0.2 + 0.2, abs=0.05)
    # Most of the time 2 ms are left: that is nobody's step. After the step it is 4 ms more.
    assert (row.bias_ms, row.worst_ms) == (-2.0, 4.0)
    figures = summary([row, compared(40.0, planted, measurement(()), 1.0)])
    counted = ("steps", "steps_found", "steps_in_time", "steps_in_size", "steps_false")
    assert [figures[name] for name in counted] == [2, 1, 0, 1, 1]


@pytest.mark.parametrize(
    ("found_ppm", "interval", "recovered"),
    [(28.0, (27.0, 29.0), 1), (None, (-5.0, 45.0), 1), (None, None, 0), (31.0, (25.0, 40.0), 0)],
)
def test_drift_is_recovered_near_or_inside_the_interval(
    found_ppm: float | None, interval: tuple[float, float] | None, recovered: int
) -> None:
    found = replace(measurement(()), drift_ppm=found_ppm, drift_interval_ppm=interval)
    row = compared(600.0, Planted(0.0, 20.0), found, 1.0)
    assert summary([row])["drifts_recovered"] == recovered

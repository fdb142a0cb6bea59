"""A step in the sound of a rendered face: found, repaired, and nothing else made worse."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from scipy.signal import correlate

from lipsync_cli.fix import fix_sync
from lipsync_cli.media.offset_curve import OffsetCurve, Piece
from lipsync_cli.media.retime import retime_audio
from lipsync_cli.render import SAMPLE_RATE, render_clip, speak, synthesise

pytest.importorskip("lipsync_cli.detect", exc_type=ImportError)

SECONDS, SEED = 14.0, 3
STEP_S, BEFORE_MS, AFTER_MS = 8.1, -60.0, 130.0
WINDOW_S, REACH_MS = 0.6, 400.0


def offsets_ms(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Middle of windows with sound, and how early it is in each, by the sound as it was made."""
    truth = synthesise(speak(SECONDS, SEED)).astype(np.float64)
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    sound = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    lead = round((frames[0].time or 0.0) * SAMPLE_RATE)
    sound = np.pad(sound, (max(0, lead), len(truth)))[max(0, -lead) : max(0, -lead) + len(truth)]
    reach, width = round(REACH_MS / 1000 * SAMPLE_RATE), round(WINDOW_S * SAMPLE_RATE)
    times_s, found = [], []
    for first in range(reach, len(truth) - width - reach, width):
        heard = sound[first : first + width]
        if np.abs(heard).max() > 0.1 * np.abs(sound).max():
            around = truth[first - reach : first + width + reach]
            running = np.concatenate([[0.0], np.cumsum(around**2)])
            energy = running[width:] - running[:-width]
            match = correlate(around, heard, "valid", "fft") / np.sqrt(energy + 1e-9)
            found.append((int(match.argmax()) - reach) * 1000 / SAMPLE_RATE)
            times_s.append((first + width / 2) / SAMPLE_RATE)
    return np.array(times_s), np.array(found)


@pytest.fixture(scope="module")
def stepping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stepping")
    render_clip(folder / "talk.mp4", duration_s=SECONDS, size=160, seed=SEED)
    # To give sound an offset is the opposite of taking one out.
    pieces = Piece(0.0, -BEFORE_MS / 1000), Piece(STEP_S, -AFTER_MS / 1000)
    retime_audio(folder / "talk.mp4", folder / "stepping.mp4", OffsetCurve(pieces))
    return folder / "stepping.mp4"


def test_step_of_a_short_clip_is_found_and_repaired(stepping: Path, tmp_path: Path) -> None:
    before_s, before = offsets_ms(stepping)
    apart = np.abs(before_s - STEP_S) > WINDOW_S / 2 + 0.2
    expected = np.where(before_s < STEP_S, BEFORE_MS, AFTER_MS)
    assert before[apart] == pytest.approx(expected[apart], abs=2)

    fixed = fix_sync(stepping, output=tmp_path / "out.mp4", piecewise=True, verify=False)

    assert fixed.measured is not None and fixed.plan is not None
    (step,) = fixed.measured.steps
    assert step.time_s == pytest.approx(STEP_S, abs=0.5)
    assert step.earliest_s - 0.1 < STEP_S < step.latest_s + 0.1
    assert step.size_ms == pytest.approx(AFTER_MS - BEFORE_MS, abs=20)
    (joint_s,) = fixed.plan.steps_s
    assert joint_s == pytest.approx(STEP_S, abs=0.8)
    after_s, after = offsets_ms(tmp_path / "out.mp4")
    apart = np.abs(after_s - STEP_S) > WINDOW_S / 2 + abs(joint_s - STEP_S) + 0.2
    assert apart.sum() > 8
    # What is left is the same everywhere: how far the measurement itself is off.
    assert np.abs(after[apart]).max() < 40
    assert np.ptp(after[apart]) < 20

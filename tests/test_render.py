"""The rendered talking face: its truth has to be true."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from lipsync_cli.render import (
    SAMPLE_RATE,
    Articulation,
    identity_of,
    render_clip,
    render_frames,
    speak,
    synthesise,
)

FPS = 25


@pytest.fixture(scope="module")
def articulation() -> Articulation:
    return speak(6.0, seed=3)


def level(sound: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Loudness (RMS) of each millisecond, over 10 ms."""
    power = np.convolve(sound.astype(np.float64) ** 2, np.full(480, 1 / 480), mode="same")
    return np.sqrt(np.maximum(power[24::48], 0))


def decoded_sound(path: Path) -> npt.NDArray[np.float32]:
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
        assert frames[0].pts == 0
        return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def lead_ms(early: npt.NDArray[np.float32], reference: npt.NDArray[np.float32]) -> float:
    """How much earlier a sound is than its reference, by cross-correlation."""
    n = 2 * max(len(early), len(reference))
    spectrum = np.fft.rfft(reference, n) * np.conj(np.fft.rfft(early, n))
    peak = int(np.argmax(np.fft.irfft(spectrum, n)))
    return (peak if peak < n // 2 else peak - n) * 1000 / SAMPLE_RATE


def test_the_same_seed_gives_the_same_clip_and_another_seed_another() -> None:
    first, again, other = speak(2.0, 5), speak(2.0, 5), speak(2.0, 6)
    np.testing.assert_array_equal(first.opening, again.opening)
    np.testing.assert_array_equal(synthesise(first), synthesise(again))
    assert np.abs(first.opening - other.opening).max() > 0.2
    frames, same = (list(render_frames(first, fps=5, size=96, seed=5)) for _ in range(2))
    np.testing.assert_array_equal(frames, same)


def test_speech_keeps_a_natural_rhythm(articulation: Articulation) -> None:
    opening = articulation.opening
    peaks = (opening[1:-1] > opening[:-2]) & (opening[1:-1] >= opening[2:]) & (opening[1:-1] > 0.25)
    assert 2.0 < peaks.sum() / articulation.duration_s < 6.0
    assert opening.min() == 0.0
    assert opening.max() > 0.8
    assert articulation.voicing[:200].max() < 0.01
    assert articulation.voicing[-150:].max() < 0.01


def test_the_mouth_in_the_picture_follows_the_opening(articulation: Articulation) -> None:
    frames = np.stack(list(render_frames(articulation, fps=FPS, size=160, seed=3)))
    truth = articulation.at("opening", np.arange(len(frames)) / FPS)
    assert truth.std() > 0.15
    # Where the mouth is in the photograph, cut as it is by default.
    dark = (frames[:, 94:122, 62:100].mean(axis=3) < 70).mean(axis=(1, 2))
    assert np.corrcoef(dark, truth)[0, 1] > 0.9
    # The background stays where it is.
    assert frames[:, :20, :12].mean(axis=3).std(axis=0).max() < 4


def test_closed_lips_let_no_voice_out(articulation: Articulation) -> None:
    loudness = level(synthesise(articulation))
    shut = (articulation.opening == 0) & (articulation.nasal < 0.01)
    wide = (articulation.opening > 0.6) & (articulation.voicing > 0.7)
    assert shut.sum() > 50
    assert wide.sum() > 300
    assert loudness[shut].mean() < 0.12 * loudness[wide].mean()


def test_the_sound_starts_and_swells_with_the_articulation(articulation: Articulation) -> None:
    loudness = level(synthesise(articulation))
    expected = articulation.voicing * np.sqrt(articulation.opening)
    assert np.corrcoef(loudness, expected)[0, 1] > 0.7
    onset_s = np.flatnonzero(articulation.voicing > 0.1)[0] / 1000
    heard_s = np.flatnonzero(loudness > 0.1 * loudness.max())[0] / 1000
    assert abs(heard_s - onset_s) < 1 / FPS


@pytest.mark.parametrize("offset_ms", [0.0, 150.0, -80.4])
def test_the_error_put_in_is_in_the_file(tmp_path: Path, offset_ms: float) -> None:
    clip = render_clip(
        tmp_path / "clip.mp4", duration_s=3, size=64, audio_offset_ms=offset_ms, seed=1
    )
    assert clip.offset_ms == offset_ms
    sound = decoded_sound(clip.path)
    assert lead_ms(sound, synthesise(clip.articulation)) == pytest.approx(offset_ms, abs=0.05)


def test_frames_have_their_times(tmp_path: Path) -> None:
    rate = Fraction(30000, 1001)
    clip = render_clip(tmp_path / "clip.mp4", duration_s=1, fps=rate, size=64, faces=2)
    with av.open(str(clip.path)) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 29
    assert (frames[0].width, frames[0].height) == (128, 64)
    for i, frame in enumerate(frames):
        assert frame.time == pytest.approx(float(i / rate), abs=1e-4)


def test_a_silent_clip_talks_without_sound(tmp_path: Path) -> None:
    clip = render_clip(tmp_path / "clip.mp4", duration_s=2, size=64, silent=True)
    assert clip.articulation.opening.max() > 0.5
    assert np.abs(decoded_sound(clip.path)).max() < 0.02


def test_identities_look_different_and_come_back() -> None:
    still = speak(0.2, 0)
    pictures = [
        next(render_frames(still, size=96, identity=identity_of(seed))).astype(int)
        for seed in (1, 2, 1)
    ]
    assert np.abs(pictures[0] - pictures[1]).mean() > 10
    np.testing.assert_array_equal(pictures[0], pictures[2])

"""SyncNet's features against python_speech_features, which its reference calls."""

from __future__ import annotations

import numpy as np
import pytest
import python_speech_features
from numpy.typing import NDArray

from lipsync_cli.render.speech import speak
from lipsync_cli.render.voice import synthesise
from lipsync_cli.scoring.mfcc import mfcc


def noise(count: int) -> NDArray[np.int16]:
    return np.random.default_rng(count).normal(0, 4000, count).astype(np.int16)


def golden(samples: NDArray[np.int16]) -> NDArray[np.float64]:
    return np.asarray(python_speech_features.mfcc(samples, 16000))


@pytest.mark.parametrize("count", [1, 399, 400, 401, 559, 560, 561, 12_345, 16_000])
def test_any_length_of_noise(count: int) -> None:
    samples = noise(count)
    assert mfcc(samples).shape == (1 + max(0, -(-(count - 400) // 160)), 13)
    np.testing.assert_allclose(mfcc(samples), golden(samples), rtol=0, atol=1e-9)


def test_speech() -> None:
    samples = np.rint(32767 * synthesise(speak(2.0, 1))[::3]).astype(np.int16)
    assert samples.max() > 1000
    np.testing.assert_allclose(mfcc(samples), golden(samples), rtol=0, atol=1e-9)


def test_loudest_sound_does_not_overflow() -> None:
    samples = np.tile(np.array([-32768, 32767], np.int16), 1000)
    np.testing.assert_allclose(mfcc(samples), golden(samples), rtol=0, atol=1e-9)


@pytest.mark.parametrize("loud", [0, 700])
def test_silence_is_a_number(loud: int) -> None:
    samples = noise(3_000)
    samples[loud:] = 0
    assert np.isfinite(mfcc(samples)).all()
    np.testing.assert_allclose(mfcc(samples), golden(samples), rtol=0, atol=1e-9)


def test_frame_counts_of_whole_pictures() -> None:
    """4 frames a picture less one: 100 pictures give 399, 250 give 999."""
    assert [len(mfcc(noise(640 * pictures))) for pictures in (100, 250)] == [399, 999]


def test_a_stretch_equals_its_part_of_the_whole() -> None:
    samples = noise(8_000)
    whole = mfcc(samples)
    part = mfcc(samples[1_600 : 1_600 + 400 + 9 * 160], before=float(samples[1_599]))
    np.testing.assert_allclose(part, whole[10:20], rtol=0, atol=1e-9)
    alone = mfcc(samples[1_600 : 1_600 + 400 + 9 * 160])
    assert np.abs(alone[0] - whole[10]).max() > 1e-6
    np.testing.assert_allclose(alone[1:], whole[11:20], rtol=0, atol=1e-9)

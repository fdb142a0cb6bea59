"""Mel-frequency cepstra exactly as SyncNet's reference takes them from its sound.

The reference calls `python_speech_features.mfcc(samples, 16000)` with its defaults: frames of
25 ms every 10 ms in a rectangular window, and the log of a frame's energy in place of the
first coefficient. SyncNet knows no other features, so every detail of them counts.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lipsync_cli.media.audio import SAMPLE_RATE

COEFFICIENTS = 13
WINDOW, HOP = 400, 160  # samples
_FFT = 512
_FILTERS = 26
_PRE_EMPHASIS = 0.97
_LIFTER = 22
_EPS = float(np.finfo(np.float64).eps)

Floats = npt.NDArray[np.float64]


def mfcc(samples: npt.ArrayLike, *, before: float | None = None) -> Floats:
    """Take 13 coefficients of every 10 ms.

    Args:
        samples: [n], 16 kHz, on the scale of 16-bit sound (-32768 to 32767).
        before: the sample in front of them, when they continue a longer sound: the
            pre-emphasis differs from that of a sound that begins here.

    Returns:
        float64 [frames, 13] with frames = 1 + ceil((n - 400) / 160), at least one; the last
        frame is filled up with zeros.
    """
    sound = np.asarray(samples, np.float64)
    frames = _frames(_emphasised(sound, before))  # [frames, 400]
    power = np.abs(np.fft.rfft(frames, _FFT)) ** 2 / _FFT  # [frames, 257]
    cepstra = np.log(_no_zeros(power @ _mel_filters().T)) @ _cosines().T  # [frames, 13]
    order = np.arange(COEFFICIENTS)
    cepstra *= 1 + _LIFTER / 2 * np.sin(np.pi * order / _LIFTER)
    cepstra[:, 0] = np.log(_no_zeros(power.sum(axis=1)))
    return np.asarray(cepstra, np.float64)


def _emphasised(sound: Floats, before: float | None) -> Floats:
    if not len(sound):
        return sound
    first = sound[0] if before is None else sound[0] - _PRE_EMPHASIS * before
    return np.concatenate([[first], sound[1:] - _PRE_EMPHASIS * sound[:-1]])


def _frames(sound: Floats) -> Floats:
    count = 1 + max(0, -(-(len(sound) - WINDOW) // HOP))
    padded = np.zeros((count - 1) * HOP + WINDOW)
    padded[: len(sound)] = sound
    return np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]


def _no_zeros(energy: Floats) -> Floats:
    return np.where(energy == 0, _EPS, energy)


@lru_cache(maxsize=1)
def _mel_filters() -> Floats:
    """Triangles [26, 257] between 0 and 8000 Hz, corners moved down to whole FFT bins."""
    highest = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, highest, _FILTERS + 2) / 2595) - 1)
    corners = np.floor((_FFT + 1) * hertz / SAMPLE_RATE)
    low, peak, high = (corners[i : i + _FILTERS, None] for i in range(3))
    bins = np.arange(_FFT // 2 + 1)
    triangles = np.minimum((bins - low) / (peak - low), (high - bins) / (high - peak))
    return np.asarray(np.maximum(triangles, 0.0), np.float64)


@lru_cache(maxsize=1)
def _cosines() -> Floats:
    """The first 13 rows [13, 26] of the orthonormal DCT-II."""
    order, band = np.arange(COEFFICIENTS)[:, None], np.arange(_FILTERS)
    rows = np.cos(np.pi * order * (2 * band + 1) / (2 * _FILTERS)) * np.sqrt(2 / _FILTERS)
    rows[0] /= np.sqrt(2)
    return np.asarray(rows, np.float64)

"""The log-mel spectrogram that Wav2Lip generators were trained on, 80 columns per second.

Constants and order of operations are the reference implementation's: pre-emphasis, a
centred short-time transform with reflect padding, magnitude on Slaney's mel scale,
decibels, and a scale of -4 (silence) to 4. No loudness normalisation: the gain matters.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

SAMPLE_RATE = 16_000  # Hz
HOP = 200  # samples
WINDOW = 800  # samples, also the length of the transform
BANDS = 80
LOW_HZ, HIGH_HZ = 55.0, 7600.0
MEL_RATE = SAMPLE_RATE / HOP  # columns per second
WINDOW_COLUMNS = 16  # what a generator hears of one frame: 200 ms
SILENCE = -4.0
# In training the window began one frame of 25 per second before the frame that was drawn;
# the reference's inference begins it at the frame, so its lips lead by this much.
REFERENCE_LEAD_S = 0.04

_PRE_EMPHASIS = 0.97
_FLOOR = 1e-5
_REFERENCE_DB, _RANGE_DB, _PEAK = 20.0, 100.0, 4.0
# Columns computed at a time. Always the same ones together, so that the result does not
# depend on how the samples arrive.
_BLOCK = 256
_HALF = WINDOW // 2


class MelStream:
    """Turns consecutive samples into columns, in bounded memory.

    Attributes:
        replaced: samples so far that were NaN or infinite and were taken for zeros.
    """

    def __init__(self) -> None:
        self.replaced = 0
        self._last = 0.0
        # Emphasised samples from the start of the next column's window on.
        self._waiting: Doubles = np.zeros(0)
        self._padded = False

    def push(self, samples: ArrayLike) -> Floats:
        """Take samples [n] (mono, 16 kHz) in; return the columns [80, m] they completed."""
        self._waiting = np.concatenate([self._waiting, self._emphasised(samples)])
        if not self._padded and len(self._waiting) > _HALF:
            self._waiting = np.concatenate([self._waiting[_HALF:0:-1], self._waiting])
            self._padded = True
        return self._take(final=False)

    def close(self) -> Floats:
        """Return the last columns; there are 1 + n // 200 for n > 0 samples in all."""
        if len(self._waiting) == 0:
            return np.zeros((BANDS, 0), np.float32)
        before = 0 if self._padded else _HALF
        # What waits always reaches further back than the padding needs.
        self._waiting = np.pad(self._waiting, (before, _HALF), mode="reflect")
        self._padded = True
        return self._take(final=True)

    def _emphasised(self, samples: ArrayLike) -> Doubles:
        """y[n] = x[n] - 0.97 x[n - 1], across calls."""
        sound = np.array(samples, np.float64).reshape(-1)
        broken = ~np.isfinite(sound)
        self.replaced += int(broken.sum())
        sound[broken] = 0.0
        before = np.concatenate([[self._last], sound[:-1]])[: len(sound)]
        self._last = float(sound[-1]) if len(sound) else self._last
        return sound - _PRE_EMPHASIS * before

    def _take(self, *, final: bool) -> Floats:
        columns = (len(self._waiting) - WINDOW) // HOP + 1 if self._padded else 0
        if not final:
            columns -= columns % _BLOCK
        blocks = [np.zeros((BANDS, 0), np.float32)]
        for first in range(0, columns, _BLOCK):
            last = min(first + _BLOCK, columns) - 1
            blocks.append(_columns(self._waiting[first * HOP : last * HOP + WINDOW]))
        self._waiting = self._waiting[max(columns, 0) * HOP :]
        return np.concatenate(blocks, axis=1)


def wav2lip_mel(samples: ArrayLike) -> Floats:
    """Compute the spectrogram of samples [n] (mono, 16 kHz, [-1, 1]).

    Column i is centred at sample 200 i. NaN and infinite samples count as zeros; use a
    `MelStream` to learn how many there were.

    Returns:
        float32 [80, 1 + n // 200], -4 to 4; [80, 0] without samples.
    """
    stream = MelStream()
    sound = np.asarray(samples)
    step = _BLOCK * HOP
    pieces = [stream.push(sound[first : first + step]) for first in range(0, len(sound), step)]
    return np.concatenate([*pieces, stream.close()], axis=1)


def windows_at(mel: Floats, t0_s: float, pts_s: ArrayLike, *, shift_s: float = 0.0) -> Floats:
    """Cut what a generator hears of each frame: 16 columns from the frame's own time on.

    Time is the container's clock, so any frame rate, also a variable one, gets as many
    windows as frames; at a constant rate they are those of the reference. Beyond the sound
    there is silence (-4).

    Args:
        mel: float32 [80, T].
        t0_s: time of the first sample, which is also that of the first column.
        pts_s: presentation times of the frames [n].
        shift_s: added to the times. `-REFERENCE_LEAD_S` gives the frame the window it had
            in training; 0, what the reference's inference does.

    Returns:
        float32 [n, 80, 16].
    """
    since_s = np.atleast_1d(np.asarray(pts_s, np.float64)) + (shift_s - t0_s)
    # Times are rounded to the container's ticks: a hair below a column is that column.
    first = np.floor(since_s * MEL_RATE + 1e-6).astype(np.int64)
    columns = first[:, None] + np.arange(WINDOW_COLUMNS)  # [n, 16]
    windows = np.full((BANDS, *columns.shape), SILENCE, np.float32)  # [80, n, 16]
    # Only what is heard is touched: this is asked once a picture, of hours of sound.
    heard = (columns >= 0) & (columns < mel.shape[1])
    windows[:, heard] = mel[:, columns[heard]]
    return np.ascontiguousarray(windows.transpose(1, 0, 2))


def _columns(emphasised: Doubles) -> Floats:
    """Columns [80, m] of all windows that lie in the samples."""
    windows = np.lib.stride_tricks.sliding_window_view(emphasised, WINDOW)[::HOP]
    magnitude = np.abs(np.fft.rfft(windows * _hann()))  # [m, 401]
    level_db = 20 * np.log10(np.maximum(_FLOOR, magnitude @ filter_bank().T)) - _REFERENCE_DB
    scaled = 2 * _PEAK * (level_db + _RANGE_DB) / _RANGE_DB - _PEAK  # [m, 80]
    return np.clip(scaled, -_PEAK, _PEAK).astype(np.float32).T


@lru_cache(maxsize=1)
def _hann() -> Doubles:
    # Periodic: one sample longer than symmetric, the last left out.
    return np.hanning(WINDOW + 1)[:-1]


@lru_cache(maxsize=1)
def filter_bank() -> Doubles:
    """Triangles of equal area on Slaney's mel scale: float64 [80, 401]."""
    edges = _hz(np.linspace(_mel(LOW_HZ), _mel(HIGH_HZ), BANDS + 2))
    bins = np.arange(WINDOW // 2 + 1) * SAMPLE_RATE / WINDOW
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    area: Doubles = 2.0 / (edges[2:] - edges[:-2])
    return triangles * area[:, None]


# Slaney's Auditory Toolbox: linear up to 1 kHz, 15 mels there, then 27 mels per factor 6.4.
_KNEE_HZ, _KNEE_MEL, _HZ_PER_MEL = 1000.0, 15.0, 200.0 / 3.0
_LOG_STEP = np.log(6.4) / 27.0


def _mel(hz: float) -> float:
    if hz < _KNEE_HZ:
        return hz / _HZ_PER_MEL
    return float(_KNEE_MEL + np.log(hz / _KNEE_HZ) / _LOG_STEP)


def _hz(mel: Doubles) -> Doubles:
    curved = _KNEE_HZ * np.exp(_LOG_STEP * (mel - _KNEE_MEL))
    return np.where(mel < _KNEE_MEL, mel * _HZ_PER_MEL, curved)

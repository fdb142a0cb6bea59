"""Log-mel spectrogram at 100 frames per second, the sound side's input."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # Hz
HOP = 160  # samples: 10 ms
WINDOW = 400  # samples: 25 ms
FFT = 512
BANDS = 80
LOW_HZ, HIGH_HZ = 55.0, 7600.0
MEL_RATE = SAMPLE_RATE / HOP  # frames per second
FLOOR = 1e-6
PRE_EMPHASIS = 0.97


@dataclass(frozen=True)
class Mel:
    """A spectrogram with its time: frame i is centred at `t0_s + i / MEL_RATE`.

    Attributes:
        t0_s: time of the centre of the first window, in seconds of the container's clock.
        frames: float32 [n, 80], natural logarithm of the band power, standardised.
    """

    t0_s: float
    frames: NDArray[np.float32]


def log_mel(samples: NDArray[np.float32], t0_s: float) -> Mel:
    """Spectrogram of `samples` (mono, 16 kHz, [-1, 1]) whose first sample is at `t0_s`.

    Only windows that lie wholly inside the samples are returned: padding would tell a
    model where a clip begins, and with it the answer.
    """
    n = max(0, (len(samples) - 1 - WINDOW) // HOP + 1)
    if n == 0:
        return Mel(t0_s, np.zeros((0, BANDS), np.float32))
    # The first sample only feeds the pre-emphasis of the second.
    emphasised = samples[1:] - PRE_EMPHASIS * samples[:-1]
    windows = np.lib.stride_tricks.sliding_window_view(emphasised, WINDOW)[::HOP][:n]
    power = np.abs(np.fft.rfft(windows * _hann(), FFT).astype(np.complex64)) ** 2  # [n, 257]
    bands = np.log(power @ _filter_bank() + FLOOR)  # [n, 80]
    return Mel(t0_s + (1 + WINDOW / 2) / SAMPLE_RATE, ((bands + 6) / 4).astype(np.float32))


@lru_cache(maxsize=1)
def _hann() -> NDArray[np.float32]:
    return np.hanning(WINDOW).astype(np.float32)


@lru_cache(maxsize=1)
def _filter_bank() -> NDArray[np.float32]:
    """Triangular filters, HTK mel scale: [257, 80]."""
    edges_mel = np.linspace(_mel(LOW_HZ), _mel(HIGH_HZ), BANDS + 2)
    edges = 700 * (10 ** (edges_mel / 2595) - 1)
    hz = np.arange(FFT // 2 + 1) * SAMPLE_RATE / FFT
    rising = (hz[:, None] - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - hz[:, None]) / np.diff(edges)[1:]
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def _mel(hz: float) -> float:
    return float(2595 * np.log10(1 + hz / 700))

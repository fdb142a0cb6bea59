"""Move sound along a curve of offsets: whole samples where it can, interpolated where it must.

Positions are computed for every sample from the curve itself, so no rounded rate lets an
error grow with time.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt

from lipsync_cli.media.offset_curve import OffsetCurve, Piece

Samples = npt.NDArray[np.float64]

# Where two pieces meet, one fades into the other for this long.
FADE_S = 0.01

# A Kaiser-windowed sinc over 96 samples: flat within .01 dB up to 90 % of the Nyquist
# frequency, everything that folds back below -90 dB.
_HALF = 48
_KAISER = 9.5
_CUTOFF = 0.965
# Its taps as polynomials of the fraction between two samples; the fit is good to -120 dB.
_DEGREE = 9


def interpolate(samples: Samples, positions: Samples, *, cutoff: float = 1.0) -> Samples:
    """Values of band-limited sound between its samples.

    Args:
        samples: [channels, n]; what lies outside counts as silence.
        positions: [m], ascending, in samples.
        cutoff: share of the band to keep, below 1 where the sound is sped up.

    Returns:
        [channels, m].
    """
    if not len(positions):
        return np.zeros((len(samples), 0))
    whole = np.floor(positions)
    first, last = int(whole[0]) - _HALF + 1, int(whole[-1]) + _HALF
    padded = _cut(samples, first, last + 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _HALF, axis=1)
    rows = whole.astype(np.intp) - int(whole[0])
    powers = np.polynomial.chebyshev.chebvander(2 * (positions - whole) - 1, _DEGREE)  # [m, D]
    taps = _taps(cutoff)
    parts = [((channel @ taps)[rows] * powers).sum(1) for channel in windows]
    return np.stack(parts)


class Retimer:
    """Source sound in, moved sound out; keeps only what is still needed.

    Both sides count samples on the same grid: sample 0 is the first of the source.

    Args:
        rate: samples per second.
        start_s: time of source sample 0.
        first: number of the first sample to put out, negative to begin earlier.
    """

    def __init__(
        self, curve: OffsetCurve, rate: int, channels: int, start_s: float, first: int
    ) -> None:
        self._rate, self._start_s = rate, start_s
        self._pieces = curve.pieces
        self._fade = max(1, round(FADE_S * rate))
        # First output sample of each piece, in the middle of its fade.
        self._from = [round((p.start_s - start_s) * rate) for p in curve.pieces]
        self.next = first
        self._held = np.zeros((channels, 0))
        self._base = self._end = 0
        self._ended = False

    def push(self, samples: Samples) -> None:
        """Take the next samples [channels, n] of the source."""
        n = samples.shape[1]
        if self._end - self._base + n > self._held.shape[1]:
            self._make_room(n)
        place = self._end - self._base
        self._held[:, place : place + n] = samples
        self._end += n

    @property
    def length(self) -> int:
        """Samples of the source so far."""
        return self._end

    def finish(self) -> None:
        """No more input: all further output is at hand."""
        self._ended = True

    def ready(self, count: int) -> bool:
        """Whether `take(count)` has all the source it needs."""
        if self._ended:
            return True
        stop = self.next + count
        needed = [self._position(k, min(b, stop) - 1) for k, a, b in self._spans(self.next, stop)]
        return max(needed) + _HALF < self._end

    def take(self, count: int) -> Samples:
        """Put out the next samples [channels, count]."""
        start, stop = self.next, self.next + count
        out = np.zeros((len(self._held), count))
        for k, a, b in self._spans(start, stop):
            out[:, a - start : b - start] += self._read(k, a, b) * self._gain(k, a, b)
        self.next = stop
        return out

    def _spans(self, start: int, stop: int) -> list[tuple[int, int, int]]:
        """(piece, first, end) of the output samples that each piece takes part in."""
        before, after = self._fade // 2, self._fade - self._fade // 2
        spans = []
        for k in range(len(self._pieces)):
            first = start if k == 0 else max(start, self._from[k] - before)
            end = stop if k + 1 == len(self._pieces) else min(stop, self._from[k + 1] + after)
            if first < end:
                spans.append((k, first, end))
        return spans

    def _gain(self, k: int, start: int, stop: int) -> Samples | float:
        """Share of piece k in each sample; of equal power where two unlike sounds meet."""
        gain = np.ones(stop - start)
        n = np.arange(start, stop)
        if k:
            gain *= self._rise(n - self._from[k])
        if k + 1 < len(self._pieces):
            gain *= self._rise(self._from[k + 1] - 1 - n)
        return gain if gain.min() < 1 else 1.0

    def _rise(self, since: npt.NDArray[np.int64]) -> Samples:
        share = np.clip((since + self._fade // 2 + 0.5) / self._fade, 0.0, 1.0)
        return np.asarray(np.sin(0.5 * math.pi * share))

    def _read(self, k: int, start: int, stop: int) -> Samples:
        piece = self._pieces[k]
        if not piece.slope:
            first = start - self._whole(piece)
            return _cut(self._held, first - self._base, first - self._base + stop - start)
        positions = self._positions(piece, np.arange(start, stop, dtype=np.float64))
        # Faster sound must lose what would fold back.
        cutoff = min(1.0, 1 / (1 - piece.slope))
        known = self._held[:, : self._end - self._base]
        return interpolate(known, positions - self._base, cutoff=cutoff)

    def _whole(self, piece: Piece) -> int:
        return round(piece.offset_s * self._rate)

    def _positions(self, piece: Piece, n: Samples) -> Samples:
        offset_s = piece.offset_s + piece.slope * (self._start_s + n / self._rate)
        return np.asarray(n - offset_s * self._rate)

    def _position(self, k: int, n: int) -> float:
        return float(self._positions(self._pieces[k], np.array([n], np.float64))[0])

    def _make_room(self, n: int) -> None:
        """Forget what no output needs any more, and grow where that is not enough."""
        spans = self._spans(self.next, max(self.next + 1, self._from[-1] + self._fade))
        earliest = min(self._position(k, a) for k, a, _ in spans)
        keep = max(self._base, min(self._end, math.floor(earliest) - _HALF))
        kept = self._held[:, keep - self._base : self._end - self._base]
        size = max(2 * (kept.shape[1] + n), self._rate)
        held = np.zeros((len(kept), size))
        held[:, : kept.shape[1]] = kept
        self._held, self._base = held, keep


def _cut(samples: Samples, start: int, stop: int) -> Samples:
    """Samples [start, stop), silent outside."""
    length = samples.shape[1]
    inside = samples[:, max(start, 0) : max(min(stop, length), max(start, 0))]
    if inside.shape[1] == stop - start:
        return inside
    padded = np.zeros((len(samples), stop - start))
    if inside.shape[1]:
        padded[:, max(-start, 0) : max(-start, 0) + inside.shape[1]] = inside
    return padded


@cache
def _taps(cutoff: float) -> Samples:
    """Chebyshev coefficients [taps, D] of the windowed sinc over the fraction 0..1."""
    nodes = np.cos(np.pi * (np.arange(64) + 0.5) / 64)
    distance = np.arange(-_HALF + 1, _HALF + 1)[:, None] - (nodes + 1) / 2  # [taps, nodes]
    window = np.i0(_KAISER * np.sqrt(np.clip(1 - (distance / _HALF) ** 2, 0, 1))) / np.i0(_KAISER)
    kept = cutoff * _CUTOFF
    sinc = kept * np.sinc(kept * distance) * window
    return np.asarray(np.polynomial.chebyshev.chebfit(nodes, sinc.T, _DEGREE).T)

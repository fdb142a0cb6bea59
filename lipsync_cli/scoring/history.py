"""The offset over the time of a programme, and how much it scatters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.sync.estimate import peak_ms

WINDOW_S = 5
# Robust standard deviations by which a peak has to stand out of all that is further away
# than this; on real talking heads wrong peaks stay below 3.5 in nine windows of ten.
_STANDS_OUT, _AWAY_MS = 3.5, 100.0
_MIN_AWAY = 20
_MIN_POINTS = 3

Point = tuple[float, float | None]


def local_offsets(
    rows_s: NDArray[np.float64], matrix: NDArray[np.float32], lags_ms: NDArray[np.float64]
) -> tuple[Point, ...]:
    """Offset at each second, from the five seconds around it.

    It is the peak of the mean lag matrix, None where no peak stands out.

    Args:
        rows_s: [N], second of the programme of each row; a second may have several faces.
        matrix: [N, K], lag matrix averaged over that second, NaN where unknown.
        lags_ms: [K], candidate offsets, ascending; > 0 audio early.
    """
    if not len(rows_s):
        return ()
    first = int(np.floor(rows_s.min()))
    second = np.floor(rows_s).astype(np.intp) - first
    shape = (int(second.max()) + 1, matrix.shape[1])
    known = np.isfinite(matrix)
    total, count = np.zeros(shape), np.zeros(shape)
    np.add.at(total, second, np.where(known, matrix, 0.0))
    np.add.at(count, second, known)
    present = np.unique(second)
    total, count = _windows(total), _windows(count)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return tuple((first + int(i) + 0.5, _offset(mean[i], lags_ms)) for i in present)


def spread_ms(points: tuple[Point, ...]) -> float | None:
    """Half the distance between the 16th and the 84th percentile; None for too few points."""
    known = [offset for _, offset in points if offset is not None]
    if len(known) < _MIN_POINTS:
        return None
    low, high = np.percentile(known, [16, 84])
    return round(float(high - low) / 2, 1)


def thinned(points: tuple[Point, ...], most: int) -> tuple[Point, ...]:
    """Every so manyth point, so that at most `most` are left."""
    return points[:: max(1, -(-len(points) // most))]


def _windows(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over `WINDOW_S` seconds around each second: [N, K] -> [N, K]."""
    half = WINDOW_S // 2
    ends = np.cumsum(np.pad(values, ((half + 1, half), (0, 0))), axis=0)
    return np.asarray(ends[WINDOW_S:] - ends[:-WINDOW_S])


def _offset(mean: NDArray[np.float64], lags_ms: NDArray[np.float64]) -> float | None:
    known = np.isfinite(mean)
    if not known.any():
        return None
    peak = peak_ms(np.where(known, mean, -2.0), lags_ms)
    away = mean[known & (np.abs(lags_ms - peak) > _AWAY_MS)]
    if len(away) < _MIN_AWAY:
        return None
    middle = float(np.median(away))
    scatter = 1.4826 * float(np.median(np.abs(away - middle)))
    if float(np.nanmax(mean)) - middle <= _STANDS_OUT * max(scatter, 1e-6):
        return None
    return round(peak, 1)

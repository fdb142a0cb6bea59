"""Moments of a packed clip at which its speaker is silent with a closed mouth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.training.faces.pack import CROP, MARGIN, PackedClip

# Between the lips, shares of the crop.
_ROWS, _COLUMNS = (0.58, 0.80), (0.36, 0.64)
# What the sound of a quiet picture is: the mean of 200 ms round it, below that of the clip.
_COLUMNS_HEARD, _QUIETER = 16, 1.0
_QUIET_SHARE, _CLOSED_SHARE = 0.25, 0.35


def closed_windows(clip: PackedClip, frames: int) -> NDArray[np.int64]:
    """Find the first pictures of windows that are quiet and show closed lips throughout.

    Landmarks are not packed: lips count as closed where the mouth has as little contrast as
    in the calmest third of the clip. Open, it shows a dark hollow or bright teeth.

    Returns:
        int64 [k], in order; none for a clip without such a pause.
    """
    loud = _highest(np.array([_loudness(clip, float(t)) for t in clip.pts_s]), frames)
    limit = min(float(np.quantile(loud, _QUIET_SHARE)), float(np.median(loud)) - _QUIETER)
    contrast = _contrast(clip)
    closed = _highest(contrast, frames) <= np.quantile(contrast, _CLOSED_SHARE)
    return np.flatnonzero((loud <= limit) & closed)


def _highest(values: NDArray[np.float64], frames: int) -> NDArray[np.float64]:
    """The highest of each window: [T] -> [T - frames + 1]."""
    windows = np.lib.stride_tricks.sliding_window_view(values, frames)
    return np.asarray(windows.max(axis=1), np.float64)


def _loudness(clip: PackedClip, time_s: float) -> float:
    return float(clip.mel_window(time_s - 0.1, _COLUMNS_HEARD).mean())


def _contrast(clip: PackedClip) -> NDArray[np.float64]:
    """Standard deviation of each mouth's brightness: [T]."""
    rows, columns = (
        slice(*(MARGIN + round(share * CROP) for share in part)) for part in (_ROWS, _COLUMNS)
    )
    mouths = clip.faces[:, rows, columns].mean(axis=3)  # [T, h, w]
    return np.asarray(mouths.std(axis=(1, 2)), np.float64)

"""Windows of five pictures, 40 ms apart, as a sync expert sees them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FRAMES, STEP_S = 5, 0.04
# A picture that is further from its moment than this is another one.
_SLACK_S = 0.03


def window_rows(pts_s: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The pictures nearest to every 40 ms from these on: [n, 5]."""
    wanted = pts_s[starts][:, None] + STEP_S * np.arange(FRAMES)
    after = np.clip(np.searchsorted(pts_s, wanted), 1, len(pts_s) - 1)
    before_is_nearer = wanted - pts_s[after - 1] < pts_s[after] - wanted
    return np.asarray(after - before_is_nearer, np.int64)


def window_starts(pts_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """The pictures that a window can start with: none is missing from it."""
    starts = np.arange(len(pts_s))
    lack_s = np.abs(pts_s[window_rows(pts_s, starts)] - pts_s[:, None] - STEP_S * np.arange(FRAMES))
    return np.asarray(starts[lack_s.max(axis=1) <= _SLACK_S], np.int64)

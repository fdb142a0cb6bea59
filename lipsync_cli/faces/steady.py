"""Where a face is, without the trembling of its detector, and without lag when it jerks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]

# Neighbours that count: how far away in time, and by how much they may have moved, as standard
# deviations. The second is in distances from the eyes to the mouth; it tells a head that moves
# from a cut within a shot.
_NEAR_S, _AT_MOST_S = 0.16, 0.3
_ALIKE = 0.13


def steadied(pts_s: npt.NDArray[np.float64], landmarks: npt.ArrayLike) -> Floats:
    """Smooth five landmarks [n, 5, 2] of each frame, as found, over the frames around it.

    A straight line is fitted to the neighbours that lie near in time and in place, so a face at
    rest does not tremble, a moving one does not lag, and one that jumps keeps its place (local
    linear regression with bilateral weights).

    Args:
        pts_s: [n], ascending.
    """
    found = np.asarray(landmarks, np.float64).reshape(len(pts_s), 10)
    size = _sizes(found)
    weight = [np.zeros(len(pts_s)) for _ in range(3)]  # of 1, t and t^2
    place = [np.zeros_like(found) for _ in range(2)]  # times 1 and t
    for shift in _shifts(pts_s):
        here, there = _overlap(len(pts_s), shift)
        later_s = pts_s[there] - pts_s[here]
        moved = np.sqrt(((found[there] - found[here]) ** 2).sum(1) / 5) / size[here]
        each = np.exp(-0.5 * ((later_s / _NEAR_S) ** 2 + (moved / _ALIKE) ** 2))
        each[np.abs(later_s) > _AT_MOST_S] = 0.0
        for power in range(3):
            weight[power][here] += each * later_s**power
        for power in range(2):
            place[power][here] += (each * later_s**power)[:, None] * found[there]
    return _at_zero(weight, place).reshape(-1, 5, 2).astype(np.float32)


def _shifts(pts_s: npt.NDArray[np.float64]) -> range:
    """Frames to look ahead and back, at the closest that they come."""
    if len(pts_s) < 2:
        return range(1)
    step_s = max(float(np.median(np.diff(pts_s))), 1e-3)
    most = min(len(pts_s) - 1, int(np.ceil(_AT_MOST_S / step_s)))
    return range(-most, most + 1)


def _overlap(count: int, shift: int) -> tuple[slice, slice]:
    here = slice(max(0, -shift), min(count, count - shift))
    return here, slice(here.start + shift, here.stop + shift)


def _at_zero(weight: list[Wide], place: list[Wide]) -> Wide:
    """The fitted line at each frame's own time; the mean where there is no line."""
    spread = weight[0] * weight[2] - weight[1] ** 2
    flat = spread < 1e-9 * weight[0] ** 2
    slope_free = place[0] / weight[0][:, None]
    line = weight[2][:, None] * place[0] - weight[1][:, None] * place[1]
    fitted = line / np.where(flat, 1.0, spread)[:, None]
    return np.asarray(np.where(flat[:, None], slope_free, fitted), np.float64)


def _sizes(found: Wide) -> Wide:
    points = found.reshape(-1, 5, 2)
    apart = points[:, :2].mean(1) - points[:, 3:].mean(1)
    return np.asarray(np.maximum(np.hypot(apart[:, 0], apart[:, 1]), 1.0), np.float64)

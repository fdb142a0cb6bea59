"""Lead the edge of a mask along places where the old and the new face look alike."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.canvas import REACH, RISE, Canvas
from lipsync_cli.dubbing.compositing.mask import (
    LIPS,
    MaskShape,
    Polar,
    drawn_side,
    enlarged,
    points_at,
    polar,
    polar_at,
    soft_step,
    yaw_step,
)
from lipsync_cli.dubbing.compositing.settling import Settling
from lipsync_cli.dubbing.compositing.warp import resized

Floats = npt.NDArray[np.float32]

_SIDE = 64
_ANGLES, _RADII = 72, 24
# Part of the mask's radius that the edge may lie at.
_INNERMOST, _OUTERMOST = 0.45, 1.0
_FINE = 48
_SPACING = _OUTERMOST / (_FINE - 1)
# Width of the edge, in distances of eyes and mouth.
_FEATHER = 0.24
# What it costs to leave a part of the mask out, and to leave the last frame's edge, against
# the mean square difference along the edge; both for the whole range of radii.
_INWARDS, _MOVING = 0.0015, 0.004
_CHROMA = 2.0
# Lips end at this part of their region's radius.
_LIPS = 0.75
_BINOMIAL = np.array([1, 4, 6, 4, 1], np.float32) / 16
_FORBIDDEN, _FAR = 1e3, np.float32(1e9)


class Seam:
    """Finds the edge of the mask for the frames of one shot.

    Args:
        settling_s: time in which the edge follows.
    """

    def __init__(self, settling_s: float = 0.1) -> None:
        self._settling_s = settling_s
        self._edge: Settling[Floats] = Settling()

    def reset(self) -> None:
        """Forget what was before; for the first frame of a shot or of a track."""
        self._edge.reset()

    def mask(
        self, old: Canvas, new: Canvas, landmarks: npt.ArrayLike, shape: MaskShape, pts_s: float
    ) -> Floats:
        """Draw the mask float32 [side, side] that ends where both canvases differ least."""
        drawn = self.drawn(old.planes - new.planes, old.side, landmarks, shape, pts_s)
        return enlarged(drawn, old.side)

    def drawn(
        self,
        difference: Floats,
        side: int,
        landmarks: npt.ArrayLike,
        shape: MaskShape,
        pts_s: float,
    ) -> Floats:
        """Draw it as large as masks for squares of a side are drawn.

        A closed path round the lips, by dynamic programming over angle and radius.

        Args:
            difference: of the old and the new face, [3, m, m] of any size.
        """
        step = yaw_step(landmarks)
        cost = _band_cost(_mismatch(difference), step, shape)
        if self._edge.value is not None:
            cost = cost + _MOVING * np.abs(_radii() - self._edge.value[:, None])
        settled = self._edge.follow(_smooth(_closed_path(cost)), pts_s, self._settling_s)
        place, (low, share) = _on_rays(drawn_side(side), step, shape)
        around = np.append(settled, settled[0])
        edge = around[low] + share * np.diff(around)[low]
        return soft_step((edge - place.radius) * np.float32(shape.reach / _FEATHER))


@lru_cache(maxsize=64)
def _on_rays(
    side: int, step: int, shape: MaskShape
) -> tuple[Polar, tuple[npt.NDArray[np.int64], Floats]]:
    """The pixels of a mask, the ray before each of them and the way to the next one."""
    place = polar(side, step, shape)
    turns = place.angle * np.float32(_ANGLES / (2 * np.pi))
    low = np.minimum(turns.astype(np.int64), _ANGLES - 1)
    return place, (low, (turns - low).astype(np.float32))


def _radii() -> Floats:
    return np.linspace(_INNERMOST, _OUTERMOST, _RADII, dtype=np.float32)


def _mismatch(difference: Floats) -> Floats:
    """Squared difference of luma and chroma at a small size, [64, 64]."""
    small = resized(difference, _SIDE) ** 2  # [3, 64, 64]
    return np.asarray(small[0] + _CHROMA * (small[1] + small[2]), np.float32)


def _band_cost(mismatch: Floats, step: int, shape: MaskShape) -> Floats:
    """Cost [angles, radii] of an edge, from all of its soft inside."""
    rows, columns, forbidden = _grid(step, shape)
    fine = mismatch[rows, columns]  # [angles, 48], from the middle on
    total = np.cumsum(fine, axis=1)
    outer = _places()
    inner = np.maximum(outer - _width(shape), 0)
    band = (total[:, outer] - total[:, inner]) / (outer - inner)
    inwards = _INWARDS * (_OUTERMOST - _radii()) / (_OUTERMOST - _INNERMOST)
    return np.asarray(band + inwards + forbidden, np.float32)


@lru_cache(maxsize=64)
def _grid(
    step: int, shape: MaskShape
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Pixels [angles, radii] on rays from the middle, and what forbids to cut the lips off."""
    angles = np.arange(_ANGLES, dtype=np.float32) * np.float32(2 * np.pi / _ANGLES)
    radii = np.linspace(0, _OUTERMOST, _FINE, dtype=np.float32)
    place = Polar(*np.broadcast_arrays(radii[None, :], angles[:, None]))
    x, y = points_at(place, step, shape)
    columns, rows = (
        np.clip(np.rint((each / REACH + 0.5) * _SIDE - 0.5), 0, _SIDE - 1).astype(np.int64)
        for each in (x, y + RISE)
    )
    inner = np.maximum(_places() - _width(shape), 0)
    in_lips = polar_at(x[:, inner], y[:, inner], step, LIPS).radius < _LIPS
    return rows, columns, np.where(in_lips, np.float32(_FORBIDDEN), np.float32(0))


def _places() -> npt.NDArray[np.int64]:
    """Where on the rays of the grid the radii of the edge lie: [radii]."""
    return np.asarray(np.rint(_radii() / _SPACING), np.int64)


def _width(shape: MaskShape) -> int:
    """Width of the edge in places of the grid."""
    return max(1, round(_FEATHER / shape.reach / _SPACING))


def _closed_path(cost: Floats) -> Floats:
    """Radius for each angle along the cheapest closed path that changes by a step at most."""
    angles, radii = cost.shape
    best = np.empty((angles, radii, radii), np.float32)
    # One problem for each radius to start from: [start, radius], with an edge on both sides.
    reached = np.full((radii, radii + 2), _FAR, np.float32)
    reached[:, 1:-1] = np.where(np.eye(radii, dtype=bool), cost[0], _FAR)
    for angle in range(angles):
        if angle:
            nearest = np.minimum(reached[:, :-2], reached[:, 2:])
            reached[:, 1:-1] = np.minimum(nearest, reached[:, 1:-1]) + cost[angle]
        best[angle] = reached[:, 1:-1]
    # The path ends where it started, a step apart at most.
    apart = np.abs(np.subtract.outer(np.arange(radii), np.arange(radii)))
    start, radius = divmod(int(np.where(apart <= 1, best[-1], _FAR).argmin()), radii)
    return _radii()[_traced(best[:, start], radius)]


def _smooth(edge: Floats) -> Floats:
    """Round the corners of a closed path [angles]."""
    around = np.pad(edge, len(_BINOMIAL) // 2, mode="wrap")
    return np.asarray(np.convolve(around, _BINOMIAL, "valid"), np.float32)


def _traced(best: Floats, radius: int) -> npt.NDArray[np.int64]:
    """The way back from a radius at the last angle, through costs [angles, radii]."""
    path = np.full(len(best), radius)
    for angle in range(len(best) - 2, -1, -1):
        low = max(0, radius - 1)
        radius = low + int(best[angle, low : radius + 2].argmin())
        path[angle] = radius
    return path

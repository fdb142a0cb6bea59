"""Lay a borrowed face over the picture's by what both show: eyes, nose and cheeks."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.canvas import Canvas
from lipsync_cli.dubbing.compositing.warp import inverse, resize, warp
from lipsync_cli.faces._cv2 import load_cv2

Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]

# Sides of the squares that are compared, coarse to fine, and steps on each.
_SIDES, _STEPS = (32, 64), 8
# From the brows to the nostrils, in shares of the square; the mouth itself says nothing.
_CENTRE, _SPREAD = (0.5, 0.34), (0.17, 0.12)
# Landmarks are never further off than this: change of size, radians, shares of a side.
_MOST = np.array([0.2, 0.1, 0.09, 0.09])
# Correlation below which the two do not show the same face.
_ALIKE = 0.5
_SETTLING_S = 0.08


class Registration:
    """Corrects where the faces of one shot are laid; the correction does not tremble.

    Five landmarks place a square, and those of a mouth depend on what it does: a smile or a
    dropped jaw moves the whole face by up to a fifth of it. A similarity found between the
    pictures (Lucas-Kanade with the gradient of the standardised original, Baker and Matthews 2004)
    takes that back.
    """

    def __init__(self) -> None:
        self._shift: Wide | None = None
        self._last_s = 0.0

    def reset(self) -> None:
        """Forget what was before; for the first frame of a shot or of a track."""
        self._shift = None

    def lay(self, original: Canvas, new: Canvas, pts_s: float) -> Canvas:
        """Move `new`, of the same side, until its eyes and nose lie on those of `original`."""
        shift = self._settled(similarity(original.planes[0], new.planes[0]), pts_s)
        matrix, size = inverse(_matrix(shift, new.side)), (new.side, new.side)
        planes = [warp(plane, matrix, size, smooth=True, average=False) for plane in new.planes]
        return new.with_planes(np.stack(planes).astype(np.float32))

    def _settled(self, shift: Wide, pts_s: float) -> Wide:
        before, elapsed_s = self._shift, pts_s - self._last_s
        self._last_s = pts_s
        if before is not None and elapsed_s >= 0:
            shift = shift + math.exp(-elapsed_s / _SETTLING_S) * (before - shift)
        self._shift = shift
        return shift


def similarity(original: Floats, new: Floats) -> Wide:
    """Find what maps places of `original` to those of `new`, both float32 [side, side].

    Returns:
        Growth, turn (radians) and shift right and down in shares of a side, about the middle
        of the region that is compared; zeros where the two do not fit.
    """
    shift = np.zeros(4)
    for side in _SIDES:
        shift = _refined(_standard(original, side), _plain(new, side), shift, side)
    fit = _correlation(_standard(original, _SIDES[-1]), _plain(new, _SIDES[-1]), shift)
    # What runs into the limits has found something else.
    return shift if fit >= _ALIKE and (np.abs(shift) < _MOST).all() else np.zeros(4)


def _refined(wanted: Wide, new: Wide, shift: Wide, side: int) -> Wide:
    weight, (x, y) = _window(side), _places(side)
    down, right = np.gradient(wanted)
    # In shares of a side, as the shift is.
    steep = np.stack([right * x + down * y, down * x - right * y, right, down]) * side
    hessian = np.einsum("aij,bij,ij->ab", steep, steep, weight) + 1e-6 * np.eye(4)
    for _ in range(_STEPS):
        error = _normal(_moved(new, shift), weight) - wanted
        step = np.linalg.solve(hessian, np.einsum("aij,ij->a", steep, weight * error))
        shift = np.clip(shift - step, -1.5 * _MOST, 1.5 * _MOST)
        if np.abs(step).max() < 1e-4:
            break
    return shift


def _correlation(wanted: Wide, new: Wide, shift: Wide) -> float:
    weight = _window(len(new))
    return float((weight * wanted * _normal(_moved(new, shift), weight)).sum() / weight.sum())


def _moved(picture: Wide, shift: Wide) -> Wide:
    side = len(picture)
    cv2 = load_cv2()
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    matrix = _matrix(shift, side)
    out = cv2.warpAffine(
        picture, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(out, np.float64)


def _matrix(shift: Wide, side: int) -> Wide:
    """Px of `new` <- px of `original`, float64 [2, 3]."""
    growth, turn, right, down = shift.tolist()
    centre = np.array(_CENTRE) * side - 0.5
    linear = np.array([[1 + growth, -turn], [turn, 1 + growth]])
    return np.column_stack([linear, centre - linear @ centre + side * np.array([right, down])])


def _plain(luma: Floats, side: int) -> Wide:
    cv2 = load_cv2()
    return np.asarray(cv2.GaussianBlur(resize(luma, (side, side)), (0, 0), 1.2), np.float64)


def _standard(luma: Floats, side: int) -> Wide:
    return _normal(_plain(luma, side), _window(side))


def _normal(picture: Wide, weight: Wide) -> Wide:
    """Zero mean and unit deviation where it counts: blind to exposure."""
    total = weight.sum()
    centred = picture - (weight * picture).sum() / total
    return np.asarray(centred / np.sqrt((weight * centred**2).sum() / total + 1e-8), np.float64)


@lru_cache(maxsize=4)
def _places(side: int) -> tuple[Wide, Wide]:
    """Places from the middle of the region, in shares of a side."""
    at = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(at - _CENTRE[0], at - _CENTRE[1])
    return x, y


@lru_cache(maxsize=4)
def _window(side: int) -> Wide:
    x, y = _places(side)
    return np.asarray(np.exp(-0.5 * ((x / _SPREAD[0]) ** 2 + (y / _SPREAD[1]) ** 2)), np.float64)

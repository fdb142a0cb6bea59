"""Lay a borrowed face over the picture's by what both show: eyes, nose and cheeks."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.bending import SMALL, Bent
from lipsync_cli.dubbing.compositing.settling import Settling
from lipsync_cli.dubbing.compositing.warp import blur, inverse, resize, warp

Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]

# Sides of the squares that are compared, coarse to fine, and steps on each.
_SIDES, _STEPS, _BLUR = (32, 64), 8, 1.2
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
        self._shift: Settling[Wide] = Settling()

    def reset(self) -> None:
        """Forget what was before; for the first frame of a shot or of a track."""
        self._shift.reset()

    def lay(self, original: Floats, new: Bent, pts_s: float) -> Bent:
        """Move `new` until its eyes and nose lie on those of `original`, luma [128, 128]."""
        found = similarity(original, new.small()[0])
        return new.by(_flow(self._shift.follow(found, pts_s, _SETTLING_S)))


def similarity(original: Floats, new: Floats) -> Wide:
    """Find what maps places of `original` to those of `new`, both float32 [side, side].

    Returns:
        Growth, turn (radians) and shift right and down in shares of a side, about the middle
        of the region that is compared; zeros where the two do not fit.
    """
    shift, fit = np.zeros(4), 0.0
    for side in _SIDES:
        wanted = _normal(_plain(original, side), _window(side))
        shift, fit = _refined(wanted, _plain(new, side), shift)
    # What runs into the limits has found something else.
    return shift if fit >= _ALIKE and (np.abs(shift) < _MOST).all() else np.zeros(4)


def _refined(wanted: Wide, new: Floats, shift: Wide) -> tuple[Wide, float]:
    """Improve a shift at one size; also the correlation that it comes to."""
    side = len(wanted)
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
    alike = weight * wanted * _normal(_moved(new, shift), weight)
    return shift, float(alike.sum() / weight.sum())


def _flow(shift: Wide) -> Floats:
    """Where each place goes by a shift: [128, 128, 2], shares of a side."""
    growth, turn, right, down = shift.tolist()
    x, y = _places(SMALL)
    away = growth * x - turn * y + right, turn * x + growth * y + down
    return np.stack(away, axis=-1).astype(np.float32)


def _moved(plane: Floats, shift: Wide) -> Floats:
    matrix, size = inverse(_matrix(shift, len(plane))), (len(plane), len(plane))
    return warp(plane, matrix, size, average=False)


def _matrix(shift: Wide, side: int) -> Wide:
    """Px of `new` <- px of `original`, float64 [2, 3]."""
    growth, turn, right, down = shift.tolist()
    centre = np.array(_CENTRE) * side - 0.5
    linear = np.array([[1 + growth, -turn], [turn, 1 + growth]])
    return np.column_stack([linear, centre - linear @ centre + side * np.array([right, down])])


def _plain(luma: Floats, side: int) -> Floats:
    return blur(resize(luma, (side, side)), _BLUR)


def _normal(picture: Floats, weight: Wide) -> Wide:
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

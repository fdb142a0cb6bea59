"""Match the light and colour of a new face to the old one, from what both show around it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.canvas import Canvas
from lipsync_cli.dubbing.compositing.settling import Settling
from lipsync_cli.dubbing.compositing.warp import blur, resize, resized

Floats = npt.NDArray[np.float32]

# Light varies slowly: differences are compared and spread at this size.
_SIDE = 64
# Spreading goes from far to near, px of that size; near neighbours decide where there are any.
_SIGMAS = (24.0, 12.0, 6.0, 3.0)
_ENOUGH = 0.05
# Differences so many times the usual one are edges that moved, not light.
_OUTLIER, _LEAST_NOISE = 2.0, 0.006
_MOST = 0.12
_EMPTY = 1e-6


class RingMatch:
    """Corrects new faces of one shot; corrections follow each other without flicker.

    Args:
        settling_s: time in which a correction follows a change of light.

    Attributes:
        residual: root mean square difference of luma in the ring that the last correction
            left, as a share of full scale; large where a hand or a microphone is in the way.
    """

    def __init__(self, settling_s: float = 0.15) -> None:
        self.residual = 0.0
        self._settling_s = settling_s
        self._field: Settling[Floats] = Settling()

    def reset(self) -> None:
        """Forget what was before; for the first frame of a shot or of a track."""
        self._field.reset()

    def correct(self, original: Canvas, new: Canvas, ring: Floats, pts_s: float) -> Canvas:
        """Add the light of `original` to `new`.

        The difference of the two is taken in the ring, without what stands out, and
        continued smoothly to all of the canvas.

        Args:
            ring: float32 [side, side], where both should look the same.
            pts_s: presentation time.
        """
        light = self.light(original.planes, new.planes, ring, pts_s)
        return new.with_planes(new.planes + resized(light, new.side))

    def light(self, original: Floats, new: Floats, ring: Floats, pts_s: float) -> Floats:
        """The light to add to `new`, [3, 64, 64]; both [3, side, side], of any size."""
        difference = _small(original) - _small(new)  # [64, 64, 3]
        weight = resize(ring, (_SIDE, _SIDE)) * _ordinary(difference, ring)
        field = spread(np.clip(difference, -_MOST, _MOST), weight)
        self.residual = _left_over(difference - field, resize(ring, (_SIDE, _SIDE)))
        field = self._field.follow(field, pts_s, self._settling_s)
        return np.ascontiguousarray(np.moveaxis(field, -1, 0))


def _small(planes: Floats) -> Floats:
    return np.ascontiguousarray(np.moveaxis(resized(planes, _SIDE), 0, -1))


def _ordinary(difference: Floats, ring: Floats) -> Floats:
    """Weights [64, 64]: near 1 for usual differences, near 0 for those that stand out."""
    inside = resize(ring, (_SIDE, _SIDE)) > 0.5
    if not inside.any():
        return np.ones((_SIDE, _SIDE), np.float32)
    centre = np.median(difference[inside], axis=0)
    distance = np.sqrt(((difference - centre) ** 2).sum(-1))
    usual = max(float(np.median(distance[inside])), _LEAST_NOISE)
    return np.asarray(1 / (1 + (distance / (_OUTLIER * usual)) ** 4), np.float32)


def spread(values: Floats, weight: Floats) -> Floats:
    """Continue values [64, 64, n] from where they have weight [64, 64] to everywhere.

    Normalised convolution (Knutsson and Westin 1993) at several scales.
    """
    total = float(weight.sum())
    if total < _EMPTY:
        return np.zeros_like(values)
    field = np.broadcast_to((values * weight[..., None]).sum((0, 1)) / total, values.shape)
    for sigma in _SIGMAS:
        near = blur(weight, sigma)[..., None]  # [64, 64, 1]
        mean = blur(values * weight[..., None], sigma) / np.maximum(near, _EMPTY)
        trust = near / (near + _ENOUGH)
        field = field + trust * (mean - field)
    return np.asarray(field, np.float32)


def _left_over(difference: Floats, weight: Floats) -> float:
    total = float(weight.sum())
    return math.sqrt(float((weight * difference[..., 0] ** 2).sum()) / max(total, _EMPTY))

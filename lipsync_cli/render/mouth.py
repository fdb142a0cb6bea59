"""Draws the mouth of the photograph open, shut, round or wide.

The photographed mouth smiles and shows its teeth; each frame moves the lips from where the
photograph has them to where the articulation wants them and paints the inside anew.
All coordinates are pixels of the photograph, see `contours`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from lipsync_cli.render.contours import (
    CENTRE_X,
    LINE_Y,
    PHOTO_HALF_WIDTH,
    Contours,
    Grid,
    MouthShape,
    photographed,
    sideways,
    wanted,
)

Picture = npt.NDArray[np.uint8]

# The part of the photograph in which anything below the eyes moves: x0, y0, x1, y1.
REGION = (172, 112, 276, 208)

_TEETH_LIFT = 0.7  # a smile lifts the lip; the teeth of a talking mouth show less
_CAVITY = np.array([74, 30, 30], dtype=np.float32)
_TONGUE = np.array([158, 84, 82], dtype=np.float32)


class Mouth:
    """Draws the lower half of the face into an upscaled photograph.

    Args:
        photo: RGB uint8 picture that holds REGION at `scale` pixels per pixel of the photograph.
        origin: photograph coordinates of its top left corner.
    """

    def __init__(self, photo: Picture, origin: tuple[float, float], scale: float) -> None:
        x0, y0, x1, y1 = REGION
        self._photo, self._origin, self._scale = photo, origin, scale
        left, top = (round((v - o) * scale) for v, o in zip((x0, y0), origin, strict=True))
        right, bottom = (round((v - o) * scale) for v, o in zip((x1, y1), origin, strict=True))
        height, width = photo.shape[:2]
        self._rows = slice(max(top, 0), min(bottom, height))
        self._columns = slice(max(left, 0), min(right, width))
        self._x = self._axis(self._columns, origin[0])[None, :]
        self._y = self._axis(self._rows, origin[1])[:, None]

    def draw(self, canvas: Picture, shape: MouthShape) -> None:
        """Draw the mouth onto `canvas`, a copy of the photograph the size of `photo`."""
        squeeze = PHOTO_HALF_WIDTH - shape.half_width
        u = (self._x[0] - CENTRE_X) / shape.half_width
        shift = squeeze * sideways(u)
        source = photographed(self._x[0] + shift)
        target = wanted(u, shape, source, self._x[0])
        rows = self._unroll(source, target)
        near_mouth = np.exp(-(((self._y - LINE_Y - 0.4 * shape.drop) / 17) ** 4))
        skin = self._sample(self._x + shift * near_mouth, rows)
        canvas[self._rows, self._columns] = self._inside(skin, u, shape, target)

    def _axis(self, pixels: slice, origin: float) -> Grid:
        """Photograph coordinates of pixel centres."""
        index = np.arange(pixels.start, pixels.stop, dtype=np.float32)
        return np.asarray((index + 0.5) / self._scale + origin - 0.5, dtype=np.float32)

    def _sample(self, x: Grid, y: Grid) -> Picture:
        """Read the photograph at photograph coordinates."""
        x, y = np.broadcast_arrays(x, y)
        to_x = ((x + 0.5 - self._origin[0]) * self._scale - 0.5).astype(np.float32)
        to_y = ((y + 0.5 - self._origin[1]) * self._scale - 0.5).astype(np.float32)
        picture = cv2.remap(self._photo, to_x, to_y, cv2.INTER_CUBIC, None, cv2.BORDER_REPLICATE)
        return np.asarray(picture, dtype=np.uint8)

    def _unroll(self, source: Contours, target: Contours) -> Grid:
        """Row of the photograph for each pixel: straight between the contours."""
        distance = np.abs(self._x[0] - CENTRE_X) / 20
        top = 134 - 14 * np.clip(distance - 0.5, 0, 1)
        below = target.chin - source.chin
        stops = [
            (top, top),
            (source.upper_outer, target.upper_outer),
            (source.upper_inner, target.upper_inner),
            (source.lower_inner, target.lower_inner),
            (source.lower_outer, target.lower_outer),
            (source.chin, target.chin),
            (source.chin + 8, target.chin + 8 - 0.7 * below),
            (source.chin + 24, source.chin + 24),
        ]
        rows = np.minimum(self._y, top)
        for (s0, t0), (s1, t1) in pairwise(stops):
            length = np.maximum(t1 - t0, 1e-3)
            rows = rows + (s1 - s0) / length * np.clip(self._y - t0, 0, length)
        return np.asarray(rows + np.maximum(self._y - stops[-1][1], 0), dtype=np.float32)

    def _inside(self, skin: Picture, u: Grid, shape: MouthShape, lips: Contours) -> Picture:
        """Paint cavity, tongue and teeth between the lips, and the shadow where they meet."""
        inside = np.flatnonzero(np.abs(u) < 1.02)
        top = np.searchsorted(self._y[:, 0], lips.upper_inner[inside].min() - 3)
        bottom = np.searchsorted(self._y[:, 0], lips.lower_inner[inside].max() + 3)
        box = slice(int(top), int(bottom)), slice(int(inside[0]), int(inside[-1]) + 1)
        x, y = self._x[:, box[1]], self._y[box[0]]
        upper, lower = lips.upper_inner[box[1]], lips.lower_inner[box[1]]
        edge = np.minimum(y - upper, lower - y) * min(self._scale, 1.6) + 0.5
        cover = _smoothstep(edge) * np.clip((lower - upper) / 0.7, 0, 1)
        depth = _Depth(y - upper, lower - y, u[box[1]])
        colour = self._interior(x, y, depth, shape)
        shade = _lip_shadow(depth, shape)[..., None]
        mixed = skin[box] * shade * (1 - cover[..., None]) + colour * cover[..., None]
        skin[box] = np.clip(mixed, 0, 255).astype(np.uint8)
        return skin

    def _interior(self, x: Grid, y: Grid, depth: _Depth, shape: MouthShape) -> Grid:
        gap = np.maximum(depth.below_upper + depth.above_lower, 0.1)
        dim = 0.35 + 0.65 * np.clip(depth.below_upper / gap, 0, 1) ** 2
        colour = _CAVITY * dim[..., None] * (1 - 0.4 * shape.opening)
        tongue_top = 2.2 + 3.2 * shape.opening - 2.5 * depth.u**2
        tongue = np.clip((tongue_top - depth.above_lower) / 2.2, 0, 1)
        tongue = tongue * np.clip(gap / 6 - 0.3, 0, 1)
        colour = _mix(colour, _TONGUE * (0.55 + 0.25 * tongue[..., None]), tongue)
        colour = self._lower_teeth(colour, x, depth, shape)
        return self._upper_teeth(colour, x, y, depth)

    def _upper_teeth(self, colour: Grid, x: Grid, y: Grid, depth: _Depth) -> Grid:
        """The photographed teeth stay where the skull holds them."""
        photo = photographed(x[0])
        row = y + _TEETH_LIFT
        teeth = self._sample(x, np.maximum(row, photo.upper_inner + 1.2)).astype(np.float32)
        solid = np.clip((photo.lower_inner - 1.0 - row) * 1.6, 0, 1)
        solid = solid * np.clip((15.5 - np.abs(x - 221.5)) / 3, 0, 1)
        light = 0.70 + 0.27 * np.clip(depth.below_upper / 2.2, 0, 1)
        light = light * (1 - 0.35 * np.clip(np.abs(x - 222) / 16, 0, 1) ** 2)
        return _mix(colour, teeth * light[..., None], solid)

    def _lower_teeth(self, colour: Grid, x: Grid, depth: _Depth, shape: MouthShape) -> Grid:
        """The same teeth, smaller and upside down, ride on the jaw behind the lower lip."""
        show = 1.2 * np.clip(shape.opening * 2.2 - 0.7, 0, 1) * (1 - shape.rounded)
        x_photo = 222 + 1.3 * (x - 222)
        photo = photographed(x_photo[0])
        row = photo.lower_inner - 1.4 - (show - depth.above_lower)
        teeth = self._sample(x_photo, row).astype(np.float32)
        solid = np.clip((show - depth.above_lower) * 1.6, 0, 1)
        solid = solid * np.clip((10.5 - np.abs(x - 222)) / 3, 0, 1)
        return _mix(colour, teeth * 0.45, solid)


@dataclass(frozen=True)
class _Depth:
    """Distances [H, W] from the lips' inner contours, and u [W], -1..1 between the corners."""

    below_upper: Grid
    above_lower: Grid
    u: Grid


def _lip_shadow(depth: _Depth, shape: MouthShape) -> Grid:
    """Lips darken towards the line where they meet."""
    nearest = np.maximum(-depth.below_upper, -depth.above_lower)
    strength = 0.5 - 0.25 * min(shape.opening * 3, 1)
    fade = np.clip(1.3 - np.abs(depth.u), 0, 0.6) / 0.6
    return np.asarray(1 - strength * fade * np.exp(-((np.clip(nearest, 0, None) / 0.8) ** 2)))


def _smoothstep(x: Grid) -> Grid:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _mix(under: Grid, over: Grid, share: Grid) -> Grid:
    return under + (over - under) * share[..., None]

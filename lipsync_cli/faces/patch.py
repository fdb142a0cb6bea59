"""The neighbourhood of a face, kept until it is decided where exactly its mouth is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lipsync_cli.faces._cv2 import load_cv2
from lipsync_cli.faces.crop import (
    CROP_SIDE,
    MouthGeometry,
    cut_mouth,
    mouth_geometry,
    neighbourhood,
)

Luma = npt.NDArray[np.uint8]

# Half the side of the patch over the face's size: the crop and room for the face to move.
_REACH = 1.5
# Faces are kept at this size or up to twice it: the crop needs no more.
_ENOUGH_PX = 160


@dataclass(frozen=True)
class Patch:
    """A part of a picture.

    Attributes:
        pixels: uint8 [h, w]: a view of the picture, or a shrunk copy.
        corner: x, y of its first pixel in luma px.
        shrink: luma px per pixel of the shrunk copy.
        is_view: whether `pixels` is not shrunk yet, and keeps the whole picture alive.
    """

    pixels: Luma
    corner: tuple[int, int]
    shrink: int
    is_view: bool = True

    def kept(self) -> Patch:
        """Return a small copy, to be held for long."""
        if not self.is_view:
            return self
        height, width = self._size
        return replace(self, pixels=self._shrunk(0, 0, width, height), is_view=False)

    def mouth(self, landmarks: npt.ArrayLike, side: int = CROP_SIDE) -> Luma:
        """Cut the aligned mouth out, by landmarks [5, 2] in luma px; more px show more around."""
        geometry = self._local(mouth_geometry(landmarks), side / CROP_SIDE)
        if not self.is_view or self.shrink == 1:
            return cut_mouth(self.pixels, geometry, side=side)
        # Only whole blocks of pixels are averaged: what surrounds them makes no difference.
        left, top, right, bottom = neighbourhood(self._size, geometry)
        near = self._shrunk(left, top, right, bottom)
        centre = geometry.centre - np.array((left, top))
        return cut_mouth(near, replace(geometry, centre=centre), side=side)

    @property
    def _size(self) -> tuple[int, int]:
        """Height and width of the shrunk copy of a view."""
        return self.pixels.shape[0] // self.shrink, self.pixels.shape[1] // self.shrink

    def _local(self, geometry: MouthGeometry, reach: float) -> MouthGeometry:
        """The same square in px of the shrunk copy, `reach` times as wide."""
        centre = (geometry.centre - np.array(self.corner)) / self.shrink
        return MouthGeometry(centre, geometry.side / self.shrink * reach, geometry.angle)

    def _shrunk(self, left: int, top: int, right: int, bottom: int) -> Luma:
        """A copy of a part of a view, given in px of the copy."""
        n = self.shrink
        cut = self.pixels[top * n : bottom * n, left * n : right * n]
        if n == 1:
            return cut.copy()
        cv2: Any = load_cv2()
        size = (right - left, bottom - top)
        return np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_AREA), np.uint8)


def see_patch(luma: Luma, box: npt.ArrayLike) -> Patch:
    """View the surroundings of a face box [4] in luma px; a copy shrinks large faces."""
    x0, y0, x1, y1 = np.asarray(box, np.float64).tolist()
    size = math.sqrt(max(x1 - x0, 1.0) * max(y1 - y0, 1.0))
    left, right = _span((x0 + x1) / 2, size, luma.shape[1])
    top, bottom = _span((y0 + y1) / 2, size, luma.shape[0])
    shrink = max(1, min(int(size / _ENOUGH_PX), right - left, bottom - top))
    height, width = ((n // shrink * shrink) for n in (bottom - top, right - left))
    return Patch(luma[top : top + height, left : left + width], (left, top), shrink)


def _span(centre: float, size: float, limit: int) -> tuple[int, int]:
    low = min(max(math.floor(centre - _REACH * size), 0), limit - 1)
    return low, min(max(math.ceil(centre + _REACH * size), low + 1), limit)

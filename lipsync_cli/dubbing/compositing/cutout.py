"""The samples of a face as its picture holds them: kept, looked at small, and resampled once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.canvas import Canvas, Place
from lipsync_cli.dubbing.compositing.colour import Colour, colour_of
from lipsync_cli.dubbing.compositing.warp import (
    Affine,
    bounds,
    chain,
    inverse,
    moved,
    scaled,
    warp,
)
from lipsync_cli.media.planes import sample_layout, samples

Floats = npt.NDArray[np.float32]
# Code values of 8 or 16 bits, or shares of full scale.
Samples = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Cutout:
    """The part of a picture below the square of a face.

    Attributes:
        planes: Y, U and V, [h, w] each, in the size in which they are coded.
        matrices: px of each plane <- px of the square.
        greatest: code value of full scale.
        place: where the square lies.
        colour: what the samples stand for.
    """

    planes: tuple[Samples, ...]
    matrices: tuple[Affine, ...]
    greatest: float
    place: Place
    colour: Colour

    def square(self, side: int) -> Floats:
        """Sample the square at another size: float32 [3, side, side], shares of full scale."""
        onto = scaled(self.place.side, side)
        drawn = np.full((3, side, side), self.colour.neutral, np.float32)
        for number, (plane, matrix) in enumerate(zip(self.planes, self.matrices, strict=True)):
            back = chain(onto, inverse(matrix))
            drawn[number] = warp(plane.astype(np.float32), back, (side, side), smooth=True)
            drawn[number] /= self.greatest
        return drawn

    def canvas(self) -> Canvas:
        """The square in its own size."""
        return Canvas(self.square(self.place.side), self.place, self.colour)

    def recoloured(self, colour: Colour) -> Cutout:
        """The same face in samples that stand for other colours, all planes as large as luma."""
        if colour == self.colour:
            return self
        height, width = self.planes[0].shape
        planes = np.full((3, height, width), self.colour.neutral, np.float32)
        for number, (plane, matrix) in enumerate(zip(self.planes, self.matrices, strict=True)):
            back = chain(self.matrices[0], inverse(matrix))
            spread = warp(plane.astype(np.float32), back, (width, height), smooth=True)
            planes[number] = spread / self.greatest
        planes = colour.from_bgr(self.colour.to_bgr(planes))
        matrices = (self.matrices[0],) * 3
        return replace(self, planes=tuple(planes), matrices=matrices, greatest=1.0, colour=colour)


def cut_canvas(picture: av.VideoFrame, place: Place) -> Canvas:
    """Cut a square out; beyond the picture's edge its last pixels are repeated.

    Raises:
        ValueError: the picture is not made of Y, U and V samples.
    """
    return cut_out(picture, place).canvas()


def cut_out(picture: av.VideoFrame, place: Place) -> Cutout:
    """Cut out what lies below a square; views of the picture's memory.

    Raises:
        ValueError: the picture is not made of Y, U and V samples.
    """
    colour, layout = colour_of(picture), sample_layout(picture.format.name)
    assert layout is not None
    parts = [_part(v, place, chroma=i > 0) for i, v in enumerate(samples(picture))]
    planes, matrices = zip(*parts, strict=True)
    greatest = float((2**layout.depth - 1) << layout.shift)
    return Cutout(planes, matrices, greatest, place, colour)


def _part(view: Samples, place: Place, *, chroma: bool) -> tuple[Samples, Affine]:
    size = view.shape[1], view.shape[0]
    matrix = place.plane_matrix(size, chroma=chroma)
    corners = np.array([(0, 0), (place.side, 0), (0, place.side), (place.side, place.side)])
    x0, y0, x1, y1 = bounds(matrix, corners.astype(np.float64), size)
    # At least a strip of the picture remains where the square lies beyond its edge.
    x0, y0 = min(x0, size[0] - 1), min(y0, size[1] - 1)
    return view[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)], moved(matrix, x0, y0)

"""Lay a bent face into a picture, in the picture's own samples: each is computed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.bending import Bent
from lipsync_cli.dubbing.compositing.canvas import Place
from lipsync_cli.dubbing.compositing.cutout import scaled
from lipsync_cli.dubbing.compositing.warp import Affine, bounds, chain, inverse, moved
from lipsync_cli.faces._cv2 import load_cv2
from lipsync_cli.media.planes import duplicate, sample_layout, samples

Floats = npt.NDArray[np.float32]

# Samples that lie this far apart on the way are averaged instead of interpolated.
_COARSE = 1.35


def inlay(picture: av.VideoFrame, place: Place, face: Bent, mask: Floats) -> av.VideoFrame:
    """Show a face of another moment in a picture, inside of a mask.

    Args:
        place: of the square that `face` is bent into.
        mask: float32 [m, m] of any size over the square, 0 where nothing changes to 1.

    Returns:
        A new picture, or `picture` itself where the mask is empty.
    """
    if not mask.any():
        return picture
    laid = duplicate(picture)
    layout = sample_layout(picture.format.name)
    assert layout is not None
    greatest = 2**layout.depth - 1
    for number, view in enumerate(samples(laid)):
        patch = _Patch.of(view, place, mask, chroma=number > 0)
        if patch is None:
            continue
        share = patch.spread(mask)
        old = (patch.view >> layout.shift).astype(np.float32)
        new = patch.shown(face, number, greatest)
        new -= old
        new *= share
        new += old
        changed = np.clip(np.rint(new, out=new), 0, greatest, out=new).astype(view.dtype)
        np.copyto(patch.view, changed << layout.shift, where=share > 0)
    return laid


@dataclass(frozen=True, eq=False)
class _Patch:
    """The part of a plane below a square's mask.

    Attributes:
        matrix: px of the part <- px of the square.
        side: of the square.
    """

    view: npt.NDArray[Any]
    matrix: Affine
    side: int

    @classmethod
    def of(
        cls, plane: npt.NDArray[Any], place: Place, mask: Floats, *, chroma: bool
    ) -> _Patch | None:
        """Find it; None where the mask lies beside the picture."""
        size = plane.shape[1], plane.shape[0]
        matrix = place.plane_matrix(size, chroma=chroma)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        corners = np.array([(x, y) for x in columns[[0, -1]] for y in rows[[0, -1]]], np.float64)
        # A pixel of the mask reaches as far as the middle of the next one.
        corners += np.where(corners > corners.mean(0), 1.0, -1.0)
        onto = chain(matrix, scaled(len(mask), place.side))
        x0, y0, x1, y1 = bounds(onto, corners, size)
        if x1 <= x0 or y1 <= y0:
            return None
        return cls(plane[y0:y1, x0:x1], moved(matrix, x0, y0), place.side)

    def spread(self, values: Floats, *, fill: bool = False) -> Floats:
        """Enlarge smooth values [m, m] or [m, m, n] over the square to the part's samples."""
        cv2: Any = load_cv2()
        border = cv2.BORDER_REPLICATE if fill else cv2.BORDER_CONSTANT
        onto, size = chain(self.matrix, scaled(len(values), self.side)), self.view.shape[::-1]
        enlarged = cv2.warpAffine(values, onto, size, flags=cv2.INTER_LINEAR, borderMode=border)
        return np.asarray(enlarged, np.float32)

    def shown(self, face: Bent, number: int, greatest: int) -> Floats:
        """The samples of a face, in code values up to `greatest`."""
        cv2: Any = load_cv2()
        light = self.spread(face.light[number], fill=True) * np.float32(greatest)
        cutout = face.cutout
        if number >= len(cutout.planes):
            return light + np.float32(cutout.colour.neutral * greatest)
        into = chain(cutout.matrices[number], scaled(self.side, cutout.place.side))
        plane, into = _at_scale(cutout.planes[number], into, self.matrix)
        where = self._places(chain(into, inverse(self.matrix)))
        where += self.spread(face.away @ (self.side * into[:, :2].T).astype(np.float32), fill=True)
        border = cv2.BORDER_REPLICATE
        drawn = cv2.remap(plane, where, None, cv2.INTER_CUBIC, borderMode=border)
        drawn *= np.float32(greatest / cutout.greatest)
        drawn += light
        return np.asarray(drawn, np.float32)

    def _places(self, matrix: Affine) -> Floats:
        """Where a map takes the part's pixels, [h, w, 2]."""
        height, width = self.view.shape
        x, y = np.arange(width), np.arange(height)[:, None]
        places = np.empty((height, width, 2), np.float32)
        for axis, (right, down, start) in enumerate(matrix):
            across, along = (right * x).astype(np.float32), (down * y + start).astype(np.float32)
            np.add(across, along, out=places[..., axis])
        return places


def _at_scale(plane: npt.NDArray[Any], into: Affine, part: Affine) -> tuple[Floats, Affine]:
    """Shrink a plane that is much finer than the part it goes to; both map from the square."""
    cv2: Any = load_cv2()
    wide = plane.astype(np.float32)
    finer = float(np.sqrt(abs(np.linalg.det(into[:, :2]) / np.linalg.det(part[:, :2]))))
    if finer < _COARSE:
        return wide, into
    height, width = plane.shape
    new = max(1, round(width / finer)), max(1, round(height / finer))
    shares = np.array(new) / (width, height)
    small = cv2.resize(wide, new, interpolation=cv2.INTER_AREA)
    shrink = np.column_stack([np.diag(shares), shares / 2 - 0.5])
    return np.asarray(small, np.float32), chain(shrink, into)

"""The aligned square of a face: cut out of a picture's planes, changed, and put back.

Only differences are put back. What does not change stays as it is to the bit, and detail
finer than the square stays where it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.colour import Bytes, Colour
from lipsync_cli.dubbing.compositing.warp import (
    Affine,
    bounds,
    chain,
    inverse,
    moved,
    scaled,
    warp,
)
from lipsync_cli.media.planes import duplicate, sample_layout, samples
from lipsync_cli.media.upright import Upright

Floats = npt.NDArray[np.float32]

# Side of the square over the face's scale, and how far above the mouth its centre lies: from
# the forehead to below the chin, cheeks included.
REACH, RISE = 3.2, 0.25
# Few sizes: faces of one shot, cut at any moment, then seldom have to be resampled once more.
_SIDES = (64, 96, 128, 192, 256, 384, 512, 768)
# Px of the square for one of the source. What is sampled twice, here and on the way back,
# loses detail unless the square is finer than the picture.
_FINER = 1.25
# Below this magnification of areas what is put back is averaged instead of interpolated.
_COARSE = 0.2


@dataclass(frozen=True, eq=False)
class Place:
    """Where a square lies in a picture.

    Attributes:
        side: of the square, in px.
        matrix: float64 [2, 3], px of the square <- px of the upright source; whole numbers
            are the centres of pixels on both sides.
        upright: how the upright source is coded.
    """

    side: int
    matrix: Affine
    upright: Upright

    def plane_matrix(self, size: tuple[int, int], *, chroma: bool) -> Affine:
        """The map from px of the square to those of a plane of `size` (width, height).

        Chroma samples of 4:2:0 and 4:2:2 lie on the left of the luma samples they belong to
        and, in 4:2:0, between two rows (ITU-T H.264, figure 6-1).
        """
        coded = self.upright.to_coded()
        # Corners instead of centres on the way in, the same back on the way out.
        coded = chain(coded, np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]]))
        width, height = self.upright.coded_size
        steps = round(width / size[0]), round(height / size[1])
        left = (steps[0] - 1) / (2 * steps[0]) if chroma else 0.0
        to_plane = np.array([[1 / steps[0], 0.0, left - 0.5], [0.0, 1 / steps[1], -0.5]])
        return chain(to_plane, chain(coded, inverse(self.matrix)))


@dataclass(frozen=True, eq=False)
class Canvas:
    """A square cut out of a picture.

    Attributes:
        planes: float32 [3, side, side], Y, U and V as shares of the greatest code value, in
            the picture's own matrix and range.
        place: where it was cut.
        colour: what its samples stand for.
    """

    planes: Floats
    place: Place
    colour: Colour

    @property
    def side(self) -> int:
        return self.place.side

    @property
    def zoom(self) -> float:
        """Px of the square for one of the upright source, along a side."""
        return float(np.sqrt(abs(np.linalg.det(self.place.matrix[:, :2]))))

    def to_bgr(self) -> Bytes:
        """Convert to uint8 [side, side, 3]."""
        return self.colour.to_bgr(self.planes)

    def with_planes(self, planes: Floats) -> Canvas:
        """The same place with other samples."""
        return replace(self, planes=planes)


def face_place(landmarks: npt.ArrayLike, upright: Upright, side: int | None = None) -> Place:
    """Place the square on a face, level with its eyes.

    Args:
        landmarks: [5, 2], right eye, left eye, nose, mouth corners in px of the upright source.
        side: in px; None for somewhat more than the face has in the source, 64 to 768.
    """
    points = np.asarray(landmarks, np.float64)
    scale, angle = face_scale(points)
    side = side or next((s for s in _SIDES if s >= _FINER * REACH * scale), _SIDES[-1])
    zoom = side / (REACH * scale)
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    turn = np.array([[cos, sin], [-sin, cos]])
    target = np.array([0.5, 0.5 + RISE / REACH]) * side - 0.5
    return Place(side, np.column_stack([turn, target - turn @ points[3:].mean(0)]), upright)


def face_scale(landmarks: npt.ArrayLike) -> tuple[float, float]:
    """Size of a face in px, mostly the distance of eyes and mouth, and its tilt in radians.

    A head that turns or nods shortens one distance or the other, seldom both.
    """
    points = np.asarray(landmarks, np.float64)
    across, down = points[1] - points[0], points[3:].mean(0) - points[:2].mean(0)
    scale = max(float(np.hypot(*down)), 0.9 * float(np.hypot(*across)), 8.0)
    return scale, float(np.arctan2(across[1], across[0]))


def transfer(source: Canvas, target: Canvas) -> tuple[Canvas, Floats]:
    """Redraw a canvas in the place and the colours of another one of the same picture.

    Returns:
        The canvas, with the samples of `target` where `source` shows nothing, and the share
        of each pixel that it shows, float32 [side, side].
    """
    matrix, size = chain(target.place.matrix, inverse(source.place.matrix)), (target.side,) * 2
    planes = source.planes
    if source.colour != target.colour:
        planes = target.colour.from_bgr(source.colour.to_bgr(planes))
    drawn = np.stack([warp(plane, matrix, size, smooth=True) for plane in planes])
    # A pixel at the edge is only half known.
    known = np.pad(np.ones((source.side - 2,) * 2, np.float32), 1)
    known = warp(known, matrix, size, fill=False)
    return target.with_planes(known * drawn + (1 - known) * target.planes), known


def paste_canvas(
    picture: av.VideoFrame,
    before: Canvas,
    after: Canvas,
    mask: Floats,
    bare: Floats | None = None,
) -> av.VideoFrame:
    """Add the difference of two canvases to a picture, inside of a mask.

    Args:
        picture: what `before` was cut from.
        mask: float32 [side, side], 0 where nothing changes to 1.
        bare: where the picture's detail finer than the canvas goes, [side, side] likewise:
            old lips would show through where a small canvas draws new ones.

    Returns:
        A new picture, or `picture` itself where nothing differs.
    """
    delta = (after.planes - before.planes) * mask  # [3, side, side]
    if not delta.any():
        return picture
    pasted = duplicate(picture)
    layout = sample_layout(picture.format.name)
    assert layout is not None
    greatest = 2**layout.depth - 1
    for number, view in enumerate(samples(pasted)):
        patch = Patch.of(view, before.place, mask, chroma=number > 0)
        if patch is None:
            continue
        old = (patch.view >> layout.shift).astype(np.float32)
        new = old + patch.warp(delta[number]) * greatest
        if bare is not None:
            coarse = patch.warp(before.planes[number]) * greatest
            new += patch.warp(bare * mask) * (coarse - old)
        changed = np.clip(np.rint(new), 0, greatest).astype(patch.view.dtype) << layout.shift
        np.copyto(patch.view, changed, where=patch.spread(mask) > 0)
    return pasted


@dataclass(frozen=True, eq=False)
class Patch:
    """The part of a plane below a square's mask.

    Attributes:
        view: the samples, in the plane's own memory.
        matrix: px of the part <- px of the square.
        side: of the square.
    """

    view: npt.NDArray[Any]
    matrix: Affine
    side: int

    @classmethod
    def of(
        cls, plane: npt.NDArray[Any], place: Place, mask: Floats, *, chroma: bool
    ) -> Patch | None:
        """Find it for a mask [m, m] that is not empty; None where it lies beside the picture."""
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

    def warp(self, canvas: Floats) -> Floats:
        """Map what is to be added, [side, side]."""
        size = self.view.shape[1], self.view.shape[0]
        average = abs(np.linalg.det(self.matrix[:, :2])) < _COARSE
        return warp(canvas, self.matrix, size, smooth=True, fill=False, average=average)

    def spread(self, values: Floats, *, fill: bool = False) -> Floats:
        """Enlarge smooth values [m, m] or [m, m, n] over the square to the part's samples."""
        size = self.view.shape[1], self.view.shape[0]
        onto = chain(self.matrix, scaled(len(values), self.side))
        return warp(values, onto, size, fill=fill, average=False)

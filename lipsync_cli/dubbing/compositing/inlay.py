"""Lay a bent face into a picture, in the picture's own samples: each is computed once."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.bending import Bent
from lipsync_cli.dubbing.compositing.canvas import Patch, Place
from lipsync_cli.dubbing.compositing.warp import Affine, chain, inverse, scaled
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
        patch = Patch.of(view, place, mask, chroma=number > 0)
        if patch is None:
            continue
        share = patch.spread(mask)
        old = (patch.view >> layout.shift).astype(np.float32)
        new = _shown(patch, face, number, greatest)
        new -= old
        new *= share
        new += old
        changed = np.clip(np.rint(new, out=new), 0, greatest, out=new).astype(view.dtype)
        np.copyto(patch.view, changed << layout.shift, where=share > 0)
    return laid


def _shown(patch: Patch, face: Bent, number: int, greatest: int) -> Floats:
    """The samples of a face below a patch of plane `number`, in code values up to `greatest`."""
    cv2: Any = load_cv2()
    light = patch.spread(face.light[number], fill=True) * np.float32(greatest)
    cutout = face.cutout
    if number >= len(cutout.planes):
        return light + np.float32(cutout.colour.neutral * greatest)
    into = chain(cutout.matrices[number], scaled(patch.side, cutout.place.side))
    plane, into = _at_scale(cutout.planes[number], into, patch.matrix)
    where = _places(patch, chain(into, inverse(patch.matrix)))
    where += patch.spread(face.away @ (patch.side * into[:, :2].T).astype(np.float32), fill=True)
    drawn = cv2.remap(plane, where, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    drawn *= np.float32(greatest / cutout.greatest)
    drawn += light
    return np.asarray(drawn, np.float32)


def _places(patch: Patch, matrix: Affine) -> Floats:
    """Where a map takes the patch's pixels, [h, w, 2]."""
    height, width = patch.view.shape
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

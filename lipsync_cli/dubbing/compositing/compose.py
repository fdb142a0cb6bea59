"""Fit a new lower face into the old picture: light, detail, mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.canvas import REACH, Canvas
from lipsync_cli.dubbing.compositing.mask import LIPS, LOWER_FACE, MaskShape, face_mask, ring_mask
from lipsync_cli.dubbing.compositing.ring import RingMatch
from lipsync_cli.dubbing.compositing.seam import Seam
from lipsync_cli.dubbing.compositing.warp import blur

Floats = npt.NDArray[np.float32]

# Where the old and the new face differ by more than this, in luma, the old detail belongs
# somewhere else.
_MOVED = 0.06
# Stronger detail is an edge that would show twice.
_TEXTURE = 0.04


@dataclass(frozen=True)
class Look:
    """How a new face is fitted in.

    Attributes:
        shape: of the mask.
        detail: share of the original's fine detail that a blurry new face gets outside of
            the lips; 0 for none.
        detail_size: coarsest detail, in distances of eyes and mouth.
    """

    shape: MaskShape = LOWER_FACE
    detail: float = 0.0
    detail_size: float = 0.035


@dataclass(frozen=True, eq=False)
class Blend:
    """A fitted face.

    Attributes:
        canvas: what goes where the mask is 1.
        mask: float32 [side, side], 0 to 1.
        lips: float32 [side, side], 1 where the original's detail is of no use.
        residual: see `RingMatch`.
    """

    canvas: Canvas
    mask: Floats
    lips: Floats
    residual: float


def blend(
    original: Canvas,
    new: Canvas,
    landmarks: npt.ArrayLike,
    match: RingMatch,
    seam: Seam,
    pts_s: float,
    *,
    known: Floats | None = None,
    look: Look | None = None,
) -> Blend:
    """Fit `new` into `original`; `paste_canvas` takes the result.

    Args:
        landmarks: [5, 2] of the original, px of the upright source.
        match, seam: of this track and shot.
        known: float32 [side, side], the share of `new` that is drawn; None for all of it.
    """
    look = look or Look()
    ring = ring_mask(original.side, landmarks, look.shape)
    if known is not None:
        ring = ring * known
    fitted = match.correct(original, new, ring, pts_s)
    mask = seam.mask(original, fitted, landmarks, look.shape, pts_s)
    if known is not None:
        # The mask fades out before the edge of what is drawn.
        mask = np.minimum(mask, _faded(known, look.shape))
    lips = face_mask(original.side, landmarks, LIPS)
    if look.detail > 0:
        fitted = _with_detail(original, fitted, lips, look)
    return Blend(fitted, mask, lips, match.residual)


def _faded(known: Floats, shape: MaskShape) -> Floats:
    """Let a hard-edged region fade out on its inside, over half of the feather."""
    sigma = shape.feather / REACH * len(known) / 4
    soft = blur(np.floor(known), sigma)
    return np.asarray(np.clip(2 * soft - 1, 0, 1), np.float32)


def _with_detail(original: Canvas, new: Canvas, lips: Floats, look: Look) -> Canvas:
    """Give a blurry face the pores and the beard of the original, where both lie alike."""
    sigma = look.detail_size / REACH * original.side
    old, fresh = original.planes[0], new.planes[0]
    coarse, blurred = blur(old, sigma), blur(fresh, sigma)
    missing = _TEXTURE * np.tanh(((old - coarse) - (fresh - blurred)) / _TEXTURE)
    alike = np.exp(-(((coarse - blurred) / _MOVED) ** 2))
    planes = new.planes.copy()
    planes[0] += look.detail * (1 - lips) * alike * missing
    return new.with_planes(planes)

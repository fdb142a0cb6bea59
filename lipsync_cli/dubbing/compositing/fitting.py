"""Fit a drawn or borrowed face into the picture of the moment, frame after frame."""

from __future__ import annotations

import av
import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.bending import SMALL, Bent
from lipsync_cli.dubbing.compositing.canvas import Canvas, Place, face_place, paste_canvas, transfer
from lipsync_cli.dubbing.compositing.colour import colour_of
from lipsync_cli.dubbing.compositing.compose import Look, blend
from lipsync_cli.dubbing.compositing.cutout import Cutout, cut_canvas, cut_out
from lipsync_cli.dubbing.compositing.gate import Gate
from lipsync_cli.dubbing.compositing.inlay import inlay
from lipsync_cli.dubbing.compositing.mask import ring_mask
from lipsync_cli.dubbing.compositing.mismatch import mismatch
from lipsync_cli.dubbing.compositing.morph import morph
from lipsync_cli.dubbing.compositing.refine import Meeting
from lipsync_cli.dubbing.compositing.register import Registration
from lipsync_cli.dubbing.compositing.ring import RingMatch
from lipsync_cli.dubbing.compositing.seam import Seam
from lipsync_cli.dubbing.compositing.warp import resized
from lipsync_cli.dubbing.footage.face_path import FaceAt
from lipsync_cli.media.upright import Upright

# Px of the square for one of the picture from which all detail of new lips comes along.
_FINE_ENOUGH = 0.8


class Fitter:
    """Puts new lower faces into pictures; light follows from frame to frame of a track.

    Args:
        upright: how the pictures are coded.
        look: how a face is fitted in.
        redrawn: the new faces are drawn coarsely: the old lips' fine detail is taken away
            where they lie, as it is from faces too large for their squares.
        gate: says how much of each is shown.
    """

    def __init__(
        self,
        upright: Upright,
        look: Look | None = None,
        *,
        redrawn: bool = False,
        gate: Gate | None = None,
    ) -> None:
        self._upright, self._look, self._redrawn = upright, look or Look(), redrawn
        self._track: int | None = None
        self._match, self._seam = RingMatch(), Seam()
        self._registration, self._meeting = Registration(), Meeting()
        self._gate = gate or Gate()

    def borrowed(
        self,
        picture: av.VideoFrame,
        face: FaceAt,
        taken: Cutout,
        pts_s: float,
        other: tuple[Cutout, float] | None = None,
    ) -> av.VideoFrame:
        """Put a face from another moment onto `face`.

        Args:
            taken: below its square, see `face_place`.
            other: a face to bend it towards, and the share of that.
        """
        place, shape, colour = self._place(face), self._look.shape, colour_of(picture)
        old, new = cut_out(picture, place).square(SMALL), Bent.of(taken, colour)
        if other is not None:
            new = morph(new, Bent.of(other[0], colour), other[1])
        ring = ring_mask(SMALL, face.landmarks, shape)
        new = self._meeting.bend(old[0], self._registration.lay(old[0], new, pts_s), ring, pts_s)
        new = new.lit(resized(self._match.light(old, new.small(), ring, pts_s), SMALL))
        lit = new.small()
        mask = self._seam.drawn(old - lit, place.side, face.landmarks, shape, pts_s)
        mask *= self._gate.weight(
            pts_s,
            face.landmarks,
            residual=self._match.residual,
            mismatch=mismatch(old[0], lit[0], mask),
        )
        return inlay(picture, place, new, mask)

    def drawn(
        self, picture: av.VideoFrame, face: FaceAt, canvas: Canvas, pts_s: float
    ) -> av.VideoFrame:
        """Put a canvas of this very picture, placed anyhow, onto `face`."""
        before = cut_canvas(picture, self._place(face))
        moved, known = transfer(canvas, before)
        return self._put(picture, face, before, moved, known, pts_s)

    def _place(self, face: FaceAt) -> Place:
        if face.track != self._track:
            for part in (self._match, self._seam, self._gate, self._registration, self._meeting):
                part.reset()
            self._track = face.track
        return face_place(face.landmarks, self._upright)

    def _put(
        self,
        picture: av.VideoFrame,
        face: FaceAt,
        before: Canvas,
        new: Canvas,
        known: npt.NDArray[np.float32] | None,
        pts_s: float,
    ) -> av.VideoFrame:
        fitted = blend(
            before,
            new,
            face.landmarks,
            self._match,
            self._seam,
            pts_s,
            known=known,
            look=self._look,
        )
        mask = fitted.mask * self._gate.weight(pts_s, face.landmarks, residual=fitted.residual)
        coarse = self._redrawn or before.zoom < _FINE_ENOUGH
        bare = fitted.lips if coarse else None
        return paste_canvas(picture, before, fitted.canvas, mask, bare)

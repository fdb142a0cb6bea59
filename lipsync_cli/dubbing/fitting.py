"""Fit a drawn or borrowed face into the picture of the moment, frame after frame."""

from __future__ import annotations

from dataclasses import replace

import av
import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.canvas import Canvas, cut_canvas, face_place, paste_canvas, transfer
from lipsync_cli.dubbing.compose import Look, blend
from lipsync_cli.dubbing.face_path import FaceAt
from lipsync_cli.dubbing.gate import Gate
from lipsync_cli.dubbing.ring import RingMatch
from lipsync_cli.dubbing.seam import Seam
from lipsync_cli.dubbing.warp import resize
from lipsync_cli.media.upright import Upright


class Fitter:
    """Puts new lower faces into pictures; light follows from frame to frame of a track.

    Args:
        upright: how the pictures are coded.
        look: how a face is fitted in.
        redrawn: the new faces are drawn coarsely: the old lips' fine detail is taken away
            where they lie.
    """

    def __init__(self, upright: Upright, look: Look | None = None, *, redrawn: bool = False):
        self._upright, self._look, self._redrawn = upright, look or Look(), redrawn
        self._track: int | None = None
        self._match, self._seam, self._gate = RingMatch(), Seam(), Gate()

    def borrowed(
        self, picture: av.VideoFrame, face: FaceAt, canvas: Canvas, pts_s: float
    ) -> av.VideoFrame:
        """Put a face from another moment, cut out by `face_place`, onto `face`."""
        before = self._cut(picture, face)
        return self._put(picture, face, before, relaid(canvas, before), None, pts_s)

    def drawn(
        self, picture: av.VideoFrame, face: FaceAt, canvas: Canvas, pts_s: float
    ) -> av.VideoFrame:
        """Put a canvas of this very picture, placed anyhow, onto `face`."""
        before = self._cut(picture, face)
        moved, known = transfer(canvas, before)
        return self._put(picture, face, before, moved, known, pts_s)

    def _cut(self, picture: av.VideoFrame, face: FaceAt) -> Canvas:
        if face.track != self._track:
            for part in (self._match, self._seam, self._gate):
                part.reset()
            self._track = face.track
        return cut_canvas(picture, face_place(face.landmarks, self._upright))

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
        bare = fitted.lips if self._redrawn else None
        return paste_canvas(picture, before, fitted.canvas, mask, bare)


def relaid(canvas: Canvas, onto: Canvas) -> Canvas:
    """Lay a face over another one: both squares are aligned, whatever their size and colours."""
    planes = canvas.planes
    if canvas.colour != onto.colour:
        planes = onto.colour.from_bgr(canvas.colour.to_bgr(planes))
    if canvas.side != onto.side:
        large = resize(np.ascontiguousarray(np.moveaxis(planes, 0, -1)), (onto.side, onto.side))
        planes = np.ascontiguousarray(np.moveaxis(large, -1, 0))
    return replace(onto, planes=planes)


def mixed(first: Canvas, second: Canvas, share: float) -> Canvas:
    """Cross-fade two aligned faces; `share` is that of the second."""
    other = relaid(second, first)
    return replace(first, planes=(1 - share) * first.planes + share * other.planes)

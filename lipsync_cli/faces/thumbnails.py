"""A few pictures of the faces that were followed, for people to look at."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lipsync_cli.faces._cv2 import load_cv2
from lipsync_cli.faces.track import TrackChunk
from lipsync_cli.media.video import VideoFrame

Picture = npt.NDArray[np.uint8]

_LONGER_SIDE = 160  # pixels
_MOST = 24
_EVERY_S = 2.0
# Seen around the face, in widths of it.
_MARGIN = 0.35


class Thumbnails:
    """Keeps pictures of each face, evenly thinned out when there are too many.

    Attributes:
        pictures: (time, BGR picture uint8 [h, w, 3] with the face's box, track).
    """

    def __init__(self) -> None:
        self.pictures: list[tuple[float, Picture, int]] = []

    def add(self, frame: VideoFrame, chunk: TrackChunk) -> None:
        """Look at the picture that completed a chunk."""
        # A track that has ended may lie behind a cut: this picture no longer shows it.
        if chunk.last or frame.pts_s - self._last_s(chunk.track) < _EVERY_S:
            return
        x0, y0, x1, y1 = (chunk.boxes[-1] * frame.scale).tolist()
        margin = _MARGIN * (x1 - x0)
        cut = frame.bgr(x0 - margin, y0 - margin, x1 + margin, y1 + margin)
        if cut.size == 0:
            return
        left, top = max(0.0, x0 - margin), max(0.0, y0 - margin)
        picture = _boxed(cut, (x0 - left, y0 - top, x1 - left, y1 - top))
        self.pictures.append((frame.pts_s, picture, chunk.track))
        if len(self.pictures) > _MOST:
            del self.pictures[1::2]

    def _last_s(self, track: int) -> float:
        return max((t for t, _, n in self.pictures if n == track), default=float("-inf"))


def _boxed(picture: Picture, box: tuple[float, ...]) -> Picture:
    """A thumbnail of `picture` with the face's box drawn into it."""
    cv2: Any = load_cv2()
    size = min(1.0, _LONGER_SIDE / max(picture.shape[:2]))
    shape = (max(1, round(picture.shape[1] * size)), max(1, round(picture.shape[0] * size)))
    small = np.ascontiguousarray(cv2.resize(picture, shape, interpolation=cv2.INTER_AREA))
    x0, y0, x1, y1 = (round(v * size) for v in box)
    return np.asarray(cv2.rectangle(small, (x0, y0), (x1, y1), (255, 255, 255), 1), np.uint8)

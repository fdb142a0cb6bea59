"""What of a programme is given to SyncNet: the whole picture, or every face that was followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.media.video import VideoFrame
from lipsync_cli.scoring.clip_score import ClipScore
from lipsync_cli.scoring.reference_crop import jpeg_generation, to_network

TOO_SHORT = "picture and sound together last fewer than 6 frames at 25 a second"


@dataclass(frozen=True)
class Row:
    """A clip that counts, and the mean box of the face in it, in px of the upright source."""

    clip: ClipScore
    box: tuple[float, float, float, float] | None = None


class ClipSource(Protocol):
    """Makes clips out of what is shown at each tick.

    Attributes:
        rows: the clips that count, final after `close`.
        left_out: faces that were followed for a second or more but do not count.
    """

    rows: list[Row]
    left_out: int

    @property
    def needs_from(self) -> int:
        """The first tick of which the sound is still needed."""

    def push(self, frame: VideoFrame) -> None:
        """Take what is shown at the next tick."""

    def advance(self) -> None:
        """Go on with the sound that has come in."""

    def close(self) -> None:
        """There are no more pictures."""

    def reason(self) -> str:
        """Why no clip counts, in words."""


class WholePicture:
    """Wav2Lip's scripts for LRS: the whole picture squashed to a square, one clip per file."""

    def __init__(self, clip: ClipScore, *, codec: bool) -> None:
        self.rows, self.left_out = [Row(clip)], 0
        self._clip, self._codec = clip, codec
        self._last: tuple[VideoFrame, NDArray[np.uint8]] | None = None

    @property
    def needs_from(self) -> int:
        return self._clip.needs_from

    def push(self, frame: VideoFrame) -> None:
        if self._last is None or self._last[0] is not frame:
            height, width = frame.luma.shape
            picture = frame.bgr(0, 0, width, height)
            self._last = frame, to_network(jpeg_generation(picture) if self._codec else picture)
        self._clip.push(self._last[1])

    def advance(self) -> None:
        self._clip.advance()

    def close(self) -> None:
        self._clip.end()

    def reason(self) -> str:
        return TOO_SHORT

"""How the coded pixels of a programme lie in its upright picture with square pixels."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.video.stream import VideoStream

from lipsync_cli.errors import MissingStream
from lipsync_cli.media.pictures import first_picture
from lipsync_cli.media.probe import Orientation, main_video, open_media, orientation_of
from lipsync_cli.media.video import sane_aspect

_SQUARE, _AS_CODED = Fraction(1), Orientation()


@dataclass(frozen=True)
class Upright:
    """The way from upright to coded pixels; both count from the upper left corner of the picture.

    Attributes:
        coded_size: width and height in px as coded.
        orientation: how the coded picture becomes upright.
        pixel_aspect: width over height of a coded pixel.
    """

    coded_size: tuple[int, int]
    orientation: Orientation = _AS_CODED
    pixel_aspect: Fraction = _SQUARE

    @property
    def size(self) -> tuple[float, float]:
        """Width and height upright; pixels become square by stretching."""
        width, height = self.coded_size
        wide = width * float(max(self.pixel_aspect, _SQUARE))
        high = height * float(max(1 / self.pixel_aspect, _SQUARE))
        return (high, wide) if self.orientation.transpose else (wide, high)

    def to_coded(self) -> npt.NDArray[np.float64]:
        """Affine map [2, 3] from upright to coded px."""
        turn, size = self.orientation, np.array(self.size)
        unit = np.hstack([np.diag(1 / size), np.zeros((2, 1))])
        for axis, flipped in enumerate((turn.flip_columns, turn.flip_rows)):
            if flipped:
                unit[axis] = [0, 0, 1] - unit[axis]
        if turn.transpose:
            unit = unit[::-1]
        coded: npt.NDArray[np.float64] = np.array(self.coded_size)[:, None] * unit
        return coded


def upright_of(stream: VideoStream, picture: av.VideoFrame) -> Upright:
    """Describe the pictures of a stream, of which `picture` is one."""
    return Upright(
        (picture.width, picture.height),
        orientation_of(picture),
        sane_aspect(stream.sample_aspect_ratio),
    )


def read_upright(path: str | Path) -> Upright:
    """Describe the pictures of a file by its first one.

    Raises:
        MediaNotFound, UnreadableMedia: it cannot be read, or no picture can be decoded.
        MissingStream: it holds no pictures.
    """
    with open_media(path) as container:
        stream = main_video(container)
        if stream is None:
            raise MissingStream("there is no video stream in it", path=path)
        return upright_of(stream, first_picture(container, stream, path))

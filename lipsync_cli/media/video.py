"""Decoded pictures as grey images with their true presentation times."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import cast

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from lipsync_cli.media.planes import matrix_of, rows, sampling
from lipsync_cli.media.probe import Orientation, orientation_of

Picture = npt.NDArray[np.uint8]

# Formats whose first plane is 8-bit luma and nothing else.
_LUMA_8 = frozenset(
    [
        *(f"yuv{s}p" for s in (410, 411, 420, 422, 440, 444)),
        *(f"yuvj{s}p" for s in (411, 420, 422, 440, 444)),
        *(f"yuva{s}p" for s in (420, 422, 444)),
        *("gray", "nv12", "nv21", "nv16", "nv24", "nv42"),
    ]
)
# Formats whose first plane is 16-bit words of luma; the value is the shift to 8 bits.
_LUMA_16 = {
    **{f"yuv{s}p{n}le": n - 8 for s in (420, 422, 440, 444) for n in (9, 10, 12, 14, 16)},
    **{f"yuva{s}p{n}le": n - 8 for s in (420, 422, 444) for n in (9, 10, 12, 16)},
    **{f"gray{n}le": n - 8 for n in (9, 10, 12, 14, 16)},
    **{f"p{s}{n}le": 8 for s in (0, 2, 4) for n in (10, 12, 16)},
}
# Everything else (RGB, palettes, packed or big-endian samples) is converted to this.
_PLAIN = "yuv420p"

_CHROMA_ALIGN = 4
_SQUARE = Fraction(1)
# Wider pixels than anamorphic film's 2:1, with room; beyond that the header is wrong.
_MAX_PIXEL_ASPECT = 4
_SPACING_SLACK_S = 1e-6


@dataclass(frozen=True, eq=False)
class _Source:
    """The decoded picture behind a frame, for colour cuts."""

    picture: av.VideoFrame
    orientation: Orientation
    reformatter: VideoReformatter


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One picture, upright and with square pixels.

    Attributes:
        index: number among the kept frames, from 0.
        pts_s: presentation time in seconds on the container's own clock.
        luma: uint8 [H, W], read-only. A view of the decoder's memory where possible: keep
            only a few of them alive.
        scale: luma px per px of the upright source.
    """

    index: int
    pts_s: float
    luma: Picture
    scale: float = 1.0
    source: _Source | None = field(default=None, repr=False)

    def bgr(self, x0: float, y0: float, x1: float, y1: float) -> Picture:
        """Cut a box out in colour: uint8 [h, w, 3].

        The box is given in luma px and clipped to the picture; the cut has the size of
        the clipped box. Only the cut is converted.
        """
        height, width = self.luma.shape
        left, right = (int(np.clip(round(x), 0, width)) for x in (x0, x1))
        top, bottom = (int(np.clip(round(y), 0, height)) for y in (y0, y1))
        if right <= left or bottom <= top:
            return np.zeros((0, 0, 3), np.uint8)
        if self.source is None:
            return np.repeat(self.luma[top:bottom, left:right, None], 3, axis=2)
        cut = _colour_cut(self.source, (width, height), (left, top, right, bottom))
        return _resized(cut, (right - left, bottom - top))


class VideoReader:
    """Turns the decoded pictures of one stream into frames; drops those that come too close.

    Args:
        stream: its time base, rate and pixel aspect are copied now, so that nothing is
            read from it after the file is closed.
        max_rate: kept frames are never closer than 1 / max_rate seconds.
        max_height: limit of the shorter side of luma, in px.
    """

    def __init__(self, stream: VideoStream, *, max_rate: float, max_height: int) -> None:
        self._time_base = stream.time_base or Fraction(1, 1000)
        self._frame_s = float(1 / (stream.average_rate or stream.guessed_rate or 25))
        self._pixel_aspect = sane_aspect(stream.sample_aspect_ratio)
        self._spacing_s = 1.0 / max_rate - _SPACING_SLACK_S
        self._max_height = max_height
        self._reformatter = VideoReformatter()
        self._orientation: Orientation | None = None
        self._kept = 0
        self._last_kept_s = -np.inf
        self.first_s: float | None = None
        self.last_s: float | None = None

    def push(self, picture: av.VideoFrame) -> VideoFrame | None:
        """The frame, or None where it follows the last kept one too closely.

        Raises:
            av.error.FFmpegError: its pixel format cannot be converted.
        """
        pts_s = self._pts_s(picture)
        self.first_s = pts_s if self.first_s is None else self.first_s
        self.last_s = pts_s
        if pts_s - self._last_kept_s < self._spacing_s:
            return None
        if self._orientation is None:
            self._orientation = orientation_of(picture)
        frame = self._frame(picture, pts_s, self._orientation)
        self._last_kept_s = pts_s
        self._kept += 1
        return frame

    def _pts_s(self, picture: av.VideoFrame) -> float:
        ticks = picture.pts if picture.pts is not None else picture.dts
        if ticks is not None:
            return ticks * self._time_base.numerator / self._time_base.denominator
        return 0.0 if self.last_s is None else self.last_s + self._frame_s

    def _frame(self, picture: av.VideoFrame, pts_s: float, turn: Orientation) -> VideoFrame:
        name = picture.format.name
        if name not in _LUMA_8 and name not in _LUMA_16:
            picture = self._reformatter.reformat(picture, format=_PLAIN, threads=1)
        luma = _turned(_luma(picture), turn)
        aspect = 1 / self._pixel_aspect if turn.transpose else self._pixel_aspect
        width, height, scale = _target_size(luma, aspect, self._max_height)
        luma = _resized(luma, (width, height))
        luma.flags.writeable = False
        source = _Source(picture, turn, self._reformatter)
        return VideoFrame(self._kept, pts_s, luma, scale, source)


def sane_aspect(aspect: Fraction | None) -> Fraction:
    """The shape of a pixel, square where it is not given or cannot be true."""
    if not aspect or not Fraction(1, _MAX_PIXEL_ASPECT) <= aspect <= _MAX_PIXEL_ASPECT:
        return _SQUARE
    return aspect


def _target_size(luma: Picture, aspect: Fraction, max_height: int) -> tuple[int, int, float]:
    """Width and height of the luma, and its scale to the square-pixel source.

    Pixels that are not square are made so by stretching, which loses no detail.
    """
    height, width = luma.shape
    wide, high = width * max(aspect, _SQUARE), height * max(1 / aspect, _SQUARE)
    scale = min(1.0, max_height / float(min(wide, high)))
    return max(1, round(wide * scale)), max(1, round(high * scale)), scale


def _luma(picture: av.VideoFrame) -> Picture:
    """Grey image of a picture in one of the known formats; no copy of 8-bit ones."""
    plane = picture.planes[0]
    shift = _LUMA_16.get(picture.format.name)
    if shift is None:
        return rows(plane)[:, : picture.width]
    words = rows(plane).view("<u2")[:, : picture.width]
    return (words >> shift).astype(np.uint8)


def _turned(image: Picture, turn: Orientation) -> Picture:
    if turn == Orientation():
        return image
    import cv2

    if turn.transpose:
        image = cast(Picture, cv2.transpose(image))
    if turn.flip_columns or turn.flip_rows:
        code = -1 if turn.flip_columns and turn.flip_rows else int(turn.flip_columns)
        image = cast(Picture, cv2.flip(image, code))
    return image


def _resized(image: Picture, size: tuple[int, int]) -> Picture:
    if image.shape[1::-1] == size:
        return image
    import cv2

    shrinks = size[0] <= image.shape[1] and size[1] <= image.shape[0]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cast(Picture, cv2.resize(image, size, interpolation=method))


def _colour_cut(source: _Source, size: tuple[int, int], box: tuple[int, int, int, int]) -> Picture:
    """Convert the box, given in px of an upright image of `size`, at source resolution."""
    picture, turn = source.picture, source.orientation
    coded = _coded_box(box, size, turn, (picture.width, picture.height))
    small, (left, top) = _cut(picture, coded)
    converted = source.reformatter.reformat(small, format="bgr24", threads=1)
    width, height = coded[2] - coded[0], coded[3] - coded[1]
    lines = rows(converted.planes[0])[:, : converted.width * 3]
    image = lines.reshape(converted.height, converted.width, 3)
    return _turned(np.ascontiguousarray(image[top : top + height, left : left + width]), turn)


def _coded_box(
    box: tuple[int, int, int, int],
    size: tuple[int, int],
    turn: Orientation,
    coded_size: tuple[int, int],
) -> tuple[int, int, int, int]:
    """The box in px of the picture as it is coded, at least one pixel wide and high."""
    x0, x1 = box[0] / size[0], box[2] / size[0]
    y0, y1 = box[1] / size[1], box[3] / size[1]
    if turn.flip_columns:
        x0, x1 = 1 - x1, 1 - x0
    if turn.flip_rows:
        y0, y1 = 1 - y1, 1 - y0
    if turn.transpose:
        x0, y0, x1, y1 = y0, x0, y1, x1
    width, height = coded_size
    left, top = min(round(x0 * width), width - 1), min(round(y0 * height), height - 1)
    right, bottom = max(round(x1 * width), left + 1), max(round(y1 * height), top + 1)
    return left, top, right, bottom


def _cut(
    picture: av.VideoFrame, box: tuple[int, int, int, int]
) -> tuple[av.VideoFrame, tuple[int, int]]:
    """Copy the box and a margin that keeps chroma aligned; also the box's place in it."""
    left, top = (v - v % _CHROMA_ALIGN for v in box[:2])
    right = min(picture.width, -(-box[2] // _CHROMA_ALIGN) * _CHROMA_ALIGN)
    bottom = min(picture.height, -(-box[3] // _CHROMA_ALIGN) * _CHROMA_ALIGN)
    small = av.VideoFrame(right - left, bottom - top, picture.format.name)
    small.color_range, small.colorspace = picture.color_range, matrix_of(picture)
    for i, (source, target) in enumerate(zip(picture.planes, small.planes, strict=True)):
        sample_bytes, step_x, step_y = sampling(picture.format, i)
        lines = rows(source)[top // step_y :, left // step_x * sample_bytes :]
        into = rows(target)[:, : target.width * sample_bytes]
        into[:] = lines[: into.shape[0], : into.shape[1]]
    return small, (box[0] - left, box[1] - top)

"""The memory of decoded pictures as arrays: planes, samples, copies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt
from av.video.plane import VideoPlane
from av.video.reformatter import Colorspace

Rows = npt.NDArray[np.uint8]

# AVColorSpace of RGB, unspecified and reserved.
_NO_MATRIX = (0, 2, 3)
_HD_HEIGHT = 720
_PLANAR = re.compile(r"yuva?4(?:10|11|20|22|40|44)p(?:(\d+)le)?")
_GREY = re.compile(r"gray(?:(\d+)le)?")
# Two planes, the second one holding both chroma samples of a place in a row.
_SEMI = {"nv12": "uv", "nv16": "uv", "nv24": "uv", "nv21": "vu", "nv42": "vu"}
_SEMI_HIGH = re.compile(r"p[024](10|12|16)le")
_WORD = 16


@dataclass(frozen=True)
class SampleLayout:
    """Where the samples of a pixel format lie.

    Attributes:
        depth: bits of a sample.
        shift: unused bits below them.
        places: plane and position among the interleaved samples, for Y, U and V; grey
            formats have Y only.
        counts: interleaved samples of each plane.
    """

    depth: int
    shift: int
    places: tuple[tuple[int, int], ...]
    counts: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8 if self.depth <= 8 else "<u2")


@cache
def sample_layout(format_name: str) -> SampleLayout | None:
    """The layout of a YUV or grey pixel format; None for all others (RGB, packed, big-endian)."""
    name = format_name.replace("yuvj", "yuv")
    planar, grey = _PLANAR.fullmatch(name), _GREY.fullmatch(name)
    if planar or grey:
        depth = int((planar or cast("re.Match[str]", grey))[1] or 8)
        places = ((0, 0), (1, 0), (2, 0)) if planar else ((0, 0),)
        return SampleLayout(depth, 0, places, (1,) * len(places))
    if name in _SEMI:
        order = (0, 1) if _SEMI[name] == "uv" else (1, 0)
        return SampleLayout(8, 0, ((0, 0), (1, order[0]), (1, order[1])), (1, 2))
    if high := _SEMI_HIGH.fullmatch(name):
        depth = int(high[1])
        return SampleLayout(depth, _WORD - depth, ((0, 0), (1, 0), (1, 1)), (1, 2))
    return None


def samples(picture: av.VideoFrame) -> list[npt.NDArray[Any]]:
    """Views [height, width] of the Y, U and V samples; grey pictures have Y only.

    The views are writable where the picture's memory is, and hold its unused low bits.

    Raises:
        ValueError: the pixel format has no `sample_layout`.
    """
    layout = sample_layout(picture.format.name)
    if layout is None:
        raise ValueError(f"pixel format {picture.format.name} is not taken apart here")
    views = []
    for index, place in layout.places:
        plane, count = picture.planes[index], layout.counts[index]
        words = rows(plane).view(layout.dtype)
        views.append(words[:, place : plane.width * count : count])
    return views


def rows(plane: VideoPlane) -> Rows:
    """Bytes of a plane, [height, line size]; rows from top to bottom."""
    line = plane.line_size
    data = np.frombuffer(cast("memoryview[int]", plane), np.uint8)
    lines = data.reshape(plane.height, abs(line))
    return lines[::-1] if line < 0 else lines


def copy_planes(source: av.VideoFrame, target: av.VideoFrame) -> None:
    """Copy all samples between pictures of one pixel format; a smaller target is cropped."""
    for i, (taken, given) in enumerate(zip(source.planes, target.planes, strict=True)):
        sample_bytes, _, _ = sampling(source.format, i)
        size = given.width * sample_bytes
        rows(given)[:, :size] = rows(taken)[: given.height, :size]


def duplicate(picture: av.VideoFrame, format_name: str | None = None) -> av.VideoFrame:
    """Return a writable picture with the same samples, time and colour tags.

    Args:
        format_name: another name for the very same layout, such as yuv420p for yuvj420p.
    """
    name = format_name or picture.format.name
    copy = av.VideoFrame(picture.width, picture.height, name)
    copy_planes(picture, copy)
    copy_tags(picture, copy)
    return copy


def copy_tags(source: av.VideoFrame, target: av.VideoFrame) -> None:
    """Copy time and colour tags."""
    target.pts, target.duration = source.pts, source.duration
    if source.time_base is not None:
        target.time_base = source.time_base
    target.color_range, target.colorspace = source.color_range, source.colorspace
    target.color_primaries, target.color_trc = source.color_primaries, source.color_trc


def sampling(layout: av.VideoFormat, plane: int) -> tuple[int, int, int]:
    """Bytes per sample of a plane, and picture pixels per sample in x and in y."""
    parts = [c for c in layout.components if c.plane == plane]
    sample_bytes = len(parts) * (1 if parts[0].bits <= 8 else 2)
    if not parts[0].is_chroma:
        return sample_bytes, 1, 1
    return sample_bytes, 8 // layout.chroma_width(8), 8 // layout.chroma_height(8)


def matrix_of(picture: av.VideoFrame) -> int:
    """Matrix of the colour conversion; by picture size where the file does not say."""
    if picture.colorspace not in _NO_MATRIX:
        return picture.colorspace
    return Colorspace.ITU709 if picture.height >= _HD_HEIGHT else Colorspace.ITU601

"""Encodes pictures and gives the packets the true times, whatever clock the encoder knows."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import av
import av.error
from av.container import OutputContainer
from av.packet import Packet
from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import PictureType
from av.video.stream import VideoStream

from lipsync_cli.errors import OutputError
from lipsync_cli.media.encoders import EncoderPlan
from lipsync_cli.media.planes import copy_planes

_LAMBDA_PER_Q = 118
# No time can be negative in these: a stream that starts at 0 leaves no room to reorder.
_NO_NEGATIVE_TIMES = ("mpegts", "mpeg", "vob", "flv")
_REORDERED = 4


@dataclass(frozen=True)
class Look:
    """What a stream says about all of its pictures.

    Attributes:
        size: coded width and height in px.
        pixel_aspect: width over height of a coded pixel, None where it is not said.
        display_matrix: nine numbers that turn the picture upright (ISO 14496-12, 8.3.2).
        colour: range, primaries, transfer and matrix, as FFmpeg numbers them.
    """

    size: tuple[int, int]
    pixel_aspect: Fraction | None
    display_matrix: tuple[int, ...] | None
    colour: tuple[int, int, int, int]


def look_of(stream: VideoStream, picture: av.VideoFrame) -> Look:
    """Copy the look of the first picture of a stream."""
    return Look(
        (picture.width, picture.height),
        stream.sample_aspect_ratio or None,
        _display_matrix(picture),
        (picture.color_range, picture.color_primaries, picture.color_trc, picture.colorspace),
    )


class PictureEncoder:
    """One encoded stream of an output.

    The encoder counts pictures, so that it orders them and shares out its bits as at a
    constant rate; its packets get the true times afterwards.

    Args:
        time_base: unit of the times of the pictures.
        room: ticks between zero and the first picture.
    """

    def __init__(self, plan: EncoderPlan, look: Look, time_base: Fraction, room: int) -> None:
        self._plan, self._look, self.time_base = plan, look, time_base
        self._frame_ticks = max(1, round(1 / (plan.rate * time_base)))
        self._room_frames = room // self._frame_ticks
        self._times: dict[int, tuple[int, int]] = {}
        self._first: int | None = None
        self._count = 0
        self.stream: VideoStream | None = None

    def add_to(self, out: OutputContainer, muxer: str, codec_tag: str | None) -> VideoStream:
        """Add the stream to an output whose header is not written yet."""
        plan, look = self._plan, self._look
        stream: Any = out.add_stream(plan.name, rate=plan.rate, options=dict(plan.options))
        stream.time_base = self.time_base
        context = stream.codec_context
        context.width, context.height = look.size
        context.pix_fmt, context.thread_count = plan.pix_fmt, plan.threads
        context.time_base = 1 / plan.rate
        self._set_look(stream)
        if plan.quantiser is not None:
            context.qscale, context.global_quality = True, round(plan.quantiser * _LAMBDA_PER_Q)
        if codec_tag is not None:
            context.codec_tag = codec_tag
        if muxer in _NO_NEGATIVE_TIMES and self._room_frames < _REORDERED:
            context.max_b_frames = 0
        self.stream = cast(VideoStream, stream)
        return self.stream

    def encode(self, picture: av.VideoFrame, pts: int, duration: int) -> Iterator[Packet[Any]]:
        """Encode the next picture; yields packets in the order in which they are stored."""
        self._first = pts if self._first is None else self._first
        self._times[self._count] = pts, duration
        before = picture.pts, picture.time_base
        picture.pts, picture.time_base = self._count, 1 / self._plan.rate
        # The decoder's choice of key frames is none of the encoder's.
        picture.pict_type = PictureType.NONE
        self._count += 1
        yield from self._timed(self._encode(picture))
        picture.pts, picture.time_base = before[0], before[1] or self.time_base

    def flush(self) -> Iterator[Packet[Any]]:
        """Yield what the encoder still holds."""
        yield from self._timed(self._encode(None))

    def _encode(self, picture: av.VideoFrame | None) -> list[Packet[Any]]:
        assert self.stream is not None
        try:
            return self.stream.encode(picture)
        except av.error.FFmpegError as error:
            raise OutputError(
                f"the encoder {self._plan.name} failed: {error.strerror or error}",
                hint="choose another codec",
            ) from error

    def _timed(self, packets: Iterable[Packet[Any]]) -> Iterator[Packet[Any]]:
        for packet in packets:
            number = packet.pts
            assert number is not None
            order = number if packet.dts is None else packet.dts
            packet.time_base = self.time_base
            packet.pts, packet.duration = self._times[number]
            packet.dts = self._decoding_time(order)
            # Later packets ask for nothing before this one's decoding time.
            for old in [each for each in self._times if each < order]:
                del self._times[old]
            yield packet

    def _decoding_time(self, order: int) -> int:
        if order >= 0:
            return self._times[order][0]
        assert self._first is not None
        return self._first + order * self._frame_ticks

    def _set_look(self, stream: Any) -> None:
        context, look = stream.codec_context, self._look
        if look.pixel_aspect:
            context.sample_aspect_ratio = look.pixel_aspect
        context.color_range, context.color_primaries = look.colour[:2]
        context.color_trc, context.colorspace = look.colour[2:]
        if look.display_matrix is not None:
            stream.set_display_matrix(look.display_matrix)


def carry(edited: av.VideoFrame, original: av.VideoFrame) -> av.VideoFrame:
    """Put the samples of an edited picture into the original one, and return that.

    What else came with it, closed captions above all, goes on to the encoder then.

    Raises:
        ValueError: size or pixel format differ.
    """
    same = (edited.width, edited.height, edited.format.name)
    if same != (original.width, original.height, original.format.name):
        raise ValueError("an edit may change neither the size nor the format of a picture")
    original.make_writable()
    copy_planes(edited, original)
    return original


def _display_matrix(picture: av.VideoFrame) -> tuple[int, ...] | None:
    try:
        side_data = cast("Iterable[SideData]", picture.side_data)
    except ValueError:
        # Side data that PyAV does not know; only photographs have it, as EXIF.
        angle = math.radians(-picture.rotation)
        cos, sin = round(math.cos(angle) * 65536), round(math.sin(angle) * 65536)
        return cos, sin, 0, -sin, cos, 0, 0, 0, 1 << 30
    for each in side_data:
        if each.type is SideDataType.DISPLAYMATRIX:
            return struct.unpack_from("=9i", bytes(each))
    return None

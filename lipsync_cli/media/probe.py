"""What a media file holds, copied out so that nothing of the open file survives."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple, cast

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lipsync_cli.errors import MediaNotFound, UnreadableMedia

Kind = Literal["video", "audio", "subtitle", "data", "attachment"]

# Pictures that accompany a programme instead of being it.
_STILLS = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
# Box types that open an MP4 or QuickTime file.
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_FIRST_FRAME_PACKETS = 100
# Whatever a file says: nothing of the network, and no file that it names in its place.
_LOCAL = {"protocol_whitelist": "file"}
_PLAYLISTS = frozenset({"hls", "dash", "concat", "sdp", "imf"})


class Orientation(NamedTuple):
    """How the coded picture becomes upright: transpose, then mirror columns, then rows."""

    transpose: bool = False
    flip_columns: bool = False
    flip_rows: bool = False

    @property
    def rotation(self) -> int:
        """Clockwise degrees a player turns the picture by, without any mirroring."""
        mirrored = self.transpose ^ self.flip_columns ^ self.flip_rows
        columns = self.flip_columns ^ mirrored
        if self.transpose:
            return 90 if columns else 270
        return 180 if columns else 0


@dataclass(frozen=True)
class StreamInfo:
    """One stream of a file.

    Attributes:
        index: position among all streams of the file.
        codec: FFmpeg's name of the coding format.
        start_s, duration_s: on the container's own clock; None where not stored.
        attached_picture: cover art or thumbnails, not a programme.
        width, height: coded size in pixels, before rotation.
        rotation: clockwise degrees to turn the picture upright: 0, 90, 180 or 270.
        frame_rate: average, in Hz.
    """

    index: int
    kind: Kind
    codec: str
    start_s: float | None = None
    duration_s: float | None = None
    language: str | None = None
    title: str | None = None
    default: bool = False
    attached_picture: bool = False
    width: int | None = None
    height: int | None = None
    rotation: int = 0
    frame_rate: Fraction | None = None
    sample_rate: int | None = None
    channels: int | None = None


@dataclass(frozen=True)
class MediaInfo:
    """One file: `container` is FFmpeg's name of the format, e.g. "matroska,webm"."""

    path: Path
    container: str
    duration_s: float | None
    size_bytes: int
    streams: tuple[StreamInfo, ...]

    @property
    def video(self) -> StreamInfo | None:
        """The first video stream that is not cover art."""
        moving = (s for s in self.streams if s.kind == "video" and not s.attached_picture)
        return next(moving, None)

    @property
    def audio(self) -> tuple[StreamInfo, ...]:
        """All audio streams, in the order in which tracks are counted."""
        return tuple(s for s in self.streams if s.kind == "audio")


def probe(path: str | Path) -> MediaInfo:
    """Read the description of a file.

    Decodes the first picture, because the rotation comes with it.

    A file that has not changed since is not read again.

    Raises:
        MediaNotFound: there is no such file.
        UnreadableMedia: a folder, an empty file, or nothing that FFmpeg understands.
    """
    _check_readable(Path(path))
    state = os.stat(path)
    return _probe(Path(path), (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns))


@lru_cache(maxsize=32)
def _probe(path: Path, version: tuple[int, ...]) -> MediaInfo:
    with open_media(path) as container:
        video = main_video(container)
        rotation = 0 if video is None else _first_orientation(container, video).rotation
        return MediaInfo(
            path=path,
            container=container.format.name,
            duration_s=container_duration_s(container),
            size_bytes=os.stat(path).st_size,
            streams=tuple(
                _describe(stream, rotation if stream is video else 0)
                for stream in container.streams
            ),
        )


@contextmanager
def open_media(path: str | Path) -> Iterator[InputContainer]:
    """Open a file for reading and close it on every way out.

    Raises:
        MediaNotFound, UnreadableMedia: as `probe`.
    """
    _check_readable(Path(path))
    try:
        # The protocol keeps FFmpeg from taking "12:30.mp4" for an address.
        container = av.open(
            f"file:{os.fspath(path)}", options=_LOCAL.copy(), metadata_errors="replace"
        )
    except av.error.FFmpegError as error:
        raise _unreadable(Path(path), error) from error
    with container:
        if container.format.name in _PLAYLISTS:
            raise UnreadableMedia(
                "this is a playlist, not a media file",
                path=path,
                hint="name the files that it lists",
            )
        if not len(container.streams):
            raise UnreadableMedia(
                "holds no picture and no sound",
                path=path,
                hint="check that it plays, or copy it again",
            )
        yield container


def main_video(container: InputContainer) -> VideoStream | None:
    """The first video stream that is not cover art; None where there is none."""
    return next((s for s in container.streams.video if not s.disposition & _STILLS), None)


def container_duration_s(container: InputContainer) -> float | None:
    """Duration as the container states it, in seconds."""
    microseconds: int | None = container.duration
    return None if microseconds is None else microseconds / 1e6


def stream_seconds(stream: Stream, ticks: int | None) -> float | None:
    """A time of a stream in seconds; None where it has none."""
    if ticks is None or stream.time_base is None:
        return None
    return ticks * stream.time_base.numerator / stream.time_base.denominator


def orientation_of(frame: VideoFrame) -> Orientation:
    """How a decoded frame has to be turned; the nearest right angle of its display matrix.

    The matrix [a b; c d] takes x' = a x + c y and y' = b x + d y (ISO 14496-12, 8.3.2).
    """
    try:
        side_data = cast("Iterable[SideData]", frame.side_data)
    except ValueError:
        # Side data of a kind that PyAV does not know (EXIF in a photograph) hides all the rest.
        return _turned_by(-frame.rotation % 360)
    matrix = next((s for s in side_data if s.type is SideDataType.DISPLAYMATRIX), None)
    if matrix is None:
        return Orientation()
    a, b, _, c, d = struct.unpack_from("=5i", bytes(matrix))
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(True, flip_columns=c < 0, flip_rows=b < 0)
    return Orientation(False, flip_columns=a < 0, flip_rows=d < 0)


def _turned_by(rotation: int) -> Orientation:
    """The orientation without mirroring for clockwise degrees."""
    return Orientation(
        rotation in (90, 270), flip_columns=rotation in (90, 180), flip_rows=rotation in (180, 270)
    )


def _check_readable(path: Path) -> None:
    if not path.exists():
        raise MediaNotFound("there is no such file", path=path, hint="check the path")
    if path.is_dir():
        raise UnreadableMedia(
            "this is a folder, not a media file", path=path, hint="name the files in it"
        )
    if not path.is_file():
        raise UnreadableMedia(
            "this is not a regular file", path=path, hint="save the stream to a file first"
        )
    if not os.access(path, os.R_OK):
        raise UnreadableMedia("no permission to read it", path=path, hint="change its permissions")
    if path.stat().st_size == 0:
        raise UnreadableMedia("the file is empty", path=path, hint="copy or download it again")


def _unreadable(path: Path, error: av.error.FFmpegError) -> UnreadableMedia:
    with path.open("rb") as file:
        is_mp4 = file.read(8)[4:] in _MP4_BOXES
    if is_mp4 and isinstance(error, av.error.InvalidDataError):
        return UnreadableMedia(
            "cut short or damaged: its index (the moov box) is missing",
            path=path,
            hint="copy or download it again, or let the recorder finish it",
        )
    return UnreadableMedia(
        f"not a media file that can be read: {error.strerror or error}",
        path=path,
        hint="check that it plays, or convert it to MP4 or MKV",
    )


def _first_orientation(container: InputContainer, video: VideoStream) -> Orientation:
    """Turn the first picture asks for; upright where none can be decoded."""
    packets = 0
    try:
        for packet in container.demux(video):
            packets += 1
            for frame in packet.decode():
                return orientation_of(frame)
            if packets >= _FIRST_FRAME_PACKETS:
                break
    except (av.error.FFmpegError, IndexError):
        # The latter where damage looks like a new stream.
        pass
    return Orientation()


def _describe(stream: Stream, rotation: int) -> StreamInfo:
    context = stream.codec_context
    info = StreamInfo(
        index=stream.index,
        kind=stream.type if stream.type != "unknown" else "data",
        codec=context.codec.canonical_name if context is not None else "unknown",
        start_s=stream_seconds(stream, stream.start_time),
        duration_s=stream_seconds(stream, stream.duration),
        language=stream.language,
        title=stream.metadata.get("title"),
        default=bool(stream.disposition & Disposition.default),
    )
    if context is None:
        return info
    if isinstance(stream, AudioStream):
        return replace(info, sample_rate=stream.rate, channels=stream.channels)
    if isinstance(stream, VideoStream):
        return _describe_picture(info, stream, rotation)
    return info


def _describe_picture(info: StreamInfo, stream: VideoStream, rotation: int) -> StreamInfo:
    still = bool(stream.disposition & _STILLS)
    return replace(
        info,
        attached_picture=still,
        width=stream.width,
        height=stream.height,
        rotation=rotation,
        frame_rate=None if still else stream.average_rate or stream.guessed_rate,
    )

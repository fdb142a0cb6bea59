"""Every decoded picture of a programme with its own time, none left out and none changed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream

from lipsync_cli.errors import InputError, MissingStream, UnreadableMedia
from lipsync_cli.media.probe import main_video, open_media
from lipsync_cli.media.reader import Clock

_PLAIN_RATE = Fraction(25)
# Rates outside of this are wrong headers.
_RATES = (Fraction(1, 60), Fraction(1000))
_FIRST_FRAME_PACKETS = 1000


@dataclass(frozen=True, eq=False)
class Shown:
    """A picture and when it is shown.

    Attributes:
        picture: what is shown; its own `time` is that in the source, also where a
            programme is extended by pictures from earlier.
        pts, duration: in ticks of the programme's time base.
        pts_s: presentation time in seconds, on the container's own clock.
        original: the decoded picture before any edit.
        repeated: the same picture is shown more than once.
    """

    picture: av.VideoFrame
    pts: int
    duration: int
    pts_s: float
    original: av.VideoFrame
    repeated: bool = False


class PictureDecoder:
    """Decodes one stream, packet by packet; what is damaged is skipped and counted.

    Attributes:
        damaged: packets that could not be decoded.
        retimed: pictures whose time was not after the one before, and was moved.
    """

    def __init__(
        self,
        stream: VideoStream,
        path: str | Path,
        convert: Callable[[av.VideoFrame], av.VideoFrame] | None = None,
    ) -> None:
        self.time_base = stream.time_base or Fraction(1, 1000)
        self.frame_ticks = max(1, round(1 / (frame_rate(stream) * self.time_base)))
        self.damaged = self.retimed = 0
        self._stream, self._path, self._convert = stream, path, convert
        self._next: int | None = None
        self._last: int | None = None
        self._size: tuple[int, int, str] | None = None
        # The default splits single pictures, which most files do not allow.
        stream.thread_type = "AUTO"

    def decode(self, packet: Packet[Any] | None) -> Iterator[Shown]:
        """Yield what a packet completes; None at the end for what is left."""
        try:
            pictures = self._stream.decode(packet)
        except av.error.FFmpegError:
            self.damaged += 1
            return
        for picture in pictures:
            yield self._shown(picture)

    def _shown(self, picture: av.VideoFrame) -> Shown:
        pts = self._ticks(picture)
        duration = picture.duration or self.frame_ticks
        self._last, self._next = pts, pts + self.frame_ticks
        picture.pts, picture.time_base = pts, self.time_base
        pts_s = pts * self.time_base.numerator / self.time_base.denominator
        self._check_size(picture, pts_s)
        picture = picture if self._convert is None else self._convert(picture)
        return Shown(picture, pts, duration, pts_s, picture)

    def _ticks(self, picture: av.VideoFrame) -> int:
        if self._last is None:
            return first_ticks(picture)
        if picture.pts is not None and picture.pts <= self._last:
            self.retimed += 1
            # The least step: a longer one would push the picture after it, and that the next.
            return self._last + 1
        known = [ticks for ticks in (picture.pts, picture.dts, self._next) if ticks is not None]
        later = [ticks for ticks in known if ticks > self._last]
        self.retimed += later[0] != known[0]
        return later[0]

    def _check_size(self, picture: av.VideoFrame, pts_s: float) -> None:
        size = picture.width, picture.height, picture.format.name
        if self._size is not None and size != self._size:
            before, after = ("{}x{} {}".format(*each) for each in (self._size, size))
            raise InputError(
                f"its picture changes from {before} to {after} at {pts_s:.2f} s",
                path=self._path,
                hint="convert it to one size first",
            )
        self._size = size


def read_pictures(path: str | Path) -> Generator[av.VideoFrame, None, None]:
    """Decode all pictures of a file in presentation order; each has its time.

    Raises:
        MediaNotFound, UnreadableMedia, MissingStream: as in `rewrite`.
    """
    with open_media(path) as container:
        stream = picture_stream(container, path)
        decoder, clock = PictureDecoder(stream, path), Clock(container)
        for packet in container.demux(stream):
            if packet.size:
                clock.correct(packet)
                yield from (shown.picture for shown in decoder.decode(packet))
        yield from (shown.picture for shown in decoder.decode(None))


def picture_stream(container: InputContainer, path: str | Path) -> VideoStream:
    """The stream of pictures of a file.

    Raises:
        MissingStream: there is none but covers.
        UnreadableMedia: there is no decoder for it.
    """
    stream = main_video(container)
    if stream is None:
        raise MissingStream(
            "there is no video stream in it", path=path, hint="give a file with pictures"
        )
    # PyAV leaves it out where FFmpeg has no decoder, whatever its annotation says.
    context: Any = stream.codec_context
    if context is None:
        raise UnreadableMedia(
            "there is no decoder for its pictures", path=path, hint="convert it to H.264 first"
        )
    return stream


def first_picture(
    container: InputContainer, stream: VideoStream, path: str | Path
) -> av.VideoFrame:
    """Decode the first picture of an opened file, which cannot be read from its start then.

    Raises:
        UnreadableMedia: none can be decoded.
    """
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    for number, packet in enumerate(container.demux(stream)):
        try:
            pictures = stream.decode(packet if packet.size else None)
        except av.error.FFmpegError:
            continue
        if pictures:
            return pictures[0]
        if number > _FIRST_FRAME_PACKETS:
            break
    raise UnreadableMedia(
        "none of its pictures could be decoded", path=path, hint="check that it plays"
    )


def first_ticks(picture: av.VideoFrame) -> int:
    """Time of the first picture of a stream, 0 where it has none."""
    known = [ticks for ticks in (picture.pts, picture.dts) if ticks is not None]
    return known[0] if known else 0


def is_still(format_name: str) -> bool:
    """Whether FFmpeg's name of a container is that of a photograph and not of a programme."""
    return format_name == "image2" or format_name.endswith("_pipe")


def frame_rate(stream: VideoStream) -> Fraction:
    """Pictures per second, as far as the file says something credible."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and _RATES[0] <= rate <= _RATES[1]:
            return rate
    return _PLAIN_RATE

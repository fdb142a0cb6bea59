"""Picture and sound of a file, decoded together in one pass over it."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Stream
from av.video.stream import VideoStream

from lipsync_cli.errors import MissingStream, UnreadableMedia
from lipsync_cli.media.audio import SAMPLE_RATE, AudioBlock, AudioReader
from lipsync_cli.media.probe import container_duration_s, main_video, open_media, stream_seconds
from lipsync_cli.media.video import VideoFrame, VideoReader

# A demuxer that fails this often in a row will not find its way back.
_MAX_READ_ERRORS = 1000
# Less of the stated duration than this was decoded: something is missing at the end.
_COMPLETE_PART = 0.95
_COMPLETE_SLACK_S = 1.0
# Formats that are cut together byte by byte, each part with a clock of its own.
_RESTARTING = frozenset({"mpegts", "mpeg"})
# A leap of the decoding time by more than this is a restarted clock, as in ffmpeg's own tool.
_RESTART_S = 10.0
# Picture and sound of one moment lie no further apart in a file than this.
_INTERLEAVING_S = 2.0


@dataclass
class ReadStats:
    """What one pass found; complete when the iteration has ended.

    Attributes:
        duration_s: as the container states it; None where it does not.
        video_duration_s: as the video stream or else the container states it.
        video_frames: decoded pictures, dropped ones included.
        kept_frames: pictures handed out.
        video_start_s, video_end_s: times of the first and last decoded picture.
        audio_samples: samples at 16 kHz handed out.
        audio_start_s, audio_end_s: span of the sound handed out.
        audio_holes_s: seconds of missing sound that were filled with silence.
        corrupt_packets: packets that could not be read or decoded.
    """

    duration_s: float | None = None
    video_duration_s: float | None = None
    video_frames: int = 0
    kept_frames: int = 0
    video_start_s: float | None = None
    video_end_s: float | None = None
    audio_samples: int = 0
    audio_start_s: float | None = None
    audio_end_s: float | None = None
    audio_holes_s: float = 0.0
    corrupt_packets: int = 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know about the state of the file, in words."""
        found = []
        if self.corrupt_packets:
            found.append(f"{self.corrupt_packets} damaged packets were skipped")
        if self._is_short():
            found.append(
                f"the picture ends at {self.video_end_s:.1f} s although"
                f" {self.video_duration_s:.1f} s are announced: the file may be cut short"
            )
        if self.audio_holes_s >= _COMPLETE_SLACK_S:
            found.append(f"{self.audio_holes_s:.1f} s of the sound are missing")
        return tuple(found)

    def _is_short(self) -> bool:
        if self.video_duration_s is None or self.video_end_s is None:
            return False
        span_s = self.video_end_s - (self.video_start_s or 0.0)
        return span_s < _COMPLETE_PART * self.video_duration_s - _COMPLETE_SLACK_S


def read(
    path: str | Path,
    *,
    audio_track: int = 0,
    max_rate: float = 33.0,
    video: bool = True,
    audio: bool = True,
    max_height: int = 1080,
    span_s: tuple[float, float] | None = None,
    stats: ReadStats | None = None,
) -> Generator[VideoFrame | AudioBlock, None, None]:
    """Decode picture and sound in one pass, in the order in which the file holds them.

    Memory does not grow with the duration. The file is opened at the first item and
    closed when the iteration ends or is abandoned (`close()`).

    Args:
        audio_track: number among the audio streams, from 0.
        max_rate: pictures are dropped so that kept ones are never closer than
            1 / max_rate seconds: 60 Hz becomes 30, 50 becomes 25, 30 and 25 stay.
        video, audio: what to read.
        max_height: shorter side of the grey image in px; larger pictures are shrunk.
        span_s: (start, end) in seconds of a part; as much is read from the key frame nearest to
            its start that the format leads to, and nothing before that is decoded.
        stats: filled while reading.

    Raises:
        MediaNotFound, UnreadableMedia: as `probe`; also where nothing can be decoded.
        MissingStream: no picture, no sound or no such audio track.
    """
    stats = ReadStats() if stats is None else stats
    with open_media(path) as container:
        stats.duration_s = container_duration_s(container)
        pictures = _video_stream(container, path) if video else None
        sound = _audio_stream(container, path, audio_track) if audio else None
        _discard_all_but(container, pictures, sound)
        pipe = _Pipe(pictures, sound, max_rate, max_height, stats)
        if span_s is not None:
            _seek(container, span_s[0], path)
            pipe.length_s = span_s[1] - span_s[0]
        try:
            yield from pipe.run(container)
        except av.error.FFmpegError as error:
            raise UnreadableMedia(
                f"decoding failed: {error.strerror or error}", path=path, hint="convert it first"
            ) from error
    if video and span_s is None and not stats.video_frames:
        raise UnreadableMedia(
            "none of its pictures could be decoded", path=path, hint="check that it plays"
        )


def _seek(container: InputContainer, start_s: float, path: str | Path) -> None:
    """Go to the last key frame of the picture at or before a time."""
    stream = main_video(container)
    if stream is None or stream.time_base is None:
        container.seek(round(start_s * 1e6))
        return
    try:
        container.seek(round(start_s / stream.time_base), stream=stream)
    except av.error.FFmpegError as error:
        raise UnreadableMedia(
            "cannot be read from the middle", path=path, hint="read all of it"
        ) from error


def _discard_all_but(container: InputContainer, *wanted: Stream | None) -> None:
    for stream in container.streams:
        if stream not in wanted:
            stream.discard = Discard.all


def _video_stream(container: InputContainer, path: str | Path) -> VideoStream:
    stream = main_video(container)
    if stream is None:
        raise MissingStream(
            "there is no video stream in it", path=path, hint="give a file with picture and sound"
        )
    _check_decoder(stream, path)
    return stream


def _audio_stream(container: InputContainer, path: str | Path, track: int) -> AudioStream:
    tracks = container.streams.audio
    if not tracks:
        raise MissingStream(
            "there is no audio stream in it", path=path, hint="give a file with picture and sound"
        )
    if not 0 <= track < len(tracks):
        raise MissingStream(
            f"there is no audio track {track}",
            path=path,
            hint=f"its tracks are numbered 0 to {len(tracks) - 1}",
        )
    _check_decoder(tracks[track], path)
    return tracks[track]


def _check_decoder(stream: Stream, path: str | Path) -> None:
    # PyAV leaves it out where FFmpeg has no decoder, whatever its annotation says.
    context: Any = stream.codec_context
    if context is None:
        raise UnreadableMedia(
            f"there is no decoder for its {stream.type} stream",
            path=path,
            hint="convert it to H.264 and AAC first",
        )


class _Pipe:
    """Decodes the packets of the chosen streams and keeps the books."""

    def __init__(
        self,
        video: VideoStream | None,
        audio: AudioStream | None,
        max_rate: float,
        max_height: int,
        stats: ReadStats,
    ) -> None:
        self._streams = [s for s in (video, audio) if s is not None]
        self._stats = stats
        self.length_s = math.inf
        self._video = self._audio = None
        if video is not None:
            stats.video_duration_s = stream_seconds(video, video.duration) or stats.duration_s
            # The default splits single pictures, which most files do not allow.
            video.thread_type = "AUTO"
            self._video = VideoReader(video, max_rate=max_rate, max_height=max_height)
        if audio is not None:
            self._audio = AudioReader(audio.time_base or Fraction(1, SAMPLE_RATE))

    def run(self, container: InputContainer) -> Iterator[VideoFrame | AudioBlock]:
        clock = Clock(container)
        for packet in self._packets(container):
            clock.correct(packet)
            over_s = self._over_s(packet)
            if over_s > _INTERLEAVING_S:
                break
            if over_s <= 0:
                yield from self._frames(packet.decode)
        for stream in self._streams:
            yield from self._frames(stream.decode)
        if self._audio is not None:
            yield from self._sound(self._audio.flush())

    def _over_s(self, packet: Packet[Any]) -> float:
        """By how much a packet comes after the end of what is read; unknown times never do."""
        if math.isinf(self.length_s) or packet.dts is None or packet.time_base is None:
            return -math.inf
        first = self._stats.audio_start_s if self._video is None else self._video.first_s
        return (
            -math.inf
            if first is None
            else float(packet.dts * packet.time_base) - first - self.length_s
        )

    def _packets(self, container: InputContainer) -> Iterator[Packet[Any]]:
        """All packets that hold data; reading goes on behind damaged places."""
        errors = 0
        while errors < _MAX_READ_ERRORS:
            try:
                for packet in container.demux(self._streams):
                    errors = 0
                    if packet.size:
                        yield packet
                return
            except av.error.FFmpegError:
                errors += 1
                self._stats.corrupt_packets += 1
            except IndexError:
                # Damage that looks like a new stream; PyAV fails on it at the very end.
                return

    def _frames(self, decode: Callable[[], list[Any]]) -> Iterator[VideoFrame | AudioBlock]:
        try:
            decoded = decode()
        except av.error.FFmpegError:
            self._stats.corrupt_packets += 1
            return
        for frame in decoded:
            if isinstance(frame, av.VideoFrame):
                yield from self._pictures(frame)
            elif self._audio is not None:
                yield from self._sound(self._audio.push(frame))

    def _pictures(self, picture: av.VideoFrame) -> Iterator[VideoFrame]:
        assert self._video is not None
        stats = self._stats
        try:
            frame = self._video.push(picture)
        except av.error.FFmpegError:
            stats.corrupt_packets += 1
            return
        stats.video_frames += 1
        stats.video_start_s, stats.video_end_s = self._video.first_s, self._video.last_s
        if frame is not None:
            stats.kept_frames += 1
            yield frame

    def _sound(self, blocks: Iterator[AudioBlock]) -> Iterator[AudioBlock]:
        assert self._audio is not None
        stats = self._stats
        for block in blocks:
            if stats.audio_start_s is None:
                stats.audio_start_s = block.t0_s
            stats.audio_samples += len(block.samples)
            stats.audio_end_s = block.t0_s + len(block.samples) / SAMPLE_RATE
            stats.audio_holes_s = self._audio.holes_s
            yield block


class Clock:
    """Keeps time where the clock of a file starts anew, as in joined transport streams."""

    def __init__(self, container: InputContainer) -> None:
        self._may_restart = container.format.name in _RESTARTING
        self._shift_s = 0.0
        self._next_s: dict[int, float] = {}

    def correct(self, packet: Packet[Any]) -> None:
        """Move the packet's times by what the restarts so far amount to."""
        if not self._may_restart or packet.dts is None:
            return
        tick_s = float(packet.time_base)
        start_s = packet.dts * tick_s + self._shift_s
        expected_s = self._next_s.get(packet.stream_index, start_s)
        if abs(start_s - expected_s) > _RESTART_S:
            self._shift_s += expected_s - start_s
            start_s = expected_s
        self._next_s[packet.stream_index] = start_s + (packet.duration or 0) * tick_s
        if shift := round(self._shift_s / tick_s):
            packet.dts += shift
            packet.pts = None if packet.pts is None else packet.pts + shift

"""New sound for a programme: copied packet by packet where the container takes it, else encoded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Discard, Disposition

from lipsync_cli.errors import MissingStream, UnreadableMedia
from lipsync_cli.media.probe import open_media
from lipsync_cli.media.sound_encode import SoundEncoder

Method = Literal["copied", "encoded"]

_ISO = ("mp4", "ipod", "3gp", "mov")
# Formats that players of these containers know.
_COPIED: Mapping[str, frozenset[str]] = {
    "mp4": frozenset(("aac", "mp3", "ac3", "eac3", "alac", "opus")),
    "ipod": frozenset(("aac", "alac", "ac3")),
    "mov": frozenset(("aac", "mp3", "ac3", "eac3", "alac")),
    "3gp": frozenset(("aac",)),
    "matroska": frozenset(
        ("aac", "mp3", "mp2", "ac3", "eac3", "opus", "vorbis", "flac", "alac", "dts", "truehd")
    ),
    "webm": frozenset(("opus", "vorbis")),
    "mpegts": frozenset(("aac", "mp3", "mp2", "ac3", "eac3")),
    "mpeg": frozenset(("mp2", "ac3")),
    "vob": frozenset(("mp2", "ac3")),
    "flv": frozenset(("aac",)),
}
_PCM = frozenset(f"pcm_{kind}le" for kind in ("s16", "s24", "s32", "f32"))
_TAKES_PCM = ("mov", "matroska")
_MAX_READ_ERRORS = 1000


@dataclass(frozen=True)
class Soundtrack:
    """The sound that a programme gets.

    Attributes:
        path: any file with sound.
        track: number among its audio tracks, from 0.
        delay_s: by how much its first sample comes after the first picture; > 0 later.
        copy: False to encode it in any case.
    """

    path: str | Path
    track: int = 0
    delay_s: float = 0.0
    copy: bool = True


class SoundWriter:
    """Places the packets of a soundtrack on the clock of the programme.

    Attributes:
        method: how the packets come about, once the stream was added.
        codec: FFmpeg's name of their format.
        stream: the output stream.
    """

    method: Method
    codec: str
    stream: AudioStream

    def __init__(self, sound: Soundtrack, source: InputContainer, start: Fraction) -> None:
        self._sound, self._start = sound, start
        self._source = source
        self._input = _audio_stream(source, sound)
        self._at = start + Fraction(sound.delay_s)
        self._encoder: SoundEncoder | None = None
        self._waiting: deque[Packet[Any]] = deque()
        self._end_s = float("-inf")
        self._packets: Iterator[Packet[Any]] | None = None
        self._muxer = ""
        self._found = False

    def add_to(self, out: OutputContainer, muxer: str) -> AudioStream:
        """Add the stream to an output whose header is not written yet."""
        self._muxer = muxer
        codec = self._input.codec_context.codec.canonical_name
        if self._sound.copy and _is_copied(codec, muxer):
            self.method, self.codec, self._encoder = "copied", codec, None
            stream: Any = out.add_stream_from_template(self._input, opaque=True)
        else:
            self._encoder = SoundEncoder(self._input, muxer)
            self.method, self.codec = "encoded", self._encoder.codec
            stream = self._encoder.add_to(out)
        if self._input.language:
            stream.metadata["language"] = self._input.language
        stream.disposition = Disposition.default | Disposition.dub
        self.stream = stream
        return self.stream

    def until(self, end_s: float) -> Iterator[Packet[Any]]:
        """Yield the packets that start before `end_s`."""
        while self._read_on() and _span_s(self._waiting[0])[0] < end_s:
            packet = self._waiting.popleft()
            packet.stream = self.stream
            yield packet

    def covers(self, time_s: float) -> bool:
        """Whether there is sound after a time."""
        while self._end_s <= time_s:
            if not self._read_on(more=True):
                return False
        return True

    def _read_on(self, *, more: bool = False) -> bool:
        """Let a packet wait, or one more of them; False at the end."""
        if self._waiting and not more:
            return True
        if self._packets is None:
            self._packets = self._kept()
        packet = next(self._packets, None)
        if packet is None:
            return False
        self._waiting.append(packet)
        self._end_s = max(self._end_s, _span_s(packet)[1])
        return True

    def _kept(self) -> Iterator[Packet[Any]]:
        """Packets on the programme's clock, without those that nobody would hear."""
        placed = self._copied() if self._encoder is None else self._encoded()
        for packet in placed:
            start_s, end_s = _span_s(packet)
            self._found = True
            if self._is_audible(packet, start_s, end_s):
                yield packet
        if not self._found:
            raise MissingStream("its audio track holds no sound", path=self._sound.path)

    def _is_audible(self, packet: Packet[Any], start_s: float, end_s: float) -> bool:
        first_s = float(max(self._at, self._start))
        if self._muxer in _ISO:
            # An edit list hides what a decoder needs before its first sample.
            return 2 * end_s - start_s > first_s
        floor_s = -1.0 if self._encoder and self._muxer in ("matroska", "webm") else self._floor_s
        return end_s > first_s and start_s >= floor_s

    @property
    def _floor_s(self) -> float:
        """Earliest time that the container can hold without moving everything else."""
        if self._muxer not in ("matroska", "webm"):
            return 0.0
        delay = getattr(self._input.codec_context, "delay", 0)
        return -(delay + 1) / self._input.rate

    def _copied(self) -> Iterator[Packet[Any]]:
        shift: int | None = None
        for packet in self._demuxed():
            if packet.pts is None:
                continue
            if shift is None:
                first = self._input.start_time
                zero = packet.pts if first is None else first
                shift = round(self._at / packet.time_base) - zero
            packet.pts += shift
            packet.dts = packet.pts
            yield packet

    def _encoded(self) -> Iterator[Packet[Any]]:
        assert self._encoder is not None
        begin, cut = round(self._at * self._encoder.rate), round(self._start * self._encoder.rate)
        yield from self._encoder.run(self._demuxed(), begin, cut)

    def _demuxed(self) -> Iterator[Packet[Any]]:
        """Packets of the track; reading goes on behind damaged places."""
        errors = 0
        while errors < _MAX_READ_ERRORS:
            try:
                for packet in self._source.demux(self._input):
                    errors = 0
                    if packet.size:
                        yield packet
                return
            except av.error.FFmpegError:
                errors += 1


@contextmanager
def open_sound(sound: Soundtrack, start: Fraction) -> Iterator[SoundWriter]:
    """Open a soundtrack that belongs to pictures from `start` on, in seconds.

    Raises:
        MediaNotFound, UnreadableMedia: it cannot be read.
        MissingStream: it has no sound, or no such track.
    """
    with open_media(sound.path) as container:
        yield SoundWriter(sound, container, start)


def _audio_stream(container: InputContainer, sound: Soundtrack) -> AudioStream:
    tracks = container.streams.audio
    if not 0 <= sound.track < len(tracks):
        numbered = f"its tracks are numbered 0 to {len(tracks) - 1}"
        raise MissingStream(
            f"there is no audio track {sound.track}" if tracks else "there is no sound in it",
            path=sound.path,
            hint=numbered if tracks else "give a file with speech",
        )
    stream = tracks[sound.track]
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    # PyAV leaves it out where FFmpeg has no decoder, whatever its annotation says.
    context: Any = stream.codec_context
    if context is None or not stream.rate:
        raise UnreadableMedia(
            "there is no decoder for its sound", path=sound.path, hint="convert it to WAV first"
        )
    return stream


def _is_copied(codec: str, muxer: str) -> bool:
    if codec in _PCM:
        return muxer in _TAKES_PCM
    return codec in _COPIED.get(muxer, frozenset())


def _span_s(packet: Packet[Any]) -> tuple[float, float]:
    tick_s = float(packet.time_base)
    start = packet.pts or 0
    return start * tick_s, (start + max(packet.duration or 0, 1)) * tick_s

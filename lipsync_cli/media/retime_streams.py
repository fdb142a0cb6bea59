"""What happens to the packets of one stream: copied, or decoded, moved and coded anew."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av.error
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Stream

from lipsync_cli.media.offset_curve import OffsetCurve
from lipsync_cli.media.remux_check import Tally, new_tally
from lipsync_cli.media.resample import Retimer
from lipsync_cli.media.retime_check import Fingerprints
from lipsync_cli.media.retime_output import encoder_of
from lipsync_cli.media.samples import Coding, Samples, TrackReader, TrackWriter

# Finer than any container's clock, so that a stretched time is rounded only once.
_FINE_S = Fraction(1, 90000)


class CopiedStream:
    """Passes packets on; their times are multiplied by `speed` and moved.

    Attributes:
        given: what was passed on, with its new times.
    """

    def __init__(
        self,
        stream: Stream,
        target: Stream,
        speed: Fraction = Fraction(1),
        move_s: Fraction = Fraction(0),
    ) -> None:
        self._target, self._speed = target, speed
        base = stream.time_base or Fraction(1)
        self._as_it_was = speed == 1 and not move_s
        self._parts = 1 if self._as_it_was else max(1, math.ceil(base / _FINE_S))
        self._base = base / self._parts
        self._move = round(move_s / self._base)
        self.given: Tally = new_tally(stream)
        self.given.tick_s = float(self._base)

    @property
    def end_s(self) -> float:
        """Latest end of a packet."""
        return self.given.end_ms / 1000 if self.given.pts else 0.0

    def push(self, packet: Packet[Any]) -> Iterator[Packet[Any]]:
        """Take a packet of the source; yields what is written for it."""
        if not self._as_it_was:
            self._retime(packet)
        self.given.add(packet)
        packet.stream = self._target
        yield packet

    def close(self) -> Iterator[Packet[Any]]:
        """Nothing is held back."""
        yield from ()

    def _retime(self, packet: Packet[Any]) -> None:
        pts, dts, duration = packet.pts, packet.dts, packet.duration or 0
        if pts is not None:
            packet.pts = self._moved(pts)
        if dts is not None:
            packet.dts = self._moved(dts)
        packet.duration = round(duration * self._parts * self._speed)
        packet.time_base = self._base

    def _moved(self, ticks: int) -> int:
        return round(ticks * self._parts * self._speed) + self._move


@dataclass(frozen=True)
class Frame:
    """What the sound has to fit into.

    Attributes:
        begin_s: when the file begins; the sound never begins later.
        exact: the sound begins exactly there, because the container has no way to say else.
        fill: the sound must last as long as the picture, or the picture is cut short.
        priming: samples that the container cannot tell a decoder to leave out.
    """

    begin_s: float
    exact: bool
    fill: bool
    priming: int


class MovedTrack:
    """Decodes a track, moves its sound along a curve and codes it anew.

    Attributes:
        number: among the audio tracks of the source, from 0.
        given: what was written.
        damaged: packets that could not be decoded; they became silence.
        prints: what the written file is searched for.
    """

    def __init__(
        self,
        stream: AudioStream,
        target: Stream,
        coding: Coding,
        curve: OffsetCurve,
        frame: Frame,
        prints: Fingerprints,
        path: Path,
    ) -> None:
        self.number = list(stream.container.streams.audio).index(stream)
        self.given = new_tally(target)
        self._stream, self._target = stream, target
        self._context = encoder_of(target, coding)
        self._coding, self._curve, self._frame = coding, curve, frame
        self._reader = TrackReader(path)
        self._retimer: Retimer | None = None
        self._writer: TrackWriter | None = None
        self.prints, self.damaged = prints, 0

    @property
    def began(self) -> bool:
        """Whether there was any sound."""
        return self._retimer is not None

    def push(self, packet: Packet[Any]) -> Iterator[Packet[Any]]:
        """Take a packet of the source; yields what is written."""
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            self.damaged += 1
            return
        yield from self._frames(frames)

    def close(self, picture_end_s: float) -> Iterator[Packet[Any]]:
        """Put out the rest; the sound lasts as long as before, or as the picture."""
        yield from self._frames(self._stream.decode())
        if self._retimer is None or self._writer is None:
            return
        self._retimer.finish()
        stop = self._last_sample(self._retimer.length, picture_end_s)
        while self._retimer.next < stop:
            count = min(self._writer.block, stop - self._retimer.next)
            yield from self._written(self._retimer, self._writer, count)
        yield from self._given(self._writer.close())

    def _frames(self, frames: Any) -> Iterator[Packet[Any]]:
        for frame in frames:
            for samples in self._reader.push(frame):
                retimer, writer = self._begun(samples)
                retimer.push(samples)
                # Sound that is delayed waits for its pictures, and for the end of the file.
                while retimer.ready(writer.block) and retimer.next + writer.block <= retimer.length:
                    yield from self._written(retimer, writer, writer.block)

    def _begun(self, samples: Samples) -> tuple[Retimer, TrackWriter]:
        """Set up at the first sound, whose time decides where the new sound begins."""
        if self._retimer is None or self._writer is None:
            start_s, rate = self._reader.start_s or 0.0, self._coding.rate
            first = round((self._frame.begin_s - start_s) * rate)
            first = (first if self._frame.exact else min(0, first)) + self._frame.priming
            self._retimer = Retimer(self._curve, rate, len(samples), start_s, first)
            self._writer = TrackWriter(self._context, self._coding, round(start_s * rate) + first)
        return self._retimer, self._writer

    def _written(self, retimer: Retimer, writer: TrackWriter, count: int) -> Iterator[Packet[Any]]:
        time_s = (self._reader.start_s or 0.0) + retimer.next / self._coding.rate
        samples = retimer.take(count)
        self.prints.add(samples, time_s)
        yield from self._given(writer.write(samples))

    def _given(self, packets: list[Packet[Any]]) -> Iterator[Packet[Any]]:
        for packet in packets:
            packet.stream = self._target
            if packet.size:
                self.given.tick_s = float(packet.time_base)
                self.given.add(packet)
            yield packet

    def _last_sample(self, length: int, picture_end_s: float) -> int:
        start_s, rate = self._reader.start_s or 0.0, self._coding.rate
        picture = round((picture_end_s - start_s) * rate)
        if self._frame.fill:
            return picture
        moved_s = self._curve.picture_s(start_s + length / rate)
        return max(round((moved_s - start_s) * rate), min(length, picture))

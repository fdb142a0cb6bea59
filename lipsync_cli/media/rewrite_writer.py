"""Muxes new pictures and sound among the copied streams of a programme."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from lipsync_cli.errors import OutputError
from lipsync_cli.media.encode import PictureEncoder, carry
from lipsync_cli.media.pictures import Shown, picture_stream
from lipsync_cli.media.provenance import Provenance
from lipsync_cli.media.remux_check import Tally, new_tally
from lipsync_cli.media.remux_streams import (
    Attempt,
    Output,
    Source,
    Substitute,
    add_copy,
    describe_source,
    stream_tags,
)
from lipsync_cli.media.rewrite_plan import Plan
from lipsync_cli.media.soundtrack import SoundWriter

_ORIGINAL = "original"
# Notes of a muxer on a coded stream, which the new one does not fulfil.
_STATISTICS = ("BPS", "NUMBER_OF_", "_STATISTICS", "DURATION")


@dataclass(frozen=True)
class RewriteResult:
    """What was written.

    Attributes:
        output: the file.
        frames, changed: pictures, and how many of them were edited.
        start_s, end_s: when the first picture comes and the last one ends.
        encoder, pix_fmt: how the pictures were encoded.
        sound: what became of the sound: "copied", "encoded" or None where it stayed.
        sound_codec: format of the new sound.
        dropped: in words, streams that the container cannot hold.
        warnings: in words, what else a user should know.
        lifted_ms: by how much the container had to move everything.
        shift_s: by how much a part of the programme was moved to the front.
    """

    output: Path
    frames: int
    changed: int
    start_s: float
    end_s: float
    encoder: str
    pix_fmt: str
    sound: str | None
    sound_codec: str | None
    dropped: tuple[str, ...]
    warnings: tuple[str, ...]
    lifted_ms: float = 0.0
    shift_s: float = 0.0


class Streams:
    """The streams of the output that are no copies: pictures and sound."""

    def __init__(
        self, plan: Plan, source: InputContainer, sound: SoundWriter | None, keep_original: bool
    ) -> None:
        self.source, self.sound, self._plan = source, sound, plan
        self.video = picture_stream(source, plan.path)
        self.encoder = PictureEncoder(plan.encoder, plan.look, plan.time_base, plan.first_pts)
        self._keep_original = keep_original
        self._original = next(iter(source.streams.audio), None) if sound else None

    def describe(self, provenance: Provenance | None) -> Source:
        """Describe the source with these streams in the places of those they replace."""
        family = self._plan.container.family
        described = describe_source(self.source, family, self._plan.path)
        substitutes: dict[int, Substitute] = {self.video.index: self._add_pictures}
        if self._original is not None:
            substitutes[self._original.index] = self._add_sound
        known = described.container.metadata
        tags = {} if provenance is None else provenance.tags(family, known)
        chapters = self._plan.span.chapters(described.chapters)
        return replace(described, substitutes=substitutes, tags=tags, chapters=chapters)

    def _add_pictures(
        self, stream: Stream, output: Output, source: Source, attempt: Attempt
    ) -> None:
        tag = self._plan.codec_tag if attempt.keep_tags else None
        added = self.encoder.add_to(output.container, attempt.muxer, tag)
        tags = stream_tags(stream, source).items()
        added.metadata.update({k: v for k, v in tags if not k.startswith(_STATISTICS)})
        added.disposition = stream.disposition
        if self.sound is not None and self._original is None:
            self.sound.add_to(output.container, attempt.muxer)

    def _add_sound(self, stream: Stream, output: Output, source: Source, attempt: Attempt) -> None:
        assert self.sound is not None
        self.sound.add_to(output.container, attempt.muxer)
        if self._keep_original:
            copy = add_copy(stream, output.container, source, attempt)
            copy.metadata["title"] = _ORIGINAL
            copy.disposition = stream.disposition & ~Disposition.default | Disposition.original
            output.streams[stream.index] = copy


class Writer:
    """Muxes what comes in, on the clock of the output, and keeps the books."""

    def __init__(
        self, plan: Plan, streams: Streams, out: Output, tallies: dict[int, Tally]
    ) -> None:
        self._plan, self._streams, self._out = plan, streams, out
        self._tallies = tallies
        self._frames = self._changed = 0
        self._end_ticks = plan.first_pts
        source = streams.source
        for index, stream in out.streams.items():
            tallies[stream.index] = new_tally(source.streams[index])
        assert streams.encoder.stream is not None
        self._video = streams.encoder.stream.index
        tallies[self._video] = Tally("video", float(plan.time_base))
        if streams.sound is not None:
            tallies[streams.sound.stream.index] = Tally("audio", 0.0)

    def copy(self, packet: Packet[Stream]) -> None:
        """Take a packet of any other stream over as it is."""
        target = self._out.streams.get(packet.stream_index)
        if target is None or not self._plan.span.holds(packet):
            return
        shift = round(self._plan.shift / packet.time_base)
        if shift:
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift
        self._tallies[target.index].add(packet)
        packet.stream = target
        self._out.container.mux_one(packet)

    def write(self, shown: Shown) -> None:
        """Encode a picture; the sound follows up to its end."""
        picture = shown.picture
        if picture is not shown.original:
            self._changed += 1
            picture = picture if shown.repeated else carry(picture, shown.original)
        if self._plan.scaling is not None:
            picture = self._plan.scaling(picture)
        pts = shown.pts - round(self._plan.shift / self._plan.time_base)
        self._frames += 1
        self._end_ticks = pts + shown.duration
        self._mux(self._streams.encoder.encode(picture, pts, shown.duration))
        self._mux_sound()

    def finish(self) -> None:
        """Write what encoders and interleaving still hold back."""
        if not self._frames:
            raise OutputError("no picture lies in this part of the programme", path=self._plan.path)
        self._mux(self._streams.encoder.flush())
        self._mux_sound()

    def result(self, warnings: tuple[str, ...]) -> RewriteResult:
        """Describe what was written."""
        plan, sound = self._plan, self._streams.sound
        return RewriteResult(
            plan.target,
            self._frames,
            self._changed,
            plan.seconds(plan.first_pts),
            plan.seconds(self._end_ticks),
            plan.encoder.name,
            plan.encoder.pix_fmt,
            None if sound is None else sound.method,
            None if sound is None else sound.codec,
            tuple(self._out.dropped),
            (*plan.warnings, *warnings),
            shift_s=float(plan.shift),
        )

    def _mux(self, packets: Iterable[Packet[Any]]) -> None:
        for packet in packets:
            self._tallies[self._video].add(packet)
            self._out.container.mux_one(packet)

    def _mux_sound(self) -> None:
        sound = self._streams.sound
        if sound is None:
            return
        for packet in sound.until(self._plan.seconds(self._end_ticks)):
            tally = self._tallies[sound.stream.index]
            tally.tick_s = float(packet.time_base)
            tally.add(packet)
            self._out.container.mux_one(packet)

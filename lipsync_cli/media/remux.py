"""Shift the audio of a file against its picture without touching one coded byte."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

from lipsync_cli.errors import MissingStream
from lipsync_cli.media.copying import (
    WRITING,
    audio_streams,
    naming_writing_errors,
    read_packets,
)
from lipsync_cli.media.probe import open_media
from lipsync_cli.media.remux_check import Checked, Tally, check, new_tally
from lipsync_cli.media.remux_containers import Container, choose_container, subdivision
from lipsync_cli.media.remux_streams import (
    Output,
    describe_source,
    ffmpeg_reasons,
    open_output,
    try_output,
)
from lipsync_cli.progress import Progress, part_of


@dataclass(frozen=True)
class ShiftPlan:
    """How a shift would be stored.

    Attributes:
        container: what is written, and how.
        muxer: FFmpeg's name of the muxer that takes the streams.
        grid_ms: step in which the container stores the times of audio.
        lift_s: by how much everything else moves, where times cannot be negative.
        shifted: source indices of the audio streams that move.
        dropped: in words, the streams that the container cannot hold.
    """

    container: Container
    muxer: str
    grid_ms: float
    lift_s: Fraction
    shifted: tuple[int, ...]
    dropped: tuple[str, ...]


def plan_shift(
    path: str | Path,
    target: str | Path,
    offset_ms: float,
    *,
    audio_tracks: Sequence[int] | None = None,
) -> ShiftPlan:
    """Find out how a shift would be stored in `target`, by writing its header to memory.

    Args:
        offset_ms: > 0 delays the audio.
        audio_tracks: which audio streams move, counted from 0; None for all.

    Raises:
        MediaNotFound, UnreadableMedia: the source cannot be read.
        MissingStream: there is no picture, no sound, or no such audio track.
        OutputError: the container cannot store the shift or hold the streams.
    """
    path, target = Path(path), Path(target)
    with open_media(path) as source:
        return _plan(source, path, target, offset_ms, audio_tracks)


def shift_audio(
    path: str | Path,
    target: str | Path,
    offset_ms: float,
    *,
    audio_tracks: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> tuple[ShiftPlan, Checked]:
    """Copy `path` to `target` with its audio delayed by `offset_ms`, and check the result.

    Every stream is copied packet by packet; only the times of audio packets change, by
    the offset rounded to the stream's own time base. The result is read back whole.

    Args:
        offset_ms, audio_tracks: as in `plan_shift`.
        progress: called with the share of the work that is done, 0 to 1.

    Raises:
        OutputError: also when the written file does not hold what was asked for.
        As `plan_shift` otherwise.
    """
    path, target = Path(path), Path(target)
    with open_media(path) as source:
        plan = _plan(source, path, target, offset_ms, audio_tracks)
        offset_s = Fraction(offset_ms) / 1000
        described = describe_source(source, plan.container.family, path)
        with (
            ffmpeg_reasons() as log,
            naming_writing_errors(target),
            open_output(described, target, plan.container, plan.lift_s) as out,
        ):
            packets = read_packets(source, path, log, part_of(progress, 0.0, WRITING))
            written = _copy(source, packets, out, plan, offset_s)
            _expect_packets(written, plan.shifted, path)
    checked = check(
        written, plan.shifted, target, offset_ms, plan.grid_ms, part_of(progress, WRITING, 1.0)
    )
    return plan, checked


def _plan(
    source: InputContainer,
    path: Path,
    target: Path,
    offset_ms: float,
    audio_tracks: Sequence[int] | None,
) -> ShiftPlan:
    shifted = tuple(stream.index for stream in audio_streams(source, path, audio_tracks))
    container = choose_container(source, path, target)
    described = describe_source(source, container.family, path)
    with ffmpeg_reasons():
        muxer, dropped = try_output(described, container, target)
    lift_s = Fraction(0)
    if container.family != "iso":
        lift_s = _lift_s(source, shifted, Fraction(offset_ms) / 1000)
    grid_ms = float(container.tick_s * 1000)
    return ShiftPlan(container, muxer, grid_ms, lift_s, shifted, tuple(dropped))


def _lift_s(source: InputContainer, shifted: Sequence[int], offset_s: Fraction) -> Fraction:
    """By how much all streams must move so that none starts earlier than the file did.

    The muxer would do the same by itself, but then chapters would stay behind. Whole
    milliseconds fit the clocks of all containers.
    """
    starts = {
        stream.index: stream.start_time * stream.time_base
        for stream in source.streams
        if stream.start_time is not None and stream.time_base
    }
    moved = [start + offset_s * (index in shifted) for index, start in starts.items()]
    missing = min([Fraction(0), *starts.values()]) - min(moved, default=Fraction(0))
    return Fraction(max(0, math.ceil(missing * 1000)), 1000)


class _Shift:
    """How the times of one stream change."""

    def __init__(self, stream: Stream, plan: ShiftPlan, offset_s: Fraction) -> None:
        base = stream.time_base or Fraction(1)
        self._parts = subdivision(base)
        self._base = base / self._parts
        move_s = plan.lift_s + offset_s * (stream.index in plan.shifted)
        self._ticks = round(move_s / self._base)

    def apply(self, packet: Packet[Stream]) -> None:
        pts, dts = packet.pts, packet.dts
        if pts is not None:
            packet.pts = pts * self._parts + self._ticks
        if dts is not None:
            packet.dts = dts * self._parts + self._ticks
        if self._parts > 1:
            packet.duration = (packet.duration or 0) * self._parts
            packet.time_base = self._base


def _copy(
    source: InputContainer,
    packets: Iterator[Packet[Any]],
    out: Output,
    plan: ShiftPlan,
    offset_s: Fraction,
) -> dict[int, Tally]:
    """Move every packet across; returns what went in, with its old times."""
    streams = [source.streams[index] for index in out.streams]
    tallies = {stream.index: new_tally(stream) for stream in streams}
    shifts = {stream.index: _Shift(stream, plan, offset_s) for stream in streams}
    for packet in packets:
        index = packet.stream_index
        if index in out.streams:
            tallies[index].add(packet)
            shifts[index].apply(packet)
            packet.stream = out.streams[index]
            out.container.mux_one(packet)
    return tallies


def _expect_packets(written: Mapping[int, Tally], shifted: Sequence[int], path: Path) -> None:
    if not any(written[index].pts for index in shifted):
        raise MissingStream("its audio track holds no sound", path=path)
    if not any(tally.pts for tally in written.values() if tally.kind == "video"):
        raise MissingStream("its video track holds no picture", path=path)

"""Shift the audio of a file against its picture without touching one coded byte."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av.error
from av.container import Flags, InputContainer
from av.packet import Packet
from av.stream import Stream

from lipsync_cli.errors import MissingStream, OutputError, UnreadableMedia
from lipsync_cli.media.output import NO_SPACE
from lipsync_cli.media.probe import main_video, open_media
from lipsync_cli.media.remux_check import ByteProgress, Checked, Tally, check, new_tally
from lipsync_cli.media.remux_containers import Container, choose_container, subdivision
from lipsync_cli.media.remux_streams import (
    Output,
    describe_source,
    ffmpeg_reasons,
    open_output,
    try_output,
)

Progress = Callable[[float], None]

# Share of the work that is writing; the rest is reading the result again.
_WRITING = 0.7
_LOG_LINES = 20


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
            _naming_writing_errors(target),
            open_output(described, target, plan.container, plan.lift_s) as out,
        ):
            reader = _Reader(source, path, _share(progress, 0.0, _WRITING), log)
            written = _copy(reader, out, plan, offset_s)
            _expect_packets(written, plan.shifted, path)
    checked = check(
        written, plan.shifted, target, offset_ms, plan.grid_ms, _share(progress, _WRITING, 1.0)
    )
    return plan, checked


def _plan(
    source: InputContainer,
    path: Path,
    target: Path,
    offset_ms: float,
    audio_tracks: Sequence[int] | None,
) -> ShiftPlan:
    shifted = _audio_indices(source, path, audio_tracks)
    container = choose_container(source, path, target)
    described = describe_source(source, container.family, path)
    with ffmpeg_reasons():
        muxer, dropped = try_output(described, container, target)
    lift_s = Fraction(0)
    if container.family != "iso":
        lift_s = _lift_s(source, shifted, Fraction(offset_ms) / 1000)
    grid_ms = float(container.tick_s * 1000)
    return ShiftPlan(container, muxer, grid_ms, lift_s, shifted, tuple(dropped))


def _audio_indices(
    source: InputContainer, path: Path, tracks: Sequence[int] | None
) -> tuple[int, ...]:
    if main_video(source) is None:
        raise MissingStream("has no picture to be in sync with", path=path)
    audio = source.streams.audio
    if not audio:
        raise MissingStream("has no audio track that could be shifted", path=path)
    wrong = [track for track in tracks or () if not 0 <= track < len(audio)]
    if wrong:
        raise MissingStream(
            f"has no audio track {wrong[0]}", path=path, hint=f"it has 0 to {len(audio) - 1}"
        )
    return tuple(audio[k].index for k in (range(len(audio)) if tracks is None else tracks))


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


class _Reader:
    """Packets of the source, with progress by bytes."""

    def __init__(
        self,
        source: InputContainer,
        path: Path,
        progress: Progress | None,
        log: list[tuple[int, str, str]],
    ) -> None:
        if source.format.name == "avi":
            # AVI stores the coding order only: let the times of B-frames be worked out.
            source.flags |= cast(int, Flags.gen_pts.value)
        self.source = source
        self._path, self._progress, self._log = path, progress, log

    def __iter__(self) -> Iterator[Packet[Stream]]:
        bar, position = ByteProgress(self.source.size, self._progress), 0
        try:
            for packet in self.source.demux():
                # The flush packets at the end are empty; a missing dts is no reason to skip.
                if packet.size:
                    position = packet.pos or position
                    yield packet
                    bar.reached(position)
                    if len(self._log) > _LOG_LINES:
                        self._log.clear()
        except av.error.FFmpegError as error:
            raise UnreadableMedia(
                f"damaged near byte {position}: {error.strerror}",
                path=self._path,
                hint="copy or download it again",
            ) from error


def _copy(reader: _Reader, out: Output, plan: ShiftPlan, offset_s: Fraction) -> dict[int, Tally]:
    """Move every packet across; returns what went in, with its old times."""
    streams = [reader.source.streams[index] for index in out.streams]
    tallies = {stream.index: new_tally(stream) for stream in streams}
    shifts = {stream.index: _Shift(stream, plan, offset_s) for stream in streams}
    for packet in reader:
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


@contextmanager
def _naming_writing_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except av.error.FFmpegError as error:
        if error.errno in NO_SPACE:
            raise
        raise OutputError(
            f"could not be written: {' '.join(str(error).split())}",
            path=target,
            hint="write another container, such as .mkv",
        ) from error


def _share(progress: Progress | None, start: float, stop: float) -> Progress | None:
    if progress is None:
        return None
    return lambda done: progress(start + (stop - start) * done)

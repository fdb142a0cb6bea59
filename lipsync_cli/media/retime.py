"""Write a file anew with its sound moved along a curve; everything else is copied as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from lipsync_cli.errors import MissingStream
from lipsync_cli.media.copying import (
    WRITING,
    audio_streams,
    naming_writing_errors,
    read_packets,
)
from lipsync_cli.media.offset_curve import OffsetCurve
from lipsync_cli.media.probe import container_duration_s, main_video, open_media, stream_seconds
from lipsync_cli.media.remux_containers import Container
from lipsync_cli.media.remux_streams import Output, ffmpeg_reasons
from lipsync_cli.media.retime_check import (
    Copies,
    Fingerprints,
    check_copies,
    find,
    not_as_asked,
)
from lipsync_cli.media.retime_output import (
    choose_output,
    recoded_output,
    signals_priming,
    stores_times,
    try_recoded,
)
from lipsync_cli.media.retime_streams import CopiedStream, Frame, MovedTrack
from lipsync_cli.media.samples import Coding, choose_coding, priming
from lipsync_cli.progress import Progress, part_of

Handlers = dict[int, "CopiedStream | MovedTrack"]

# What coding may do to the time of a sound.
_CODED_MS = 1.0
_PRINTS = 60


@dataclass(frozen=True)
class RetimePlan:
    """How sound would be moved.

    Attributes:
        container: what is written, and how.
        muxer: FFmpeg's name of the muxer that takes the streams.
        grid_ms: step to which the sound can be placed.
        codings: how each track is coded again, by source index.
        dropped: in words, the streams that the container cannot hold.
        untimed: the container lets all its streams begin together.
    """

    container: Container
    muxer: str
    grid_ms: float
    codings: Mapping[int, Coding]
    dropped: tuple[str, ...]
    untimed: bool


@dataclass(frozen=True)
class Retimed:
    """What was found in the written file.

    Attributes:
        late_ms: by how much the moved sound is later than it should be; None where all of it
            is too quiet to be recognised.
        copies: about the packets of all streams.
        damaged: packets of sound that could not be decoded and became silence.
    """

    late_ms: float | None
    copies: Copies
    damaged: int


def can_store_times(path: str | Path, target: str | Path) -> bool:
    """Whether the container of `target` stores when its sound begins."""
    with open_media(path) as source:
        return stores_times(source, Path(path), Path(target))


def plan_retime(
    path: str | Path, target: str | Path, *, audio_tracks: Sequence[int] | None = None
) -> RetimePlan:
    """Find out how sound would be written again, by writing the header to memory.

    Args:
        audio_tracks: which audio streams are moved, counted from 0; None for all.

    Raises:
        MediaNotFound, UnreadableMedia, MissingStream: as `remux.plan_shift`.
        OutputError: the sound cannot be coded, or the container cannot hold the streams.
    """
    path, target = Path(path), Path(target)
    with open_media(path) as source:
        return _plan(source, path, target, audio_tracks)


def retime_audio(
    path: str | Path,
    target: str | Path,
    curve: OffsetCurve,
    *,
    audio_tracks: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> tuple[RetimePlan, Retimed]:
    """Copy `path` to `target` with the samples of its sound moved by the offsets of `curve`.

    The chosen tracks are decoded and coded again, PCM by whole samples and so without loss;
    the packets of all other streams are copied. The result is read back whole.

    Raises:
        OutputError: also when the written file does not hold what was asked for.
        As `plan_retime` otherwise.
    """
    path, target = Path(path), Path(target)
    with open_media(path) as source:
        plan = _plan(source, path, target, audio_tracks)
        with (
            ffmpeg_reasons() as log,
            naming_writing_errors(target),
            recoded_output(source, path, target, plan.container, plan.codings) as out,
        ):
            handlers = _handlers(source, path, out, plan, curve)
            pump(read_packets(source, path, log, part_of(progress, 0.0, WRITING)), handlers, out)
            _finish(source, handlers, out, path)
    return plan, _check(handlers, plan, target, part_of(progress, WRITING, 1.0))


def _plan(
    source: InputContainer, path: Path, target: Path, audio_tracks: Sequence[int] | None
) -> RetimePlan:
    container = choose_output(source, path, target)
    tracks = audio_streams(source, path, audio_tracks)
    codings = {stream.index: choose_coding(stream, path) for stream in tracks}
    with ffmpeg_reasons(), naming_writing_errors(target):
        muxer, dropped = try_recoded(source, path, target, container, codings)
    untimed = not stores_times(source, path, target)
    grid_ms = max(1000 / min(c.rate for c in codings.values()), float(container.tick_s * 1000))
    return RetimePlan(container, muxer, grid_ms, codings, tuple(dropped), untimed)


def _handlers(
    source: InputContainer,
    path: Path,
    out: Output,
    plan: RetimePlan,
    curve: OffsetCurve,
) -> Handlers:
    handlers: Handlers = {}
    video = main_video(source)
    begin_s = stream_seconds(video, video.start_time) if video is not None else None
    every_s = max(1.0, (container_duration_s(source) or 0.0) / _PRINTS)
    for index, target in out.streams.items():
        stream = source.streams[index]
        if index not in plan.codings or not isinstance(stream, AudioStream):
            handlers[index] = CopiedStream(stream, target)
            continue
        coding = plan.codings[index]
        hidden = 0 if signals_priming(plan.container) else priming(coding)
        frame = Frame(begin_s or 0.0, plan.untimed, plan.muxer == "mxf", hidden)
        prints = Fingerprints(coding.rate, every_s)
        handlers[index] = MovedTrack(stream, target, coding, curve, frame, prints, path)
    return handlers


def pump(packets: Iterator[Packet[Any]], handlers: Handlers, out: Output) -> None:
    """Hand every packet to its stream and write what comes out."""
    for packet in packets:
        handler = handlers.get(packet.stream_index)
        if handler is not None:
            for written in handler.push(packet):
                out.container.mux_one(written)


def _finish(source: InputContainer, handlers: Handlers, out: Output, path: Path) -> None:
    video = main_video(source)
    pictures = handlers.get(video.index) if video is not None else None
    if not isinstance(pictures, CopiedStream) or not pictures.given.pts:
        raise MissingStream("its video track holds no picture", path=path)
    for handler in handlers.values():
        if isinstance(handler, MovedTrack):
            for packet in handler.close(pictures.end_s):
                out.container.mux_one(packet)
            if not handler.began:
                raise MissingStream("its audio track holds no sound", path=path)


def _check(handlers: Handlers, plan: RetimePlan, path: Path, progress: Progress | None) -> Retimed:
    """Read the written file and compare it with what was given to it."""
    given = {index: handler.given for index, handler in handlers.items()}
    tracks = {i: h for i, h in handlers.items() if isinstance(h, MovedTrack)}
    copies = check_copies(given, tracks, path, plan.grid_ms, part_of(progress, 0.0, 0.5))
    prints = {track.number: track.prints.result() for track in tracks.values()}
    found = find(path, prints, copies.lifted_ms / 1000, part_of(progress, 0.5, 1.0))
    late: list[float] = []
    for index, track in tracks.items():
        times = found[track.number]
        if prints[track.number] and not times:
            raise not_as_asked(path, f"the sound of stream {index} is not in it")
        worst_ms = max(times, key=abs, default=0.0)
        if abs(worst_ms) > plan.grid_ms + (0.0 if plan.codings[index].lossless else _CODED_MS):
            raise not_as_asked(path, f"the sound of stream {index} is off by {worst_ms:.2f} ms")
        late += times
    damaged = sum(track.damaged for track in tracks.values())
    return Retimed(round(float(np.median(late)), 3) if late else None, copies, damaged)

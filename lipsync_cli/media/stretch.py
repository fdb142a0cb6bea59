"""Take a drift out of the picture instead of the sound: scale its timestamps, lossless."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

from av.container import InputContainer
from av.stream import Stream

from lipsync_cli.errors import OutputError
from lipsync_cli.media.copying import (
    WRITING,
    audio_streams,
    naming_writing_errors,
    read_packets,
)
from lipsync_cli.media.offset_curve import OffsetCurve
from lipsync_cli.media.probe import open_media
from lipsync_cli.media.remux_containers import Container, choose_container
from lipsync_cli.media.remux_streams import (
    Source,
    describe_source,
    ffmpeg_reasons,
    open_output,
    try_output,
)
from lipsync_cli.media.retime import Handlers, pump
from lipsync_cli.media.retime_check import Copies, check_copies
from lipsync_cli.media.retime_output import stores_times
from lipsync_cli.media.retime_streams import CopiedStream
from lipsync_cli.progress import Progress, part_of

if TYPE_CHECKING:
    from av.container.core import Chapter

# As fine as a slope can be known, and short enough for exact arithmetic.
_LARGEST_DENOMINATOR = 10**9


def plan_stretch(
    path: str | Path,
    target: str | Path,
    curve: OffsetCurve,
    *,
    audio_tracks: Sequence[int] | None = None,
) -> tuple[str, float, tuple[str, ...]]:
    """Find out how a stretched picture would be stored: muxer, grid in ms, what is dropped.

    Raises:
        OutputError: the container counts its pictures, or cannot hold the streams.
        As `retime.plan_retime` otherwise.
    """
    path, target = Path(path), Path(target)
    with open_media(path) as source:
        audio_streams(source, path, audio_tracks)
        container = _container(source, path, target)
        with ffmpeg_reasons():
            muxer, dropped = try_output(
                _describe(source, container, path, curve), container, target
            )
        return muxer, float(container.tick_s * 1000), tuple(dropped)


def stretch_video(
    path: str | Path,
    target: str | Path,
    curve: OffsetCurve,
    *,
    audio_tracks: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> Copies:
    """Copy `path` with picture, subtitles and chapters scaled so that the sound fits.

    With the offset o + p t at picture time t, pictures move to (1 - p) t and the chosen sound
    by o; not one payload changes. Tracks that are not chosen stay as they are.

    Args:
        curve: one piece; with steps there is no one scale.

    Raises:
        OutputError: as `plan_stretch`, or the result is not as asked.
    """
    path, target = Path(path), Path(target)
    (piece,) = curve.pieces
    with open_media(path) as source:
        tracks = {stream.index for stream in audio_streams(source, path, audio_tracks)}
        container = _container(source, path, target)
        move_s = Fraction(piece.offset_s).limit_denominator(_LARGEST_DENOMINATOR)
        lift_s = _lift_s(source, tracks, move_s) if container.family != "iso" else Fraction(0)
        with (
            ffmpeg_reasons() as log,
            naming_writing_errors(target),
            open_output(
                _describe(source, container, path, curve), target, container, lift_s
            ) as out,
        ):
            handlers: Handlers = {}
            for index, copy in out.streams.items():
                stream = source.streams[index]
                speed = Fraction(1) if stream.type == "audio" else _speed(curve)
                moved_s = lift_s + (move_s if index in tracks else 0)
                handlers[index] = CopiedStream(stream, copy, speed, moved_s)
            pump(read_packets(source, path, log, part_of(progress, 0.0, WRITING)), handlers, out)
    given = {index: handler.given for index, handler in handlers.items()}
    grid_ms = float(container.tick_s * 1000)
    return check_copies(given, (), target, grid_ms, part_of(progress, WRITING, 1.0))


def _container(source: InputContainer, path: Path, target: Path) -> Container:
    if not stores_times(source, path, target):
        raise OutputError(
            "counts its pictures at a fixed rate: their times cannot be scaled",
            path=target,
            hint="resample the audio instead (--drift audio), or write .mov or .mkv",
        )
    return choose_container(source, path, target)


def _speed(curve: OffsetCurve) -> Fraction:
    """What picture times are multiplied by."""
    return 1 - Fraction(curve.pieces[0].slope).limit_denominator(_LARGEST_DENOMINATOR)


def _describe(
    source: InputContainer, container: Container, path: Path, curve: OffsetCurve
) -> Source:
    described = describe_source(source, container.family, path)
    chapters = [_scaled(chapter, _speed(curve)) for chapter in described.chapters]
    return replace(described, chapters=chapters)


def _scaled(chapter: Chapter, speed: Fraction) -> Chapter:
    """A chapter with its times multiplied, to the millisecond or better."""
    base = chapter["time_base"] or Fraction(1)
    parts = max(1, math.ceil(base * 1000))
    start, end = (round(chapter[key] * parts * speed) for key in ("start", "end"))
    return cast("Chapter", {**chapter, "start": start, "end": end, "time_base": base / parts})


def _lift_s(source: InputContainer, moved: set[int], move_s: Fraction) -> Fraction:
    """By how much everything must move so that nothing starts earlier than the file did."""
    starts = {s.index: _start_s(s) for s in source.streams if s.start_time is not None}
    earliest = min((t + move_s * (i in moved) for i, t in starts.items()), default=Fraction(0))
    missing = min([Fraction(0), *starts.values()]) - earliest
    return Fraction(max(0, math.ceil(missing * 1000)), 1000)


def _start_s(stream: Stream) -> Fraction:
    return Fraction(stream.start_time or 0) * (stream.time_base or Fraction(1))

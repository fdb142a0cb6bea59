"""What a programme is like, whether its pictures can be edited, and how they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import av
from av.container import InputContainer
from av.packet import Packet
from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType
from av.video.stream import VideoStream

from lipsync_cli.errors import InputError, OutputError
from lipsync_cli.media.convert import converter, editable, still_picture
from lipsync_cli.media.encode import Look, look_of
from lipsync_cli.media.encoders import EncoderOptions, EncoderPlan, has_alpha, plan_encoder
from lipsync_cli.media.pictures import first_picture, first_ticks, is_still, picture_stream
from lipsync_cli.media.probe import container_duration_s, open_media, orientation_of
from lipsync_cli.media.remux_containers import Container, choose_container, family_of
from lipsync_cli.media.scale import Scaling, plan_scaling

if TYPE_CHECKING:
    from av.container.core import Chapter

# AVColorTransferCharacteristic of SMPTE ST 2084 (PQ) and ARIB STD-B67 (HLG).
_HDR = {16: "PQ", 18: "HLG"}
_DOLBY = (SideDataType.DOVI_RPU_BUFFER, SideDataType.DOVI_METADATA)
# Finer than a sample of 44.1 and 48 kHz alike.
_COMMON_TIMESCALE = 705600
# Below this MP4 players round the times of pictures.
_LEAST_TIMESCALE = 10000
_STILL_TICK = Fraction(1, 12800)
_LEAST_GRID_MS = 0.1


@dataclass(frozen=True)
class Span:
    """Part of a programme, in seconds on its own clock; None for no limit."""

    start_s: float | None = None
    end_s: float | None = None

    def holds(self, packet: Packet[Any]) -> bool:
        """Whether a packet starts within the part."""
        time_s = _time_s(packet)
        if time_s is None:
            return True
        after = self.start_s is None or time_s >= self.start_s
        return after and (self.end_s is None or time_s < self.end_s)

    def is_over(self, packet: Packet[Any], by_s: float) -> bool:
        """Whether a packet starts so much later than the part ends."""
        time_s = _time_s(packet)
        return self.end_s is not None and time_s is not None and time_s >= self.end_s + by_s

    def chapters(self, chapters: Sequence[Chapter]) -> list[Chapter]:
        """Chapters that begin or go on in the part, cut at its limits."""
        kept = []
        for chapter in chapters:
            base = chapter["time_base"] or Fraction(1)
            start, end = chapter["start"], chapter["end"]
            if self.start_s is not None:
                start = max(start, round(Fraction(self.start_s) / base))
            if self.end_s is not None:
                end = min(end, round(Fraction(self.end_s) / base))
            if start < end:
                kept.append(cast("Chapter", {**chapter, "start": start, "end": end}))
        return kept


@dataclass(frozen=True)
class Plan:
    """How one programme is written again.

    Attributes:
        time_base: unit of the pictures' times, as in the source.
        first_pts: time of the first picture, in this unit.
        shift: by how much the part that is written moves to the front, in seconds.
        total_s: duration of the programme; None where that is not known.
        convert: turns decoded pictures into what the encoder takes; None to leave them.
        codec_tag: four-letter code of the picture in MP4; None for the usual one.
        still: the source is a photograph.
        scaling: makes edited pictures smaller; None where they keep their size.
    """

    path: Path
    target: Path
    container: Container
    encoder: EncoderPlan
    look: Look
    time_base: Fraction
    first_pts: int
    shift: Fraction
    total_s: float | None
    span: Span
    convert: Callable[[av.VideoFrame], av.VideoFrame] | None
    codec_tag: str | None
    still: bool
    scaling: Scaling | None
    warnings: tuple[str, ...]

    @property
    def start(self) -> Fraction:
        """Time of the first picture that is written, in seconds."""
        return self.first_pts * self.time_base

    @property
    def grid_ms(self) -> float:
        """Step in which the container stores times."""
        return max(float(self.container.tick_s * 1000), _LEAST_GRID_MS)

    def seconds(self, pts: int) -> float:
        """A time of the pictures in seconds."""
        return pts * self.time_base.numerator / self.time_base.denominator


def make_plan(
    path: Path, target: Path, options: EncoderOptions, span: Span, *, new_sound: bool
) -> Plan:
    """Look at the first picture of a file and plan how all of them are written.

    Raises:
        MediaNotFound, UnreadableMedia, MissingStream: it cannot be read.
        InputError: its pictures cannot be edited.
        OutputError, UsageError: they cannot be written so.
    """
    with open_media(path) as source:
        stream, still = picture_stream(source, path), is_still(source.format.name)
        picture = first_picture(source, stream, path)
        _refuse(stream, picture, path)
        container = _container(source, path, target)
        look, pts = look_of(stream, picture), first_ticks(picture)
        time_base = stream.time_base or Fraction(1, 1000)
        if still:
            time_base, pts = _STILL_TICK, 0
        like = still_picture(picture) if still else editable(picture)
        scaling = plan_scaling(like, orientation_of(picture), options.max_height)
        like = like if scaling is None else scaling(like)
        encoder = plan_encoder(
            stream, like, options, container.muxers, target, like_source=not still
        )
        if not still and has_alpha(picture.format) and not has_alpha(encoder.layout):
            raise _lost_alpha(path)
        convert = still_picture if still else converter(encoder, picture.format)
        edited = picture if convert is None else convert(picture)
        encoded = edited if scaling is None else scaling(edited)
        return Plan(
            path,
            target,
            _with_clock(container, time_base, new_sound),
            encoder,
            _as_encoded(look, encoded),
            time_base,
            pts,
            _shift(span, pts, time_base),
            container_duration_s(source),
            span,
            convert,
            _codec_tag(stream, encoder.name, family_of(source) == "iso"),
            still,
            scaling,
            tuple(_warnings(picture.format.name, encoder, scaling)),
        )


def _refuse(stream: VideoStream, picture: av.VideoFrame, path: Path) -> None:
    """Raise InputError where an edit would spoil the pictures."""
    if kind := _hdr_kind(picture):
        raise InputError(
            f"its pictures are HDR ({kind}), which cannot be edited truly yet",
            path=path,
            hint="convert it to SDR (BT.709) first, or edit an SDR version of it",
        )
    if picture.interlaced_frame:
        raise InputError(
            "its pictures are interlaced: each one weaves two moments together",
            path=path,
            hint="deinterlace it first, for example with ffmpeg -vf bwdif",
        )
    if stream.metadata.get("alpha_mode") == "1":
        raise _lost_alpha(path)


def _hdr_kind(picture: av.VideoFrame) -> str | None:
    if picture.color_trc in _HDR:
        return _HDR[picture.color_trc]
    try:
        kinds = {each.type for each in cast("Iterable[SideData]", picture.side_data)}
    except ValueError:
        # Side data that PyAV does not know; only photographs have it.
        return None
    return "Dolby Vision" if kinds & set(_DOLBY) else None


def _lost_alpha(path: Path) -> InputError:
    return InputError(
        "its transparency would be lost",
        path=path,
        hint="convert it to ProRes 4444 in .mov first, or render it without an alpha channel",
    )


def _container(source: InputContainer, path: Path, target: Path) -> Container:
    try:
        return choose_container(source, path, target)
    except OutputError as error:
        raise OutputError(
            f"'{target.suffix}' files cannot keep the times of pictures and sound",
            path=target,
            hint="write another container, such as .mp4 or .mkv",
        ) from error


def _with_clock(container: Container, time_base: Fraction, new_sound: bool) -> Container:
    """Let MP4 count as the source does, so that no time is rounded."""
    if container.family != "iso":
        return container
    ticks = time_base.denominator
    while ticks < _LEAST_TIMESCALE:
        ticks *= 2
    options = {**container.options, "video_track_timescale": str(ticks)}
    if new_sound:
        options["movie_timescale"] = str(_COMMON_TIMESCALE)
    return replace(container, options=options)


def _as_encoded(look: Look, picture: av.VideoFrame) -> Look:
    colour = picture.color_range, picture.color_primaries, picture.color_trc, picture.colorspace
    return replace(look, size=(picture.width, picture.height), colour=colour)


def _shift(span: Span, first_pts: int, time_base: Fraction) -> Fraction:
    if span.start_s is None:
        return Fraction(0)
    return max(0, round(Fraction(span.start_s) / time_base) - first_pts) * time_base


def _codec_tag(stream: VideoStream, encoder: str, from_mp4: bool) -> str | None:
    if encoder != "libx265":
        return None
    tag = str(stream.codec_context.codec_tag)
    # Apple's players refuse hev1, which the muxer would write.
    return tag if from_mp4 and tag in ("hvc1", "hev1") else "hvc1"


def _warnings(source_format: str, encoder: EncoderPlan, scaling: Scaling | None) -> Iterable[str]:
    plain = source_format.replace("yuvj", "yuv")
    if encoder.pix_fmt not in (source_format, plain):
        yield f"the pictures are converted from {source_format} to {encoder.pix_fmt}"
    if scaling is not None:
        yield f"every picture was encoded again at another size: {scaling.in_words}"


def _time_s(packet: Packet[Any]) -> float | None:
    ticks = packet.pts if packet.pts is not None else packet.dts
    return None if ticks is None else float(ticks * packet.time_base)

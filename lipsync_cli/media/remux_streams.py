"""Open an output that has every stream of an opened source, as its muxer takes them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias, cast

import av
import av.error
import av.logging
from av.container import InputContainer, OutputContainer
from av.stream import AttachmentStream, Disposition, Stream
from av.video.stream import VideoStream

from lipsync_cli.errors import OutputError
from lipsync_cli.media.output import NO_SPACE
from lipsync_cli.media.probe import open_media
from lipsync_cli.media.remux_containers import Container, Family, family_of

if TYPE_CHECKING:
    from av.container.core import Chapter

# Written anew by every muxer, and wrong when copied.
_OWN_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}
_DATA_TAG = re.compile(r"Stream #\d+:(\d+)\S*: Data: \S+ \((\w{4}) /")
_CHAPTER_TRACK, _TIMECODE_TRACK = "text", "tmcd"
# One coding format goes by several four-letter codes in these, and players choose by them.
_NAMES_CODECS: tuple[Family, ...] = ("iso", "avi")


@dataclass
class Output:
    """An output whose header is written.

    Attributes:
        streams: output stream by index of the source stream it is copied from.
        dropped: in words, what the container cannot hold.
    """

    muxer: str
    container: OutputContainer
    streams: dict[int, Stream] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Attempt:
    """One way to write the header; later ones give up more."""

    muxer: str
    family: Family
    keep_tags: bool
    keep_data: bool
    options: Mapping[str, str]


@dataclass(frozen=True)
class Source:
    """An opened source and what has to be known about it before the header is written.

    Attributes:
        covers: payload of the cover pictures by stream index.
        data_tags: four-letter codes of the data streams by stream index.
        foreign: the output is another kind of file.
        chapters: those of the output.
        tags: what its tags get beside those of the source.
        substitutes: by stream index, what adds something else than a copy of the stream.
    """

    container: InputContainer
    covers: Mapping[int, bytes]
    data_tags: Mapping[int, str]
    foreign: bool
    chapters: Sequence[Chapter]
    tags: Mapping[str, str] = field(default_factory=dict)
    substitutes: Mapping[int, Substitute] = field(default_factory=dict)


# Called anew at every attempt to write the header.
Substitute: TypeAlias = Callable[[Stream, Output, Source, Attempt], None]


def describe_source(container: InputContainer, family: Family, path: Path) -> Source:
    """Learn what `open_output` needs for writing a container of this family."""
    covers = _read_covers(path) if family == "matroska" and _covers(container) else {}
    foreign = family_of(container) != family
    return Source(container, covers, _data_tags(container), foreign, container.chapters())


@contextmanager
def open_output(
    source: Source, path: Path, container: Container, lift_s: Fraction
) -> Iterator[Output]:
    """Write the header of a copy of `source` and yield it; the trailer follows on success.

    Args:
        lift_s: by which all times, and so the chapters, will be moved.

    Raises:
        OutputError: the container cannot hold a stream that must not be lost.
    """
    output = _first_that_works(source, f"file:{path}", container, lift_s, path)
    try:
        yield output
    except BaseException:
        # Closing writes the trailer, which may fail again and hide the first reason.
        with suppress(Exception):
            output.container.close()
        raise
    output.container.close()


def try_output(source: Source, container: Container, name: Path) -> tuple[str, list[str]]:
    """Write the header to memory; returns the muxer that took it and what it dropped.

    Raises:
        OutputError: as `open_output`.
    """
    with io.BytesIO() as memory:
        # Leaving with the memory closed and the output open keeps the trailer from being written.
        output = _first_that_works(source, memory, container, Fraction(0), name)
    return output.muxer, output.dropped


@contextmanager
def ffmpeg_reasons() -> Iterator[list[tuple[int, str, str]]]:
    """Let FFmpeg's errors carry their reason, without a word reaching the terminal."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture() as lines:
            yield lines
    finally:
        av.logging.set_level(level)


def _first_that_works(
    source: Source, sink: str | IO[bytes], container: Container, lift_s: Fraction, name: Path
) -> Output:
    reasons: list[str] = []
    tags = (True, False) if container.family in _NAMES_CODECS else (False,)
    data = (True, False) if source.data_tags else (False,)
    for muxer, keep_tags, keep_data in product(container.muxers, tags, data):
        attempt = Attempt(muxer, container.family, keep_tags, keep_data, container.options)
        try:
            return _write_header(source, sink, attempt, lift_s)
        except (ValueError, av.error.FFmpegError) as error:
            if getattr(error, "errno", None) in NO_SPACE:
                raise
            reasons.append(_in_one_line(error))
    raise OutputError(
        f"cannot hold the streams of the source: {reasons[0]}",
        path=name,
        hint="write another container, such as .mkv, or keep the container of the source",
    )


def _write_header(
    source: Source, sink: str | IO[bytes], attempt: Attempt, lift_s: Fraction
) -> Output:
    out = av.open(sink, "w", format=attempt.muxer, options=dict(attempt.options))
    output = Output(attempt.muxer, out)
    try:
        for stream in source.container.streams:
            _add(stream, output, source, attempt)
        out.metadata.update({**kept_tags(source.container.metadata), **source.tags})
        out.set_chapters([_moved(c, lift_s) for c in source.chapters])
        _start(out)
    except BaseException:
        with suppress(Exception):
            out.close()
        raise
    return output


def _start(out: OutputContainer) -> None:
    """Write the header; an error names FFmpeg's first complaint, the last is often advice."""
    with av.logging.Capture() as log:
        try:
            out.start_encoding()
        except av.error.FFmpegError as error:
            complaints = [line.strip() for level, _, line in log if level <= av.logging.ERROR]
            if error.errno in NO_SPACE or not complaints:
                raise
            raise ValueError(complaints[0]) from error


def _add(stream: Stream, output: Output, source: Source, attempt: Attempt) -> None:
    """Add a copy of one source stream or what replaces it, or note why it is left out."""
    if stream.index in source.substitutes:
        source.substitutes[stream.index](stream, output, source, attempt)
    elif stream.index in source.covers:
        _attach_cover(stream, output, source.covers[stream.index])
    elif _is_remade(stream, source, attempt):
        return
    elif not _has_room(stream, attempt):
        output.dropped.append(f"{_in_words(stream)} (not possible in {attempt.muxer})")
    elif stream.codec_context is None and stream.type not in ("data", "attachment"):
        _leave_out_unknown(stream, output)
    else:
        try:
            output.streams[stream.index] = add_copy(stream, output.container, source, attempt)
        except ValueError:
            if stream.type != "subtitle" or source.foreign:
                raise
            output.dropped.append(f"{_in_words(stream)} (not possible in {attempt.muxer})")


def _is_remade(stream: Stream, source: Source, attempt: Attempt) -> bool:
    """QuickTime's chapter and timecode tracks are written anew from chapters and tags."""
    tag = source.data_tags.get(stream.index)
    return tag == _CHAPTER_TRACK or (tag == _TIMECODE_TRACK and attempt.family == "iso")


def _has_room(stream: Stream, attempt: Attempt) -> bool:
    if stream.type == "attachment":
        return attempt.muxer == "matroska"
    if stream.type == "data":
        return attempt.keep_data and attempt.family in ("iso", "mpegts", "flv")
    if stream.disposition & Disposition.attached_pic:
        return attempt.family == "iso"
    return stream.type in ("video", "audio", "subtitle")


def _leave_out_unknown(stream: Stream, output: Output) -> None:
    if stream.type != "subtitle":
        raise ValueError(f"{_in_words(stream)} is in a format that is not known here")
    output.dropped.append(f"{_in_words(stream)} (its format is not known here)")


def add_copy(stream: Stream, out: OutputContainer, source: Source, attempt: Attempt) -> Stream:
    """Add a stream that takes the packets of `stream` as they are."""
    # Without `opaque`, PyAV asks for an encoder of the decoder's name: there is none for AV1.
    copy = out.add_stream_from_template(stream, opaque=True)
    copy.metadata.update(stream_tags(stream, source))
    copy.disposition = stream.disposition
    if attempt.family == "mpegts" and not source.foreign:
        copy.id = stream.id
    if isinstance(stream, VideoStream) and isinstance(copy, VideoStream):
        _describe_picture(stream, copy)
    if attempt.keep_tags and stream.codec_context is not None:
        _copy_codec_tag(stream, copy, source, attempt)
    return copy


def _describe_picture(stream: VideoStream, copy: VideoStream) -> None:
    if stream.average_rate:
        copy.codec_context.framerate = stream.average_rate
    if stream.sample_aspect_ratio and not stream.codec_context.sample_aspect_ratio:
        copy.codec_context.sample_aspect_ratio = stream.sample_aspect_ratio


def _copy_codec_tag(stream: Stream, copy: Stream, source: Source, attempt: Attempt) -> None:
    if not source.foreign:
        copy.codec_context.codec_tag = stream.codec_context.codec_tag
    elif stream.codec_context.name == "hevc" and attempt.family == "iso":
        # Apple's players refuse hev1, which the muxer would write.
        copy.codec_context.codec_tag = "hvc1"


def _attach_cover(stream: Stream, output: Output, payload: bytes) -> None:
    if output.muxer != "matroska":
        output.dropped.append(f"{_in_words(stream)} (not possible in {output.muxer})")
        return
    kind = "png" if stream.codec_context.name == "png" else "jpeg"
    name = stream.metadata.get("filename", f"cover.{kind.replace('e', '')}")
    mimetype = stream.metadata.get("mimetype", f"image/{kind}")
    output.container.add_attachment(name, mimetype, payload)


def kept_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """All tags but those that each muxer writes anew."""
    return {key: value for key, value in tags.items() if key.lower() not in _OWN_TAGS}


def stream_tags(stream: Stream, source: Source) -> dict[str, str]:
    """Tags of a source stream as an output stream of any kind takes them."""
    tags = kept_tags(stream.metadata)
    # A track title of MP4 is read as "name" but written from "title".
    if family_of(source.container) == "iso" and "name" in tags:
        tags.setdefault("title", tags.pop("name"))
    return tags


def _moved(chapter: Chapter, lift_s: Fraction) -> Chapter:
    ticks = round(lift_s / (chapter["time_base"] or 1))
    moved = {**chapter, "start": chapter["start"] + ticks, "end": chapter["end"] + ticks}
    return cast("Chapter", moved)


def _covers(container: InputContainer) -> list[VideoStream]:
    return [s for s in container.streams.video if s.disposition & Disposition.attached_pic]


def _read_covers(path: Path) -> dict[int, bytes]:
    """Payload of each cover; they precede all other packets, so this reads no further."""
    with open_media(path) as container:
        missing = {stream.index for stream in _covers(container)}
        found: dict[int, bytes] = {}
        for packet in container.demux():
            if packet.stream_index not in missing - found.keys() or not packet.size:
                break
            found[packet.stream_index] = bytes(packet)
        return found


def _data_tags(container: InputContainer) -> dict[int, str]:
    streams = [stream.index for stream in container.streams if stream.type == "data"]
    if not streams:
        return {}
    with ffmpeg_reasons():
        av.logging.set_level(av.logging.INFO)
        # Missing from the type stubs, and the only place where PyAV shows these codes.
        dump = cast(Any, container).dumps_format()
    known = {int(index): tag for index, tag in _DATA_TAG.findall(dump)}
    return {index: known.get(index, "") for index in streams}


def _in_words(stream: Stream) -> str:
    kind = "cover picture" if stream.disposition & Disposition.attached_pic else stream.type
    # Streams of an unknown format have neither a codec nor, save for attachments, a name.
    context: Any = stream.codec_context
    name = getattr(stream, "name", "") if context is None else context.name
    label = f" '{stream.name}'" if isinstance(stream, AttachmentStream) else f" ({name})"
    return f"{kind} stream {stream.index}{label if name else ''}"


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())

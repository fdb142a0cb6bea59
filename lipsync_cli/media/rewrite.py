"""Write a programme again with edited pictures and other sound; all the rest stays as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import av.error
from av.container import InputContainer
from av.packet import Packet

from lipsync_cli.errors import OutputError, UsageError
from lipsync_cli.media.copying import naming_writing_errors
from lipsync_cli.media.encoders import EncoderOptions
from lipsync_cli.media.extend import Extra
from lipsync_cli.media.output import atomic, check_target
from lipsync_cli.media.pictures import PictureDecoder, Shown, picture_stream
from lipsync_cli.media.probe import open_media
from lipsync_cli.media.provenance import Provenance, append_xmp
from lipsync_cli.media.reader import Clock
from lipsync_cli.media.remux_check import Tally
from lipsync_cli.media.remux_streams import ffmpeg_reasons, open_output
from lipsync_cli.media.rewrite_check import check_rewritten, lost_of
from lipsync_cli.media.rewrite_plan import Plan, Span, make_plan
from lipsync_cli.media.rewrite_writer import RewriteResult, Streams, Writer
from lipsync_cli.media.soundtrack import Soundtrack, SoundWriter, open_sound
from lipsync_cli.progress import Progress, part_of

# (picture, time in seconds) -> the same object, or an edited copy of it.
Edit = Callable[[av.VideoFrame, float], av.VideoFrame]
# The same for many at a time; `dataclasses.replace(shown, picture=...)` edits one.
EditStream = Callable[[Iterator[Shown]], Iterator[Shown]]

# Share of the work that is writing; the rest is reading the result again.
_WRITING = 0.97
_MAX_READ_ERRORS = 1000
# Sound may be stored this much later than the pictures it belongs to.
_INTERLEAVING_S = 2.0


def rewrite(
    source: str | Path,
    output: str | Path,
    edit: Edit | None = None,
    *,
    edit_stream: EditStream | None = None,
    sound: Soundtrack | None = None,
    keep_original: bool = False,
    video: EncoderOptions | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    extra: Extra | None = None,
    provenance: Provenance | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> RewriteResult:
    """Decode every picture, edit it and encode it once, at the very same time.

    Pixel format, shape, rotation and colour tags stay, and so does the size unless
    `video.max_height` is less; all other streams, chapters, tags and attachments are copied.
    A photograph becomes 25 pictures a second while there is sound. Memory does not grow with
    the duration.

    Args:
        edit, edit_stream: get the pictures in order of presentation; a picture belongs to
            `rewrite` again as soon as the next one is asked for.
        sound: replaces the first audio track; it ends with the last picture.
        keep_original: keep that track too, as one that is not played by default.
        start_s, end_s: the part that is written; it begins when the programme began.
        extra: yields pictures that follow the last one.

    Raises:
        MediaNotFound, UnreadableMedia, MissingStream: source or sound cannot be read.
        InputError: pictures that cannot be edited (HDR, interlaced, alpha).
        OutputError: the output exists, or cannot hold what it has to.
        UsageError: options of the encoder that do not fit.
    """
    check_target(output, overwrite=overwrite)
    span = Span(start_s, end_s)
    plan = make_plan(
        Path(source), Path(output), video or EncoderOptions(), span, new_sound=sound is not None
    )
    with atomic(output, overwrite=overwrite) as temporary:
        job = _Job(plan, temporary, sound, keep_original, provenance)
        return job.run(_Chain(edit, edit_stream, extra), progress)


@dataclass(frozen=True)
class _Chain:
    """What happens to the pictures between decoder and encoder."""

    edit: Edit | None
    edit_stream: EditStream | None
    extra: Extra | None

    def run(self, pictures: Iterator[Shown], plan: Plan) -> Iterator[Shown]:
        """Yield what is encoded."""
        if self.extra is not None:
            pictures = _extended(pictures, self.extra, plan)
        if self.edit is not None:
            pictures = (_edited(shown, self.edit) for shown in pictures)
        return pictures if self.edit_stream is None else self.edit_stream(pictures)


@dataclass
class _Job:
    """One file on its way."""

    plan: Plan
    temporary: Path
    sound: Soundtrack | None
    keep_original: bool
    provenance: Provenance | None
    tallies: dict[int, Tally] = field(default_factory=dict)

    def run(self, chain: _Chain, progress: Progress | None) -> RewriteResult:
        """Write the file, read it back, and say in it where its picture comes from."""
        plan = self.plan
        with _naming_errors(self.temporary, plan.target):
            result = self._write(chain, part_of(progress, 0.0, _WRITING))
            checked = part_of(progress, _WRITING, 1.0)
            lifted_ms = check_rewritten(self.tallies, self.temporary, plan.grid_ms, checked)
            lost = () if plan.still else lost_of(plan.path, self.temporary)
        if self.provenance is not None and plan.container.family == "iso":
            append_xmp(self.temporary, self.provenance)
        warnings = (*result.warnings, *(f"not kept: {what}" for what in lost))
        return replace(result, warnings=warnings, lifted_ms=lifted_ms)

    def _write(self, chain: _Chain, progress: Progress | None) -> RewriteResult:
        plan = self.plan
        with ExitStack() as stack:
            source = stack.enter_context(open_media(plan.path))
            sound = None
            if self.sound is not None:
                sound = stack.enter_context(open_sound(self.sound, plan.start))
            streams = Streams(plan, source, sound, self.keep_original)
            with ffmpeg_reasons():
                described = streams.describe(self.provenance)
                out = stack.enter_context(
                    open_output(described, self.temporary, plan.container, -plan.shift)
                )
            writer = Writer(plan, streams, out, self.tallies)
            reader = _Reader(plan, source, writer, sound)
            for shown in chain.run(reader.pictures(), plan):
                writer.write(shown)
                _report(progress, shown.pts_s, plan)
            writer.finish()
            return writer.result(reader.warnings())


class _Reader:
    """Reads the source once: pictures are handed on, the rest goes to the writer."""

    def __init__(
        self, plan: Plan, source: InputContainer, writer: Writer, sound: SoundWriter | None
    ) -> None:
        self._plan, self._source, self._writer, self._sound = plan, source, writer, sound
        self._video = picture_stream(source, plan.path)
        self._decoder = PictureDecoder(self._video, plan.path, plan.convert)
        self._unreadable = 0
        self._ended = False

    def pictures(self) -> Iterator[Shown]:
        """The pictures of the programme, or of the part of it that is written."""
        if self._plan.still:
            return self._still()
        return self._within(self._decoded())

    def warnings(self) -> tuple[str, ...]:
        """What a user should know about the state of the source, in words."""
        damaged, retimed = self._unreadable + self._decoder.damaged, self._decoder.retimed
        found = [f"{damaged} damaged packets were skipped"] if damaged else []
        if retimed:
            found.append(f"{retimed} pictures had impossible times, which were moved")
        return tuple(found)

    def _decoded(self) -> Iterator[Shown]:
        clock = Clock(self._source)
        for packet in self._packets():
            clock.correct(packet)
            if packet.stream_index != self._video.index:
                self._writer.copy(packet)
            elif not self._ended:
                yield from self._decoder.decode(packet)
            if self._ended and self._plan.span.is_over(packet, _INTERLEAVING_S):
                return
        if not self._ended:
            yield from self._decoder.decode(None)

    def _within(self, pictures: Iterator[Shown]) -> Iterator[Shown]:
        span = self._plan.span
        for shown in pictures:
            if span.end_s is not None and shown.pts_s >= span.end_s:
                self._ended = True
            elif span.start_s is None or shown.pts_s >= span.start_s:
                yield shown

    def _still(self) -> Iterator[Shown]:
        """One picture again and again, while there is sound."""
        if self._sound is None:
            raise UsageError("a photograph has no duration without sound", path=self._plan.path)
        first = next(self._decoded())
        duration, pts = round(1 / (self._plan.encoder.rate * self._plan.time_base)), 0
        while self._sound.covers(pts_s := self._plan.seconds(pts)):
            yield replace(first, pts=pts, duration=duration, pts_s=pts_s, repeated=True)
            pts += duration

    def _packets(self) -> Iterator[Packet[Any]]:
        """All packets that hold data; reading goes on behind damaged places."""
        errors = 0
        while errors < _MAX_READ_ERRORS:
            try:
                for packet in self._source.demux():
                    errors = 0
                    if packet.size:
                        yield packet
                return
            except av.error.FFmpegError:
                errors += 1
                self._unreadable += 1


def _edited(shown: Shown, edit: Edit) -> Shown:
    return replace(shown, picture=edit(shown.picture, shown.pts_s))


def _extended(pictures: Iterator[Shown], extra: Extra, plan: Plan) -> Iterator[Shown]:
    """Let pictures follow the last one, each for as long as it was shown before."""
    last: Shown | None = None
    for last in pictures:
        yield last
    if last is None:
        return
    pts, usual = last.pts + last.duration, last.duration
    for picture in extra(last.picture, plan.seconds(pts)):
        length = (picture.duration or 0) * (picture.time_base or 0)
        duration = round(length / plan.time_base) or usual
        yield Shown(picture, pts, duration, plan.seconds(pts), picture, repeated=True)
        pts += duration


@contextmanager
def _naming_errors(temporary: Path, target: Path) -> Iterator[None]:
    """Let errors of the muxer name the file that the user asked for."""
    try:
        with naming_writing_errors(target):
            yield
    except OutputError as error:
        if error.path in (None, str(temporary)):
            error.path = str(target)
        raise


def _report(progress: Progress | None, time_s: float, plan: Plan) -> None:
    first_s = plan.seconds(plan.first_pts)
    end_s = plan.span.end_s or first_s + (plan.total_s or 0.0)
    if progress is not None and end_s > first_s:
        progress(min(max((time_s - first_s) / (end_s - first_s), 0.0), 1.0))

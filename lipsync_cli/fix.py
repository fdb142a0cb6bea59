"""Repair the sync of one file: shift its audio, lossless, and prove that it was stored."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lipsync_cli.errors import LipsyncError, NotTrustworthy, OutputError, UsageError
from lipsync_cli.media.output import atomic, check_target
from lipsync_cli.media.probe import probe
from lipsync_cli.media.remux import ShiftPlan, plan_shift, shift_audio
from lipsync_cli.media.remux_check import Checked
from lipsync_cli.media.remux_kept import lost_details
from lipsync_cli.results import FixPlan, FixResult, OffsetResult

Progress = Callable[[float], None]

# Half a frame at 25 fps: more than that left over deserves a second look.
RESIDUAL_MS = 20.0
# Segments further than this from the programme's offset mean edits or drift.
_UNEVEN_MS = 80.0
# Readers drop what an edit list hides, save for one second that decoders may need.
_KEPT_HIDDEN_MS = 1000.0
_BY_HAND = "look at the evidence, and give the offset yourself if you know it"


@dataclass(frozen=True)
class MeasureOptions:
    """How the offset is measured; the fields are those of `detect.measure`."""

    search_ms: float = 1500.0
    audio_track: int = 0
    face_detector: str = "own"
    device: str = "auto"


def default_output(path: str | Path) -> Path:
    """`NAME.synced.EXT` beside the input."""
    path = Path(path)
    return path.with_name(f"{path.stem}.synced{path.suffix}")


def plan_fix(
    path: str | Path,
    offset_ms: float,
    *,
    output: str | Path | None = None,
    audio_tracks: Sequence[int] | None = None,
) -> FixPlan:
    """Plan a repair without writing anything.

    Args:
        offset_ms: > 0 audio early; the repair delays it by as much.
        output: None for `NAME.synced.EXT` beside the input.
        audio_tracks: which audio tracks are shifted, counted from 0; None for all.

    Raises:
        InputError: the file cannot be read, or has no picture or no sound.
        OutputError: the container cannot store the shift or hold the streams.
        UsageError: the offset is no number, or as long as the programme.
    """
    path, target = Path(path), Path(output) if output else default_output(path)
    info = probe(path)
    _check_offset(offset_ms, info.duration_s)
    shift = plan_shift(path, target, offset_ms, audio_tracks=audio_tracks)
    return FixPlan(
        file=str(path),
        output=str(target),
        offset_ms=offset_ms,
        method="timestamps",
        container=shift.muxer,
        grid_ms=shift.grid_ms,
        notes=tuple(_notes(shift, offset_ms, info.container)),
    )


def fix_sync(
    path: str | Path,
    *,
    output: str | Path | None = None,
    offset_ms: float | None = None,
    measured: OffsetResult | None = None,
    audio_tracks: Sequence[int] | None = None,
    dry_run: bool = False,
    overwrite: bool = False,
    in_place: bool = False,
    min_offset_ms: float = 15.0,
    min_probability: float = 0.9,
    verify: bool | None = None,
    measuring: MeasureOptions | None = None,
    progress: Progress | None = None,
) -> FixResult:
    """Shift the audio of a file by its offset, without re-encoding anything.

    Args:
        output: None for `NAME.synced.EXT` beside the input.
        offset_ms: > 0 audio early; None to take `measured`, or to measure the lips.
        audio_tracks: which are shifted, counted from 0; None for all.
        in_place: replace the input, at the very end and in one step.
        min_offset_ms: a smaller measured offset counts as in sync.
        verify: measure the result again; None for doing so where it was measured.
        progress: called with the share that is done, 0 to 1.

    Raises:
        NotTrustworthy: the measurement cannot tell, or not surely enough.
        OutputError: the result exists, cannot be written or is not as asked.
        Others as `plan_fix`; nothing is written then.
    """
    job = _Job.of(path, output, audio_tracks, in_place=in_place, overwrite=overwrite)
    job.check_target(dry_run=dry_run)
    lips = _Lips(min_probability, measuring or MeasureOptions())
    stages = _Stages(progress, measures=offset_ms is None and measured is None)
    planned = _planned(job, lips, offset_ms, measured, stages.measuring)
    if _is_in_sync(planned, min_offset_ms):
        return replace(planned, action="in_sync", output=None, plan=None)
    if dry_run:
        return planned
    verify = verify if verify is not None else planned.measured is not None
    with _writing(job) as temporary:
        result = job.write(temporary, planned, stages.writing)
        return lips.verify(result, temporary, stages.verifying) if verify else result


@dataclass(frozen=True)
class _Job:
    """One repair: what goes where, and what it may replace."""

    path: Path
    target: Path
    audio_tracks: Sequence[int] | None
    in_place: bool
    overwrite: bool

    @classmethod
    def of(
        cls,
        path: str | Path,
        output: str | Path | None,
        audio_tracks: Sequence[int] | None,
        *,
        in_place: bool,
        overwrite: bool,
    ) -> _Job:
        target = _choose_target(Path(path), output, in_place=in_place)
        return cls(Path(path), target, audio_tracks, in_place, overwrite or in_place)

    def check_target(self, *, dry_run: bool) -> None:
        """Refuse at once what `atomic` would refuse after all the work."""
        # A batch makes its folder only when it writes.
        folder_comes_later = dry_run and not self.target.parent.exists()
        if self.path.exists() and not folder_comes_later:
            check_target(self.target, overwrite=self.overwrite)

    def plan(self, offset_ms: float) -> FixPlan:
        return plan_fix(self.path, offset_ms, output=self.target, audio_tracks=self.audio_tracks)

    def write(self, temporary: Path, planned: FixResult, progress: Progress | None) -> FixResult:
        """Write and check the temporary file; say what the copy could not keep."""
        shift, checked = shift_audio(
            self.path,
            temporary,
            planned.offset_ms,
            audio_tracks=self.audio_tracks,
            progress=progress,
        )
        details = [*_lost_edits(checked), *lost_details(self.path, temporary)]
        if self.in_place and (shift.dropped or details):
            raise OutputError(
                f"replacing it would lose {'; '.join([*shift.dropped, *details])}",
                path=self.path,
                hint="write a new file instead; the original stays as it was",
            )
        assert planned.plan is not None
        return replace(
            planned,
            action="written",
            applied_ms=checked.applied_ms,
            plan=replace(planned.plan, notes=(*planned.plan.notes, _how_copied(checked))),
            warnings=(*planned.warnings, *(f"not kept: {what}" for what in details)),
        )


@dataclass(frozen=True)
class _Lips:
    """The measurement, and how much it has to be sure of."""

    min_probability: float
    options: MeasureOptions

    def measure(self, path: Path, progress: Progress | None) -> OffsetResult:
        # Only here are torch and OpenCV needed.
        from lipsync_cli.detect import measure

        return measure(
            path, min_probability=self.min_probability, progress=progress, **asdict(self.options)
        ).result

    def trusted_ms(self, measured: OffsetResult) -> float:
        """The offset of a measurement that can be relied on."""
        if measured.status == "cannot_tell" or measured.offset_ms is None:
            reason = measured.reason or "the offset cannot be measured"
            raise NotTrustworthy(reason, path=measured.file, hint=_BY_HAND)
        if measured.probability < self.min_probability:
            raise NotTrustworthy(
                f"measured {measured.offset_ms:+.0f} ms with a probability of only "
                f"{measured.probability:.2f}, below {self.min_probability:.2f}",
                path=measured.file,
                hint=_BY_HAND,
            )
        return measured.offset_ms

    def uneven(self, measured: OffsetResult, offset_ms: float) -> Iterator[str]:
        """Warn where a part of the programme has quite another offset."""
        for part in measured.segments:
            if part.offset_ms is None or part.probability < self.min_probability:
                continue
            if abs(part.offset_ms - offset_ms) > _UNEVEN_MS:
                yield (
                    f"the offset is {part.offset_ms:+.0f} ms from {part.start_s:.1f} to "
                    f"{part.end_s:.1f} s: one shift cannot repair the whole programme"
                )

    def verify(self, result: FixResult, temporary: Path, progress: Progress | None) -> FixResult:
        """Measure what was written; that it cannot be measured is only a warning."""
        try:
            again = self.measure(temporary, progress)
            residual_ms = self.trusted_ms(again)
        except LipsyncError as error:
            unsure = f"the result could not be measured again: {error.message}"
            return replace(result, warnings=(*result.warnings, unsure))
        left = [f"the result still measures {residual_ms:+.0f} ms"]
        return replace(
            result,
            residual_ms=residual_ms,
            residual_interval_ms=again.interval_ms,
            warnings=(*result.warnings, *(left if abs(residual_ms) > RESIDUAL_MS else ())),
        )


class _Stages:
    """Shares of one progress bar; measuring takes much longer than copying."""

    def __init__(self, progress: Progress | None, *, measures: bool) -> None:
        self._progress = progress
        first = 0.6 if measures else 0.0
        self.measuring = self._part(0.0, first)
        self.writing = self._part(first, first + 0.1 if measures else 1.0)
        self.verifying = self._part(first + 0.1, 1.0)

    def _part(self, start: float, stop: float) -> Progress | None:
        progress = self._progress
        if progress is None:
            return None
        return lambda done: progress(start + (stop - start) * done)


def _planned(
    job: _Job,
    lips: _Lips,
    offset_ms: float | None,
    measured: OffsetResult | None,
    progress: Progress | None,
) -> FixResult:
    """Find the offset where it is not given, and what its repair would write."""
    if offset_ms is not None and measured is not None:
        raise UsageError("an offset and a measurement exclude each other", path=job.path)
    # What will be refused is refused before the minutes of measuring.
    plan = job.plan(offset_ms or 0.0)
    warnings: list[str] = []
    if offset_ms is None:
        measured = measured or lips.measure(job.path, progress)
        offset_ms = lips.trusted_ms(measured)
        warnings = list(lips.uneven(measured, offset_ms))
        plan = job.plan(offset_ms)
    return FixResult(
        file=str(job.path),
        action="planned",
        output=plan.output,
        offset_ms=offset_ms,
        plan=plan,
        measured=measured,
        warnings=tuple(warnings),
    )


def _is_in_sync(planned: FixResult, min_offset_ms: float) -> bool:
    """Whether there is nothing to repair, or nothing that the container could store."""
    grid_ms = planned.plan.grid_ms if planned.plan else 0.0
    if abs(planned.offset_ms) < grid_ms / 2 or planned.offset_ms == 0:
        return True
    if planned.measured is None:
        return False
    low, high = planned.measured.interval_ms or (planned.offset_ms, planned.offset_ms)
    return abs(planned.offset_ms) < min_offset_ms or low <= 0.0 <= high


def _choose_target(path: Path, output: str | Path | None, *, in_place: bool) -> Path:
    if in_place:
        if output is not None:
            raise UsageError("an output and in-place exclude each other", path=path)
        return path
    target = Path(output) if output else default_output(path)
    if target.exists() and path.exists() and os.path.samefile(path, target):
        raise OutputError(
            "input and output are the same file",
            path=target,
            hint="choose another name, or ask for in-place",
        )
    return target


def _check_offset(offset_ms: float, duration_s: float | None) -> None:
    if not math.isfinite(offset_ms):
        raise UsageError(f"{offset_ms} is not an offset in milliseconds")
    if duration_s and abs(offset_ms) >= duration_s * 1000:
        raise UsageError(
            f"an offset of {offset_ms:g} ms is longer than the programme ({duration_s:g} s)",
            hint="offsets are in milliseconds",
        )


@contextmanager
def _writing(job: _Job) -> Iterator[Path]:
    """`atomic`, with errors that name the result and not its temporary file."""
    with atomic(job.target, overwrite=job.overwrite) as temporary:
        try:
            yield temporary
        except LipsyncError as error:
            if error.path == str(temporary):
                error.path = str(job.target)
            raise


def _notes(shift: ShiftPlan, offset_ms: float, source_format: str) -> Iterator[str]:
    moved = "delayed" if offset_ms >= 0 else "advanced"
    which = "audio" if len(shift.shifted) == 1 else f"{len(shift.shifted)} audio tracks"
    yield f"{which} {moved} by {abs(offset_ms):g} ms"
    if shift.container.family == "iso":
        yield "stored as an edit list; players that ignore edit lists will not notice"
        if offset_ms < -_KEPT_HIDDEN_MS:
            yield "the audio that this hides may be left out when the result is copied again"
    else:
        yield f"stored in the timestamps, in steps of {shift.grid_ms:.3g} ms"
    if shift.lift_s:
        yield (
            f"all other streams start {float(shift.lift_s * 1000):g} ms later instead, "
            "because times cannot be negative here"
        )
    if source_format == "avi":
        yield "AVI stores no exact picture times: look at the result"
    yield from (f"not kept: {what}" for what in shift.dropped)


def _lost_edits(checked: Checked) -> Iterator[str]:
    if checked.unhidden:
        yield f"the edit list that hides pictures (now shown: {checked.unhidden})"
    if checked.left_out:
        yield f"what lies far outside the edit list (packets: {checked.left_out})"


def _how_copied(checked: Checked) -> str:
    if checked.bit_exact:
        return "every stream copied bit-exactly"
    return "every stream copied without re-encoding; the container wraps it differently"

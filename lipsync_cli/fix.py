"""Repair the sync of one file, and prove that what was asked for is what was stored."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lipsync_cli.errors import LipsyncError, OutputError, UsageError
from lipsync_cli.media.offset_curve import OffsetCurve
from lipsync_cli.media.output import atomic, check_target
from lipsync_cli.media.silence import loudness
from lipsync_cli.progress import Progress, part_of
from lipsync_cli.repair.curve import curve_of, is_negligible, placed
from lipsync_cli.repair.lips import RESIDUAL_MS, Lips, MeasureOptions
from lipsync_cli.repair.task import Drift, Method, Task, constant_curve
from lipsync_cli.results import FixPlan, FixResult, OffsetResult

__all__ = ["RESIDUAL_MS", "MeasureOptions", "default_output", "fix_sync", "plan_fix"]


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
    method: Method = "auto",
) -> FixPlan:
    """Plan a repair without writing anything.

    Args:
        offset_ms: > 0 audio early; the repair delays it by as much.
        output: None for `NAME.synced.EXT` beside the input.
        audio_tracks: which audio tracks are shifted, counted from 0; None for all.
        method: "timestamps" copies every stream, "samples" moves the sound itself; "auto"
            does the latter only where the container cannot store times.

    Raises:
        InputError: the file cannot be read, or has no picture or no sound.
        OutputError: the container cannot store the shift or hold the streams.
        UsageError: the offset is no number, or as long as the programme.
    """
    path, target = Path(path), Path(output) if output else default_output(path)
    curve = constant_curve(offset_ms)
    return Task(path, target, curve, offset_ms, audio_tracks, method).plan()


def fix_sync(
    path: str | Path,
    *,
    output: str | Path | None = None,
    offset_ms: float | None = None,
    measured: OffsetResult | None = None,
    audio_tracks: Sequence[int] | None = None,
    method: Method = "auto",
    drift: Drift = "audio",
    piecewise: bool = False,
    dry_run: bool = False,
    overwrite: bool = False,
    in_place: bool = False,
    min_offset_ms: float = 15.0,
    min_probability: float = 0.9,
    verify: bool | None = None,
    measuring: MeasureOptions | None = None,
    progress: Progress | None = None,
) -> FixResult:
    """Take the offset of a file out of it, without coding anything anew that need not be.

    Args:
        output: None for `NAME.synced.EXT` beside the input.
        offset_ms: > 0 audio early; None to take `measured`, or to measure the lips.
        audio_tracks: which are repaired, counted from 0; None for all.
        method: as in `plan_fix`.
        drift: "audio" resamples the sound; "video" scales the times of pictures, subtitles
            and chapters, without any loss.
        piecewise: allow parts of the programme to be moved by different offsets.
        in_place: replace the input, at the very end and in one step.
        min_offset_ms: a smaller measured offset counts as in sync.
        verify: measure the result again; None for doing so where it was measured.
        progress: called with the share that is done, 0 to 1.

    Raises:
        NotTrustworthy: the measurement cannot tell, not surely enough, or tells of steps.
        OutputError: the result exists, cannot be written or is not as asked.
        Others as `plan_fix`; nothing is written then.
    """
    target = _choose_target(Path(path), output, in_place=in_place)
    ways = _Ways(audio_tracks, method, drift, piecewise)
    job = _Job(Path(path), target, ways, in_place, overwrite or in_place)
    job.check_target(dry_run=dry_run)
    lips = Lips(min_probability, measuring or MeasureOptions())
    stages = _Stages(progress, measures=offset_ms is None and measured is None)
    planned, task = _planned(job, lips, offset_ms, measured, stages.measuring)
    if _is_in_sync(planned, task.curve, min_offset_ms):
        return replace(planned, action="in_sync", output=None, plan=None)
    return planned if dry_run else _written(job, lips, planned, task, stages, verify)


@dataclass(frozen=True)
class _Ways:
    """How a repair may go about it."""

    audio_tracks: Sequence[int] | None
    method: Method
    drift: Drift
    piecewise: bool


@dataclass(frozen=True)
class _Job:
    """One repair: what goes where, and what it may replace."""

    path: Path
    target: Path
    ways: _Ways
    in_place: bool
    overwrite: bool

    def check_target(self, *, dry_run: bool) -> None:
        """Refuse at once what `atomic` would refuse after all the work."""
        # A batch makes its folder only when it writes.
        folder_comes_later = dry_run and not self.target.parent.exists()
        if self.path.exists() and not folder_comes_later:
            check_target(self.target, overwrite=self.overwrite)

    def task(self, curve: OffsetCurve, offset_ms: float) -> Task:
        ways = self.ways
        return Task(
            self.path, self.target, curve, offset_ms, ways.audio_tracks, ways.method, ways.drift
        )

    def write(
        self, task: Task, temporary: Path, planned: FixResult, progress: Progress | None
    ) -> FixResult:
        """Write and check the temporary file; say what the copy could not keep."""
        stored = task.write(temporary, progress)
        if self.in_place and (stored.dropped or stored.lost):
            raise OutputError(
                f"replacing it would lose {'; '.join([*stored.dropped, *stored.lost])}",
                path=self.path,
                hint="write a new file instead; the original stays as it was",
            )
        assert planned.plan is not None
        return replace(
            planned,
            action="written",
            applied_ms=stored.applied_ms,
            plan=replace(planned.plan, notes=(*planned.plan.notes, stored.how)),
            warnings=(*planned.warnings, *(f"not kept: {what}" for what in stored.lost)),
        )


class _Stages:
    """Shares of one progress bar; measuring takes much longer than copying."""

    def __init__(self, progress: Progress | None, *, measures: bool) -> None:
        first = 0.6 if measures else 0.0
        self.measuring = part_of(progress, 0.0, first)
        self.writing = part_of(progress, first, first + 0.1 if measures else 1.0)
        self.verifying = part_of(progress, first + 0.1, 1.0)


def _planned(
    job: _Job,
    lips: Lips,
    offset_ms: float | None,
    measured: OffsetResult | None,
    progress: Progress | None,
) -> tuple[FixResult, Task]:
    """Find the offset where it is not given, and what its repair would write."""
    if offset_ms is not None and measured is not None:
        raise UsageError("an offset and a measurement exclude each other", path=job.path)
    # What will be refused is refused before the minutes of measuring.
    task = job.task(constant_curve(offset_ms or 0.0), offset_ms or 0.0)
    plan = task.plan()
    warnings: list[str] = []
    if offset_ms is None:
        measured = measured or lips.measure(job.path, progress)
        task, warnings = _measured_task(job, lips, measured)
        plan = task.plan()
    result = FixResult(
        file=str(job.path),
        action="planned",
        output=plan.output,
        offset_ms=task.offset_ms,
        plan=plan,
        measured=measured,
        warnings=tuple(warnings),
    )
    return result, task


def _written(
    job: _Job, lips: Lips, planned: FixResult, task: Task, stages: _Stages, verify: bool | None
) -> FixResult:
    """Write the result, and measure it before it gets its name."""
    verify = verify if verify is not None else planned.measured is not None
    with _writing(job) as temporary:
        result = job.write(task, temporary, planned, stages.writing)
        if not verify:
            return result
        parts = not task.curve.is_constant
        return lips.verify(result, temporary, stages.verifying, parts=parts)


def _measured_task(job: _Job, lips: Lips, measured: OffsetResult) -> tuple[Task, list[str]]:
    """The task that a measurement asks for, and what to warn of."""
    offset_ms = lips.trusted_ms(measured)
    curve = curve_of(measured, piecewise=job.ways.piecewise)
    if curve.steps_s:
        curve = placed(curve, measured, loudness(job.path, lips.options.audio_track))
    if not curve.is_constant:
        return job.task(curve, offset_ms), list(measured.warnings)
    warnings = list(lips.uneven(measured, offset_ms))
    if is_negligible(measured):
        warnings.append(f"the drift of {measured.drift_ppm:+.0f} ppm is too small to take out")
    return job.task(curve, offset_ms), warnings


def _is_in_sync(planned: FixResult, curve: OffsetCurve, min_offset_ms: float) -> bool:
    """Whether there is nothing to repair, or nothing that the container could store."""
    if not curve.is_constant:
        assert planned.measured is not None
        return abs(planned.measured.worst_ms) < min_offset_ms
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

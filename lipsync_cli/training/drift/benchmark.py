"""Drift and steps: what was planted, what is measured, what a repair leaves."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lipsync_cli.detect import detect_offset
from lipsync_cli.errors import NotTrustworthy
from lipsync_cli.fix import fix_sync
from lipsync_cli.media.offset_curve import OffsetCurve
from lipsync_cli.media.silence import Loudness, loudness
from lipsync_cli.repair.curve import curve_of, placed
from lipsync_cli.results import OffsetResult
from lipsync_cli.training.drift.programme import Planted, read_person, write_programme

Log = Callable[[str], None]

# Sound this close to its picture counts as repaired.
REPAIRED_MS = 20.0
_LOOK_S = 0.02
# A step this near to a planted one is the same; so far from it, joints do no harm.
_FOUND_S, _BESIDE_S = 2.0, 5.0


@dataclass(frozen=True)
class StepRow:
    """A step that was planted, and the nearest one that was found.

    Attributes:
        error_s, error_ms: of its time and of its size; None where nothing was found near.
        wrong_s: how long the sound is off by more than 20 ms around it after the repair.
        wrong_spoken_s: how much of that is speech; the rest nobody hears.
    """

    time_s: float
    size_ms: float
    error_s: float | None
    error_ms: float | None
    wrong_s: float | None = None
    wrong_spoken_s: float | None = None


@dataclass(frozen=True)
class DriftRow:
    """One programme.

    Attributes:
        found_ppm: None where no drift was found; interval_ppm: 95 %.
        false_steps: steps that were found where none was planted.
        bias_ms: offset that the repair leaves throughout: the clips' own offsets are not known
            any better. What follows, and what is left at steps, is beside it.
        worst_ms: largest offset left after the repair, beside the joints.
        measured_worst_ms: the same as the lips tell, by segment.
        detect_s, fix_s: wall time, in memory that of the process; the repair's covers
            measuring what it wrote.
        peak_mb: of the process so far.
        name: of the programme or its first clip.
    """

    duration_s: float
    planted_ppm: float
    found_ppm: float | None
    interval_ppm: tuple[float, float] | None
    pattern: str | None
    steps: tuple[StepRow, ...]
    worst_ms: float | None
    measured_worst_ms: float | None
    detect_s: float
    fix_s: float | None
    peak_mb: float
    false_steps: int = 0
    bias_ms: float | None = None
    name: str = "programme"


def benchmark(
    clips: Sequence[tuple[Path, float]],
    folder: Path,
    duration_s: float,
    planted: Planted,
    *,
    log: Log = lambda line: None,
) -> DriftRow:
    """Write a programme of clips, measure it, repair it, and compare with what was planted.

    Args:
        clips: (path, its own lag in ms as in lags.csv) of the people who speak in turn.
        folder: keeps the programme and its repaired copy.
    """
    path, target = folder / "programme.mp4", folder / "programme.synced.mp4"
    people = [read_person(clip, lag_ms) for clip, lag_ms in clips]
    written_s = write_programme(people, duration_s, planted, path)
    log(f"{path.name}: {written_s:.0f} s of {len(people)} people, {_peak_mb():.0f} MB so far")
    del people
    began = time.perf_counter()
    measured = detect_offset(path)
    detect_s = time.perf_counter() - began
    log(f"measured in {detect_s:.0f} s: {measured.pattern}, {measured.drift_ppm} ppm")
    if measured.offset_ms is None:
        return compared(written_s, planted, measured, detect_s)
    began = time.perf_counter()
    fixed = fix_sync(path, output=target, measured=measured, piecewise=True, overwrite=True)
    fix_s = time.perf_counter() - began
    heard = loudness(path)
    applied = repair_of(measured, heard)
    left = [s.offset_ms for s in fixed.residuals if s.offset_ms is not None]
    left += [] if fixed.residual_ms is None or left else [fixed.residual_ms]
    worst = max(left, key=abs, default=None)
    row = compared(written_s, planted, measured, detect_s, applied=applied, heard=heard)
    return replace(row, measured_worst_ms=worst, fix_s=round(fix_s, 1), peak_mb=round(_peak_mb()))


def repair_of(measured: OffsetResult, heard: Loudness) -> OffsetCurve | None:
    """What `fix_sync` takes out of sound with this loudness; None where it refuses."""
    if measured.offset_ms is None:
        return None
    try:
        curve = curve_of(measured, piecewise=True)
    except NotTrustworthy:
        return None
    return placed(curve, measured, heard) if curve.steps_s else curve


def compared(
    duration_s: float,
    planted: Planted,
    measured: OffsetResult,
    detect_s: float,
    *,
    applied: OffsetCurve | None = None,
    heard: Loudness | None = None,
) -> DriftRow:
    """Compare a measurement with what was planted.

    Args:
        applied: what the repair takes out, if there is one.
        heard: loudness of the sound before the repair.
    """
    steps = tuple(_step(time_s, size_ms, measured) for time_s, size_ms in planted.steps)
    found = sum(step.error_s is not None for step in steps)
    worst_ms = bias_ms = None
    if applied is not None:
        steps, worst_ms, bias_ms = _left_over(steps, planted, applied, duration_s, heard)
    return DriftRow(
        duration_s=round(duration_s, 1),
        planted_ppm=planted.drift_ppm,
        found_ppm=measured.drift_ppm,
        interval_ppm=measured.drift_interval_ppm,
        pattern=measured.pattern,
        steps=steps,
        worst_ms=worst_ms,
        measured_worst_ms=None,
        detect_s=round(detect_s, 1),
        fix_s=None,
        peak_mb=round(_peak_mb()),
        false_steps=max(0, len(measured.steps) - found),
        bias_ms=bias_ms,
    )


def _step(time_s: float, size_ms: float, measured: OffsetResult) -> StepRow:
    near = [step for step in measured.steps if abs(step.time_s - time_s) < _FOUND_S]
    if not near:
        return StepRow(time_s, size_ms, None, None)
    found = min(near, key=lambda step: abs(step.time_s - time_s))
    errors = found.time_s - time_s, found.size_ms - size_ms
    return StepRow(time_s, size_ms, round(errors[0], 2), round(errors[1], 1))


def _left_over(
    steps: tuple[StepRow, ...],
    planted: Planted,
    applied: OffsetCurve,
    duration_s: float,
    heard: Loudness | None,
) -> tuple[tuple[StepRow, ...], float, float]:
    """Steps with what is wrong around them, and the largest offset elsewhere, beside a bias."""
    time_s = np.arange(0.0, duration_s, _LOOK_S)
    taken_ms = np.array([1000 * applied.offset_s(t) for t in time_s.tolist()])
    planted_ms = planted.offset_at(time_s)
    bias_ms = float(np.median(planted_ms - taken_ms))
    left_ms = np.abs(planted_ms - taken_ms - bias_ms)
    spoken = heard.is_spoken(time_s - planted_ms / 1000) if heard is not None else None
    near = np.zeros(len(time_s), bool)
    found = []
    for step in steps:
        beside = np.abs(time_s - step.time_s) < _BESIDE_S
        wrong = beside & (left_ms > REPAIRED_MS)
        wrong_s = round(float(wrong.sum()) * _LOOK_S, 2)
        said_s = None if spoken is None else round(float((wrong & spoken).sum()) * _LOOK_S, 2)
        found.append(replace(step, wrong_s=wrong_s, wrong_spoken_s=said_s))
        near |= beside
    return tuple(found), round(float(left_ms[~near].max()), 1), round(bias_ms, 1)


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / 1024

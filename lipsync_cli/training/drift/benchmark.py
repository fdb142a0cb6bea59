"""Drift and steps in long programmes: what was planted, what is measured, what a repair leaves."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lipsync_cli.detect import detect_offset
from lipsync_cli.fix import fix_sync
from lipsync_cli.media.offset_curve import OffsetCurve
from lipsync_cli.media.silence import loudness
from lipsync_cli.repair.curve import curve_of, placed
from lipsync_cli.results import OffsetResult
from lipsync_cli.training.drift.programme import Planted, read_person, write_programme

Log = Callable[[str], None]

# Sound this close to its picture counts as repaired.
REPAIRED_MS = 20.0
_LOOK_S = 0.05
# A step this near to a planted one is the same; so far from it, joints do no harm.
_FOUND_S, _BESIDE_S = 2.0, 5.0


@dataclass(frozen=True)
class StepRow:
    """A step that was planted, and the nearest one that was found.

    Attributes:
        error_s, error_ms: of its time and of its size; None where nothing was found near.
        wrong_s: how long the sound is off by more than 20 ms around it after the repair.
    """

    time_s: float
    size_ms: float
    error_s: float | None
    error_ms: float | None
    wrong_s: float | None = None


@dataclass(frozen=True)
class DriftRow:
    """One programme.

    Attributes:
        found_ppm: None where no drift was found; interval_ppm: 95 %.
        worst_ms: largest offset left after the repair, beside the joints.
        measured_worst_ms: the same as the lips tell, by segment.
        detect_s, fix_s: wall time; the repair's covers measuring what it wrote.
        peak_mb: of the process so far.
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


def benchmark(
    clips: Sequence[tuple[Path, float]],
    folder: Path,
    duration_s: float,
    planted: Planted,
    *,
    name: str = "programme",
    repair: bool = True,
    log: Log = lambda line: None,
) -> DriftRow:
    """Write a programme of clips, measure it, repair it, and compare with what was planted.

    Args:
        clips: (path, its own lag in ms as in lags.csv) of the people who speak in turn.
        folder: keeps the programme and its repaired copy.
    """
    path, target = folder / f"{name}.mp4", folder / f"{name}.synced.mp4"
    people = [read_person(clip, lag_ms) for clip, lag_ms in clips]
    written_s = write_programme(people, duration_s, planted, path)
    log(f"{path.name}: {written_s:.0f} s of {len(people)} people, {_peak_mb():.0f} MB so far")
    del people
    began = time.perf_counter()
    measured = detect_offset(path)
    detect_s = time.perf_counter() - began
    log(f"measured in {detect_s:.0f} s: {measured.pattern}, {measured.drift_ppm} ppm")
    if not repair or measured.offset_ms is None:
        return _row(written_s, planted, measured, detect_s)
    began = time.perf_counter()
    fixed = fix_sync(path, output=target, measured=measured, piecewise=True, overwrite=True)
    fix_s = time.perf_counter() - began
    applied = _applied(path, measured)
    left = [s.offset_ms for s in fixed.residuals if s.offset_ms is not None]
    left += [] if fixed.residual_ms is None or left else [fixed.residual_ms]
    worst = max(left, key=abs, default=None)
    return _row(written_s, planted, measured, detect_s, applied, worst, fix_s)


def table(rows: Sequence[DriftRow]) -> list[str]:
    """Rows of Markdown, a programme each and a step each."""
    lines = ["| programme | planted | found | 95 % | worst offset left | detect | fix | peak |"]
    lines += ["|---" * 8 + "|"]
    for row in rows:
        found = "none" if row.found_ppm is None else f"{row.found_ppm:+.1f} ppm"
        span = "-" if row.interval_ppm is None else "{:.1f} to {:.1f}".format(*row.interval_ppm)
        left = "-" if row.worst_ms is None else f"{row.worst_ms:.1f} ms"
        fix = "-" if row.fix_s is None else f"{row.fix_s:.0f} s"
        lines.append(
            f"| {row.duration_s / 60:.0f} min | {row.planted_ppm:+.0f} ppm | {found} | {span}"
            f" | {left} | {row.detect_s:.0f} s | {fix} | {row.peak_mb:.0f} MB |"
        )
    steps = [step for row in rows for step in row.steps]
    if steps:
        lines += ["", "| step at | size | time off by | size off by | wrong after the repair |"]
        lines += ["|---" * 5 + "|"]
    for step in steps:
        lines.append(
            f"| {step.time_s:.1f} s | {step.size_ms:+.0f} ms | {_signed(step.error_s, 's')}"
            f" | {_signed(step.error_ms, 'ms')} | {_signed(step.wrong_s, 's')} |"
        )
    return lines


def record(rows: Sequence[DriftRow]) -> dict[str, Any]:
    """Rows for JSON."""
    return {"programmes": [asdict(row) for row in rows]}


def _signed(value: float | None, unit: str) -> str:
    return "not found" if value is None else f"{value:.2f} {unit}"


def _row(
    duration_s: float,
    planted: Planted,
    measured: OffsetResult,
    detect_s: float,
    applied: OffsetCurve | None = None,
    measured_worst_ms: float | None = None,
    fix_s: float | None = None,
) -> DriftRow:
    steps = tuple(_step(time_s, size_ms, measured) for time_s, size_ms in planted.steps)
    worst_ms = None
    if applied is not None:
        steps, worst_ms = _left_over(steps, planted, applied, duration_s)
    return DriftRow(
        duration_s=round(duration_s, 1),
        planted_ppm=planted.drift_ppm,
        found_ppm=measured.drift_ppm,
        interval_ppm=measured.drift_interval_ppm,
        pattern=measured.pattern,
        steps=steps,
        worst_ms=worst_ms,
        measured_worst_ms=measured_worst_ms,
        detect_s=round(detect_s, 1),
        fix_s=None if fix_s is None else round(fix_s, 1),
        peak_mb=round(_peak_mb()),
    )


def _step(time_s: float, size_ms: float, measured: OffsetResult) -> StepRow:
    near = [step for step in measured.steps if abs(step.time_s - time_s) < _FOUND_S]
    if not near:
        return StepRow(time_s, size_ms, None, None)
    found = min(near, key=lambda step: abs(step.time_s - time_s))
    errors = found.time_s - time_s, found.size_ms - size_ms
    return StepRow(time_s, size_ms, round(errors[0], 2), round(errors[1], 1))


def _applied(path: Path, measured: OffsetResult) -> OffsetCurve:
    """What the repair took out: the same as `fix_sync` chooses."""
    curve = curve_of(measured, piecewise=True)
    return placed(curve, measured, loudness(path)) if curve.steps_s else curve


def _left_over(
    steps: tuple[StepRow, ...], planted: Planted, applied: OffsetCurve, duration_s: float
) -> tuple[tuple[StepRow, ...], float]:
    """Steps with what is wrong around them, and the largest offset elsewhere, both exactly."""
    time_s = np.arange(0.0, duration_s, _LOOK_S)
    taken_ms = np.array([1000 * applied.offset_s(t) for t in time_s.tolist()])
    left_ms = np.abs(planted.offset_at(time_s) - taken_ms)
    near = np.zeros(len(time_s), bool)
    found = []
    for step in steps:
        beside = np.abs(time_s - step.time_s) < _BESIDE_S
        wrong_s = float((left_ms[beside] > REPAIRED_MS).sum()) * _LOOK_S
        found.append(StepRow(**{**asdict(step), "wrong_s": round(wrong_s, 2)}))
        near |= beside
    return tuple(found), round(float(left_ms[~near].max()), 1)


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / 1024

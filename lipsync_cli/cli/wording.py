"""Results in words. Nothing here prints."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lipsync_cli.scoring.timecode import timecode
from lipsync_cli.text import printable

if TYPE_CHECKING:
    from lipsync_cli.results import FixPlan, FixResult, OffsetResult, Segment
    from lipsync_cli.scoring.tolerance import Tolerance

SEGMENT_HEADS = ("from", "to", "audio", "95 %", "p")
STEP_HEADS = ("step at", "not before", "not after", "audio")
# A line that lists more offsets than this is no help.
_MOST_PARTS = 4


def offset_line(result: OffsetResult, tolerance: Tolerance | None = None) -> str:
    """One line for one file: `clip.mp4: audio early by 120 ms (112..128 ms, ...)`."""
    name = printable(result.file)
    if result.offset_ms is None:
        return f"{name}: cannot tell: {printable(result.reason or 'no reason given')}"
    course = _course(result) if changes(result) else _direction(result)
    line = f"{name}: {course} ({', '.join(_details(result))})"
    return line if tolerance is None else f"{line}, {_verdict(result.worst_ms, tolerance)}"


def changes(result: OffsetResult) -> bool:
    """Whether the offset changes in a way that is known."""
    return result.pattern in ("drift", "steps")


def fix_line(result: FixResult) -> str:
    """One line for one file: `clip.mp4: audio delayed by 120 ms -> clip.synced.mp4 (...)`."""
    name = printable(result.file)
    if result.action == "in_sync":
        measured = result.measured and result.measured.interval_ms
        interval = f" ({interval_words(measured)})" if measured else ""
        return f"{name}: in sync, {early_or_late(result.offset_ms)}{interval}: nothing to repair"
    line = f"{name}: {_repair(result)}"
    target = f" -> {printable(result.output)}" if result.output else ""
    checks = _checks(result)
    return f"{line}{target}" + (f" ({', '.join(checks)})" if checks else "")


def early_or_late(offset_ms: float) -> str:
    """An offset in words, as in "audio early by 120 ms"."""
    side = "early" if offset_ms >= 0 else "late"
    return f"audio {side} by {milliseconds(abs(offset_ms))} ms"


def interval_words(interval_ms: tuple[float, float]) -> str:
    """An interval in the direction of its offset, or both directions where it holds 0."""
    low, high = interval_ms
    if low < 0 < high:
        return f"{milliseconds(-low)} ms late to {milliseconds(high)} ms early"
    near, far = sorted((abs(low), abs(high)))
    return f"{milliseconds(near)}..{milliseconds(far)} ms"


def milliseconds(value: float) -> str:
    """Whole milliseconds; tenths below ten, where they matter."""
    if abs(value) >= 9.95:
        return f"{value:.0f}"
    return f"{value:.1f}".removesuffix(".0")


def probability(value: float) -> str:
    """Two digits, rounded down: 0.999 is not yet 1."""
    return f"{math.floor(value * 100 + 1e-9) / 100:.2f}"


def track_rows(result: OffsetResult) -> Iterable[tuple[str, ...]]:
    """Cells for one table row per face track."""
    for track in result.tracks:
        span = (timecode(at, result.frame_rate) for at in (track.start_s, track.end_s))
        yield (str(track.track), *span, str(track.frames), *_cells(track))


def segment_rows(result: OffsetResult) -> Iterable[tuple[str, ...]]:
    """Cells for one table row per segment of the programme."""
    unknown = "not measurable" if changes(result) else "cannot tell"
    return stretch_rows(result.segments, result.frame_rate, unknown)


def stretch_rows(
    segments: Iterable[Segment], frame_rate: float | None, unknown: str = "not measurable"
) -> Iterable[tuple[str, ...]]:
    """Cells for one table row per stretch of time."""
    for segment in segments:
        span = (timecode(at, frame_rate) for at in (segment.start_s, segment.end_s))
        yield (*span, *_cells(segment, unknown))


def step_rows(result: OffsetResult) -> Iterable[tuple[str, ...]]:
    """Cells for one table row per step of the offset."""
    for step in result.steps:
        times = (step.time_s, step.earliest_s, step.latest_s)
        side = "earlier" if step.size_ms > 0 else "later"
        size = f"{milliseconds(abs(step.size_ms))} ms {side}"
        yield (*(timecode(at, result.frame_rate) for at in times), size)


def _cells(part: Any, unknown: str = "cannot tell") -> tuple[str, str, str]:
    if part.offset_ms is None:
        return (unknown, "", probability(part.probability))
    interval = interval_words(part.interval_ms) if part.interval_ms else ""
    return (_side(part.offset_ms), interval, probability(part.probability))


def _direction(result: OffsetResult) -> str:
    words = early_or_late(result.offset_ms or 0.0)
    return f"in sync, {words}" if result.direction == "in sync" else words


def _course(result: OffsetResult) -> str:
    """What an offset does that changes, as in "audio drifts from 16 ms late to 44 ms early"."""
    offsets = [s.offset_ms for s in result.segments if s.offset_ms is not None]
    if not offsets:
        return _direction(result)
    if result.pattern == "drift":
        known = [s for s in result.segments if s.offset_ms is not None]
        ends = (known[0], known[0].start_s), (known[-1], known[-1].end_s)
        return "audio drifts from {} to {}".format(
            *(_side(result.offset_at(s, t)) for s, t in ends)
        )
    count = len(result.steps)
    steps = "step" if count == 1 else "steps"
    if count < _MOST_PARTS and len(offsets) == count + 1:
        return f"audio offset changes in {count} {steps}: {', '.join(map(_side, offsets))}"
    extremes = f"between {_side(min(offsets))} and {_side(max(offsets))}"
    return f"audio offset changes in {count} {steps}, {extremes}"


def _side(offset_ms: float) -> str:
    return f"{milliseconds(abs(offset_ms))} ms {'early' if offset_ms >= 0 else 'late'}"


def _repair(result: FixResult) -> str:
    done = "would be" if result.action == "planned" else "is"
    plan = result.plan
    if plan is not None and plan.steps_s:
        drift = f", a drift of {plan.drift_ppm:+.1f} ppm taken out" if plan.drift_ppm else ""
        return f"audio {done} moved in {len(plan.steps_s) + 1} parts{drift}"
    if plan is not None and plan.drift_ppm:
        return f"a drift of {plan.drift_ppm:+.1f} ppm {done} taken out of the {_stretched(plan)}"
    moved = "delayed" if result.offset_ms >= 0 else "advanced"
    return f"audio {done} {moved} by {milliseconds(abs(result.offset_ms))} ms"


def _stretched(plan: FixPlan) -> str:
    return "audio" if plan.method == "samples" else "picture"


def _details(result: OffsetResult) -> Iterable[str]:
    if changes(result):
        if result.drift_ppm is not None:
            low, high = result.drift_interval_ppm or (result.drift_ppm,) * 2
            yield f"drift {result.drift_ppm:+.1f} ppm, {low:+.1f}..{high:+.1f}"
        yield f"p = {probability(result.probability)}"
        return
    if result.interval_ms is not None:
        yield interval_words(result.interval_ms)
    if result.offset_frames is not None and result.frame_rate:
        rate = f"{result.frame_rate:.3f}".rstrip("0").rstrip(".")
        yield f"{abs(result.offset_frames):.1f} frames at {rate} fps"
    yield f"p = {probability(result.probability)}"


def _verdict(offset_ms: float, tolerance: Tolerance) -> str:
    side = "within" if tolerance.allows(offset_ms) else "OUT OF"
    early, late = milliseconds(tolerance.early_ms), milliseconds(tolerance.late_ms)
    return f"{side} {tolerance.name} tolerance ({early} ms early to {late} ms late)"


def _checks(result: FixResult) -> list[str]:
    checks = []
    plan = result.plan
    moved_at_once = plan is None or (not plan.steps_s and plan.drift_ppm is None)
    if result.applied_ms is not None and moved_at_once:
        checks.append(f"found in the file: {result.applied_ms:+.1f} ms")
    if result.residual_ms is not None:
        checks.append(f"re-measured: {early_or_late(result.residual_ms)}")
    left = [s.offset_ms for s in result.residuals if s.offset_ms is not None]
    if left:
        checks.append(f"at worst {_side(max(left, key=abs))}")
    if result.action == "planned" and plan is not None:
        checks.append(f"{plan.method}, {plan.container}")
    return checks

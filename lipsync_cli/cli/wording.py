"""Results in words. Nothing here prints."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from lipsync_cli.results import FixResult, OffsetResult
from lipsync_cli.scoring.tolerance import Tolerance

# SMPTE 12M: these rates drop frame numbers (not frames) to keep up with the clock.
_DROP_RATES = {30: 2, 60: 4}


def printable(text: str) -> str:
    """Escape whatever could steer a terminal: control characters, bidirectional overrides."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def offset_line(result: OffsetResult, tolerance: Tolerance | None = None) -> str:
    """One line for one file: `clip.mp4: audio early by 120 ms (112..128 ms, ...)`."""
    name = printable(result.file)
    if result.offset_ms is None:
        return f"{name}: cannot tell: {printable(result.reason or 'no reason given')}"
    line = f"{name}: {_direction(result)} ({', '.join(_details(result))})"
    return line if tolerance is None else f"{line}, {_verdict(result.offset_ms, tolerance)}"


def fix_line(result: FixResult) -> str:
    """One line for one file: `clip.mp4: audio delayed by 120 ms -> clip.synced.mp4 (...)`."""
    name = printable(result.file)
    if result.action == "in_sync":
        measured = result.measured and result.measured.interval_ms
        interval = f" ({interval_words(measured)})" if measured else ""
        return f"{name}: in sync, {early_or_late(result.offset_ms)}{interval}: nothing to repair"
    done = "would be" if result.action == "planned" else "is"
    moved = "delayed" if result.offset_ms >= 0 else "advanced"
    line = f"{name}: audio {done} {moved} by {milliseconds(abs(result.offset_ms))} ms"
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


def timecode(time_s: float, frame_rate: float | None) -> str:
    """HH:MM:SS:FF from the start of the file; `;` marks drop-frame, `.` milliseconds."""
    if not frame_rate or frame_rate < 2:
        whole_ms = round(max(time_s, 0.0) * 1000)
        return f"{_clock(whole_ms // 1000)}.{whole_ms % 1000:03d}"
    base = round(frame_rate)
    number = round(max(time_s, 0.0) * frame_rate)
    dropping = base in _DROP_RATES and abs(frame_rate * 1.001 - base) < 1e-3
    if dropping:
        number = _with_dropped_numbers(number, base)
    mark = ";" if dropping else ":"
    return f"{_clock(number // base)}{mark}{number % base:02d}"


def track_rows(result: OffsetResult) -> Iterable[tuple[str, ...]]:
    """Cells for one table row per face track."""
    for track in result.tracks:
        span = (timecode(at, result.frame_rate) for at in (track.start_s, track.end_s))
        yield (str(track.track), *span, str(track.frames), *_cells(track))


def segment_rows(result: OffsetResult) -> Iterable[tuple[str, ...]]:
    """Cells for one table row per segment of the programme."""
    for segment in result.segments:
        span = (timecode(at, result.frame_rate) for at in (segment.start_s, segment.end_s))
        yield (*span, *_cells(segment))


def _cells(part: Any) -> tuple[str, str, str]:
    if part.offset_ms is None:
        return ("cannot tell", "", probability(part.probability))
    interval = interval_words(part.interval_ms) if part.interval_ms else ""
    side = "early" if part.offset_ms >= 0 else "late"
    offset = f"{milliseconds(abs(part.offset_ms))} ms {side}"
    return (offset, interval, probability(part.probability))


def _direction(result: OffsetResult) -> str:
    words = early_or_late(result.offset_ms or 0.0)
    return f"in sync, {words}" if result.direction == "in sync" else words


def _details(result: OffsetResult) -> Iterable[str]:
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
    if result.applied_ms is not None:
        checks.append(f"found in the file: {result.applied_ms:+.1f} ms")
    if result.residual_ms is not None:
        checks.append(f"re-measured: {early_or_late(result.residual_ms)}")
    if result.action == "planned" and result.plan is not None:
        checks.append(f"{result.plan.method}, {result.plan.container}")
    return checks


def _with_dropped_numbers(number: int, base: int) -> int:
    """Frame count -> frame number of drop-frame timecode (SMPTE 12M)."""
    drop = _DROP_RATES[base]
    per_minute = base * 60 - drop
    tens, rest = divmod(number, per_minute * 10 + drop)
    minutes = 0 if rest < base * 60 else 1 + (rest - base * 60) // per_minute
    return number + drop * (9 * tens + minutes)


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"

"""Pass, fail or not checkable: what a measurement says about limits.

A measurement is an interval, and the limits are another one:

    inside                 pass
    outside                fail
    across a limit         the offset decides, and the verdict is marked as borderline;
                           not checkable where the limits are closer together than the
                           interval is wide, because then nothing could ever pass for sure

Any stretch of the programme that is surely outside fails the whole file. A stretch that is
outside by its offset alone, or with a probability below `SURE`, only makes it borderline:
in a long programme some of the many stretches are wrong by chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from lipsync_cli.errors import UsageError
from lipsync_cli.results import OffsetResult, Outcome, OutOfLimits, ScoreResult, Segment, Verdict
from lipsync_cli.scoring.timecode import timecode
from lipsync_cli.scoring.tolerance import Tolerance, parse_tolerance

# One frame at 25 fps, either way: what "in sync" means without a standard.
IN_SYNC = Tolerance(40.0, 40.0, "in sync")
SURE = 0.95
_Z95 = 1.959964
_WORST: tuple[Outcome, ...] = ("fail", "not_checkable", "pass")

Interval = tuple[float, float]


class _Reading(NamedTuple):
    """What limits say about one interval."""

    outcome: Outcome
    borderline: bool = False


def judged(result: ScoreResult, tolerances: Iterable[str]) -> ScoreResult:
    """Give a result its verdicts, by the limits as they were asked for.

    Raises:
        UsageError: one of them is no tolerance.
    """
    return replace(result, verdicts={text: judge(result, text) for text in tolerances})


def judge(result: ScoreResult, text: str) -> Verdict:
    """Judge one file by a tolerance as `parse_tolerance` reads it."""
    try:
        limits = parse_tolerance(text, result.frame_rate)
    except UsageError as error:
        if result.frame_rate is None and parse_tolerance(text, 25.0):
            return Verdict("not_checkable", reason=error.message)
        raise
    ranges = tuple(_out(result.segments, result, limits))
    if not ranges:
        # No stretch is known to be out; all of them together may be.
        ranges = tuple(_out([_as_segment(result)], result, limits))
    verdict = Verdict(
        *_whole(result, limits, ranges),
        probability=_rounded(probability_inside(result, limits)),
        ranges=ranges,
    )
    return replace(verdict, reason=_reason(verdict, result))


def inside(offset_ms: float, interval_ms: Interval, limits: Tolerance) -> float:
    """Probability that an offset known by its 95 % interval is inside limits.

    The interval is read as that of a normal distribution around the offset.
    """
    sigma = max((interval_ms[1] - interval_ms[0]) / (2 * _Z95), 1e-6)
    return _normal((limits.early_ms - offset_ms) / sigma) - _normal(
        (-limits.late_ms - offset_ms) / sigma
    )


def probability_inside(result: OffsetResult | ScoreResult, limits: Tolerance) -> float | None:
    """Probability that the offset is inside limits; None where it cannot be told.

    It is the calibrated probability that the measurement is right, times `inside`. Where the
    offset changes, it is the mean over the measured stretches, weighted by their length.
    """
    parts = _parts(result)
    if not parts:
        return None
    total = sum(part.weight for part in parts)
    return sum(
        part.weight * part.probability * inside(part.offset_ms, part.interval_ms, limits)
        for part in parts
    ) / max(total, 1e-9)


class _Part(NamedTuple):
    """A stretch with a known offset; its weight is its length in seconds."""

    weight: float
    offset_ms: float
    interval_ms: Interval
    probability: float


def _parts(result: OffsetResult | ScoreResult) -> list[_Part]:
    """What a programme is judged by: all of it, or its stretches where its offset changes."""
    if result.offset_ms is None or result.interval_ms is None:
        return []
    whole = _Part(1.0, result.offset_ms, result.interval_ms, result.probability)
    return (list(_known(result.segments)) if _changes(result) else []) or [whole]


def _changes(result: OffsetResult | ScoreResult) -> bool:
    return result.pattern not in (None, "constant")


def _known(segments: Sequence[Segment]) -> Iterator[_Part]:
    for part in segments:
        if part.offset_ms is not None and part.interval_ms is not None:
            yield _Part(
                part.end_s - part.start_s, part.offset_ms, part.interval_ms, part.probability
            )


def _whole(
    result: ScoreResult, limits: Tolerance, ranges: tuple[OutOfLimits, ...]
) -> tuple[Outcome, float, float, bool]:
    """Outcome, the limits, and whether it is borderline."""
    reading = _Reading("not_checkable")
    if any(part.certain for part in ranges):
        reading = _Reading("fail")
    elif parts := _parts(result):
        readings = [_read(part.offset_ms, part.interval_ms, limits) for part in parts]
        reading = min(readings, key=lambda each: (_WORST.index(each.outcome), not each.borderline))
    # Nothing of it is surely out.
    doubtful = bool(ranges) and (reading.outcome == "pass" or _changes(result))
    borderline = reading.borderline or (doubtful and not any(part.certain for part in ranges))
    return reading.outcome, limits.early_ms, limits.late_ms, borderline


def _read(offset_ms: float, interval_ms: Interval | None, limits: Tolerance) -> _Reading:
    low, high = interval_ms or (offset_ms, offset_ms)
    if -limits.late_ms <= low and high <= limits.early_ms:
        return _Reading("pass")
    if low > limits.early_ms or high < -limits.late_ms:
        return _Reading("fail")
    if high - low > limits.early_ms + limits.late_ms:
        return _Reading("not_checkable")
    return _Reading("pass" if limits.allows(offset_ms) else "fail", borderline=True)


def _out(parts: Sequence[Segment], result: ScoreResult, limits: Tolerance) -> Iterator[OutOfLimits]:
    """The stretches that are out."""
    for part in parts:
        if part.offset_ms is None:
            continue
        reading = _read(part.offset_ms, part.interval_ms, limits)
        if reading.outcome != "fail":
            continue
        # Evidence is summed by the second, and may reach beyond the last picture.
        end_s = min(part.end_s, result.duration_s or part.end_s)
        # A file of one stretch was already found trustworthy as a whole.
        sure = part.probability >= SURE or len(parts) == 1
        yield OutOfLimits(
            part.start_s,
            end_s,
            timecode(part.start_s, result.frame_rate),
            timecode(end_s, result.frame_rate),
            part.offset_ms,
            part.interval_ms,
            certain=sure and not reading.borderline,
        )


def _as_segment(result: ScoreResult) -> Segment:
    end_s = result.duration_s or 0.0
    return Segment(0.0, end_s, result.offset_ms, result.interval_ms, result.probability)


def _reason(verdict: Verdict, result: ScoreResult) -> str | None:
    """Why, in words."""
    if verdict.outcome == "not_checkable":
        return _why_not_checkable(verdict, result)
    if verdict.outcome == "pass":
        doubt = "a stretch may be out" if verdict.ranges else "the interval reaches over a limit"
        return doubt if verdict.borderline else None
    if verdict.borderline:
        return "out by its offset; the interval reaches back over the limit"
    certain = [part for part in verdict.ranges if part.certain]
    return f"{len(certain)} stretches are out" if len(certain) > 1 else "out of the limits"


def _why_not_checkable(verdict: Verdict, result: ScoreResult) -> str:
    if result.offset_ms is None or result.interval_ms is None:
        return result.reason or "the offset cannot be told"
    half = (result.interval_ms[1] - result.interval_ms[0]) / 2
    apart = (verdict.early_ms or 0.0) + (verdict.late_ms or 0.0)
    return f"known to ±{half:.0f} ms only, and the limits are {apart:g} ms apart"


def _normal(z: float) -> float:
    """Distribution function of the standard normal distribution."""
    return 0.5 * math.erfc(-z / math.sqrt(2))


def _rounded(probability: float | None) -> float | None:
    return None if probability is None else round(probability, 4)

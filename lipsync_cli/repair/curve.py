"""From a measurement to the curve of offsets that a repair takes out."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from lipsync_cli.errors import NotTrustworthy
from lipsync_cli.media.offset_curve import OffsetCurve, Piece
from lipsync_cli.media.resample import FADE_S
from lipsync_cli.media.silence import Loudness
from lipsync_cli.results import OffsetResult, Segment

# A drift that changes the offset by less, from beginning to end, is not worth resampling.
NEGLIGIBLE_MS = 20.0
# No silence is needed that is longer than this.
_LONGEST_SILENCE_S = 1.0


def curve_of(measured: OffsetResult, *, piecewise: bool) -> OffsetCurve:
    """The offsets of a trusted measurement as a curve.

    Args:
        piecewise: allow more than one piece.

    Raises:
        NotTrustworthy: the offset changes in steps and `piecewise` does not allow them, or it
            changes in a way that no curve describes.
    """
    assert measured.offset_ms is not None
    if measured.pattern == "unclear":
        raise NotTrustworthy(
            "the offset changes in a way that no few numbers describe",
            path=measured.file,
            hint="look at the segments (detect-offset -v), and give --offset if one is right",
        )
    if measured.pattern == "steps" and not piecewise:
        count = len(measured.steps)
        raise NotTrustworthy(
            f"the offset changes at {count} {'place' if count == 1 else 'places'}:"
            " one shift cannot repair the whole programme",
            path=measured.file,
            hint="--piecewise moves each part by its own offset",
        )
    if measured.pattern not in ("drift", "steps") or is_negligible(measured):
        return OffsetCurve.constant(measured.offset_ms)
    return OffsetCurve(tuple(_pieces(measured)))


def is_negligible(measured: OffsetResult) -> bool:
    """Whether a drift without steps is too little to be worth a repair of its own."""
    if measured.pattern != "drift" or not measured.segments:
        return False
    length_s = measured.segments[-1].end_s - measured.segments[0].start_s
    return abs(measured.drift_ppm or 0.0) * 1e-3 * length_s < NEGLIGIBLE_MS


def placed(curve: OffsetCurve, measured: OffsetResult, sound: Loudness) -> OffsetCurve:
    """Move every step to the best place for a cut near it: sound is inserted or cut out there."""
    pieces = list(curve.pieces)
    for k, step in enumerate(measured.steps[: len(pieces) - 1]):
        old, new = pieces[k].at(step.time_s), pieces[k + 1].at(step.time_s)
        # Around a step, sound from this long before to this long after is heard or left out.
        middle_s, width_s = (old + new) / 2, abs(new - old) + 2 * FADE_S
        span_s = step.earliest_s - middle_s, step.latest_s - middle_s
        joint_s = sound.joint_s(step.time_s - middle_s, span_s, min(width_s, _LONGEST_SILENCE_S))
        pieces[k + 1] = replace(pieces[k + 1], start_s=joint_s + middle_s)
    if any(a.start_s >= b.start_s for a, b in pairwise(pieces)):
        return curve
    return OffsetCurve(tuple(pieces))


def _pieces(measured: OffsetResult) -> Iterator[Piece]:
    slope = (measured.drift_ppm or 0.0) * 1e-6
    starts = [min(0.0, measured.segments[0].start_s)]
    for step in measured.steps:
        starts.append(max(step.time_s, starts[-1] + FADE_S))
    level_s: float | None = None
    for k, start_s in enumerate(starts):
        end_s = starts[k + 1] if k + 1 < len(starts) else float("inf")
        own = [_at_zero_s(s, slope) for s in measured.segments if start_s <= _middle_s(s) < end_s]
        known = [level for level in own if level is not None]
        if known:
            level_s = statistics.median(known)
        elif k and level_s is not None:
            # Nothing can be measured here by itself: what lies before it and the step tell.
            level_s += measured.steps[k - 1].size_ms / 1000
        yield Piece(start_s, level_s if level_s is not None else 0.0, slope)


def _at_zero_s(segment: Segment, slope: float) -> float | None:
    if segment.offset_ms is None:
        return None
    return segment.offset_ms / 1000 - slope * _middle_s(segment)


def _middle_s(segment: Segment) -> float:
    return (segment.start_s + segment.end_s) / 2

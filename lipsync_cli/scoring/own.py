"""The own model's figures for score: never to be taken for LSE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lipsync_cli.results import OffsetResult, ScoreResult
from lipsync_cli.scoring.history import Point, local_offsets, spread_ms, thinned
from lipsync_cli.scoring.verdict import IN_SYNC, probability_inside

if TYPE_CHECKING:
    from lipsync_cli.detect import Evidence, Measurement

TIMELINE_POINTS = 240
# The mean lag matrix of silence is flat: it says nothing for or against any offset. Between
# nine of ten candidates it varies by less than 0.004 there, and by 0.03 and more in speech.
_FLAT = 0.01


def own_figures(measurement: Measurement) -> ScoreResult:
    """Read a measurement (with its evidence) as a score without LSE."""
    found, evidence = measurement.result, measurement.evidence
    points = _timeline(found, evidence)
    return ScoreResult(
        file=found.file,
        status=found.status,
        reason=found.reason,
        offset_ms=found.offset_ms,
        interval_ms=found.interval_ms,
        direction=found.direction,
        probability=found.probability,
        offset_frames=found.offset_frames,
        frame_rate=found.frame_rate,
        probability_in_sync=probability_in_sync(found, evidence),
        spread_ms=spread_ms(points),
        duration_s=found.duration_s,
        measurable_s=found.measurable_s,
        measurable_share=_share(found, evidence),
        pattern=found.pattern,
        drift_ppm=found.drift_ppm,
        steps=found.steps,
        faces=found.tracks,
        segments=found.segments,
        timeline=thinned(points, TIMELINE_POINTS),
        warnings=found.warnings,
    )


def probability_in_sync(found: OffsetResult, evidence: Evidence | None) -> float | None:
    """Probability that the offset is within 40 ms of 0.

    It is the calibrated probability that the model is right, times the mass of its posterior
    inside these limits: of the normal distribution that the calibrated interval stands for,
    or, where the model cannot tell the offset, of the raw posterior over the candidates.
    None where lips and sound could not be compared at all.
    """
    known = probability_inside(found, IN_SYNC)
    if known is not None:
        return round(known, 4)
    if evidence is None or not _says_anything(evidence):
        return None
    near = (evidence.lags_ms >= -IN_SYNC.late_ms) & (evidence.lags_ms <= IN_SYNC.early_ms)
    mass = float(evidence.curve[near].sum() / max(float(evidence.curve.sum()), 1e-6))
    return round(found.probability * mass, 4)


def _says_anything(evidence: Evidence) -> bool:
    known = evidence.diagonal[np.isfinite(evidence.diagonal)]
    if not len(known):
        return False
    low, high = np.percentile(known, [10, 90])
    return float(high - low) > _FLAT


def _timeline(found: OffsetResult, evidence: Evidence | None) -> tuple[Point, ...]:
    """Offsets over time, where any stretch of the programme could be measured."""
    measured = found.offset_ms is not None or any(s.offset_ms is not None for s in found.segments)
    if evidence is None or not measured:
        return ()
    return local_offsets(evidence.rows_s, evidence.matrix, evidence.lags_ms)


def _share(found: OffsetResult, evidence: Evidence | None) -> float | None:
    if not found.duration_s:
        return None
    if found.offset_ms is None and (evidence is None or not _says_anything(evidence)):
        return 0.0
    return round(min(1.0, found.measurable_s / found.duration_s), 4)

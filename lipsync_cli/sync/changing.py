"""The answer for a programme whose offset changes, read along its timeline."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.results import OffsetResult, Segment, direction_of
from lipsync_cli.sync.estimate import Estimate, estimate
from lipsync_cli.sync.evidence import BIN_S, LagEvidence
from lipsync_cli.sync.lag_path import Floats, Seconds
from lipsync_cli.sync.model_file import LoadedModel
from lipsync_cli.sync.timeline import Timeline

Kind = TypeVar("Kind", bound=np.generic)

# Along a drift, a row of the table for so much change, but not for less than so many seconds.
_ROW_MS, _ROW_S = 20.0, 30.0
# A longer stretch without evidence is a segment of its own.
_GAP_S = 10.0
# So many seconds together must have gained more, as a logarithm, than any one may say.
_TOGETHER, _SUPPORT = 5, 3.0
# So close to the end of the search range an offset may well lie beyond it.
EDGE_MS = 60.0


def along(
    result: OffsetResult,
    whole: LagEvidence,
    timeline: Timeline,
    model: LoadedModel,
    min_probability: float,
) -> OffsetResult | None:
    """Answer with offsets that change, or None where they cannot be trusted.

    Args:
        result: what the programme would be told if its offset were constant.
    """
    straight = straightened(whole, timeline)
    reading = estimate(straight, model.logits, model.calibration)
    if reading is None or reading.posterior[-1] >= 0.5 or reading.probability < min_probability:
        return None
    mean_ms = round(float(np.average(_curve(whole, timeline), weights=whole.weight)), 1)
    low, high = (round(mean_ms + end - reading.offset_ms, 1) for end in reading.interval_ms)
    rate = result.frame_rate
    drift = round(timeline.drift_ppm, 3) if timeline.drift_ppm else None
    return replace(
        result,
        status="measured",
        reason=None,
        offset_ms=mean_ms,
        interval_ms=(low, high),
        direction=direction_of(mean_ms),
        probability=round(reading.probability, 4),
        offset_frames=round(mean_ms * rate / 1000, 2) if rate else None,
        segments=tuple(_segments(straight, timeline, model, min_probability)),
        warnings=tuple(_warnings(whole, timeline)),
        pattern=timeline.pattern,
        drift_ppm=drift,
        drift_interval_ppm=rounded(timeline.drift_interval_ppm),
        steps=timeline.steps,
    )


def rounded(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    """An interval with the digits that mean something."""
    return None if interval is None else (round(interval[0], 2), round(interval[1], 2))


def straightened(whole: LagEvidence, timeline: Timeline) -> LagEvidence:
    """The evidence as if the timeline were 0 throughout."""
    step_ms = 1000 * BIN_S / round(BIN_S * 100)
    cells = _curve(whole, timeline) / step_ms
    moved = np.floor(cells).astype(int)
    share = (cells - moved)[:, None].astype(np.float32)
    scores = _moved(whole.scores, moved) * (1 - share) + _moved(whole.scores, moved + 1) * share
    nearest = np.rint(cells).astype(int)
    return replace(
        whole,
        scores=scores,
        cosine=_moved(whole.cosine, nearest),
        valid=_moved(whole.valid, nearest),
        parts=whole.parts[:, :0],
    )


def _curve(whole: LagEvidence, timeline: Timeline) -> Floats:
    return timeline.offset_ms(whole.start_s + BIN_S / 2)


def _moved(rows: NDArray[Kind], cells: NDArray[np.int64]) -> NDArray[Kind]:
    """Every row moved to the left by so many cells; 0 comes in."""
    columns = np.arange(rows.shape[1]) + cells[:, None]
    inside = (columns >= 0) & (columns < rows.shape[1])
    taken = np.take_along_axis(rows, np.clip(columns, 0, rows.shape[1] - 1), 1)
    taken[~inside] = 0
    return taken


def _segments(
    straight: LagEvidence, timeline: Timeline, model: LoadedModel, min_probability: float
) -> list[Segment]:
    begin_s, end_s = float(straight.start_s[0]), float(straight.start_s[-1]) + BIN_S
    borders = [begin_s, *(s.time_s for s in timeline.steps if begin_s < s.time_s < end_s), end_s]
    segments = []
    for start_s, stop_s in pairwise(borders):
        for a, b, has_evidence in _stretches(timeline, start_s, stop_s):
            piece = straight.between(a - BIN_S / 2, b - BIN_S / 2)
            reading = estimate(piece, model.logits, model.calibration) if has_evidence else None
            middle_ms = float(timeline.offset_ms(np.array([(a + b) / 2]))[0])
            segments.append(_segment(a, b, middle_ms, reading, min_probability))
    return segments


def _segment(
    start_s: float,
    end_s: float,
    offset_ms: float,
    reading: Estimate | None,
    min_probability: float,
) -> Segment:
    """The timeline's offset, with the interval that this stretch alone can vouch for."""
    sure = reading is not None and reading.probability >= min_probability
    low, high = (end - reading.offset_ms for end in reading.interval_ms) if reading else (0.0, 0.0)
    return Segment(
        start_s=round(start_s, 3),
        end_s=round(end_s, 3),
        offset_ms=round(offset_ms, 1) if sure else None,
        interval_ms=(round(offset_ms + low, 1), round(offset_ms + high, 1)) if sure else None,
        probability=round(reading.probability, 4) if reading else 0.0,
    )


def _stretches(
    timeline: Timeline, start_s: float, stop_s: float
) -> list[tuple[float, float, bool]]:
    """(start, end, whether there is evidence) of the rows of one piece."""
    assert timeline.seconds is not None
    seconds = timeline.seconds
    inside = (seconds.time_s > start_s) & (seconds.time_s < stop_s)
    speaking = inside & _speaks_for(seconds, timeline.offset_ms(seconds.time_s))
    heard = [start_s, *seconds.time_s[speaking].tolist(), stop_s]
    gaps = [(a, b) for a, b in pairwise(heard) if b - a > _GAP_S]
    stretches, at = [], start_s
    for a, b in gaps:
        stretches += _rows(timeline, at, min(a + BIN_S / 2, b)) if a > at else []
        stretches.append((max(at, min(a + BIN_S / 2, b)) if a > at else at, b, False))
        at = b
    return stretches + (_rows(timeline, at, stop_s) if at < stop_s else [])


def _speaks_for(seconds: Seconds, curve_ms: Floats) -> NDArray[np.bool_]:
    """Seconds [S] that, with those around them, speak for a curve; those of music do not."""
    # One second alone may agree by chance.
    gain = np.minimum(seconds.along(curve_ms), _SUPPORT)
    support = np.convolve(gain, np.ones(_TOGETHER), "same")
    return np.asarray(seconds.informative & (support > _SUPPORT))


def _rows(timeline: Timeline, start_s: float, stop_s: float) -> list[tuple[float, float, bool]]:
    length_s = stop_s - start_s
    change_ms = abs(timeline.drift_ppm) * 1e-3 * length_s
    count = max(1, min(math.ceil(change_ms / _ROW_MS), int(length_s / _ROW_S)))
    edges = np.linspace(start_s, stop_s, count + 1).tolist()
    return [(a, b, True) for a, b in pairwise(edges)]


def _warnings(whole: LagEvidence, timeline: Timeline) -> list[str]:
    reach_ms = whole.reach * 10.0
    if np.abs(_curve(whole, timeline)).max() > reach_ms - EDGE_MS:
        return ["the offset runs out of the search range: widen --search-ms"]
    return []

"""Reads the evidence of all faces of a programme as one answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.faces.stream import FaceStats, TrackChunk
from lipsync_cli.results import OffsetResult, Segment, TrackOffset, direction_of
from lipsync_cli.sync.changing import EDGE_MS, along, rounded
from lipsync_cli.sync.estimate import Estimate, estimate
from lipsync_cli.sync.evidence import BIN_S, LagEvidence, merged
from lipsync_cli.sync.model_file import LoadedModel
from lipsync_cli.sync.timeline import find_timeline

SILENT = 1e-3  # root mean square of the loudest quarter second
SEGMENT_S = 10.0
UNRELATED = 0.3  # less likely than this: the sound is not this face's
PICTURES_PER_S = 25.0  # at this rate a second is as good as it gets
SAME_MS = 45.0  # segments closer than this are one
UNCLEAR = "the offset changes in a way that no few numbers describe"


@dataclass
class TrackSpan:
    """Where and when a face was followed."""

    start_s: float = float("inf")
    end_s: float = float("-inf")
    boxes: list[NDArray[np.float32]] = field(default_factory=list)

    def add(self, chunk: TrackChunk) -> None:
        """Take the next chunk of the track; one box of it is enough."""
        self.start_s = min(self.start_s, float(chunk.pts_s[0]))
        self.end_s = max(self.end_s, float(chunk.pts_s[-1]))
        if len(self.boxes) < 1000:
            self.boxes.append(chunk.boxes[len(chunk.boxes) // 2])

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Median box in pixels of the upright picture."""
        x0, y0, x1, y1 = np.median(np.stack(self.boxes), axis=0).tolist()
        return x0, y0, x1, y1


@dataclass(frozen=True)
class Seen:
    """What one pass over a file found.

    Attributes:
        tracks: evidence by track number.
        loudness: root mean square of the loudest block of sound, full scale 1.
    """

    tracks: Mapping[int, LagEvidence]
    spans: Mapping[int, TrackSpan]
    frame_rate: float | None
    duration_s: float | None
    faces: FaceStats
    loudness: float
    reach: int


def read_programme(
    seen: Seen,
    model: LoadedModel,
    min_probability: float,
    stretches: Sequence[tuple[float, float]] | None = None,
) -> OffsetResult:
    """One answer for the whole file, and one for each face and stretch of it.

    Args:
        stretches: (start, end) in seconds of the segments to answer for; None to find them.
    """
    readings = {n: _read(e, model) for n, e in seen.tracks.items()}
    whole = _of_speakers(seen.tracks, readings)
    reading = _read(whole, model) if whole is not None else None
    reason = _why_not(seen, reading, min_probability)
    answered = reading if reason is None else None
    segments = _segments(whole, model, min_probability) if whole is not None else ()
    constant = OffsetResult(
        file="",
        status="measured" if answered else "cannot_tell",
        reason=reason,
        offset_ms=_tenth(answered.offset_ms) if answered else None,
        interval_ms=_interval(answered),
        direction=direction_of(answered.offset_ms) if answered else None,
        probability=round(reading.probability, 4) if reading else 0.0,
        offset_frames=_frames(answered, seen.frame_rate),
        frame_rate=seen.frame_rate,
        diagonal_ms=reading.diagonal_ms if reading else None,
        duration_s=seen.duration_s,
        measurable_s=_measurable_s(whole) if whole is not None else 0.0,
        tracks=tuple(_track(n, readings[n], seen, min_probability) for n in sorted(readings)),
        segments=segments,
        warnings=_warnings(segments, reading, seen),
    )
    result = _over_time(constant, whole, model, min_probability)
    if stretches is None or whole is None:
        return result
    found = (_segment(whole.between(a, b), a, b, model, min_probability) for a, b in stretches)
    return replace(result, segments=tuple(found))


def _over_time(
    constant: OffsetResult, whole: LagEvidence | None, model: LoadedModel, min_probability: float
) -> OffsetResult:
    """What the offset does over time; the answer of a constant one stays as it is."""
    # Nothing can be read from the course of something that is not there.
    if whole is None or not len(whole.start_s):
        return constant
    timeline = find_timeline(whole, model.logits)
    if timeline.changes:
        changing = along(constant, whole, timeline, model, min_probability)
        return changing if changing is not None else constant
    if constant.offset_ms is None:
        return constant
    interval = rounded(timeline.drift_interval_ppm)
    known = replace(constant, pattern=timeline.pattern, drift_interval_ppm=interval)
    if timeline.pattern != "unclear":
        return known
    return replace(known, warnings=(*constant.warnings, UNCLEAR))


def programme_evidence(tracks: Mapping[int, LagEvidence], model: LoadedModel) -> LagEvidence | None:
    """The evidence that the programme's answer rests on: that of the faces that speak."""
    return _of_speakers(tracks, {n: _read(e, model) for n, e in tracks.items()})


def _of_speakers(
    tracks: Mapping[int, LagEvidence], readings: Mapping[int, Estimate | None]
) -> LagEvidence | None:
    """All faces together where none of them seems to speak; None without evidence."""
    readable = {n: r for n, r in readings.items() if r is not None}
    speaking = [n for n, r in readable.items() if r.posterior[-1] < 0.5]
    used = speaking or list(readable)
    return merged([tracks[n] for n in used]) if used else None


def _read(evidence: LagEvidence, model: LoadedModel) -> Estimate | None:
    return estimate(evidence, model.logits, model.calibration)


def _why_not(seen: Seen, reading: Estimate | None, min_probability: float) -> str | None:
    """Why there is no answer, in words; None when there is one."""
    if not seen.spans:
        if seen.faces.too_small:
            return "the faces are too small (under 40 px)"
        if seen.faces.frames_with_face:
            return "no face is in view for a second without a break"
        return "no face found"
    if seen.loudness < SILENT:
        return "the sound is silent"
    if reading is None:
        return "too short: less than half a second of picture and sound together"
    if reading.posterior[-1] >= 0.5 or reading.probability < UNRELATED:
        return "the lips do not follow the sound (voice-over, music, dubbing or a silent face)"
    if reading.probability < min_probability:
        return (
            f"too little evidence: probability {reading.probability:.2f}"
            f" is below {min_probability:g}"
        )
    return None


def _track(
    number: int, reading: Estimate | None, seen: Seen, min_probability: float
) -> TrackOffset:
    span = seen.spans[number]
    sure = reading if reading is not None and reading.probability >= min_probability else None
    return TrackOffset(
        track=number,
        start_s=round(span.start_s, 3),
        end_s=round(span.end_s, 3),
        box=span.box,
        frames=int(seen.tracks[number].frames.sum()),
        offset_ms=_tenth(sure.offset_ms) if sure else None,
        interval_ms=_interval(sure),
        probability=round(reading.probability, 4) if reading else 0.0,
        diagonal_ms=reading.diagonal_ms if reading else None,
    )


def _segments(
    whole: LagEvidence, model: LoadedModel, min_probability: float
) -> tuple[Segment, ...]:
    """Stretches of at least ten seconds; neighbours with the same answer are one."""
    if not len(whole.start_s):
        return ()
    begin, end = float(whole.start_s[0]), float(whole.start_s[-1]) + BIN_S
    count = max(1, int((end - begin) / SEGMENT_S))
    edges = np.linspace(begin, end, count + 1)
    parts: list[tuple[LagEvidence, Segment]] = []
    for start, stop in pairwise(edges.tolist()):
        piece = whole.between(start, stop)
        found = _segment(piece, start, stop, model, min_probability)
        if parts and _same(parts[-1][1], found):
            piece = merged([parts[-1][0], piece])
            found = _segment(piece, parts[-1][1].start_s, stop, model, min_probability)
            parts.pop()
        parts.append((piece, found))
    return tuple(segment for _, segment in parts)


def _segment(
    piece: LagEvidence, start_s: float, end_s: float, model: LoadedModel, min_probability: float
) -> Segment:
    reading = _read(piece, model)
    sure = reading if reading is not None and reading.probability >= min_probability else None
    return Segment(
        start_s=round(start_s, 3),
        end_s=round(end_s, 3),
        offset_ms=_tenth(sure.offset_ms) if sure else None,
        interval_ms=_interval(sure),
        probability=round(reading.probability, 4) if reading else 0.0,
    )


def _same(a: Segment, b: Segment) -> bool:
    if a.offset_ms is None or b.offset_ms is None:
        return a.offset_ms is b.offset_ms
    return abs(a.offset_ms - b.offset_ms) <= SAME_MS


def _warnings(
    segments: tuple[Segment, ...], reading: Estimate | None, seen: Seen
) -> tuple[str, ...]:
    found = []
    known = [s.offset_ms for s in segments if s.offset_ms is not None]
    if known and max(known) - min(known) > SAME_MS:
        found.append(
            f"the offset is not constant: between {min(known):.0f} and {max(known):.0f} ms"
            " in parts of the programme; one number cannot repair it"
        )
    if reading is not None and abs(reading.offset_ms) > seen.reach * 10 - EDGE_MS:
        found.append("the offset is at the edge of the search range: widen --search-ms")
    return tuple(found)


def _measurable_s(whole: LagEvidence) -> float:
    """Seconds with evidence; two faces in the same second count once."""
    seconds, place = np.unique(whole.start_s, return_inverse=True)
    pictures = np.bincount(place, whole.weight, len(seconds))
    return round(float(np.minimum(BIN_S, pictures / PICTURES_PER_S).sum()), 2)


def _interval(reading: Estimate | None) -> tuple[float, float] | None:
    if reading is None:
        return None
    low, high = reading.interval_ms
    return _tenth(low), _tenth(high)


def _frames(reading: Estimate | None, rate: float | None) -> float | None:
    if reading is None or rate is None:
        return None
    return round(reading.offset_ms * rate / 1000, 2)


def _tenth(value: float) -> float:
    return round(value, 1)

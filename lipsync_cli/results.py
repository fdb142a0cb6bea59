"""What the use cases answer with: frozen values that know how to become JSON.

Sign convention, everywhere: `offset_ms > 0` means the audio is EARLY (it leads the
picture), as in ITU-R BT.1359; the repair delays the audio by `offset_ms`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

SCHEMA_VERSION = 1

Status = Literal["measured", "cannot_tell"]
Direction = Literal["audio early", "audio late", "in sync"]
Pattern = Literal["constant", "drift", "steps", "unclear"]
Outcome = Literal["pass", "fail", "not_checkable"]

# Half a frame at 50 fps, rounded: closer than this nobody sees a difference.
IN_SYNC_MS = 10.0


def direction_of(offset_ms: float) -> Direction:
    """The sign of an offset in words."""
    if abs(offset_ms) < IN_SYNC_MS:
        return "in sync"
    return "audio early" if offset_ms > 0 else "audio late"


@dataclass(frozen=True)
class TrackOffset:
    """What one face of the programme says.

    Attributes:
        track: number of the face track, counted from 0 in order of appearance.
        start_s, end_s: programme time of its first and last frame.
        box: median face box [x0, y0, x1, y1] in pixels of the upright picture.
        frames: frames of the track that could be compared with sound.
        offset_ms, interval_ms, probability: as in OffsetResult, from this track alone;
            offset_ms and interval_ms are None where it cannot tell.
        diagonal_ms: what the plain diagonal mean of the same lag matrix answers.
    """

    track: int
    start_s: float
    end_s: float
    box: tuple[float, float, float, float]
    frames: int
    offset_ms: float | None
    interval_ms: tuple[float, float] | None
    probability: float
    diagonal_ms: float | None


@dataclass(frozen=True)
class Segment:
    """A stretch of the programme with one offset, or not measurable (offset_ms None)."""

    start_s: float
    end_s: float
    offset_ms: float | None
    interval_ms: tuple[float, float] | None
    probability: float


@dataclass(frozen=True)
class Step:
    """A moment at which the offset changes at once.

    Attributes:
        size_ms: > 0 the audio is earlier from here on.
        earliest_s, latest_s: between these it lies; far apart where nobody speaks.
    """

    time_s: float
    size_ms: float
    earliest_s: float
    latest_s: float


@dataclass(frozen=True)
class OffsetResult:
    """Answer of detect-offset for one file.

    Attributes:
        status: "measured", or "cannot_tell" with `reason` in words.
        offset_ms: > 0 audio early; None when it cannot tell.
        interval_ms: 95 % interval [low, high].
        probability: calibrated probability that the offset is right within 40 ms.
        offset_frames: the offset in frames of the file's own rate.
        frame_rate: average frame rate of the video stream, in Hz.
        diagonal_ms: the plain diagonal-mean baseline, for comparison only.
        measurable_s: seconds of the programme that carried evidence.
        pattern: what the offset does over time; None where there is too little to tell. Of
            "drift" and "steps" offset_ms is the mean, and `segments` tell the rest; "unclear"
            changes in a way that no few numbers describe.
        drift_ppm: by which the audio becomes earlier, as in offset(t) = offset_0 + drift * t;
            None where it does not drift.
        drift_interval_ppm: 95 % interval, also where it does not drift.
        steps: moments at which the offset changes at once.
    """

    file: str
    status: Status
    reason: str | None
    offset_ms: float | None
    interval_ms: tuple[float, float] | None
    direction: Direction | None
    probability: float
    offset_frames: float | None
    frame_rate: float | None
    diagonal_ms: float | None = None
    duration_s: float | None = None
    measurable_s: float = 0.0
    search_ms: float = 0.0
    audio_track: int = 0
    tracks: tuple[TrackOffset, ...] = ()
    segments: tuple[Segment, ...] = ()
    warnings: tuple[str, ...] = ()
    pattern: Pattern | None = None
    drift_ppm: float | None = None
    drift_interval_ppm: tuple[float, float] | None = None
    steps: tuple[Step, ...] = ()

    @property
    def worst_ms(self) -> float:
        """The offset furthest from 0 in any part of a programme where it changes."""
        changes = self.pattern in ("drift", "steps")
        parts = [s.offset_ms for s in self.segments if changes and s.offset_ms is not None]
        return max([self.offset_ms or 0.0, *parts], key=abs)

    def offset_at(self, segment: Segment, time_s: float) -> float:
        """Offset at a time in a measurable segment, whose own is that of its middle."""
        since_s = time_s - (segment.start_s + segment.end_s) / 2
        return (segment.offset_ms or 0.0) + (self.drift_ppm or 0.0) * 1e-3 * since_s

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record; keys are only ever added."""
        return _record(self, ok=True)


@dataclass(frozen=True)
class FixPlan:
    """How fix-sync would repair one file.

    Attributes:
        method: "timestamps" (stream copy with shifted audio timestamps) or "samples" (the sound
            itself is moved; only it is coded again).
        container: the muxer that writes the result.
        grid_ms: granularity with which sound can be placed.
        notes: what the user should know (dropped streams, edit lists, grids).
        drift_ppm: drift that is taken out, as in OffsetResult; None for none.
        steps_s: picture times at which parts meet that are moved by different offsets.
    """

    file: str
    output: str
    offset_ms: float
    method: Literal["timestamps", "samples"]
    container: str
    grid_ms: float
    notes: tuple[str, ...] = ()
    drift_ppm: float | None = None
    steps_s: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return _record(self, ok=True)


@dataclass(frozen=True)
class FixResult:
    """What fix-sync did to one file.

    Attributes:
        action: "written", "planned" (--dry-run) or "in_sync" (nothing to repair).
        applied_ms: offset change found by reopening the written file.
        residual_ms: offset re-measured from the lips of the result, when asked for.
        residuals: the same of each segment, where the offset changed.
        measured: the measurement the repair rests on; None with --offset.
    """

    file: str
    action: Literal["written", "planned", "in_sync"]
    output: str | None
    offset_ms: float
    plan: FixPlan | None
    applied_ms: float | None = None
    residual_ms: float | None = None
    residual_interval_ms: tuple[float, float] | None = None
    measured: OffsetResult | None = None
    warnings: tuple[str, ...] = field(default=())
    residuals: tuple[Segment, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return _record(self, ok=True)


@dataclass(frozen=True)
class Adaptation:
    """What came of adapting a generator to one person.

    The figures are of seconds of the clip that nothing was learnt from, before and after.

    Attributes:
        kept: the lips were drawn with what was learnt.
        reason: why not, in words; None where it was kept.
        steps: made until it was best.
        frames: learnt from.
        held_out_s: seconds that the figures are of; those of sync are of about twice as many.
        mouth_error_before, mouth_error_after: mean absolute difference to the true mouths, in
            grey levels of 255.
        response_before, response_after: mean absolute difference of mouths drawn to their own
            sound and to that of another moment, likewise.
        sync_before, sync_after: mean cosine of lips and sound at no lag, over the median of
            all lags within 0.6 s, by the sync model.
    """

    kept: bool
    reason: str | None = None
    steps: int = 0
    frames: int = 0
    held_out_s: float = 0.0
    mouth_error_before: float | None = None
    mouth_error_after: float | None = None
    response_before: float | None = None
    response_after: float | None = None
    sync_before: float | None = None
    sync_after: float | None = None


@dataclass(frozen=True)
class DubResult:
    """What dub did to one file.

    Attributes:
        speech: file whose sound the lips now follow.
        engine: "rewrite" (the speaker's own mouth, from other moments) or "wav2lip".
        frames, frames_changed: pictures written, and those of them with new lips.
        tracks: numbers of the face tracks that were given new lips.
        coverage: 0 to 1, how well the footage could be expected to serve; None for wav2lip and
            for silence.
        follows: the lips of the written file follow its sound; None where that was not
            asked for.
        offset_ms_after, interval_ms_after, probability_after: measured on the written file,
            as in OffsetResult.
        kept_s: seconds of the speech in which most of the old lips stay, by reason: "lost" (the
            face is not in view), "turned" (too far aside), "covered", "unlike" (nothing
            to borrow fits the picture), "silent" (the speech pauses, and the mouth rests as it
            was filmed).
        sheet: the picture of the evidence that was written.
        adaptation: of the generator to this clip; None where it was not asked for.
    """

    file: str
    speech: str
    output: str
    engine: Literal["rewrite", "wav2lip"]
    frames: int
    frames_changed: int
    tracks: tuple[int, ...]
    coverage: float | None = None
    follows: bool | None = None
    offset_ms_after: float | None = None
    interval_ms_after: tuple[float, float] | None = None
    probability_after: float | None = None
    warnings: tuple[str, ...] = ()
    kept_s: Mapping[str, float] = field(default_factory=dict)
    sheet: str | None = None
    adaptation: Adaptation | None = None

    def to_dict(self) -> dict[str, Any]:
        return _record(self, ok=True)


@dataclass(frozen=True)
class OutOfLimits:
    """A stretch of a programme whose offset is outside some limits.

    Attributes:
        start, end: start_s and end_s as HH:MM:SS:FF at the file's own rate.
        certain: the whole interval is outside; otherwise only the offset itself.
    """

    start_s: float
    end_s: float
    start: str
    end: str
    offset_ms: float
    interval_ms: tuple[float, float] | None
    certain: bool


@dataclass(frozen=True)
class Verdict:
    """Whether a file keeps to the limits of one standard.

    Attributes:
        early_ms, late_ms: the limits; None where they are in frames and the rate is unknown.
        borderline: the offset decided, because the interval lies across a limit.
        reason: why, in words; None for a plain pass.
        probability: that the offset of the programme is inside the limits.
        ranges: the stretches that are out.
    """

    outcome: Outcome
    early_ms: float | None = None
    late_ms: float | None = None
    borderline: bool = False
    reason: str | None = None
    probability: float | None = None
    ranges: tuple[OutOfLimits, ...] = ()


@dataclass(frozen=True)
class ScoreTrack:
    """LSE figures of one face track of the reference protocol.

    Attributes:
        frames: pictures of the track, at the protocol's 25 a second.
        av_offset: in those frames; > 0 audio early.
        box: mean face box [x0, y0, x1, y1] in pixels; None where the whole frame counts.
    """

    track: int
    start_s: float
    end_s: float
    frames: int
    av_offset: int
    lse_d: float
    lse_c: float
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class ScoreResult:
    """Answer of score for one file: the own model's figures, and LSE where it can be had.

    Attributes:
        status, reason, offset_ms, interval_ms, direction, probability, offset_frames,
            frame_rate, duration_s, measurable_s, pattern, drift_ppm, steps: of the own model,
            as in OffsetResult.
        probability_in_sync: that the offset is within 40 ms of 0, at any measured moment where
            it changes; also given where the model cannot tell by how much. None where lips and
            sound could not be compared.
        spread_ms: half the distance between the 16th and the 84th percentile of `timeline`,
            which is the standard deviation of a normal scatter.
        measurable_share: of the programme, 0 to 1.
        protocol: of the LSE figures, "tracked" or "lrs"; None without them.
        lse_d, lse_c, av_offset: as SyncNet's reference defines them, av_offset in frames at
            25/s, > 0 audio early; None without them, and `lse_reason` says why.
        valid_overlap: the same three without the reference's zero padding, where asked for.
        tracks: LSE by face track; faces: offsets by face track of the own model.
        quality: how near the pictures come to a reference video; `fid` belongs to sets.
        timeline: (time in s, offset in ms or None) about once a second, from five seconds each.
        verdicts: by the limits that were asked for.
        sha256: of the file; settings: a digest of everything else the figures depend on.
        reused: taken from earlier results instead of being measured.
    """

    file: str
    status: Status
    reason: str | None
    offset_ms: float | None
    interval_ms: tuple[float, float] | None
    direction: Direction | None
    probability: float
    offset_frames: float | None
    frame_rate: float | None
    probability_in_sync: float | None = None
    spread_ms: float | None = None
    duration_s: float | None = None
    measurable_s: float = 0.0
    measurable_share: float | None = None
    pattern: Pattern | None = None
    drift_ppm: float | None = None
    steps: tuple[Step, ...] = ()
    protocol: str | None = None
    lse_d: float | None = None
    lse_c: float | None = None
    av_offset: int | None = None
    lse_reason: str | None = None
    valid_overlap: Mapping[str, float | int] | None = None
    tracks: tuple[ScoreTrack, ...] = ()
    faces: tuple[TrackOffset, ...] = ()
    segments: tuple[Segment, ...] = ()
    timeline: tuple[tuple[float, float | None], ...] = ()
    quality: Mapping[str, float | int | None] | None = None
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    sha256: str = ""
    settings: str = ""
    reused: bool = False
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record; keys are only ever added."""
        return _record(self, ok=True)


def error_record(file: str, code: str, message: str, hint: str | None) -> dict[str, Any]:
    """The record that stands in for an answer when an input failed."""
    return {
        "schema": SCHEMA_VERSION,
        "file": file,
        "ok": False,
        "error": {"code": code, "message": message, "hint": hint},
    }


def _record(
    result: OffsetResult | FixPlan | FixResult | DubResult | ScoreResult, *, ok: bool
) -> dict[str, Any]:
    values = asdict(result)
    return {"schema": SCHEMA_VERSION, "file": values.pop("file"), "ok": ok, **values}

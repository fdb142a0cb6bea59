"""What the use cases answer with: frozen values that know how to become JSON.

Sign convention, everywhere: `offset_ms > 0` means the audio is EARLY (it leads the
picture), as in ITU-R BT.1359; the repair delays the audio by `offset_ms`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

SCHEMA_VERSION = 1

Status = Literal["measured", "cannot_tell"]
Direction = Literal["audio early", "audio late", "in sync"]

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

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record; keys are only ever added."""
        return _record(self, ok=True)


@dataclass(frozen=True)
class FixPlan:
    """How fix-sync would repair one file.

    Attributes:
        method: "timestamps" (stream copy with shifted audio timestamps).
        container: the muxer that writes the result.
        grid_ms: granularity with which the container stores times.
        notes: what the user should know (dropped streams, edit lists, grids).
    """

    file: str
    output: str
    offset_ms: float
    method: Literal["timestamps"]
    container: str
    grid_ms: float
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return _record(self, ok=True)


@dataclass(frozen=True)
class FixResult:
    """What fix-sync did to one file.

    Attributes:
        action: "written", "planned" (--dry-run) or "in_sync" (nothing to repair).
        applied_ms: offset change found by reopening the written file.
        residual_ms: offset re-measured from the lips of the result, when asked for.
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

    def to_dict(self) -> dict[str, Any]:
        return _record(self, ok=True)


def error_record(file: str, code: str, message: str, hint: str | None) -> dict[str, Any]:
    """The record that stands in for an answer when an input failed."""
    return {
        "schema": SCHEMA_VERSION,
        "file": file,
        "ok": False,
        "error": {"code": code, "message": message, "hint": hint},
    }


def _record(result: OffsetResult | FixPlan | FixResult, *, ok: bool) -> dict[str, Any]:
    values = asdict(result)
    return {"schema": SCHEMA_VERSION, "file": values.pop("file"), "ok": ok, **values}

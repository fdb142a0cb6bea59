"""What was measured as markers for an editing program, so that the repair can be made there.

CSV for a spreadsheet, EDL markers for Resolve (`|C: |M: |D:`) and Avid (`* LOC:`), and
OpenTimelineIO with markers on the picture and a sound track that is already slipped.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from lipsync_cli.errors import DependencyError, LipsyncError, UsageError
from lipsync_cli.media.output import atomic
from lipsync_cli.results import OffsetResult, Segment
from lipsync_cli.scoring.timecode import is_drop_frame, timecode

if TYPE_CHECKING:
    from lipsync_cli.media.offset_curve import OffsetCurve

# Where the frame rate of a file is not known, an editing program still needs one.
_DEFAULT_RATE = 25.0
# An EDL numbers its events with three digits.
_MOST_EVENTS = 999
_COLUMNS = (
    *("kind", "start", "end", "start_s", "end_s"),
    *("offset_ms", "low_ms", "high_ms", "probability", "text"),
)


@dataclass(frozen=True)
class Marker:
    """A stretch of the programme with what there is to say about it.

    Attributes:
        kind: "segment", or "step" for a moment at which the offset changes.
        segment: what was measured there; None for a step.
        text: the same in words.
    """

    kind: str
    start_s: float
    end_s: float
    text: str
    segment: Segment | None = None

    @property
    def colour(self) -> str:
        """Red for steps, blue for offsets, yellow for what could not be measured."""
        if self.segment is None:
            return "RED"
        return "YELLOW" if self.segment.offset_ms is None else "BLUE"


def markers_of(result: OffsetResult) -> list[Marker]:
    """The segments of a measurement and the steps between them, in order of time."""
    segments = result.segments or _whole(result)
    markers = [Marker("segment", s.start_s, s.end_s, _words(s), s) for s in segments]
    for step in result.steps:
        side = "earlier" if step.size_ms > 0 else "later"
        text = f"audio {abs(step.size_ms):.0f} ms {side} from here"
        markers.append(Marker("step", step.time_s, step.time_s, text))
    return sorted(markers, key=lambda marker: (marker.start_s, marker.kind == "segment"))


def export_markers(result: OffsetResult, path: str | Path, *, overwrite: bool = False) -> None:
    """Write the markers of a measurement; the suffix says how: .csv, .edl or .otio.

    Raises:
        UsageError: no format has this suffix.
        DependencyError: OpenTimelineIO is not installed.
        OutputError: the file exists, or cannot be written.
    """
    write = check_export(path)
    with atomic(path, overwrite=overwrite) as temporary:
        write(result, temporary)


def check_export(path: str | Path) -> Callable[[OffsetResult, Path], None]:
    """Return what writes this kind of file, or raise as `export_markers`, before any work."""
    suffix = Path(path).suffix.lower()
    if suffix not in _WRITERS:
        raise UsageError(
            f"cannot export to '{suffix or Path(path).name}'",
            path=path,
            hint=f"name a file that ends in {', '.join(_WRITERS)}",
        )
    if suffix == ".otio":
        _load_otio()
    return _WRITERS[suffix]


def _whole(result: OffsetResult) -> tuple[Segment, ...]:
    end_s = result.duration_s or 0.0
    numbers = (result.offset_ms, result.interval_ms, result.probability)
    return (Segment(0.0, end_s, *numbers),)


def _words(segment: Segment) -> str:
    if segment.offset_ms is None:
        return "not measurable"
    side = "early" if segment.offset_ms >= 0 else "late"
    return f"audio {side} by {abs(segment.offset_ms):.0f} ms"


def _write_csv(result: OffsetResult, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(_COLUMNS)
        for marker in markers_of(result):
            span = (marker.start_s, marker.end_s)
            clock = (timecode(time_s, result.frame_rate) for time_s in span)
            table.writerow([marker.kind, *clock, *span, *_numbers(marker), marker.text])


def _numbers(marker: Marker) -> Iterator[float | str]:
    segment = marker.segment
    if segment is None or segment.offset_ms is None:
        yield from ("", "", "", segment.probability if segment else "")
        return
    yield segment.offset_ms
    yield from segment.interval_ms or ("", "")
    yield segment.probability


def _write_edl(result: OffsetResult, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        rate = result.frame_rate or _DEFAULT_RATE
        counting = "DROP" if is_drop_frame(rate) else "NON-DROP"
        file.write(f"TITLE: {_one_line(Path(result.file).stem)}\nFCM: {counting} FRAME\n\n")
        for number, marker in enumerate(markers_of(result)[:_MOST_EVENTS], 1):
            _write_event(file, number, marker, rate)


def _write_event(file: TextIO, number: int, marker: Marker, rate: float) -> None:
    """One event of one frame, with the marker in the ways of two editing programs."""
    first = round(marker.start_s * rate)
    edges = [timecode(frame / rate, rate) for frame in (first, first + 1)]
    frames = max(1, round((marker.end_s - marker.start_s) * rate))
    file.write(f"{number:03d}  001      V     C        {' '.join(edges * 2)}\n")
    file.write(f" |C:ResolveColor{marker.colour.title()} |M:{marker.text} |D:{frames}\n")
    file.write(f"* LOC: {edges[0]} {marker.colour:<7} {marker.text}\n\n")


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else "_" for char in text)


def _write_otio(result: OffsetResult, path: Path) -> None:
    otio = _load_otio()
    rate = result.frame_rate or _DEFAULT_RATE
    end_s = result.duration_s or max((m.end_s for m in markers_of(result)), default=0.0)
    media = _Media(otio, Path(result.file), rate, end_s)
    timeline = otio.schema.Timeline(name=Path(result.file).stem)
    timeline.metadata["lipsync"] = {"offset_ms": result.offset_ms, "pattern": result.pattern}
    picture = otio.schema.Track(name="V1", kind=otio.schema.TrackKind.Video)
    clip = media.clip(0.0, end_s)
    clip.markers.extend(media.marker(marker) for marker in markers_of(result))
    picture.append(clip)
    timeline.tracks.append(picture)
    timeline.tracks.append(_slipped(media, result))
    path.write_text(otio.adapters.write_to_string(timeline, "otio_json"), encoding="utf-8")


@dataclass(frozen=True)
class _Media:
    """A file as OpenTimelineIO speaks of it."""

    otio: Any
    path: Path
    rate: float
    end_s: float

    def span(self, start_s: float, end_s: float) -> Any:
        time = self.otio.opentime
        return time.TimeRange(
            time.RationalTime(start_s * self.rate, self.rate),
            time.RationalTime((end_s - start_s) * self.rate, self.rate),
        )

    def clip(self, start_s: float, end_s: float) -> Any:
        reference = self.otio.schema.ExternalReference(
            target_url=self.path.resolve().as_uri(), available_range=self.span(0.0, self.end_s)
        )
        return self.otio.schema.Clip(
            name=self.path.name,
            media_reference=reference,
            source_range=self.span(start_s, end_s),
        )

    def marker(self, marker: Marker) -> Any:
        numbers = dict(zip(_COLUMNS[5:9], _numbers(marker), strict=True))
        return self.otio.schema.Marker(
            name=marker.text,
            marked_range=self.span(marker.start_s, marker.end_s),
            color=marker.colour,
            metadata={"lipsync": {"kind": marker.kind, **numbers}},
        )


def _slipped(media: _Media, result: OffsetResult) -> Any:
    """The sound as it has to be: cut at the steps, every part moved by its offset."""
    track = media.otio.schema.Track(name="A1 in sync", kind=media.otio.schema.TrackKind.Audio)
    curve = _curve(result)
    if curve is None:
        track.append(media.clip(0.0, media.end_s))
        return track
    edges = [0.0, *curve.steps_s, media.end_s]
    for piece, start_s, end_s in zip(curve.pieces, edges, edges[1:], strict=False):
        first_s = start_s - piece.at(start_s)
        if first_s < 0:
            track.append(media.otio.schema.Gap(source_range=media.span(0.0, -first_s)))
            start_s, first_s = start_s - first_s, 0.0
        clip = media.clip(first_s, first_s + end_s - start_s)
        if piece.slope:
            clip.effects.append(media.otio.schema.LinearTimeWarp(time_scalar=1 - piece.slope))
        track.append(clip)
    return track


def _curve(result: OffsetResult) -> OffsetCurve | None:
    from lipsync_cli.repair.curve import curve_of

    if result.offset_ms is None:
        return None
    try:
        return curve_of(result, piecewise=True)
    except LipsyncError:
        return None


def _load_otio() -> Any:
    try:
        return import_module("opentimelineio")
    except ImportError as error:
        raise DependencyError(
            "OpenTimelineIO is not installed", hint="pip install 'lipsync[edit]', or use .edl"
        ) from error


_WRITERS: dict[str, Callable[[OffsetResult, Path], None]] = {
    ".csv": _write_csv,
    ".edl": _write_edl,
    ".otio": _write_otio,
}

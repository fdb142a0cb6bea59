"""The offset over the time of a file, drawn as inline SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby, pairwise

from lipsync_cli.report.rows import OUTCOMES, WORDS
from lipsync_cli.results import ScoreResult
from lipsync_cli.scoring.timecode import timecode
from lipsync_cli.scoring.tolerance import Tolerance

Known = tuple[float, float]
Point = tuple[float, float | None]

# However constant an offset is, the axis shows at least so much of it.
_LEAST_MS = 100.0
_MARGIN = 1.15


@dataclass(frozen=True)
class _Frame:
    """A rectangle in pixels that stands for a stretch of time and a range of offsets."""

    x0: float
    y0: float
    x1: float
    y1: float
    end_s: float
    reach_ms: float

    def x(self, time_s: float) -> float:
        return self.x0 + (self.x1 - self.x0) * min(max(time_s / self.end_s, 0.0), 1.0)

    def y(self, offset_ms: float) -> float:
        """Early is up."""
        share = 0.5 - 0.5 * max(-1.0, min(1.0, offset_ms / self.reach_ms))
        return self.y0 + (self.y1 - self.y0) * share


def sparkline(result: ScoreResult, limits: Tolerance | None) -> str:
    """A curve of 168 x 36 pixels without axes; a note in words where there is none."""
    if not _known(result.timeline):
        return '<span class="quiet">no curve</span>'
    frame = _Frame(1, 2, 167, 34, _end_s(result), _reach_ms(result, limits))
    return _svg(
        168, 36, "spark", _title(result), [*_ground(frame, limits), *_curve(frame, result, limits)]
    )


def chart(result: ScoreResult, limits: Tolerance | None) -> str:
    """A curve of 720 x 190 pixels with axes; empty where there is none."""
    if not _known(result.timeline):
        return ""
    frame = _Frame(64, 10, 708, 158, _end_s(result), _reach_ms(result, limits))
    parts = [
        *_ground(frame, limits),
        *_offset_axis(frame, limits),
        *_time_axis(frame, result.frame_rate),
        *_stretches(frame, result),
        *_curve(frame, result, limits),
        *_sides(frame),
    ]
    return _svg(720, 190, "chart", _title(result), parts)


def shares(counts: Sequence[int]) -> str:
    """A bar of 400 x 10 pixels, divided like the outcomes."""
    total, x = max(sum(counts), 1), 0.0
    parts = []
    for outcome, count in zip(OUTCOMES, counts, strict=True):
        width = 400 * count / total
        parts.append(f'<rect class="{outcome}" x="{x:.1f}" y="0" width="{width:.1f}" height="10"/>')
        x += width
    label = ", ".join(f"{n} {WORDS[each]}" for each, n in zip(OUTCOMES, counts, strict=True))
    return (
        f'<svg viewBox="0 0 400 10" height="10" preserveAspectRatio="none" role="img" '
        f'aria-label="{label}">{"".join(parts)}</svg>'
    )


def _svg(width: int, height: int, kind: str, title: str, parts: Sequence[str]) -> str:
    label = escape(title, quote=True)
    return (
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{label}"><title>{label}</title>{"".join(parts)}</svg>'
    )


def _title(result: ScoreResult) -> str:
    known = _known(result.timeline)
    return f"Offset over time, between {min(known):+.0f} and {max(known):+.0f} ms"


def _ground(frame: _Frame, limits: Tolerance | None) -> Iterator[str]:
    """The band of what is allowed, and the line of perfect sync."""
    if limits is not None:
        top, bottom = frame.y(limits.early_ms), frame.y(-limits.late_ms)
        yield (
            f'<rect class="band" x="{frame.x0:g}" y="{top:.1f}" '
            f'width="{frame.x1 - frame.x0:g}" height="{max(bottom - top, 1):.1f}"/>'
        )
    y = frame.y(0)
    yield f'<path class="zero" d="M{frame.x0:g} {y:.1f}H{frame.x1:g}"/>'


def _curve(frame: _Frame, result: ScoreResult, limits: Tolerance | None) -> Iterator[str]:
    """Runs of known offsets as lines, in another colour outside the limits; one alone as a dot."""
    for run in _runs(result.timeline):
        if len(run) == 1:
            (at, offset) = run[0]
            yield f'<circle class="dot" cx="{frame.x(at):.1f}" cy="{frame.y(offset):.1f}" r="1.5"/>'
        for out, steps in groupby(pairwise(run), key=lambda step: _is_out(step, limits)):
            first, *others = list(steps)
            corners = [*first, *(end for _, end in others)]
            path = "L".join(f"{frame.x(at):.1f} {frame.y(offset):.1f}" for at, offset in corners)
            yield f'<path class="line{" out" if out else ""}" d="M{path}"/>'


def _is_out(step: tuple[Known, Known], limits: Tolerance | None) -> bool:
    """Whether a step from one point to the next lies outside the limits."""
    return limits is not None and not limits.allows((step[0][1] + step[1][1]) / 2)


def _runs(points: Sequence[Point]) -> Iterator[list[Known]]:
    """Split at unknown offsets and at gaps in time."""
    steps = sorted(b[0] - a[0] for a, b in pairwise(points))
    gap_s = 2.5 * steps[len(steps) // 2] if steps else 0.0
    run: list[Known] = []
    for at, offset in points:
        if run and (offset is None or at - run[-1][0] > gap_s):
            yield run
            run = []
        if offset is not None:
            run.append((at, offset))
    if run:
        yield run


def _stretches(frame: _Frame, result: ScoreResult) -> Iterator[str]:
    """The interval of each segment, as a box around its offset."""
    for part in result.segments:
        if part.interval_ms is None:
            continue
        x0, x1 = frame.x(part.start_s), frame.x(part.end_s)
        low, high = (frame.y(edge) for edge in part.interval_ms)
        yield (
            f'<rect class="interval" x="{x0:.1f}" y="{high:.1f}" '
            f'width="{max(x1 - x0, 1):.1f}" height="{max(low - high, 1):.1f}"/>'
        )


def _offset_axis(frame: _Frame, limits: Tolerance | None) -> Iterator[str]:
    marks = [0.0, *((limits.early_ms, -limits.late_ms) if limits else ())]
    if not limits:
        marks += [frame.reach_ms / 2, -frame.reach_ms / 2]
    for mark in marks:
        yield (
            f'<text class="tick" x="{frame.x0 - 8:g}" y="{frame.y(mark) + 4:.1f}" '
            f'text-anchor="end">{mark:+.0f} ms</text>'
            if mark
            else f'<text class="tick" x="{frame.x0 - 8:g}" y="{frame.y(0) + 4:.1f}" '
            'text-anchor="end">0</text>'
        )


def _sides(frame: _Frame) -> Iterator[str]:
    for y, words in ((frame.y0 + 12, "audio early"), (frame.y1 - 5, "audio late")):
        yield f'<text class="side" x="{frame.x0 + 6:g}" y="{y:g}">{words}</text>'


def _time_axis(frame: _Frame, frame_rate: float | None) -> Iterator[str]:
    for i, anchor in enumerate(("start", "middle", "middle", "middle", "end")):
        time_s = frame.end_s * i / 4
        x = frame.x(time_s)
        yield f'<path class="zero" d="M{x:.1f} {frame.y1:g}v5"/>'
        yield (
            f'<text class="tick" x="{x:.1f}" y="{frame.y1 + 21:g}" '
            f'text-anchor="{anchor}">{timecode(time_s, frame_rate)}</text>'
        )


def _end_s(result: ScoreResult) -> float:
    last_s = max((at for at, _ in result.timeline), default=0.0)
    return max(result.duration_s or 0.0, last_s, 1.0)


def _reach_ms(result: ScoreResult, limits: Tolerance | None) -> float:
    edges = [abs(offset) for offset in _known(result.timeline)]
    if limits is not None:
        edges += [limits.early_ms, limits.late_ms]
    return max(_LEAST_MS, _MARGIN * max(edges, default=0.0))


def _known(points: Sequence[Point]) -> list[float]:
    return [offset for _, offset in points if offset is not None]

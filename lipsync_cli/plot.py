"""The evidence of a measurement as one picture: where the lips and the sound agree."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from lipsync_cli.media.output import atomic
from lipsync_cli.results import OffsetResult

if TYPE_CHECKING:
    from lipsync_cli.detect import Evidence, Measurement

WIDTH, HEIGHT = 1280, 900
ROW_S = 1.0  # what a row of the lag matrix stands for

_SUPERSAMPLING = 2
_THUMBNAILS = 8

Colour = tuple[int, int, int]
Values = npt.NDArray[np.floating]

# Okabe and Ito's palette keeps apart for every kind of colour vision.
_INK: Colour = (33, 41, 52)
_QUIET: Colour = (104, 114, 128)
_RULE: Colour = (216, 221, 228)
_PAPER: Colour = (252, 252, 250)
_PANEL: Colour = (255, 255, 255)
_BLUE: Colour = (0, 114, 178)
_SKY: Colour = (205, 228, 242)
_ORANGE: Colour = (213, 94, 0)
_UNKNOWN: Colour = (238, 239, 240)
_TRACKS: tuple[Colour, ...] = (_BLUE, (0, 158, 115), (204, 121, 167), (230, 159, 0))

# From paper to deep blue; lightness falls evenly, so that it also reads in grey.
_RAMP = np.array(
    [(250, 250, 246), (214, 230, 240), (150, 196, 224), (74, 144, 196), (20, 84, 146), (8, 36, 84)],
    dtype=np.float64,
)


def save_evidence(measurement: Measurement, path: str | Path) -> None:
    """Draw the evidence of a measurement into a PNG of 1280 x 900 pixels.

    Top to bottom: the verdict; the posterior over the offset with the plain mean cosine; the
    lag matrix, time running down; the faces that were followed. An existing file is replaced.

    Raises:
        OutputError: the picture cannot be written.
    """
    picture = draw_evidence(measurement)
    with atomic(path, overwrite=True) as temporary:
        picture.save(temporary, format="PNG", optimize=True)


def draw_evidence(measurement: Measurement) -> Image.Image:
    """Draw the picture that `save_evidence` writes."""
    canvas = _Canvas()
    _draw_verdict(canvas, measurement.result)
    evidence = measurement.evidence
    shown = evidence.thumbnails if evidence is not None else ()
    bottom = 662 if shown else HEIGHT - 78
    if evidence is None or not len(evidence.rows_s):
        _draw_nothing(canvas, _Panel(40, 150, WIDTH - 40, bottom, 0, 1))
    else:
        low, high = float(evidence.lags_ms[0]), float(evidence.lags_ms[-1])
        upper = _Panel(110, 176, WIDTH - 40, 386, low, high)
        lower = _Panel(110, 402, WIDTH - 40, bottom, low, high)
        _draw_curve(canvas, upper, evidence, measurement.result)
        _draw_matrix(canvas, lower, evidence)
        _draw_course(canvas, lower, evidence, measurement.result)
        _draw_estimate(canvas, (upper, lower), measurement.result)
        _draw_lag_axis(canvas, lower)
    _draw_faces(canvas, _spread(shown))
    return canvas.finished()


@dataclass(frozen=True)
class _Panel:
    """A rectangle whose width is a range of lags."""

    x0: float
    y0: float
    x1: float
    y1: float
    low_ms: float
    high_ms: float

    def x(self, lag_ms: float | Values) -> npt.NDArray[np.float64]:
        share = (np.asarray(lag_ms) - self.low_ms) / (self.high_ms - self.low_ms)
        return np.asarray(self.x0 + share * (self.x1 - self.x0), dtype=np.float64)

    def y(self, share: float | Values) -> npt.NDArray[np.float64]:
        """Height for a share 0 (bottom) to 1 (top)."""
        return np.asarray(self.y1 - np.asarray(share) * (self.y1 - self.y0), dtype=np.float64)


class _Canvas:
    """Draws in final pixels on a larger picture, which is shrunk at the end."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (WIDTH * _SUPERSAMPLING, HEIGHT * _SUPERSAMPLING), _PAPER)
        self._draw = ImageDraw.Draw(self.image)

    def finished(self) -> Image.Image:
        return self.image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)

    def text(
        self, x: float, y: float, text: str, size: float, colour: Colour = _INK, anchor: str = "ls"
    ) -> None:
        """Write at the base line; `anchor` as in Pillow."""
        at = (x * _SUPERSAMPLING, y * _SUPERSAMPLING)
        self._draw.text(at, text, fill=colour, font=_font(size), anchor=anchor)

    def line(self, points: list[tuple[float, float]], colour: Colour, width: float = 1) -> None:
        scaled = [(x * _SUPERSAMPLING, y * _SUPERSAMPLING) for x, y in points]
        self._draw.line(scaled, fill=colour, width=round(width * _SUPERSAMPLING), joint="curve")

    def dashes(self, x: float, y0: float, y1: float, colour: Colour) -> None:
        for y in np.arange(y0, y1, 8.0):
            self.line([(x, y), (x, min(y + 4, y1))], colour, 1.5)

    def area(self, points: list[tuple[float, float]], colour: Colour) -> None:
        self._draw.polygon([(x * _SUPERSAMPLING, y * _SUPERSAMPLING) for x, y in points], colour)

    def box(
        self, x0: float, y0: float, x1: float, y1: float, fill: Colour | None, edge: Colour | None
    ) -> None:
        corners = [value * _SUPERSAMPLING for value in (x0, y0, x1, y1)]
        self._draw.rectangle(corners, fill=fill, outline=edge, width=_SUPERSAMPLING)

    def paste(self, picture: Image.Image, x0: float, y0: float, x1: float, y1: float) -> None:
        """Fill a rectangle with a picture."""
        left, top, right, bottom = (round(v * _SUPERSAMPLING) for v in (x0, y0, x1, y1))
        size = max(right - left, 1), max(bottom - top, 1)
        self.image.paste(picture.resize(size, Image.Resampling.BICUBIC), (left, top))


@cache
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * _SUPERSAMPLING)


def text_width(text: str, size: float) -> float:
    """Width in final pixels of one line."""
    return _font(size).getlength(text) / _SUPERSAMPLING


def verdict_of(result: OffsetResult) -> tuple[str, str]:
    """The answer in words: headline, and what it rests on."""
    if result.offset_ms is None or result.interval_ms is None:
        return "Cannot tell", result.reason or "no trustworthy answer"
    size, side = abs(result.offset_ms), "early" if result.offset_ms > 0 else "late"
    headline = f"Audio {size:.0f} ms {side}"
    if result.direction == "in sync":
        headline = f"In sync (audio {size:.0f} ms {side})"
    low, high = result.interval_ms
    sure = f"= {result.probability:.2f}" if result.probability < 0.995 else "> 0.99"
    seconds = f", from {result.measurable_s:.1f} s of speech" if result.measurable_s else ""
    basis = f"95 % between {low:+.0f} and {high:+.0f} ms"
    if _changes(result):
        headline, basis = _course_in_words(result)
    return headline, f"{basis}, p {sure}{seconds}"


def _changes(result: OffsetResult) -> bool:
    return result.pattern in ("drift", "steps")


def _course_in_words(result: OffsetResult) -> tuple[str, str]:
    known = [s for s in result.segments if s.offset_ms is not None]
    ends = [result.offset_at(s, time_s) for s in known for time_s in (s.start_s, s.end_s)]
    extremes = f"offsets from {min(ends, default=0.0):+.0f} to {max(ends, default=0.0):+.0f} ms"
    if result.pattern == "drift":
        return f"Drifts by {result.drift_ppm:+.0f} ppm", extremes
    count = len(result.steps)
    return f"{count} step{'s' if count > 1 else ''} of the offset", extremes


def _draw_verdict(canvas: _Canvas, result: OffsetResult) -> None:
    headline, basis = verdict_of(result)
    canvas.text(40, 54, _fitted(Path(result.file).name, 22, WIDTH - 80), 22, _QUIET)
    canvas.text(40, 104, headline, 40, _BLUE if result.status == "measured" else _ORANGE)
    left = 40 + text_width(headline, 40) + 24
    lines = _wrapped(basis, 22, WIDTH - 40 - left)
    for i, line in enumerate(lines):
        canvas.text(left, 104 - 28 * (len(lines) - 1 - i), line, 22, _INK)


def _draw_nothing(canvas: _Canvas, panel: _Panel) -> None:
    canvas.box(panel.x0, panel.y0, panel.x1, panel.y1, _PANEL, _RULE)
    middle = (panel.x0 + panel.x1) / 2, (panel.y0 + panel.y1) / 2
    canvas.text(*middle, "nothing could be compared with the sound", 22, _QUIET, anchor="mm")


def _draw_curve(canvas: _Canvas, panel: _Panel, evidence: Evidence, result: OffsetResult) -> None:
    """Posterior as an area, interval behind it, mean cosine as a thin line with its scale."""
    canvas.box(panel.x0, panel.y0, panel.x1, panel.y1, _PANEL, _RULE)
    if result.interval_ms is not None:
        # However sharp the interval is, it stays visible.
        low, high = (float(panel.x(value)) for value in result.interval_ms)
        canvas.box(min(low, high - 3), panel.y0 + 1, max(high, low + 3), panel.y1 - 1, _SKY, None)
    x = panel.x(evidence.lags_ms)
    if np.isfinite(evidence.curve).any():
        # A curve that knows nothing stays as flat as it is.
        height = np.nan_to_num(evidence.curve / max(float(np.nanmax(evidence.curve)), 0.03))
        outline = list(zip(x.tolist(), panel.y(0.9 * height).tolist(), strict=True))
        canvas.area([(panel.x0, panel.y1), *outline, (panel.x1, panel.y1)], _BLUE)
    _draw_cosine(canvas, panel, x, evidence.diagonal)
    _draw_legend(canvas, panel)


def _draw_cosine(canvas: _Canvas, panel: _Panel, x: Values, cosine: Values) -> None:
    known = np.isfinite(cosine)
    if not known.any():
        return
    low, high = float(cosine[known].min()), float(cosine[known].max())
    span = max(high - low, 1e-6)
    height = 0.1 + 0.75 * (cosine[known] - low) / span
    canvas.line(list(zip(x[known].tolist(), panel.y(height).tolist(), strict=True)), _ORANGE, 1.6)
    for share, value in ((0.1, low), (0.85, high)):
        y = float(panel.y(share))
        canvas.line([(panel.x0 - 6, y), (panel.x0, y)], _QUIET, 1)
        canvas.text(panel.x0 - 12, y, f"{value:.2f}", 18, _ORANGE, anchor="rm")


def _draw_legend(canvas: _Canvas, panel: _Panel) -> None:
    y = panel.y0 - 14
    canvas.box(panel.x0, y - 13, panel.x0 + 22, y, _BLUE, None)
    canvas.text(panel.x0 + 30, y, "probability of each offset", 19, _INK)
    x = panel.x0 + 50 + text_width("probability of each offset", 19)
    canvas.line([(x, y - 6), (x + 22, y - 6)], _ORANGE, 2)
    canvas.text(x + 30, y, "mean agreement of lips and sound (cosine)", 19, _INK)


def _draw_matrix(canvas: _Canvas, panel: _Panel, evidence: Evidence) -> None:
    """Lag matrix, one row per stretch of time, dark where lips and sound agree."""
    start_s, rows = by_time(evidence.rows_s, evidence.matrix)
    # Many copies of each row keep the enlargement from blending neighbours.
    picture = Image.fromarray(coloured(np.repeat(rows, -(-800 // len(rows)), axis=0)))
    canvas.paste(picture, panel.x0, panel.y0, panel.x1, panel.y1)
    canvas.box(panel.x0, panel.y0, panel.x1, panel.y1, None, _RULE)
    end_s = start_s + len(rows) * ROW_S
    for t_s in _ticks(start_s, end_s, 4):
        y = float(panel.y(1 - (t_s - start_s) / (end_s - start_s)))
        canvas.line([(panel.x0 - 6, y), (panel.x0, y)], _QUIET, 1)
        canvas.text(panel.x0 - 12, y, clock(t_s), 18, _QUIET, anchor="rm")


def _draw_course(canvas: _Canvas, panel: _Panel, evidence: Evidence, result: OffsetResult) -> None:
    """The offset over time where it changes; steps join its parts, gaps stay open."""
    if not _changes(result):
        return
    start_s, rows = by_time(evidence.rows_s, evidence.matrix)
    length_s = len(rows) * ROW_S
    for segment in result.segments:
        if segment.offset_ms is None:
            continue
        points = [
            (
                float(panel.x(result.offset_at(segment, time_s))),
                float(panel.y(1 - (time_s - start_s) / length_s)),
            )
            for time_s in (segment.start_s, segment.end_s)
        ]
        canvas.line(points, _PAPER, 5)
        canvas.line(points, _ORANGE, 2.5)


def _draw_estimate(canvas: _Canvas, panels: tuple[_Panel, _Panel], result: OffsetResult) -> None:
    """The line of perfect sync through both panels, and marks at the answer."""
    for panel in panels:
        if panel.low_ms < 0 < panel.high_ms:
            canvas.dashes(float(panel.x(0)), panel.y0 + 1, panel.y1 - 1, _QUIET)
    if result.offset_ms is None or _changes(result):
        return
    upper, lower = panels
    x = float(upper.x(result.offset_ms))
    canvas.area([(x - 8, upper.y0), (x + 8, upper.y0), (x, upper.y0 + 13)], _INK)
    canvas.area([(x - 8, lower.y1 + 14), (x + 8, lower.y1 + 14), (x, lower.y1 + 1)], _INK)
    # Away from the line of perfect sync, as long as there is room.
    side = "rs" if x > 220 and (result.offset_ms < 0 or x > WIDTH - 160) else "ls"
    shift = 14 if side == "ls" else -14
    canvas.text(x + shift, upper.y0 + 24, f"{result.offset_ms:+.0f} ms", 22, _INK, anchor=side)


def _draw_lag_axis(canvas: _Canvas, panel: _Panel) -> None:
    for lag_ms in _ticks(panel.low_ms, panel.high_ms, 7):
        x = float(panel.x(lag_ms))
        canvas.line([(x, panel.y1), (x, panel.y1 + 6)], _QUIET, 1)
        label = "0" if lag_ms == 0 else f"{lag_ms:+.0f}"
        canvas.text(x, panel.y1 + 27, label, 18, _QUIET, anchor="ms")
    y = panel.y1 + 54
    canvas.text((panel.x0 + panel.x1) / 2, y, "offset in ms", 19, _INK, anchor="ms")
    for x, away, anchor, words in (
        (panel.x0, 1, "ls", "audio late"),
        (panel.x1, -1, "rs", "audio early"),
    ):
        canvas.area([(x + 10 * away, y - 12), (x + 10 * away, y - 1), (x, y - 6.5)], _QUIET)
        canvas.text(x + 17 * away, y, words, 19, _QUIET, anchor=anchor)


def _draw_faces(
    canvas: _Canvas, thumbnails: list[tuple[float, npt.NDArray[np.uint8], int]]
) -> None:
    """A strip of the faces with their times, framed in the colour of their track."""
    side, gap = 108.0, (WIDTH - 80 - 108.0 * _THUMBNAILS) / (_THUMBNAILS - 1)
    for i, (time_s, bgr, track) in enumerate(thumbnails):
        x, y = 40 + i * (side + gap), HEIGHT - 50 - side
        colour = _TRACKS[track % len(_TRACKS)]
        canvas.paste(_square(bgr), x, y, x + side, y + side)
        for inset in (0, 1):
            canvas.box(x + inset, y + inset, x + side - inset, y + side - inset, None, colour)
        canvas.text(x + side / 2, y + side + 24, clock(round(time_s, 1)), 18, _QUIET, anchor="ms")


def by_time(rows_s: Values, matrix: Values) -> tuple[float, npt.NDArray[np.float64]]:
    """Start time, and one row a second from there; the best of several faces, NaN for none."""
    start_s = float(rows_s.min())
    second = np.floor((rows_s - start_s) / ROW_S + 1e-6).astype(np.intp)
    rows = np.full((second.max() + 1, matrix.shape[1]), np.nan)
    np.fmax.at(rows, second, matrix)
    return start_s, rows


def coloured(matrix: Values) -> npt.NDArray[np.uint8]:
    """Heat map uint8 [rows, K, 3] of a matrix [rows, K]; NaN is grey."""
    known = np.isfinite(matrix)
    low, high = np.percentile(matrix[known], [35, 99.7]) if known.any() else (0.0, 1.0)
    share = np.clip((np.where(known, matrix, low) - low) / max(high - low, 1e-6), 0, 1)
    steps = np.linspace(0, 1, len(_RAMP))
    channels = [np.interp(share, steps, _RAMP[:, k]) for k in range(3)]
    colours = np.where(known[..., None], np.stack(channels, axis=-1), np.array(_UNKNOWN))
    return np.rint(colours).astype(np.uint8)


def clock(time_s: float) -> str:
    """Programme time as people read it."""
    minutes, seconds = divmod(time_s, 60)
    if minutes < 1:
        return f"{seconds:.4g} s" if time_s < 10 else f"{seconds:.0f} s"
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{seconds:02.0f}" if hours else f"{minutes}:{seconds:02.0f}"


def _ticks(low: float, high: float, count: int) -> list[float]:
    """Round values inside a range, about `count` of them."""
    rough = max(high - low, 1e-6) / count
    power = 10.0 ** np.floor(np.log10(rough))
    step = float(power * next(m for m in (1, 2, 2.5, 5, 10) if m * power >= rough))
    first = int(np.ceil(low / step - 1e-9))
    last = int(np.floor(high / step + 1e-9))
    return [i * step for i in range(first, last + 1)]


def _spread(
    thumbnails: tuple[tuple[float, npt.NDArray[np.uint8], int], ...],
) -> list[tuple[float, npt.NDArray[np.uint8], int]]:
    """As many as fit in the strip, evenly over the programme."""
    count = min(len(thumbnails), _THUMBNAILS)
    return [thumbnails[i] for i in np.linspace(0, len(thumbnails) - 1, count).round().astype(int)]


def _square(bgr: npt.NDArray[np.uint8]) -> Image.Image:
    """The middle square of a BGR picture."""
    height, width = bgr.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return Image.fromarray(np.ascontiguousarray(bgr[top : top + side, left : left + side, ::-1]))


def _wrapped(text: str, size: float, width: float) -> list[str]:
    """Break into two lines where one is too short for the text."""
    words, first = text.split(), ""
    while words and text_width(f"{first} {words[0]}", size) <= width:
        first = f"{first} {words.pop(0)}"
    return [first.strip(), _fitted(" ".join(words), size, width)] if words else [text]


def _fitted(text: str, size: float, width: float) -> str:
    """Shorten from the middle until it fits."""
    kept = text
    while text_width(kept, size) > width and len(kept) > 8:
        half = (len(kept) - 2) // 2
        kept = f"{kept[: half - 1]}…{kept[-(half - 1) :]}"
    return kept

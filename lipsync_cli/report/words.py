"""Figures in words, as HTML."""

from __future__ import annotations

import math
from html import escape

from lipsync_cli.scoring.tolerance import FRAME_STANDARDS, parse_tolerance
from lipsync_cli.text import printable

UNKNOWN = '<span class="quiet">–</span>'


def text(value: object) -> str:
    """Escape for content and attributes alike."""
    return escape(printable(str(value)), quote=True)


def badge(kind: str, words: str, why: str = "") -> str:
    """A word on the colour of its kind; `why` shows when pointed at."""
    title = f' title="{text(why)}"' if why else ""
    return f'<span class="badge {text(kind)}"{title}>{text(words)}</span>'


def figure(value: float | None, digits: int) -> str:
    """A number, or a dash."""
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def chance(value: float | None) -> str:
    """A probability, rounded down: 0.999 is not yet 1; or a dash."""
    return UNKNOWN if value is None else f"{math.floor(value * 100 + 1e-9) / 100:.2f}"


def share(value: float | None) -> str:
    """A percentage, or a dash."""
    return UNKNOWN if value is None else f"{value:.0%}"


def offset_words(
    offset_ms: float | None,
    interval_ms: tuple[float, float] | None = None,
    course: str = "",
) -> str:
    """An offset with its direction; below it half of its 95 % interval, and how it changes."""
    if offset_ms is None:
        return '<span class="quiet">cannot tell</span>'
    side = "early" if offset_ms > 0 else "late"
    size = f"{abs(offset_ms):.0f}" if abs(offset_ms) >= 9.95 else f"{abs(offset_ms):.1f}"
    words = f"{size} ms {side}" if offset_ms else "0 ms"
    if interval_ms is None:
        return words
    half = (interval_ms[1] - interval_ms[0]) / 2
    change = f", {text(course)}" if course else ""
    return f'{words}<br><span class="quiet small">± {half:.0f} ms{change}</span>'


def limits_words(name: str) -> tuple[str, str]:
    """How early and how late the limits of a name allow sound to be."""
    if name in FRAME_STANDARDS:
        frames = FRAME_STANDARDS[name]
        words = f"{frames:g} frame{'' if frames == 1 else 's'}"
        return words, words
    limits = parse_tolerance(name, None)
    return f"{limits.early_ms:g} ms", f"{limits.late_ms:g} ms"

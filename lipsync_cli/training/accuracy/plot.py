"""The reliability diagram: what is stated against what is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SIDE = 640

_MARGIN = 90
_SUPERSAMPLING = 2
_INK, _QUIET, _RULE = (33, 41, 52), (104, 114, 128), (216, 221, 228)
_BLUE, _SKY, _PAPER = (0, 114, 178), (205, 228, 242), (252, 252, 250)
_LARGEST_DOT, _SMALLEST_DOT = 14.0, 3.0


def save_reliability(bins: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw stated probability (across) against true share (up) into a square PNG.

    Args:
        bins: stated, right and n of each bin; a dot's area grows with n.
    """
    picture = Image.new("RGB", (SIDE * _SUPERSAMPLING,) * 2, _PAPER)
    draw = ImageDraw.Draw(picture)
    _draw_frame(draw)
    most = max((row["n"] for row in bins), default=1)
    points = [_place(row["stated"], row["right"]) for row in bins]
    if len(points) > 1:
        draw.line(points, fill=_BLUE, width=2 * _SUPERSAMPLING)
    for (x, y), row in zip(points, bins, strict=True):
        radius = max(_SMALLEST_DOT, _LARGEST_DOT * (row["n"] / most) ** 0.5) * _SUPERSAMPLING
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), _SKY, _BLUE, 3)
        beside = (x + radius + 8, y + 8)
        draw.text(beside, f"{row['n']:.0f}", _QUIET, _font(13), anchor="lt")
    picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS).save(path, "PNG", optimize=True)


def _draw_frame(draw: ImageDraw.ImageDraw) -> None:
    for tick in range(0, 11, 2):
        share = tick / 10
        draw.line([_place(share, 0), _place(share, 1)], fill=_RULE, width=_SUPERSAMPLING)
        draw.line([_place(0, share), _place(1, share)], fill=_RULE, width=_SUPERSAMPLING)
        (x, low), (left, y) = _place(share, 0), _place(0, share)
        draw.text((x, low + 12), f"{share:.1f}", _INK, _font(16), anchor="mt")
        draw.text((left - 12, y), f"{share:.1f}", _INK, _font(16), anchor="rm")
    draw.line([_place(0, 0), _place(1, 1)], fill=_QUIET, width=_SUPERSAMPLING)
    middle = SIDE * _SUPERSAMPLING / 2
    bottom = (SIDE - 30) * _SUPERSAMPLING
    draw.text((middle, bottom), "probability stated", _INK, _font(18), anchor="ms")
    corner = (_MARGIN * _SUPERSAMPLING, 50 * _SUPERSAMPLING)
    draw.text(corner, "share that was right; numbers: answers", _INK, _font(18), anchor="ls")


def _place(stated: float, right: float) -> tuple[float, float]:
    span = SIDE - 2 * _MARGIN
    x, y = _MARGIN + stated * span, SIDE - _MARGIN - right * span
    return x * _SUPERSAMPLING, y * _SUPERSAMPLING


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * _SUPERSAMPLING)

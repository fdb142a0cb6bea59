"""Where the lips are in the photograph, and where a talking mouth wants them.

Everything is measured in pixels of the photograph (512 x 512), x to the right, y down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Grid = npt.NDArray[np.float32]

CENTRE_X = 224.0
LINE_Y = 147.0  # where relaxed lips meet
PHOTO_HALF_WIDTH = 22.5
_FULL_DROP = 12.5  # way of the lower lip at opening 1


def points(text: str) -> Grid:
    """Read "x,y x,y ..." as float32 [n, 2]."""
    return np.array([point.split(",") for point in text.split()], dtype=np.float32)


# Contours as photographed, from one corner of the smile to the other.
_UPPER_OUTER = points(
    "201.5,138.7 208,138.8 212,139.1 216,139.3 220,139.6 223,140.4 226,140.2 230,139.9 "
    "235,139.6 240,139.2 246.5,139.6"
)
_UPPER_INNER = points(
    "201.5,138.8 204,139.2 206,140.2 209,141.1 211,141.5 213,141.9 215,142.5 218,143.2 "
    "222,143.6 226,143.4 230,142.8 234,142.1 238,141.1 241,140.2 244,139.9 246.5,139.7"
)
_LOWER_INNER = points(
    "201.5,139.0 204,141.8 206,144.3 209,147.0 212,148.4 216,149.8 220,150.6 224,150.7 "
    "228,150.4 232,149.4 235,148.2 238,147.1 241,145.2 244,142.8 246.5,140.0"
)
_LOWER_OUTER = points(
    "201.5,139.3 208,148.0 212,151.8 216,154.2 220,155.4 225,155.7 230,154.8 234,152.6 "
    "238,150.0 242,146.4 246.5,140.4"
)
_CHIN = points(
    "184,156 190,160.5 200,169.5 210,176.5 222,178.5 235,175.5 245,169 255,160.5 262,154"
)


@dataclass(frozen=True)
class MouthShape:
    """What the lips do at one moment; the terms of `speech.Articulation`."""

    opening: float
    rounding: float = 0.0
    tuck: float = 0.0

    @property
    def rounded(self) -> float:
        return max(self.rounding, 0.0)

    @property
    def spread(self) -> float:
        return max(-self.rounding, 0.0)

    @property
    def half_width(self) -> float:
        return 18.6 - 6.2 * self.rounded + 1.6 * self.spread - 2.0 * self.opening

    @property
    def drop(self) -> float:
        """Way of the lower lip."""
        return _FULL_DROP * self.opening

    @property
    def lift(self) -> float:
        """Way of the upper lip."""
        open_ = 1.1 * min(self.opening * 1.6, 1.0) + 1.2 * self.opening
        return open_ * (0.8 + 0.4 * self.spread) + 1.2 * self.tuck


@dataclass(frozen=True)
class Contours:
    """Rows [W] of the four lip contours and the chin, for the columns of the picture."""

    upper_outer: Grid
    upper_inner: Grid
    lower_inner: Grid
    lower_outer: Grid
    chin: Grid


def photographed(x: Grid) -> Contours:
    """Contours of the photograph at columns `x`."""
    curves = (_UPPER_OUTER, _UPPER_INNER, _LOWER_INNER, _LOWER_OUTER, _CHIN)
    return Contours(*(_row(x, curve) for curve in curves))


def wanted(u: Grid, shape: MouthShape, source: Contours, x: Grid) -> Contours:
    """Contours of a mouth of this shape at columns `x`, which lie at `u`, -1..1 between corners.

    Beyond the corners all lips are one line, which fades into the face as photographed.
    """
    inside = np.clip(1 - u**2, 0, 1)
    pressed = float(np.clip(1 - shape.opening / 0.08, 0, 1))
    line = _corner_line(u, shape) + (1.6 - 0.9 * shape.rounded - 0.16 * shape.drop) * inside
    bow = inside ** (0.8 - 0.15 * shape.rounded - 0.15 * shape.opening)
    upper_inner = line - shape.lift * bow
    lower_inner = np.maximum(line + shape.drop * bow, upper_inner)
    upper = (4.5 + 0.9 * shape.rounded - 0.9 * pressed - 0.8 * shape.opening) * inside**0.7
    lower = (6.2 + 0.8 * shape.rounded - 1.3 * pressed - 0.6 * shape.opening) * inside**0.7
    jaw = np.cos(np.clip((x - 223) / 41, -0.99, 0.99) * np.pi / 2) ** 1.4
    rows = (
        upper_inner - upper,
        upper_inner,
        lower_inner,
        lower_inner + lower,
        source.chin + 0.5 * shape.drop * jaw,
    )
    return Contours(*(np.asarray(row, dtype=np.float32) for row in rows))


def sideways(u: Grid) -> Grid:
    """How much of the narrowing of the mouth each column feels: all at the corners."""
    beyond = np.sign(u) * np.exp(-0.8 * np.clip(np.abs(u) - 1, 0, None))
    return np.asarray(np.where(np.abs(u) < 1, u, beyond), dtype=np.float32)


def _row(x: Grid, curve: Grid) -> Grid:
    return np.interp(x, curve[:, 0], curve[:, 1]).astype(np.float32)


def _corner_line(u: Grid, shape: MouthShape) -> Grid:
    """Height of the corners, less smiling than the photograph, lower with the jaw."""
    across = u.clip(-1, 1)
    corner = LINE_Y - 1.6 + 0.9 * shape.rounded + 0.16 * shape.drop + 0.5 * across
    smile = 139.6 + 0.6 * (across + 1)
    fade = np.exp(-0.9 * np.clip(np.abs(u) - 1, 0, None))
    return np.asarray(smile + (corner - smile) * fade, dtype=np.float32)

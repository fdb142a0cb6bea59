"""Cut the mouth out of a picture: eyes level, one size, whatever the pose and the resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lipsync_cli.faces._cv2 import load_cv2

Luma = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

CROP_SIDE = 64
# Side of the crop over the face's scale, and how far below the mouth its centre lies.
REACH = 1.7
DROP = 0.1
# Bilinear sampling does not low-pass: below this magnification shrink by area first.
_SHARP = 0.75


@dataclass(frozen=True)
class MouthGeometry:
    """Square around a mouth.

    Attributes:
        centre: float64 [2], px.
        side: px of the picture that one side spans.
        angle: radians by which the line from the subject's right to left eye is turned.
    """

    centre: npt.NDArray[np.float64]
    side: float
    angle: float


def mouth_geometry(landmarks: npt.ArrayLike) -> MouthGeometry:
    """Place the crop by five landmarks [5, 2] (right eye, left eye, nose, mouth corners)."""
    # Plain numbers: for so few of them arrays take ten times as long.
    right, left, _, first, second = np.asarray(landmarks, np.float64).tolist()
    eye, mouth = _middle(right, left), _middle(first, second)
    across = (left[0] - right[0], left[1] - right[1])
    down = (mouth[0] - eye[0], mouth[1] - eye[1])
    scale = max(math.hypot(*down), 0.9 * math.hypot(*across), 8.0)
    centre = np.array([mouth[0] + DROP * down[0], mouth[1] + DROP * down[1]])
    return MouthGeometry(centre, REACH * scale, math.atan2(across[1], across[0]))


def _middle(first: list[float], second: list[float]) -> tuple[float, float]:
    return (first[0] + second[0]) / 2, (first[1] + second[1]) / 2


def cut_mouth(
    luma: Luma, geometry: MouthGeometry, *, side: int = CROP_SIDE
) -> npt.NDArray[np.uint8]:
    """Return uint8 [side, side]; beyond the picture's edge its last pixels are repeated."""
    cv2: Any = load_cv2()
    magnification, shrunk = side / geometry.side, 1.0
    picture, origin = luma, np.zeros(2)
    if magnification < _SHARP:
        left, top, right, bottom = neighbourhood(luma.shape, geometry)
        shrunk, origin = magnification, np.array([left, top]) * magnification
        picture = cv2.resize(
            luma[top:bottom, left:right], None, fx=shrunk, fy=shrunk, interpolation=cv2.INTER_AREA
        )
    matrix = _level(geometry, magnification / shrunk)
    centre = geometry.centre * shrunk - origin
    matrix[:, 2] = side / 2 - matrix[:, :2] @ centre
    crop = cv2.warpAffine(
        picture, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(crop, np.uint8)


def neighbourhood(shape: tuple[int, ...], geometry: MouthGeometry) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what a crop can touch in a picture of `shape`."""
    reach = geometry.side * 0.75 + 8.0
    x, y = geometry.centre.tolist()
    left, right = _span(x, reach, shape[1])
    top, bottom = _span(y, reach, shape[0])
    return left, top, right, bottom


def _span(centre: float, reach: float, limit: int) -> tuple[int, int]:
    """At least a strip of the picture remains where the mouth lies beyond its edge."""
    low = min(max(math.floor(centre - reach), 0), max(limit - 16, 0))
    high = min(max(math.ceil(centre + reach), min(16, limit)), limit)
    return low, max(high, low + 1)


def _level(geometry: MouthGeometry, magnification: float) -> npt.NDArray[np.float64]:
    cos = math.cos(geometry.angle) * magnification
    sin = math.sin(geometry.angle) * magnification
    return np.array([[cos, sin, 0.0], [-sin, cos, 0.0]])

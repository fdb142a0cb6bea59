"""Cut the mouth out of a picture: eyes level, one size, whatever the pose and the resolution."""

from __future__ import annotations

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
    points = np.asarray(landmarks, np.float64)
    eye, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    across, down = points[1] - points[0], mouth - eye
    scale = max(float(np.hypot(*down)), 0.9 * float(np.hypot(*across)), 8.0)
    angle = float(np.arctan2(across[1], across[0]))
    return MouthGeometry(mouth + DROP * down, REACH * scale, angle)


def cut_mouth(
    luma: Luma, geometry: MouthGeometry, *, side: int = CROP_SIDE
) -> npt.NDArray[np.uint8]:
    """Return uint8 [side, side]; beyond the picture's edge its last pixels are repeated."""
    cv2: Any = load_cv2()
    magnification = side / geometry.side
    picture, origin = luma, np.zeros(2)
    if magnification < _SHARP:
        picture, origin = _neighbourhood(luma, geometry)
        picture = cv2.resize(
            picture, None, fx=magnification, fy=magnification, interpolation=cv2.INTER_AREA
        )
        origin = origin * magnification
    shrunk = magnification if magnification < _SHARP else 1.0
    matrix = _level(geometry, magnification / shrunk)
    centre = geometry.centre * shrunk - origin
    matrix[:, 2] = side / 2 - matrix[:, :2] @ centre
    crop = cv2.warpAffine(
        picture, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(crop, np.uint8)


def _level(geometry: MouthGeometry, magnification: float) -> npt.NDArray[np.float64]:
    cos, sin = np.cos(geometry.angle) * magnification, np.sin(geometry.angle) * magnification
    return np.array([[cos, sin, 0.0], [-sin, cos, 0.0]])


def _neighbourhood(luma: Luma, geometry: MouthGeometry) -> tuple[Luma, npt.NDArray[np.float64]]:
    """The part of the picture that the crop can touch, with the place of its corner."""
    reach = geometry.side * 0.75 + 8.0
    limits = np.array(luma.shape[::-1])
    # At least a strip of the picture remains where the mouth lies beyond its edge.
    low = np.clip(np.floor(geometry.centre - reach), 0, np.maximum(limits - 16, 0)).astype(int)
    high = np.clip(np.ceil(geometry.centre + reach), np.minimum(16, limits), limits).astype(int)
    high = np.maximum(high, low + 1)
    return luma[low[1] : high[1], low[0] : high[0]], low.astype(np.float64)

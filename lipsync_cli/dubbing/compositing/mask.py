"""Which part of a face new speech may change, and how softly its edge fades."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.canvas import REACH, RISE, face_scale
from lipsync_cli.dubbing.compositing.warp import resize

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

# Turned heads are told apart in steps of this share of the face's scale.
_YAW_STEP = 0.02
# How much narrower the far cheek looks, and how much wider the near one, for each step that the
# nose is aside; both end somewhere.
_FAR, _NEAR, _NARROWEST, _WIDEST = 1.3, 0.25, 0.35, 1.1
# Larger masks are drawn at this size; what is less is spread beyond the limits by enlarging.
_DRAWN, _NOTHING = 256, 0.005
# Below this share of the mask's height the jaw gets narrower.
_JAW = 0.45


@dataclass(frozen=True)
class MaskShape:
    """The lower face, in distances of eyes and mouth from the middle of the mouth.

    Attributes:
        top, bottom: limits upwards (negative) and downwards: below the eyes, and below the
            chin far enough for a jaw that drops.
        width: half the width at the mouth.
        taper: by how much of it the jaw is narrower at the bottom.
        feather: width of the edge, which lies inside of the limits.
        power: 2 for an ellipse, more for fuller corners.
    """

    top: float = -0.62
    bottom: float = 0.92
    width: float = 0.86
    taper: float = 0.3
    feather: float = 0.34
    power: float = 2.4

    @property
    def reach(self) -> float:
        """Least distance from the middle to the limits."""
        return min(self.width, (self.bottom - self.top) / 2)


@dataclass(frozen=True, eq=False)
class Polar:
    """Where pixels lie in a mask.

    Attributes:
        radius: float32 [side, side], 0 in the middle of the mask and 1 at its limit.
        angle: float32 [side, side], 0 to the right, clockwise, in radians.
    """

    radius: Floats
    angle: Floats


LOWER_FACE = MaskShape()
LIPS = MaskShape(top=-0.34, bottom=0.4, width=0.56, taper=0.0, feather=0.16, power=2.0)


def face_mask(side: int, landmarks: npt.ArrayLike, shape: MaskShape = LOWER_FACE) -> Floats:
    """Draw the mask of a face in its square: float32 [side, side], 0 to 1.

    Args:
        side: of the square that `face_place` puts on these landmarks.
        landmarks: [5, 2], px of the upright source; they tell how far the head is turned.
    """
    return enlarged(_drawn(drawn_side(side), yaw_step(landmarks), shape, 0.0), side)


def ring_mask(side: int, landmarks: npt.ArrayLike, shape: MaskShape = LOWER_FACE) -> Floats:
    """Draw where a mask's edge is: 1 in its outer feather and close around it, else 0."""
    step = yaw_step(landmarks)
    inner, outer = (_drawn(drawn_side(side), step, shape, grown) for grown in (-0.3, 0.55))
    return enlarged(np.asarray(np.clip(outer - inner, 0, 1), np.float32), side)


def drawn_side(side: int) -> int:
    """Px at which a mask for a square is drawn; masks are smooth, and many are kept."""
    return min(side, _DRAWN)


def enlarged(mask: Floats, side: int) -> Floats:
    """Resize a mask to a square's size; beyond its limits it stays 0."""
    if len(mask) == side:
        return mask
    large = resize(mask, (side, side))
    large[large < _NOTHING] = 0
    return large


def yaw_step(landmarks: npt.ArrayLike) -> int:
    """`nose_aside` in steps, for which masks are drawn only once."""
    return round(nose_aside(landmarks) / _YAW_STEP)


def nose_aside(landmarks: npt.ArrayLike) -> float:
    """How far the nose lies aside of the middle, > 0 to the right of the picture.

    In units of `face_scale`; about 0.45 times the sine of the angle by which a head turns.
    """
    points = np.asarray(landmarks, np.float64)
    scale, angle = face_scale(points)
    middle = (points[:2].mean(0) + points[3:].mean(0)) / 2
    return float((points[2] - middle) @ (np.cos(angle), np.sin(angle))) / scale


@lru_cache(maxsize=256)
def _drawn(side: int, step: int, shape: MaskShape, grown: float) -> Floats:
    """The mask for a nose so many steps aside, with limits grown by part of the feather."""
    radius = polar(side, step, shape).radius - grown * shape.feather / shape.reach
    mask = soft_step((1 - radius) * shape.reach / shape.feather)
    mask.flags.writeable = False
    return mask


def soft_step(values: Floats) -> Floats:
    """Rise smoothly from 0 at 0 to 1 at 1."""
    inside = np.clip(values, 0, 1)
    return np.asarray(inside * inside * (3 - 2 * inside), np.float32)


@lru_cache(maxsize=64)
def polar(side: int, step: int, shape: MaskShape) -> Polar:
    """Place the pixels of a square round the middle of a mask, for a nose so many steps aside."""
    y, x = (np.mgrid[:side, :side] + 0.5) * (REACH / side) - REACH / 2  # [side, side] each
    return polar_at(x, y - RISE, step, shape)


def polar_at(x: Doubles, y: Doubles, step: int, shape: MaskShape) -> Polar:
    """Place points, given in distances of eyes and mouth from the middle of the mouth."""
    middle, height = _vertical(shape)
    down, across = (y - middle) / height, x / _half_width(x, step, shape)
    radius = _norm(across / _jaw(down, shape), down, shape)
    angle = np.arctan2(down, across) % (2 * np.pi)
    return Polar(radius.astype(np.float32), angle.astype(np.float32))


def points_at(place: Polar, step: int, shape: MaskShape) -> tuple[Doubles, Doubles]:
    """Return x and y of places in a mask; the inverse of `polar_at`."""
    middle, height = _vertical(shape)
    cos, sin = np.cos(place.angle).astype(np.float64), np.sin(place.angle).astype(np.float64)
    far = place.radius.astype(np.float64)
    length = far
    for _ in range(8):
        # The jaw is narrower by what the length, which is sought, makes of it.
        length = far / _norm(cos / _jaw(length * sin, shape), sin, shape)
    x = length * cos
    return x * _half_width(x, step, shape), middle + height * length * sin


def _vertical(shape: MaskShape) -> tuple[float, float]:
    return (shape.top + shape.bottom) / 2, (shape.bottom - shape.top) / 2


def _jaw(down: Doubles, shape: MaskShape) -> Doubles:
    """By what factor the mask is narrower at a height, -1 at its top to 1 at its bottom."""
    low = np.clip((down - _JAW) / (1 - _JAW), 0, 1)
    return np.asarray(1 - shape.taper * low**2, np.float64)


def _norm(x: Doubles, y: Doubles, shape: MaskShape) -> Doubles:
    power = np.abs(x) ** shape.power + np.abs(y) ** shape.power
    return np.asarray(power ** (1 / shape.power), np.float64)


def _half_width(x: Doubles, step: int, shape: MaskShape) -> Doubles:
    """Half the width on the side of x; the cheek that the nose points to looks narrower."""
    aside = np.where(x * step > 0, abs(step), -abs(step)) * _YAW_STEP
    share = np.where(aside > 0, 1 - _FAR * aside, 1 - _NEAR * aside)
    return np.asarray(shape.width * np.clip(share, _NARROWEST, _WIDEST), np.float64)

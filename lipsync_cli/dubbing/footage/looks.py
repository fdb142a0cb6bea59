"""What a mouth crop and five landmarks tell of pose, light, sharpness and opening."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lipsync_cli.faces.crop import CROP_SIDE

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

THUMBNAIL = 16  # px
LOOKS = ("brightness", "lateral", "vertical", "contrast", "sharpness", "opening")
POSE = ("yaw", "pitch", "aspect", "roll", "size")
# Where the lips are in a crop, in px: rows, columns.
_LIPS = (slice(18, 42), slice(18, 46))
# The inside of a mouth is darker than this share of the face around it.
_DARK = 0.55
# Keeps pictures without any contrast apart from others: one grey level over all px.
_FLAT = 12.0


def thumbnails(crops: Bytes) -> Bytes:
    """Shrink aligned mouth crops uint8 [n, 64, 64] to 16 x 16 px, row by row: [n, 256]."""
    small = np.round(_shrunk(crops, THUMBNAIL)).astype(np.uint8)
    return np.asarray(small.reshape(len(crops), -1), np.uint8)


def looks(crops: Bytes) -> Floats:
    """Describe aligned mouth crops uint8 [n, 64, 64] in the terms of `LOOKS`: [n, 6].

    Brightness, difference of the right and left and of the lower and upper half, and
    contrast are grey levels; sharpness is the mean gradient over the contrast; opening is
    the share of the mouth's region that is as dark as the inside of a mouth.
    """
    quarters = _shrunk(crops, 2)  # [n, 2, 2]
    brightness = quarters.mean((1, 2))
    lateral = quarters[:, :, 1].mean(1) - quarters[:, :, 0].mean(1)
    vertical = quarters[:, 1].mean(1) - quarters[:, 0].mean(1)
    contrast = crops.std((1, 2), dtype=np.float32)
    wide = crops.astype(np.int16)
    gradient = np.abs(np.diff(wide, axis=1)).mean((1, 2)) + np.abs(np.diff(wide)).mean((1, 2))
    skin = np.median(crops[:, ::4, ::4].reshape(len(crops), -1), axis=1)
    opening = (crops[:, _LIPS[0], _LIPS[1]] < _DARK * skin[:, None, None]).mean((1, 2))
    columns = brightness, lateral, vertical, contrast, gradient / (contrast + 4.0), opening
    return np.stack(columns, axis=1).astype(np.float32)


def poses(landmarks: npt.ArrayLike) -> Floats:
    """Head pose by five landmarks [n, 5, 2] in the terms of `POSE`: [n, 5].

    Yaw and pitch are the place of the nose between eyes and mouth, aspect the distance of
    the eyes, all in units of the face's scale as in `faces.crop`; roll is in radians, size
    in octaves of px.
    """
    points = np.asarray(landmarks, np.float64)
    eyes, mouth = points[:, :2].mean(1), points[:, 3:].mean(1)  # [n, 2]
    across, down = points[:, 1] - points[:, 0], mouth - eyes
    wide, high = np.linalg.norm(across, axis=1), np.linalg.norm(down, axis=1)
    scale = np.maximum(np.maximum(high, 0.9 * wide), 8.0)
    unit = across / np.maximum(wide, 1e-6)[:, None]
    nose = points[:, 2] - (eyes + mouth) / 2
    yaw = (nose * unit).sum(1) / scale
    pitch = (unit[:, 0] * nose[:, 1] - unit[:, 1] * nose[:, 0]) / scale
    roll = np.arctan2(across[:, 1], across[:, 0])
    return np.stack([yaw, pitch, wide / scale, roll, np.log2(scale)], axis=1).astype(np.float32)


def standardised(thumbs: Bytes) -> Floats:
    """Thumbnails uint8 [n, 256] free of brightness and contrast, as unit vectors [n, 148].

    What an ellipse round the mouth leaves out is background as often as not. The distance
    of two is their root mean square difference in standard deviations.
    """
    x = thumbs[:, _inside()].astype(np.float32)
    x -= x.mean(1, keepdims=True)
    return np.asarray(x / (np.linalg.norm(x, axis=1, keepdims=True) + _FLAT), np.float32)


def distance(first: Floats, second: Floats) -> Floats:
    """Euclidean, of each of [S, D] from each of [R, D]: [S, R]."""
    square = (first**2).sum(1)[:, None] + (second**2).sum(1) - 2 * first @ second.T
    return np.asarray(np.sqrt(np.maximum(square, 0.0)), np.float32)


@lru_cache(maxsize=1)
def _inside() -> npt.NDArray[np.int64]:
    """Pixels of a thumbnail that nearly always show the face."""
    y, x = np.mgrid[:THUMBNAIL, :THUMBNAIL] + 0.5
    middle = THUMBNAIL / 2
    radius = np.hypot((x - middle) / (0.42 * THUMBNAIL), (y - middle) / (0.42 * THUMBNAIL))
    return np.flatnonzero(radius.ravel() <= 1)


def _shrunk(crops: Bytes, side: int) -> Floats:
    block = CROP_SIDE // side
    parts = crops.reshape(-1, side, block, side, block)
    return np.asarray(parts.mean((2, 4), dtype=np.float32), np.float32)

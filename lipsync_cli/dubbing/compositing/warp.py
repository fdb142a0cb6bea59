"""Affine warps of sample planes that neither alias nor move anything by half a pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lipsync_cli.faces._cv2 import load_cv2

Plane = npt.NDArray[np.float32]
Affine = npt.NDArray[np.float64]

# Bilinear sampling does not low-pass: below this magnification shrink by area first.
_SHARP = 0.75
_MARGIN = 3


def warp(
    plane: Plane,
    matrix: Affine,
    size: tuple[int, int],
    *,
    smooth: bool = False,
    fill: bool = True,
    average: bool = True,
) -> Plane:
    """Map a plane [h, w] to another of `size` (width, height), float32.

    Args:
        matrix: [2, 3], target px <- source px; whole numbers are the centres of pixels.
        smooth: bicubic, else bilinear.
        fill: repeat the last pixels beyond the edge; False for zeros.
        average: over what a target px covers where the plane shrinks, as pictures need.
    """
    cv2: Any = load_cv2()
    method = cv2.INTER_CUBIC if smooth else cv2.INTER_LINEAR
    if average:
        plane, matrix = _shrunk(plane, matrix, cv2)
    warped = cv2.warpAffine(
        plane,
        matrix,
        size,
        flags=method,
        borderMode=cv2.BORDER_REPLICATE if fill else cv2.BORDER_CONSTANT,
    )
    return np.asarray(warped, np.float32)


def blur(plane: Plane, sigma: float) -> Plane:
    """Gaussian blur of a plane [h, w] or [h, w, n]; edges are repeated."""
    cv2: Any = load_cv2()
    blurred = cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.float32)


def resize(plane: Plane, size: tuple[int, int], *, smooth: bool = False) -> Plane:
    """Resize a plane [h, w] or [h, w, n], by area where it shrinks, else bilinear.

    Args:
        smooth: bicubic unless it shrinks a lot.
    """
    cv2: Any = load_cv2()
    ratio = size[0] / plane.shape[1]
    method = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
    if smooth and ratio > _SHARP:
        method = cv2.INTER_CUBIC
    return np.asarray(cv2.resize(plane, size, interpolation=method), np.float32)


def resized(planes: Plane, side: int, *, smooth: bool = False) -> Plane:
    """Resize planes [n, h, w] to [n, side, side] as `resize` does.

    Faster than an interleaved picture: nothing has to be put side by side.
    """
    return np.stack([resize(plane, (side, side), smooth=smooth) for plane in planes])


def chain(second: Affine, first: Affine) -> Affine:
    """The map that does `first`, then `second`: [2, 3] each."""
    return second[:, :2] @ first + np.column_stack([np.zeros((2, 2)), second[:, 2]])


def inverse(matrix: Affine) -> Affine:
    """The map back."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.asarray(np.column_stack([linear, -linear @ matrix[:, 2]]), np.float64)


def moved(matrix: Affine, x: float, y: float) -> Affine:
    """The same map to a target whose origin lies at (x, y) of the old one."""
    return np.asarray(matrix - np.array([[0.0, 0.0, x], [0.0, 0.0, y]]), np.float64)


def scaled(before: int, after: int) -> Affine:
    """Px of a square of one side <- px of the same square of another side."""
    share = after / before
    return np.array([[share, 0.0, share / 2 - 0.5], [0.0, share, share / 2 - 0.5]])


def bounds(matrix: Affine, corners: Affine, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The part x0, y0, x1, y1 of a plane of `size` that a polygon [n, 2] is mapped to."""
    points = corners @ matrix[:, :2].T + matrix[:, 2]
    low = np.clip(np.floor(points.min(0)) - _MARGIN, 0, size).astype(int)
    high = np.clip(np.ceil(points.max(0)) + _MARGIN + 1, 0, size).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _shrunk(plane: Plane, matrix: Affine, cv2: Any) -> tuple[Plane, Affine]:
    """Shrink a plane by area along each axis that the map would shrink a lot."""
    scales = np.linalg.norm(matrix[:, :2], axis=0)
    height, width = plane.shape
    new = [
        max(1, round(length * scale)) if scale < _SHARP else length
        for length, scale in zip((width, height), scales, strict=True)
    ]
    if new == [width, height]:
        return plane, matrix
    small = cv2.resize(plane, new, interpolation=cv2.INTER_AREA)
    factor = np.array([width / new[0], height / new[1]])
    # Pixel centres lie at half-integers of the common coordinate.
    back = np.column_stack([np.diag(factor), factor / 2 - 0.5])
    return np.asarray(small, np.float32), chain(matrix, back)

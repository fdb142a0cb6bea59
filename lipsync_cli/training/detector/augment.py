"""Compose training pictures for the face detector from labelled ones.

One picture is a stack of layers (a background and up to three pictures, each turned,
mirrored, scaled and shifted), then occluding patches, then the damage of light and codecs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from lipsync_cli.training.detector.data import (
    CLIP,
    NEGATIVE,
    PHOTO,
    PackedPictures,
    nothing,
)
from lipsync_cli.training.detector.labels import MIRRORED_ORDER, Bytes, Floats, Labels

Point = npt.NDArray[np.floating[Any]]

# Smaller faces than this (pixels, geometric mean of the sides) are neither taught nor punished.
SMALLEST = 9.0
VISIBLE = 0.4
QUARTER_TURNS = (0.94, 0.025, 0.01, 0.025)
LAYER_KINDS = {PHOTO: 0.5, CLIP: 0.5}


@dataclass(frozen=True)
class _Placement:
    """Affine map [2, 3] of a picture onto the canvas, with what it does to boxes."""

    matrix: Floats
    scale: float
    quarter_turns: int
    mirrored: bool


class Composer:
    """Endless augmented pictures of `PackedPictures`, reproducible from the generator."""

    def __init__(self, pictures: PackedPictures, rng: np.random.Generator) -> None:
        self._pictures = pictures
        self._rng = rng
        self._numbers = {
            kind: pictures.numbers(kind, held_out=False) for kind in (PHOTO, CLIP, NEGATIVE)
        }

    def compose(self, side: int) -> tuple[Bytes, Labels]:
        """Return luma [side, side] and its faces in canvas pixels."""
        rng = self._rng
        canvas, labels = self._background(side)
        for _ in range(rng.choice(4, p=(0.14, 0.6, 0.18, 0.08))):
            canvas, labels = self._add_layer(canvas, labels)
        self._occlude(canvas, labels)
        labels = _settled(labels, side)
        return damage(canvas, rng), labels

    def _draw(self, kind: int) -> tuple[Bytes, Labels]:
        return self._pictures[int(self._rng.choice(self._numbers[kind]))]

    def _background(self, side: int) -> tuple[Bytes, Labels]:
        rng = self._rng
        choice = rng.random()
        if choice < 0.25:
            level = rng.integers(0, 256)
            return np.full((side, side), level, np.uint8), nothing()
        if choice < 0.85:
            picture, labels = self._draw(NEGATIVE)
        else:
            picture, labels = self._draw(PHOTO)
        height, width = picture.shape
        scale = side / min(height, width) * rng.uniform(1.0, 1.8)
        target = rng.uniform(side - np.array((width, height)) * scale / 2, 0.5 * side)
        target = np.clip(target, None, np.array((width, height)) * scale / 2)
        centre = np.array((width, height), np.float32) / 2
        turns = int(rng.choice(4)) if not len(labels.boxes) else 0
        placement = self._placement(centre, target, scale, turns, mirrored=rng.random() < 0.5)
        canvas = _shrunk(picture, side / width, side / height, cv2.INTER_NEAREST)
        return _paste(canvas, nothing(), picture, labels, placement)

    def _add_layer(self, canvas: Bytes, below: Labels) -> tuple[Bytes, Labels]:
        rng, side = self._rng, canvas.shape[0]
        kind = int(rng.choice(list(LAYER_KINDS), p=list(LAYER_KINDS.values())))
        picture, labels = self._draw(kind)
        sizes = box_sizes(labels.boxes)
        wanted = np.flatnonzero(~labels.ignored & (sizes > 10))
        if not len(wanted):
            return canvas, below
        chosen = int(rng.choice(wanted, p=sizes[wanted] / sizes[wanted].sum()))
        size = np.exp(rng.uniform(np.log(SMALLEST + 1), np.log(0.85 * side)))
        scale = min(size / sizes[chosen], 3.0)
        centre = (labels.boxes[chosen, :2] + labels.boxes[chosen, 2:]) / 2
        turns = int(rng.choice(4, p=QUARTER_TURNS))
        target = rng.uniform(0.0, 1.0, 2) * side
        # A large face is mostly in view: pull it towards the middle.
        target += (side / 2 - target) * min(1.0, size / side)
        placement = self._placement(centre, target, scale, turns, mirrored=rng.random() < 0.5)
        return _paste(canvas, below, picture, labels, placement)

    def _placement(
        self, centre: Point, target: Point, scale: float, turns: int, *, mirrored: bool
    ) -> _Placement:
        tilt = self._rng.normal(0.0, 0.15)
        angle = tilt + turns * np.pi / 2
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        linear = np.array([[cos, -sin], [sin, cos]])
        if mirrored:
            linear[:, 0] *= -1
        matrix = np.column_stack([linear, target - linear @ centre]).astype(np.float32)
        return _Placement(matrix, scale, turns, mirrored)

    def _occlude(self, canvas: Bytes, labels: Labels) -> None:
        """Cover a part of a third of the larger faces with a flat patch or a piece of texture."""
        rng, side = self._rng, canvas.shape[0]
        for box in labels.boxes[~labels.ignored & (box_sizes(labels.boxes) > 20)]:
            if rng.random() > 0.3:
                continue
            extent = (box[2:] - box[:2]) * rng.uniform(0.2, 0.6, 2)
            corner = rng.uniform(box[:2] - extent / 2, box[2:] - extent / 2)
            x0, y0 = np.clip(corner, 0, side - 1).astype(int)
            x1, y1 = np.clip(corner + extent, 0, side).astype(int)
            if x1 - x0 < 2 or y1 - y0 < 2:
                continue
            if rng.random() < 0.4:
                canvas[y0:y1, x0:x1] = rng.integers(0, 256)
            else:
                texture = self._draw(NEGATIVE)[0]
                canvas[y0:y1, x0:x1] = cv2.resize(texture, (int(x1 - x0), int(y1 - y0)))


def box_sizes(boxes: Floats) -> Floats:
    """Geometric mean of the sides of boxes [n, 4]."""
    extent = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None)
    return np.asarray(np.sqrt(extent[:, 0] * extent[:, 1]), np.float32)


def _paste(
    canvas: Bytes, below: Labels, picture: Bytes, labels: Labels, placement: _Placement
) -> tuple[Bytes, Labels]:
    matrix = placement.matrix.copy()
    source = picture
    if placement.scale < 0.7:
        # Warping does not low-pass: shrink by area first.
        source = _shrunk(picture, placement.scale, placement.scale, cv2.INTER_AREA)
        matrix[:, 0] *= picture.shape[1] / source.shape[1]
        matrix[:, 1] *= picture.shape[0] / source.shape[0]
    side = canvas.shape[0]
    canvas = canvas.copy()
    cv2.warpAffine(
        source,
        matrix,
        (side, side),
        dst=canvas,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_TRANSPARENT,
    )
    height, width = picture.shape
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    covered = _moved(corners, placement.matrix)
    rectangle = np.concatenate([covered.min(axis=0), covered.max(axis=0)])
    return canvas, _joined(_uncovered(below, rectangle), _moved_labels(labels, placement))


def _shrunk(picture: Bytes, x: float, y: float, interpolation: int) -> Bytes:
    size = (max(1, round(picture.shape[1] * x)), max(1, round(picture.shape[0] * y)))
    return np.asarray(cv2.resize(picture, size, interpolation=interpolation), np.uint8)


def _moved(points: Point, matrix: Floats) -> Floats:
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float32)


def _moved_labels(labels: Labels, placement: _Placement) -> Labels:
    extent = (labels.boxes[:, 2:] - labels.boxes[:, :2]) * placement.scale
    if placement.quarter_turns % 2:
        extent = extent[:, ::-1]
    centres = _moved((labels.boxes[:, :2] + labels.boxes[:, 2:]) / 2, placement.matrix)
    boxes = np.concatenate([centres - extent / 2, centres + extent / 2], axis=1)
    landmarks = _moved(labels.landmarks, placement.matrix)
    if placement.mirrored:
        landmarks = landmarks[:, MIRRORED_ORDER]
    if placement.quarter_turns:
        # A network of this size cannot place them both ways; the product turns the picture.
        landmarks = np.full_like(landmarks, np.nan)
    return Labels(boxes, landmarks, labels.ignored)


def _share_inside(boxes: Floats, rectangle: Floats) -> Floats:
    """Share of each box's area that lies inside a rectangle."""
    low = np.maximum(boxes[:, :2], rectangle[:2])
    high = np.minimum(boxes[:, 2:], rectangle[2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    return np.asarray(shared / np.maximum(box_sizes(boxes) ** 2, 1e-6), np.float32)


def _uncovered(labels: Labels, rectangle: Floats) -> Labels:
    covered = _share_inside(labels.boxes, rectangle)
    kept = covered < 0.8
    ignored = labels.ignored | (covered > 0.3)
    return Labels(labels.boxes[kept], labels.landmarks[kept], ignored[kept])


def _joined(first: Labels, second: Labels) -> Labels:
    return Labels(
        np.concatenate([first.boxes, second.boxes]),
        np.concatenate([first.landmarks, second.landmarks]),
        np.concatenate([first.ignored, second.ignored]),
    )


def _settled(labels: Labels, side: int) -> Labels:
    """Ignore what is too small or mostly out of view; forget what is not there at all."""
    visible = _share_inside(labels.boxes, np.array([0, 0, side, side], np.float32))
    sizes = box_sizes(labels.boxes)
    ignored = labels.ignored | (visible < VISIBLE) | (sizes < SMALLEST)
    kept = visible > 0.02
    return Labels(labels.boxes[kept], labels.landmarks[kept], ignored[kept])


def damage(picture: Bytes, rng: np.random.Generator) -> Bytes:
    """Change light and contrast, blur, add noise, compress."""
    result = _light(rng)[picture]
    if rng.random() < 0.2:
        blurred = cv2.GaussianBlur(result, (0, 0), rng.uniform(0.5, 1.8))
        result = np.asarray(blurred, np.uint8)
    if rng.random() < 0.3:
        noise = rng.standard_normal(result.shape, np.float32) * np.float32(rng.uniform(1, 12))
        result = np.clip(result + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        quality = int(rng.integers(12, 60))
        encoded = cv2.imencode(".jpg", result, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        result = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.uint8)
    return result


def _light(rng: np.random.Generator) -> Bytes:
    """Table [256] of a random gamma, contrast and brightness, at times in the dark."""
    values = np.arange(256.0)
    if rng.random() < 0.6:
        values = 255.0 * (values / 255.0) ** np.exp(rng.normal(0.0, 0.4))
        values = (values - 128.0) * rng.uniform(0.5, 1.3) + 128.0 + rng.normal(0.0, 20.0)
    if rng.random() < 0.15:
        values *= rng.uniform(0.12, 0.5)
    return np.asarray(np.clip(values, 0, 255), np.uint8)

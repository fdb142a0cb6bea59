"""The photographed head: framed, tinted, blinking and moving in front of a steady background."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import skimage.data

from lipsync_cli.render.contours import Grid, MouthShape, points
from lipsync_cli.render.motion import Pose
from lipsync_cli.render.mouth import Mouth, Picture


@dataclass(frozen=True)
class _Eye:
    """As photographed: the upper lash line, the lower lid, and the row of the fold above."""

    upper: Grid
    lower: Grid
    fold: float


_EYES = (
    _Eye(
        points("192,101 196,99.6 199,98.6 203,98 207,98.6 210,100.2 214,103.5"),
        points("192,101.3 196,103.4 200,104.6 204,105 208,105 211,104.7 214,104"),
        92.5,
    ),
    _Eye(
        points("234,104.6 238,102 241,100.8 245,100.2 249,100.5 253,101.4 260,105"),
        points("234,105 238,106 242,106.9 246,107.4 250,107.4 254,106.7 260,105.2"),
        95.0,
    ),
)
_NECK = (224.0, 188.0)
_FACE = (224.0, 118.0)
_LASHES_PX = 2.0  # height of the lashes, which do not stretch with the lid
_NOISE_FRAMES = 6


@dataclass(frozen=True)
class Identity:
    """A person made of the one photograph.

    Attributes:
        crop_px: side of the square cut from the photograph; smaller is a larger face.
        flip: mirrored.
        brightness, contrast, warmth: of the picture, 0, 1 and 0 are those of the photograph.
        width, height: stretch of the head.
        bumps: smooth local warps (x, y, dx, dy, radius) in pixels of the photograph.
    """

    crop_px: float = 214.0
    flip: bool = False
    brightness: float = 0.0
    contrast: float = 1.0
    warmth: float = 0.0
    width: float = 1.0
    height: float = 1.0
    bumps: tuple[tuple[float, float, float, float, float], ...] = ()


def identity_of(seed: int) -> Identity:
    """Make up a person; the same seed gives the same one."""
    rng = np.random.default_rng([seed, 4])
    places = ((205, 105), (243, 106), (224, 125), (205, 165), (243, 165), (224, 178), (224, 85))
    bumps = tuple((x, y, *rng.normal(0, 2.2, 2).tolist(), rng.uniform(16, 30)) for x, y in places)
    return Identity(
        crop_px=float(rng.uniform(160, 280)),
        flip=bool(rng.integers(2)),
        brightness=float(rng.uniform(-40, 25)),
        contrast=float(rng.uniform(0.75, 1.15)),
        warmth=float(rng.uniform(-18, 18)),
        width=float(rng.uniform(0.9, 1.12)),
        height=float(rng.uniform(0.92, 1.1)),
        bumps=bumps,
    )


class Portrait:
    """Draws frames of one person.

    Args:
        size: side of the square frames, in pixels; even.
        seed: of the grain of the camera.
    """

    def __init__(self, size: int, seed: int, identity: Identity | None = None) -> None:
        self._identity = identity or Identity()
        self._size, self._scale = size, size / self._identity.crop_px
        # The canvas is larger than the frame, so that a moving head brings in what is beside it.
        self._margin = size // 8
        self._corner = _framing(self._identity)
        self._origin = tuple(start - self._margin / self._scale for start in self._corner)
        self._rng = np.random.default_rng([seed, 5])
        self._photo = self._enlarge()
        self._mouth = Mouth(self._photo, (self._origin[0], self._origin[1]), self._scale)
        x, y = _individual(*self._coordinates(size), self._identity)
        self._static_x, self._static_y = self._to_canvas(x, 0), self._to_canvas(y, 1)
        # Motion is smooth: an eighth of the resolution holds all of it at an eighth of the cost.
        self._coarse_x, self._coarse_y = self._coordinates(max(size // 8, 16))
        self._head = _head_weight(self._coarse_x, self._coarse_y)
        self._depth = _face_depth(self._coarse_x, self._coarse_y)
        self._noise = self._camera_noise()
        self._tint = _tint(self._identity)

    def frame(self, shape: MouthShape, blink: float, pose: Pose) -> Picture:
        """Draw one frame, RGB uint8 [size, size, 3]; `blink` 1 is eyes closed."""
        canvas = self._photo.copy()
        self._mouth.draw(canvas, shape)
        if blink > 0.02:
            for eye in _EYES:
                self._close_eye(canvas, eye, blink)
        moved = cv2.remap(canvas, *self._motion(pose), cv2.INTER_CUBIC, None, cv2.BORDER_REPLICATE)
        if self._identity.flip:
            moved = moved[:, ::-1]
        return self._expose(np.asarray(moved, dtype=np.uint8))

    def _enlarge(self) -> Picture:
        """Cut the frame out of the photograph, enlarge it and give back some crispness."""
        scale = self._scale
        shift = [(0.5 - start) * scale - 0.5 for start in self._origin]
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        photo = np.ascontiguousarray(skimage.data.astronaut())  # type: ignore[no-untyped-call]
        if scale < 1:
            photo = cv2.GaussianBlur(photo, (0, 0), 0.45 / scale)
        side = self._size + 2 * self._margin
        big = cv2.warpAffine(
            photo, matrix, (side, side), None, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE
        )
        if scale > 1:
            soft = cv2.GaussianBlur(big, (0, 0), 0.9 * scale)
            big = cv2.addWeighted(big, 1.45, soft, -0.45, 0)
        return np.asarray(big, dtype=np.uint8)

    def _coordinates(self, cells: int) -> tuple[Grid, Grid]:
        """Photograph coordinates [cells, cells] of the centres of the frame's cells."""
        axis = (np.arange(cells, dtype=np.float32) + 0.5) * self._identity.crop_px / cells - 0.5
        x, y = np.meshgrid(axis + self._corner[0], axis + self._corner[1])
        return x.astype(np.float32), y.astype(np.float32)

    def _to_canvas(self, coordinate: npt.NDArray[np.floating], axis: int) -> Grid:
        """Photograph coordinates to canvas pixels; axis 0 is x."""
        pixels = (coordinate + 0.5 - self._origin[axis]) * self._scale - 0.5
        return np.asarray(pixels, dtype=np.float32)

    def _motion(self, pose: Pose) -> tuple[Grid, Grid]:
        """Where each pixel of the frame comes from on the canvas, in canvas pixels."""
        cos, sin = np.cos(pose.roll_rad) / pose.zoom, np.sin(pose.roll_rad) / pose.zoom
        x, y = self._coarse_x - _NECK[0] - pose.x_px, self._coarse_y - _NECK[1] - pose.y_px
        dx = self._head * (cos * x + sin * y + _NECK[0] - self._coarse_x)
        dy = self._head * (cos * y - sin * x + _NECK[1] - self._coarse_y)
        dx, dy = dx - self._depth * pose.yaw_px, dy - self._depth * pose.pitch_px
        return self._static_x + self._refine(dx), self._static_y + self._refine(dy)

    def _refine(self, coarse: Grid) -> Grid:
        """Photograph pixels on the coarse grid to canvas pixels on the full one."""
        size = (self._size, self._size)
        return np.asarray(cv2.resize(coarse.astype(np.float32) * self._scale, size))

    def _close_eye(self, canvas: Picture, eye: _Eye, blink: float) -> None:
        """Draw the lid down over the eye; the skin above it stretches."""
        upper, lower, fold = eye.upper, eye.lower, eye.fold
        columns = self._pixels(upper[0, 0], upper[-1, 0], 0)
        rows = self._pixels(fold, lower[:, 1].max() + 1, 1)
        x, y = np.meshgrid(self._axis(columns, 0), self._axis(rows, 1))
        lash = np.interp(x[0], upper[:, 0], upper[:, 1])
        lid = lash + blink * (np.interp(x[0], lower[:, 0], lower[:, 1]) - lash)
        stretch = (lash - _LASHES_PX - fold) / np.maximum(lid - _LASHES_PX - fold, 1e-3)
        above = np.maximum(fold + (y - fold) * stretch, y - (lid - lash))
        source = self._to_canvas(x, 0), self._to_canvas(above, 1)
        skin = cv2.remap(self._photo, *source, cv2.INTER_CUBIC, None, cv2.BORDER_REPLICATE)
        share = np.clip((lid - y) * self._scale + 0.5, 0, 1)[..., None]
        mixed = skin * share + canvas[rows, columns] * (1 - share)
        canvas[rows, columns] = mixed.astype(np.uint8)

    def _pixels(self, low: float, high: float, axis: int) -> slice:
        """Canvas pixels between two photograph coordinates."""
        start, stop = (round((v - self._origin[axis]) * self._scale) for v in (low, high))
        return slice(max(start, 0), min(max(stop, 0), len(self._photo)))

    def _axis(self, pixels: slice, axis: int) -> Grid:
        """Photograph coordinates of the centres of canvas pixels."""
        index = np.arange(pixels.start, pixels.stop, dtype=np.float32)
        return np.asarray((index + 0.5) / self._scale + self._origin[axis] - 0.5, dtype=np.float32)

    def _camera_noise(self) -> npt.NDArray[np.int16]:
        """A few frames of grey noise [frames, size, size, 3]."""
        noise = self._rng.normal(0, 1.5, (_NOISE_FRAMES, self._size, self._size, 1))
        return np.repeat(np.rint(noise).astype(np.int16), 3, axis=3)

    def _expose(self, picture: Picture) -> Picture:
        """Tint, then the noise of the camera, another one in every frame."""
        tinted = cv2.LUT(np.ascontiguousarray(picture), self._tint)
        noise = self._noise[self._rng.integers(_NOISE_FRAMES)]
        noise = np.roll(noise, self._rng.integers(self._size), axis=0)
        return np.asarray(cv2.add(tinted, noise, dtype=cv2.CV_8U), dtype=np.uint8)


def _framing(identity: Identity) -> tuple[float, float]:
    """Top left corner of the crop: face in the middle, inside the photograph."""
    side = identity.crop_px
    return _FACE[0] - side / 2, max(0.0, _FACE[1] - 0.49 * side)


def _head_weight(x: Grid, y: Grid) -> Grid:
    """1 on the head, fading to 0 over the background and the shoulders."""
    below = np.where(y > 110, 88.0, 105.0)
    r = np.hypot((x - 226) / 84, (y - 110) / below)
    return np.asarray(0.5 + 0.5 * np.cos(np.pi * np.clip((r - 0.95) / 0.75, 0, 1)), np.float32)


def _face_depth(x: Grid, y: Grid) -> Grid:
    """How far the face stands out towards the camera: a turn moves the nose most."""
    r2 = ((x - _FACE[0]) / 34) ** 2 + ((y - _FACE[1]) / 46) ** 2
    return np.asarray(np.exp(-r2), dtype=np.float32)


def _individual(x: Grid, y: Grid, identity: Identity) -> tuple[Grid, Grid]:
    """Coordinates after the warp that makes the photograph another person."""
    head = _head_weight(x, y)
    from_x = x + head * (x - _FACE[0]) * (1 / identity.width - 1)
    from_y = y + head * (y - _FACE[1]) * (1 / identity.height - 1)
    for cx, cy, dx, dy, radius in identity.bumps:
        bump = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * radius**2))
        from_x, from_y = from_x + dx * bump, from_y + dy * bump
    return from_x.astype(np.float32), from_y.astype(np.float32)


def _tint(identity: Identity) -> Picture:
    """Look-up table [256, 1, 3] of the identity's exposure and white balance."""
    value = np.arange(256, dtype=np.float64)[:, None]
    table = 128 + identity.contrast * (value - 128) + identity.brightness
    table = table + identity.warmth * np.array([[1.0, 0.1, -1.0]])
    return np.clip(table, 0, 255).astype(np.uint8)[:, None, :]

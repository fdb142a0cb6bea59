"""Pictures with a photographic face at a known place, and stand-ins for detectors."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from skimage.data import astronaut as colour_astronaut

from lipsync_cli.faces.detect import FaceDetection
from lipsync_cli.media.video import VideoFrame

Picture = npt.NDArray[np.uint8]

# The face in the 512 x 512 portrait, set by eye.
FACE_BOX = (180.0, 60.0, 271.0, 177.0)
# Share of the face box that the landmarks of the stand-in detector lie at.
_PLACES = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)], np.float32)


def astronaut() -> Picture:
    """Luma [512, 512] of a portrait that comes with scikit-image."""
    return np.asarray(cv2.cvtColor(colour_astronaut(), cv2.COLOR_RGB2GRAY), np.uint8)


def background(shape: tuple[int, int]) -> Picture:
    """A soft gradient with no face in it."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    return np.asarray(60 + 100 * rows / shape[0] + 40 * columns / shape[1], np.uint8)


def paste_face(
    picture: Picture, centre: tuple[float, float], size_px: float
) -> tuple[Picture, tuple[float, float, float, float]]:
    """Put the portrait so that its face is `size_px` high; returns picture and face box."""
    scale = size_px / (FACE_BOX[3] - FACE_BOX[1])
    shift = np.array(centre) - scale * (np.array(FACE_BOX[:2]) + FACE_BOX[2:]) / 2
    portrait = astronaut()[:400, 60:420]
    portrait = np.asarray(
        cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
    )
    offset = shift + scale * np.array((60.0, 0.0))
    matrix = np.array([[1.0, 0.0, offset[0]], [0.0, 1.0, offset[1]]])
    result = picture.copy()
    size = (picture.shape[1], picture.shape[0])
    cv2.warpAffine(portrait, matrix, size, dst=result, borderMode=cv2.BORDER_TRANSPARENT)
    x0, y0, x1, y1 = (scale * np.array(FACE_BOX) + np.tile(shift, 2)).tolist()
    return result, (x0, y0, x1, y1)


def frame(luma: Picture, index: int, *, rate: float = 25.0, scale: float = 1.0) -> VideoFrame:
    return VideoFrame(index, index / rate, luma, scale)


def face_at(centre: tuple[float, float], size_px: float) -> FaceDetection:
    """An upright face of known landmarks."""
    low = np.array(centre, np.float32) - size_px / 2
    landmarks = low + _PLACES * size_px
    return FaceDetection(np.concatenate([low, low + size_px]), 0.9, landmarks.astype(np.float32))


class ScriptedDetector:
    """Answers, look by look, what a function of the frame's mean brightness says.

    Frames carry their number as their grey level, so that each look knows its frame.
    """

    def __init__(self, script: Sequence[list[FaceDetection]]) -> None:
        self._script = script
        self.looked_at: list[int] = []

    def detect(self, luma: Picture) -> list[FaceDetection]:
        number = int(luma[0, 0]) + 256 * int(luma[0, 1])
        self.looked_at.append(number)
        return self._script[number]


def numbered(number: int, luma: Picture) -> Picture:
    """A copy that carries its number in its first two pixels."""
    result = luma.copy()
    result[0, 0], result[0, 1] = number % 256, number // 256
    return result

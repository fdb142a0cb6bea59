"""Find faces and their five landmarks in a luma picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lipsync_cli.errors import UsageError, WeightsError
from lipsync_cli.faces._cv2 import load_cv2, quiet_cv2
from lipsync_cli.weights import locate

Luma = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

OWN = "own"
# Longer side, in pixels, at which the network looks at a picture; the second look is only
# taken at pictures in which the first found nothing.
LOOKS = (320, 640)
SCORE_THRESHOLD = 0.5
NMS_THRESHOLD = 0.4
# Small pictures are enlarged at most this much.
_MAX_ENLARGEMENT = 2.0


@dataclass(frozen=True)
class FaceDetection:
    """One face.

    Attributes:
        box: float32 [4], x0, y0, x1, y1 in luma px; may reach over the picture's edge.
        score: 0 to 1.
        landmarks: float32 [5, 2] in luma px: the subject's right eye, left eye, nose tip,
            right and left corner of the mouth.
    """

    box: Floats
    score: float
    landmarks: Floats

    @property
    def size(self) -> float:
        """Geometric mean of the sides in px."""
        width, height = np.maximum(self.box[2:] - self.box[:2], 0.0)
        return float(np.sqrt(width * height))


class FaceDetector(Protocol):
    """Finds the faces of a luma picture uint8 [H, W], upright or turned by quarter turns."""

    def detect(self, luma: Luma) -> list[FaceDetection]: ...


def create_detector(name: str = OWN, weights: Path | None = None) -> FaceDetector:
    """Make a detector by name: "own", or one of face-alignment's ("sfd", "blazeface", ...).

    Args:
        weights: its model file; looked up where the name says when None.

    Raises:
        UsageError: there is no detector of that name.
        WeightsError: its file is missing or no model.
        DependencyError: a library that it needs is missing.
    """
    if name == OWN:
        return YuNetDetector(weights or locate("face_detector"))
    # Imported here because backends builds on this module.
    from lipsync_cli.faces import backends

    if name not in backends.NAMES:
        known = ", ".join((OWN, *backends.NAMES))
        raise UsageError(f"there is no face detector {name!r}", hint=f"one of {known}")
    return backends.create(name, weights)


class YuNetDetector:
    """A network of the YuNet family, run by OpenCV on one thread.

    Args:
        looks: longer sides at which to look, each only if the one before found nothing.
    """

    def __init__(
        self,
        weights: Path,
        *,
        looks: tuple[int, ...] = LOOKS,
        score_threshold: float = SCORE_THRESHOLD,
    ) -> None:
        self._cv2: Any = load_cv2()
        self._looks = looks
        self._size = (0, 0)
        try:
            with quiet_cv2():
                self._network = self._cv2.FaceDetectorYN.create(
                    str(weights), "", (320, 320), score_threshold, NMS_THRESHOLD
                )
        except self._cv2.error as error:
            raise WeightsError(
                "is no face detector that OpenCV can run", path=weights, hint="restore the file"
            ) from error

    def detect(self, luma: Luma) -> list[FaceDetection]:
        """Return the faces, best score first."""
        if min(luma.shape) < 2:
            return []
        longer, previous = max(luma.shape), 0.0
        for look in self._looks:
            scale = min(look / longer, _MAX_ENLARGEMENT)
            if scale <= 1.2 * previous:
                break
            faces = self._look(luma, scale)
            if faces:
                return faces
            previous = scale
        return []

    def _look(self, luma: Luma, scale: float) -> list[FaceDetection]:
        height, width = luma.shape
        size = (max(2, round(width * scale)), max(2, round(height * scale)))
        shrinks = self._cv2.INTER_AREA if scale < 1 else self._cv2.INTER_LINEAR
        small = self._cv2.resize(luma, size, interpolation=shrinks)
        if size != self._size:
            self._network.setInputSize(size)
            self._size = size
        rows = self._network.detect(self._cv2.merge((small, small, small)))[1]
        if rows is None:
            return []
        factor = np.array((width / size[0], height / size[1]), np.float32)
        return [_face(row, factor) for row in np.asarray(rows, np.float32)]


def _face(row: Floats, factor: Floats) -> FaceDetection:
    """One row (x, y, w, h, ten landmark values, score) of OpenCV's answer."""
    corner, extent = row[:2], row[2:4]
    box = np.concatenate([corner * factor, (corner + extent) * factor])
    return FaceDetection(box, float(row[14]), row[4:14].reshape(5, 2) * factor)

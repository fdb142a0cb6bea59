"""Find faces and their five landmarks in a luma picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from lipsync_cli.errors import UsageError, WeightsError
from lipsync_cli.faces._cv2 import load_cv2, quiet_cv2
from lipsync_cli.weights import locate

Luma = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

OWN = "own"
NMS_THRESHOLD = 0.4
# Small pictures are enlarged at most this much.
_MAX_ENLARGEMENT = 2.0
# Pictures that get no closer look after one that was taken in vain.
_REST = 3


class Look(NamedTuple):
    """Longer side in px at which the network sees a picture, and the score that is a face."""

    side: int
    threshold: float


# The second look is only taken where the first found nothing; the thresholds keep to
# 2 false boxes per 100 held-out face-free training pictures.
LOOKS = (Look(320, 0.70), Look(640, 0.76))


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
    # Imported here because both build on this module.
    from lipsync_cli.faces.backends import NAMES, create
    from lipsync_cli.faces.turn import TurningDetector

    if name == OWN:
        own = YuNetDetector(weights or locate("face_detector"), rest=_REST)
        return TurningDetector(own)

    if name not in NAMES:
        known = ", ".join((OWN, *NAMES))
        raise UsageError(f"there is no face detector {name!r}", hint=f"one of {known}")
    return create(name, weights)


class YuNetDetector:
    """A network of the YuNet family, run by OpenCV on one thread.

    Args:
        looks: taken one after the other until one finds a face.
        rest: pictures that get the first look only, after all looks at one were in vain.
    """

    def __init__(self, weights: Path, *, looks: tuple[Look, ...] = LOOKS, rest: int = 0) -> None:
        self._cv2: Any = load_cv2()
        self._looks = looks
        self._rest = rest
        self._resting = 0
        self._size = (0, 0)
        try:
            with quiet_cv2():
                self._network = self._cv2.FaceDetectorYN.create(
                    str(weights), "", (320, 320), looks[0].threshold, NMS_THRESHOLD
                )
        except self._cv2.error as error:
            raise WeightsError(
                "is no face detector that OpenCV can run", path=weights, hint="restore the file"
            ) from error

    def detect(self, luma: Luma) -> list[FaceDetection]:
        """Return the faces, best score first."""
        if min(luma.shape) < 2:
            return []
        for number, (scale, threshold) in enumerate(self._scales(max(luma.shape))):
            if number and self._resting:
                self._resting -= 1
                return []
            faces = self._look(luma, scale, threshold)
            if faces:
                return faces
        self._resting = self._rest
        return []

    def _scales(self, longer: int) -> list[tuple[float, float]]:
        """Scale and threshold of each look at a picture; looks that show no more are left out."""
        scales: list[tuple[float, float]] = []
        for side, threshold in self._looks:
            scale = min(side / longer, _MAX_ENLARGEMENT)
            if not scales or scale > 1.2 * scales[-1][0]:
                scales.append((scale, threshold))
        return scales

    def _look(self, luma: Luma, scale: float, threshold: float) -> list[FaceDetection]:
        height, width = luma.shape
        size = (max(2, round(width * scale)), max(2, round(height * scale)))
        shrinks = self._cv2.INTER_AREA if scale < 1 else self._cv2.INTER_LINEAR
        small = self._cv2.resize(luma, size, interpolation=shrinks)
        if size != self._size:
            self._network.setInputSize(size)
            self._size = size
        self._network.setScoreThreshold(threshold)
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

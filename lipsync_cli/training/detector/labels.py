"""Label pictures for the face detector by the consensus of two public detectors.

The teachers are YuNet-n (boxes and landmarks, averaged over scales and mirror images) and
RetinaFace (boxes). Both agree: a face. One only: ignored. Neither: background.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from lipsync_cli.faces.backends import torchvision_or_stand_in

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

MATCH_IOU = 0.5
# YuNet's input sizes (longer side) per labelled picture, each also mirrored.
TTA_SIDES = (224, 320, 448)
MIRRORED_ORDER = [1, 0, 2, 4, 3]


@dataclass(frozen=True)
class Labels:
    """Faces of one picture: boxes [n, 4], landmarks [n, 5, 2] (NaN unknown), ignored [n] bool."""

    boxes: Floats
    landmarks: Floats
    ignored: npt.NDArray[np.bool_]


def iou_matrix(first: Floats, second: Floats) -> Floats:
    """Intersection over union of boxes [n, 4] and [m, 4] as [n, m]."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(shared / np.maximum(union, 1e-6), dtype=np.float32)


class Teachers:
    """YuNet-n and RetinaFace from the folder that holds both files."""

    def __init__(self, folder: Path) -> None:
        with torchvision_or_stand_in():
            from face_alignment.detection.retinaface import FaceDetector

        self._retina = FaceDetector(
            "cpu",
            path_to_detector=str(folder / "retinaface_mobilenet0.25_Final.pth"),
            confidence_threshold=0.5,
        )
        path = str(folder / "yunet_n_dynamic.onnx")
        self._yunet = cv2.FaceDetectorYN.create(path, "", (320, 320), 0.5, 0.4)

    def yunet(self, picture: Bytes, side: int, *, mirrored: bool = False) -> Floats:
        """Detections [n, 15] (x0, y0, x1, y1, ten landmark values, score) in picture pixels."""
        height, width = picture.shape[:2]
        scale = side / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        self._yunet.setInputSize(size)
        found = self._yunet.detect(cv2.flip(small, 1) if mirrored else small)[1]
        if found is None:
            return np.zeros((0, 15), np.float32)
        rows = np.array(found, np.float32)
        rows[:, 2:4] += rows[:, :2]
        if mirrored:
            rows = _unmirror(rows, size[0])
        rows[:, 0:14:2] *= width / size[0]
        rows[:, 1:14:2] *= height / size[1]
        return rows

    def retina(self, picture: Bytes, side: int) -> Floats:
        """Boxes [n, 4] in picture pixels, looked for at `side` pixels."""
        scale = side / max(picture.shape[:2])
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        rows = self._retina.detect_from_image(small)
        boxes = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4)
        return np.asarray(boxes / scale, np.float32)

    def averaged(self, picture: Bytes, sides: tuple[int, ...] = TTA_SIDES) -> Floats:
        """YuNet's detections [n, 15] averaged over sizes and mirror images."""
        passes = [self.yunet(picture, s, mirrored=m) for s in sides for m in (False, True)]
        rows = np.concatenate(passes)
        kept: list[Floats] = []
        while len(rows):
            best = rows[np.argmax(rows[:, 14])]
            same = iou_matrix(best[None, :4], rows[:, :4])[0] >= MATCH_IOU
            same[np.argmax(rows[:, 14])] = True
            kept.append(rows[same].mean(axis=0))
            kept[-1][14] = rows[same, 14].sum() / len(passes)
            rows = rows[~same]
        return np.array(kept, np.float32).reshape(-1, 15)

    def consensus(
        self, picture: Bytes, *, sides: tuple[int, ...] = TTA_SIDES, side: int = 352
    ) -> Labels:
        """Label a BGR picture without human boxes, at YuNet's `sides` and RetinaFace's `side`."""
        yunet = self.averaged(picture, sides)
        retina = self.retina(picture, side)
        agreement = iou_matrix(yunet[:, :4], retina)
        agreed = agreement.max(axis=1, initial=0.0) >= MATCH_IOU
        alone = retina[agreement.max(axis=0, initial=0.0) < MATCH_IOU]
        unknown = np.full((len(alone), 5, 2), np.nan, np.float32)
        return Labels(
            np.concatenate([yunet[:, :4], alone]),
            np.concatenate([yunet[:, 4:14].reshape(-1, 5, 2), unknown]),
            np.concatenate([~agreed, np.ones(len(alone), bool)]),
        )

    def landmarks_for(self, picture: Bytes, boxes: Floats) -> Labels:
        """Complete human boxes: landmarks where YuNet agrees, its other finds are ignored."""
        yunet = self.averaged(picture)
        overlap = iou_matrix(boxes, yunet[:, :4])
        landmarks = np.full((len(boxes), 5, 2), np.nan, np.float32)
        for number, row in enumerate(overlap):
            if row.max(initial=0.0) >= MATCH_IOU:
                landmarks[number] = yunet[row.argmax(), 4:14].reshape(5, 2)
        extra = yunet[overlap.max(axis=0, initial=0.0) < 0.3]
        return Labels(
            np.concatenate([boxes, extra[:, :4]]),
            np.concatenate([landmarks, extra[:, 4:14].reshape(-1, 5, 2)]),
            np.concatenate([np.zeros(len(boxes), bool), np.ones(len(extra), bool)]),
        )


def _unmirror(rows: Floats, width: int) -> Floats:
    result = rows.copy()
    result[:, 0], result[:, 2] = width - rows[:, 2], width - rows[:, 0]
    points = rows[:, 4:14].reshape(-1, 5, 2)[:, MIRRORED_ORDER]
    points[..., 0] = width - points[..., 0]
    result[:, 4:14] = points.reshape(-1, 10)
    return result

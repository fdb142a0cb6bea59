"""Measure a face detector on packed pictures, and choose its score threshold."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lipsync_cli.faces.detect import LOOKS, SCORE_THRESHOLD, FaceDetection, YuNetDetector
from lipsync_cli.training.detector_augment import box_sizes
from lipsync_cli.training.detector_data import CLIP, NEGATIVE, PHOTO, PackedPictures
from lipsync_cli.training.detector_labels import MATCH_IOU, Bytes, Floats, Labels, iou_matrix

# Candidate thresholds, and the false boxes per hundred face-free pictures that are allowed.
THRESHOLDS = np.arange(0.30, 0.91, 0.02)
ALLOWED_FALSE = 2.0
# Faces of photographs that count, geometric mean of the sides in px.
_PHOTO_FACE_PX = 20.0


@dataclass(frozen=True)
class DetectorFigures:
    """How well a detector does at a threshold.

    Attributes:
        threshold: score from which a box counts.
        main_face_recall: share of clip frames whose largest agreed face was found (IoU >= 0.5).
        frames: number of those frames.
        false_per_100: boxes per hundred face-free pictures.
        clip_false_per_100: boxes per hundred clip frames that touch no labelled face.
        photo_recall: share of faces of at least 20 px in crowded photographs.
        landmark_error: mean distance to the teacher's landmarks over the face's size, in %.
        ms_320: milliseconds of processor time for a picture of 320 x 180 px, median.
    """

    threshold: float
    main_face_recall: float
    frames: int
    false_per_100: float
    clip_false_per_100: float
    photo_recall: float
    landmark_error: float
    ms_320: float


@dataclass(frozen=True)
class _Found:
    """What a detector answered on one picture, beside the truth."""

    labels: Labels
    faces: list[FaceDetection]

    def boxes(self, threshold: float) -> Floats:
        return _boxes([face for face in self.faces if face.score >= threshold])


def evaluate_detector(
    weights: Path,
    data: Path,
    *,
    threshold: float = SCORE_THRESHOLD,
    looks: tuple[int, ...] = LOOKS,
) -> dict[str, float]:
    """Measure an ONNX detector on the held-out pictures of a prepared folder."""
    return asdict(_figures(_Answers(weights, data, looks, threshold), threshold, weights))


def choose_threshold(weights: Path, data: Path, *, looks: tuple[int, ...] = LOOKS) -> float:
    """The lowest threshold that keeps to the allowed false boxes on held-out training data."""
    for threshold in THRESHOLDS.tolist():
        # The looks depend on the threshold: the second is taken where the first failed.
        answers = _Answers(weights, data, looks, threshold)
        if _false_per_100(answers.negatives, threshold) <= ALLOWED_FALSE:
            return float(threshold)
    return float(THRESHOLDS[-1])


class _Answers:
    def __init__(self, weights: Path, data: Path, looks: tuple[int, ...], threshold: float) -> None:
        detector = YuNetDetector(weights, looks=looks, score_threshold=threshold)
        self._pictures = PackedPictures(data)
        self.clips = self._detect(detector, CLIP)
        self.photos = self._detect(detector, PHOTO)
        self.negatives = self._detect(detector, NEGATIVE)

    def _detect(self, detector: YuNetDetector, kind: int) -> list[_Found]:
        found = []
        for number in self._pictures.numbers(kind, held_out=True):
            luma, labels = self._pictures[int(number)]
            found.append(_Found(labels, detector.detect(luma)))
        return found


def _figures(answers: _Answers, threshold: float, weights: Path) -> DetectorFigures:
    main = [hit for found in answers.clips if (hit := _main_face(found, threshold)) is not None]
    return DetectorFigures(
        threshold=threshold,
        main_face_recall=float(np.mean([hit for hit, _ in main])),
        frames=len(main),
        false_per_100=_false_per_100(answers.negatives, threshold),
        clip_false_per_100=_false_per_100(answers.clips, threshold),
        photo_recall=_photo_recall(answers.photos, threshold),
        landmark_error=100 * float(np.nanmean([error for hit, error in main if hit])),
        ms_320=_milliseconds(weights),
    )


def _main_face(found: _Found, threshold: float) -> tuple[bool, float] | None:
    """Whether the largest agreed face was found, and its landmark error; None without one."""
    agreed = np.flatnonzero(~found.labels.ignored)
    if not len(agreed):
        return None
    largest = agreed[box_sizes(found.labels.boxes[agreed]).argmax()]
    box = found.labels.boxes[largest]
    overlap = iou_matrix(box[None], found.boxes(threshold))[0]
    if overlap.max(initial=0.0) < MATCH_IOU:
        return False, float("nan")
    points = [face.landmarks for face in found.faces if face.score >= threshold][overlap.argmax()]
    apart = np.linalg.norm(points - found.labels.landmarks[largest], axis=1)
    return True, float(apart.mean() / box_sizes(box[None])[0])


def _false_per_100(answers: Iterable[_Found], threshold: float) -> float:
    counts = []
    for found in answers:
        touched = iou_matrix(found.boxes(threshold), found.labels.boxes).max(axis=1, initial=0.0)
        counts.append(int((touched < 0.2).sum()))
    return 100 * float(np.mean(counts))


def _photo_recall(answers: Iterable[_Found], threshold: float) -> float:
    hits: list[bool] = []
    for found in answers:
        counted = ~found.labels.ignored & (box_sizes(found.labels.boxes) >= _PHOTO_FACE_PX)
        overlap = iou_matrix(found.labels.boxes[counted], found.boxes(threshold))
        hits += (overlap.max(axis=1, initial=0.0) >= MATCH_IOU).tolist()
    return float(np.mean(hits))


def _boxes(faces: list[FaceDetection]) -> Floats:
    return np.array([face.box for face in faces], np.float32).reshape(-1, 4)


def _milliseconds(weights: Path, repeats: int = 60) -> float:
    """Median processor time of one look at a 320 x 180 picture."""
    detector = YuNetDetector(weights, looks=(320,))
    picture: Bytes = np.random.default_rng(0).integers(0, 256, (180, 320), np.uint8)
    times = []
    for _ in range(repeats):
        began = time.process_time()
        detector.detect(picture)
        times.append(1000 * (time.process_time() - began))
    return float(np.median(times))

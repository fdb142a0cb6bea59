"""Measure a face detector on packed pictures, and choose its score threshold."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lipsync_cli.faces.detect import LOOKS, FaceDetection, Look, YuNetDetector
from lipsync_cli.training.detector.augment import box_sizes
from lipsync_cli.training.detector.data import CLIP, NEGATIVE, PHOTO, PackedPictures
from lipsync_cli.training.detector.labels import MATCH_IOU, Bytes, Floats, Labels, iou_matrix

# Candidate thresholds, and the false boxes per hundred face-free pictures that are allowed.
THRESHOLDS = np.arange(0.40, 0.91, 0.02)
ALLOWED_FALSE = 2.0
# Faces of photographs that count, geometric mean of the sides in px.
_PHOTO_FACE_PX = 20.0


@dataclass(frozen=True)
class DetectorFigures:
    """How well a detector does at a threshold.

    Attributes:
        main_face_recall: share of clip frames whose largest agreed face was found (IoU >= 0.5).
        frames: number of those frames.
        false_per_100: boxes per hundred face-free pictures.
        clip_false_per_100: boxes per hundred clip frames that touch no labelled face.
        photo_recall: share of faces of at least 20 px in crowded photographs.
        landmark_error: mean distance to the teacher's landmarks over the face's size, in %.
        ms_320: milliseconds of processor time for a picture of 320 x 180 px, median.
    """

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

    @property
    def boxes(self) -> Floats:
        return np.array([face.box for face in self.faces], np.float32).reshape(-1, 4)


def evaluate_detector(
    weights: Path, data: Path, *, looks: tuple[Look, ...] = LOOKS
) -> dict[str, float]:
    """Measure an ONNX detector on the held-out pictures of a prepared folder."""
    return asdict(_figures(_Answers(YuNetDetector(weights, looks=looks), data), weights))


def choose_thresholds(weights: Path, data: Path) -> tuple[Look, ...]:
    """The lowest thresholds that keep to the allowed false boxes on training data.

    Each look is judged alone, with an equal share of what is allowed. All face-free training
    pictures count: the few held-out ones alone would tell 0 from 2 per hundred by chance.
    """
    share = ALLOWED_FALSE / len(LOOKS)
    return tuple(Look(look.side, _lowest(weights, data, look.side, share)) for look in LOOKS)


def _lowest(weights: Path, data: Path, side: int, allowed: float) -> float:
    """Clip frames are judged too: what is no face in them is what the product meets."""
    lowest = float(THRESHOLDS[0])
    detector = YuNetDetector(weights, looks=(Look(side, lowest),))
    answers = _Answers(detector, data)
    negatives = answers.negatives + answers.detect(detector, NEGATIVE, held_out=False)
    for threshold in THRESHOLDS.tolist():
        false = [_false_per_100(kind, threshold) for kind in (negatives, answers.clips)]
        if max(false) <= allowed:
            return float(round(threshold, 2))
    return round(float(THRESHOLDS[-1]), 2)


class _Answers:
    def __init__(self, detector: YuNetDetector, data: Path) -> None:
        self._pictures = PackedPictures(data)
        self.clips = self.detect(detector, CLIP)
        self.photos = self.detect(detector, PHOTO)
        self.negatives = self.detect(detector, NEGATIVE)

    def detect(self, detector: YuNetDetector, kind: int, *, held_out: bool = True) -> list[_Found]:
        """The answers on one kind of pictures."""
        found = []
        for number in self._pictures.numbers(kind, held_out=held_out):
            luma, labels = self._pictures[int(number)]
            found.append(_Found(labels, detector.detect(luma)))
        return found


def _figures(answers: _Answers, weights: Path) -> DetectorFigures:
    main = [hit for found in answers.clips if (hit := _main_face(found)) is not None]
    return DetectorFigures(
        main_face_recall=float(np.mean([hit for hit, _ in main])),
        frames=len(main),
        false_per_100=_false_per_100(answers.negatives),
        clip_false_per_100=_false_per_100(answers.clips),
        photo_recall=_photo_recall(answers.photos),
        landmark_error=100 * float(np.nanmean([error for hit, error in main if hit])),
        ms_320=_milliseconds(weights),
    )


def _main_face(found: _Found) -> tuple[bool, float] | None:
    """Whether the largest agreed face was found, and its landmark error; None without one."""
    agreed = np.flatnonzero(~found.labels.ignored)
    if not len(agreed):
        return None
    largest = agreed[box_sizes(found.labels.boxes[agreed]).argmax()]
    box = found.labels.boxes[largest]
    overlap = iou_matrix(box[None], found.boxes)[0]
    if overlap.max(initial=0.0) < MATCH_IOU:
        return False, float("nan")
    points = found.faces[int(overlap.argmax())].landmarks
    apart = np.linalg.norm(points - found.labels.landmarks[largest], axis=1)
    return True, float(apart.mean() / box_sizes(box[None])[0])


def _false_per_100(answers: Iterable[_Found], threshold: float = 0.0) -> float:
    counts = []
    for found in answers:
        touched = iou_matrix(found.boxes, found.labels.boxes).max(axis=1, initial=0.0)
        scores = np.array([face.score for face in found.faces])
        counts.append(int(((touched < 0.2) & (scores >= threshold)).sum()))
    return 100 * float(np.mean(counts))


def _photo_recall(answers: Iterable[_Found]) -> float:
    hits: list[bool] = []
    for found in answers:
        counted = ~found.labels.ignored & (box_sizes(found.labels.boxes) >= _PHOTO_FACE_PX)
        overlap = iou_matrix(found.labels.boxes[counted], found.boxes)
        hits += (overlap.max(axis=1, initial=0.0) >= MATCH_IOU).tolist()
    return float(np.mean(hits))


def _milliseconds(weights: Path, repeats: int = 60) -> float:
    """Median processor time of one look at a 320 x 180 picture."""
    detector = YuNetDetector(weights, looks=LOOKS[:1])
    picture: Bytes = np.random.default_rng(0).integers(0, 256, (180, 320), np.uint8)
    times = []
    for _ in range(repeats):
        began = time.process_time()
        detector.detect(picture)
        times.append(1000 * (time.process_time() - began))
    return float(np.median(times))

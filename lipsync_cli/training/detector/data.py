"""Prepare the face detector's training data: one file of luma pictures and their faces."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import cv2
import numpy as np
import numpy.typing as npt

from lipsync_cli.errors import InputError
from lipsync_cli.training.detector.labels import Bytes, Floats, Labels, Teachers

# Frames taken from each clip of a corpus, and from every how manyth clip: few people speak
# in the two studio corpora.
SAMPLING = {"wild": (6, 1), "LRW-AR": (1, 4), "GRID": (1, 8)}
LOOKED_AT = 240
# Every how manyth picture is kept for choosing the score threshold.
HELD_OUT_EVERY = 12

# Frames per clip that is reported on, and the longer side at which they are labelled.
REPORTED_FRAMES, REPORTED_SIDE = 6, 640

PHOTO, CLIP, NEGATIVE = 0, 1, 2


@dataclass(frozen=True)
class Sample:
    """A labelled picture: luma [H, W], faces, what it is and the group it belongs to."""

    luma: Bytes
    labels: Labels
    kind: int
    held_out: bool


def nothing() -> Labels:
    return Labels(
        np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32), np.zeros(0, dtype=bool)
    )


def prepare_detector_data(
    shared: Path, output: Path, *, purpose: Literal["train", "report"] = "train"
) -> dict[str, int]:
    """Label pictures by the teachers in `shared` and pack them into the folder `output`.

    For training: photographs and frames of the training clips, a part of them held out for
    choosing the score threshold. To report: frames of the validation and edge clips, and the
    validation photographs. Writes pixels.u8 and index.npz; returns how many pictures and faces.
    """
    teachers = Teachers(shared / "teachers")
    samples = _training_samples if purpose == "train" else _reported_samples
    output.mkdir(parents=True, exist_ok=True)
    index = _Index()
    with (output / "pixels.u8").open("wb") as pixels:
        for sample in samples(shared, teachers):
            pixels.write(np.ascontiguousarray(sample.luma).tobytes())
            index.add(sample)
    return index.save(output / "index.npz")


class _Index:
    def __init__(self) -> None:
        self._pictures: list[tuple[int, int, int, int, int]] = []
        self._offset = 0
        self._labels: list[Labels] = []
        self._first_face = [0]

    def add(self, sample: Sample) -> None:
        height, width = sample.luma.shape
        self._pictures.append((self._offset, height, width, sample.kind, int(sample.held_out)))
        self._offset += height * width
        self._labels.append(sample.labels)
        self._first_face.append(self._first_face[-1] + len(sample.labels.boxes))

    def save(self, path: Path) -> dict[str, int]:
        ignored = np.concatenate([labels.ignored for labels in self._labels])
        np.savez(
            path,
            pictures=np.array(self._pictures, np.int64),
            first_face=np.array(self._first_face, np.int64),
            boxes=np.concatenate([labels.boxes for labels in self._labels]),
            landmarks=np.concatenate([labels.landmarks for labels in self._labels]),
            ignored=ignored,
        )
        return {"pictures": len(self._pictures), "faces": int((~ignored).sum())}


class PackedPictures:
    """Read access to what `prepare_detector_data` wrote; pixels stay on disk."""

    def __init__(self, folder: Path) -> None:
        with np.load(folder / "index.npz") as index:
            self._pictures: npt.NDArray[np.int64] = index["pictures"]
            self._first_face: npt.NDArray[np.int64] = index["first_face"]
            self._boxes: Floats = index["boxes"]
            self._landmarks: Floats = index["landmarks"]
            self._ignored: npt.NDArray[np.bool_] = index["ignored"]
        self._pixels = np.memmap(folder / "pixels.u8", np.uint8, mode="r")

    def numbers(self, kind: int, *, held_out: bool) -> npt.NDArray[np.int64]:
        """Picture numbers of one kind on either side of the split."""
        chosen = (self._pictures[:, 3] == kind) & (self._pictures[:, 4] == int(held_out))
        return np.flatnonzero(chosen)

    def __getitem__(self, number: int) -> tuple[Bytes, Labels]:
        offset, height, width = (int(value) for value in self._pictures[number, :3])
        faces = slice(int(self._first_face[number]), int(self._first_face[number + 1]))
        luma = self._pixels[offset : offset + height * width].reshape(height, width)
        labels = Labels(self._boxes[faces], self._landmarks[faces], self._ignored[faces])
        return np.asarray(luma), labels


def _training_samples(shared: Path, teachers: Teachers) -> Iterator[Sample]:
    yield from _photographs(shared / "faces", "train", teachers, HELD_OUT_EVERY)
    yield from _clip_samples(shared / "clips", teachers)


def _reported_samples(shared: Path, teachers: Teachers) -> Iterator[Sample]:
    yield from _photographs(shared / "faces", "val", teachers, 1)
    rows = [row for split in ("val", "edge") for row in _manifest(shared / "clips", split)]
    for row in rows:
        for picture in sample_frames(shared / "clips" / row["file"], REPORTED_FRAMES):
            small = _at_most(picture, REPORTED_SIDE)
            labels = teachers.consensus(small, sides=(320, 640), side=640)
            yield Sample(luma_of(small), labels, CLIP, held_out=True)


def _photographs(
    faces: Path, split: str, teachers: Teachers, held_out_every: int
) -> Iterator[Sample]:
    listing = json.loads((faces / "labels.json").read_text())
    for number, row in enumerate(listing[split]):
        picture = read_picture(faces / row["file"])
        boxes = np.array(row["boxes"], np.float32).reshape(-1, 4)
        labels = teachers.landmarks_for(picture, boxes)
        yield Sample(luma_of(picture), labels, PHOTO, number % held_out_every == 0)
    for number, name in enumerate(listing[f"negatives_{split}"]):
        picture = read_picture(faces / name)
        yield Sample(luma_of(picture), nothing(), NEGATIVE, number % held_out_every == 0)


def _clip_samples(clips: Path, teachers: Teachers) -> Iterator[Sample]:
    for corpus, (frames, every) in SAMPLING.items():
        rows = [row for row in _manifest(clips, "train") if row["corpus"] == corpus][::every]
        # Whole people are held out: neighbours in the sorted list share a speaker.
        people = sorted({row["speaker"] for row in rows})
        held_out = set(people[::HELD_OUT_EVERY]) if len(people) > 1 else set()
        for row in rows:
            for picture in sample_frames(clips / row["file"], frames):
                labels = teachers.consensus(picture)
                yield Sample(luma_of(picture), labels, CLIP, row["speaker"] in held_out)


def _manifest(clips: Path, split: str) -> list[dict[str, str]]:
    with (clips / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["split"] == split]


def sample_frames(path: Path, count: int, looked_at: int = LOOKED_AT) -> Iterator[Bytes]:
    """Yield `count` BGR pictures spread over the first `looked_at` frames of a clip."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        total = min(stream.frames or looked_at, looked_at)
        wanted = {int((k + 0.5) * total / count) for k in range(count)}
        try:
            for number, frame in enumerate(container.decode(stream)):
                if number in wanted:
                    yield np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
                if number >= max(wanted):
                    return
        except av.FFmpegError:
            return


def read_picture(path: Path) -> Bytes:
    """Read a photograph as BGR [H, W, 3]."""
    picture = cv2.imread(str(path))
    if picture is None:
        raise InputError("is no picture", path=path)
    return np.asarray(picture, np.uint8)


def _at_most(picture: Bytes, side: int) -> Bytes:
    scale = side / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def luma_of(picture: Bytes) -> Bytes:
    """Grey picture [H, W] of a BGR one [H, W, 3]."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)

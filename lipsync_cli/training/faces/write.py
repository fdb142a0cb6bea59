"""Packs the faces and the sound of talking-head clips for training."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from lipsync_cli.errors import LipsyncError
from lipsync_cli.faces._cv2 import load_cv2
from lipsync_cli.faces.detect import FaceDetector
from lipsync_cli.media.output import atomic
from lipsync_cli.training.faces.cut import FollowedFace, follow_face
from lipsync_cli.training.faces.pack import BANDS, SIDE, compress_mel
from lipsync_cli.training.sync.cache import Clip
from lipsync_cli.training.sync.labels import COMMON_OFFSET, MIN_MARGIN, own_offsets_ms
from lipsync_cli.training.sync.prepare import MIN_FRAMES, Source

Log = Callable[[str], None]
Face = tuple[Source, FollowedFace]

# What is done again when packing is interrupted.
PART_CLIPS = 16
# The whole training split with its sound in 55 MiB.
CRF = 30
# Pictures carry no times in the file: any rate will do.
_RATE = 25
_OPTIONS = {"preset": "medium", "g": "3000", "threads": "1"}


def pack_faces(
    sources: Sequence[Source],
    table: Path,
    folder: Path,
    shard: str,
    detector: FaceDetector,
    *,
    crf: int = CRF,
    log: Log = lambda line: None,
) -> int:
    """Write the parts `folder/shard.PART.mp4` and `.npz`; those that exist are left alone.

    Only the longest face track of each clip is kept. Clips whose own offset is a guess, that
    cannot be read or show no face are passed over, the latter told to `log`.

    Args:
        table: lags.csv, own offsets and their margins.
        crf: of the H.264 pictures.

    Returns:
        The number of clips newly packed.

    Raises:
        OutputError: the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = list(sure_sources(sources, table))
    count = 0
    for number, first in enumerate(range(0, len(wanted), PART_CLIPS)):
        index = folder / f"{shard}.{number:03d}.npz"
        if index.exists():
            continue
        faces = _followed(wanted[first : first + PART_CLIPS], detector, log)
        labels = _write_part(index, faces, table, crf)
        log(f"{index.stem}: {len(labels)} clips, {sum(len(c.pts_s) for c in labels)} pictures")
        count += len(labels)
    return count


def sure_sources(sources: Iterable[Source], table: Path) -> Iterator[Source]:
    """Leave out clips whose own offset is a guess; the most varied corpora come first."""
    with table.open(newline="") as file:
        margins = {row["file"]: float(row["margin"]) for row in csv.DictReader(file)}
    for source in sorted(sources, key=lambda source: source.corpus in COMMON_OFFSET):
        if source.corpus in COMMON_OFFSET or margins.get(source.file, 0.0) >= MIN_MARGIN:
            yield source


def _write_part(index: Path, faces: Iterable[Face], table: Path, crf: int) -> list[Clip]:
    """The index is written last: a part that has one is complete."""
    packed: list[Face] = []
    with atomic(index.with_suffix(".mp4"), overwrite=True) as video:
        for source, face in _encoded(faces, video, crf):
            # Written pictures need not be held any longer.
            packed.append((source, replace(face, faces=np.empty((0, SIDE, SIDE, 3), np.uint8))))
    labels = [_label(*each) for each in packed]
    own = own_offsets_ms(labels, table)
    records = _records(packed, labels, {name: each[0] for name, each in own.items()})
    mel = np.concatenate([np.zeros((BANDS, 0), np.uint8), *(f.levels for _, f in packed)], axis=1)
    steps_us = [np.zeros(0, np.int32), *(_steps_us(face.pts_s) for _, face in packed)]
    with atomic(index) as path, path.open("wb") as file:
        np.savez_compressed(
            file,
            about=np.frombuffer(json.dumps(records).encode(), np.uint8),
            steps_us=np.concatenate(steps_us),
            mel=np.frombuffer(compress_mel(mel), np.uint8),
        )
    return labels


def _label(source: Source, face: FollowedFace) -> Clip:
    """What tells the group and the own offset of a clip."""
    who = source.file, source.speaker or source.file, source.corpus
    return Clip(*who, face.faces[..., 0], face.pts_s, np.empty(0, np.int16), face.mel_t0_s)


def _records(
    packed: Sequence[Face], labels: Sequence[Clip], own_ms: dict[str, float]
) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    first = column = 0
    for (_, face), label in zip(packed, labels, strict=True):
        frames, columns = len(face.pts_s), face.levels.shape[1]
        own = own_ms.get(label.file)
        records.append(
            {
                "file": label.file,
                "group": label.group,
                "corpus": label.corpus,
                "offset_ms": None if own is None else round(own, 2),
                "first": first,
                "frames": frames,
                "start_s": float(face.pts_s[0]),
                "column": column,
                "columns": columns,
                "mel_t0_s": face.mel_t0_s,
            }
        )
        first, column = first + frames, column + columns
    return records


def _steps_us(pts_s: NDArray[np.float64]) -> NDArray[np.int32]:
    since_us = np.round((pts_s - pts_s[0]) * 1e6).astype(np.int64)
    return np.asarray(np.diff(since_us, prepend=0), np.int32)


def _encoded(faces: Iterable[Face], video: Path, crf: int) -> Iterator[Face]:
    """Write the pictures to an H.264 file; yields each clip when its own are written."""
    with av.open(str(video), "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=_RATE, options={"crf": str(crf), **_OPTIONS})
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for source, face in faces:
            for picture in face.faces:
                out.mux(stream.encode(_planar(picture)))
            yield source, face
        out.mux(stream.encode(None))


def _planar(picture: NDArray[np.uint8]) -> av.VideoFrame:
    """To 4:2:0 by OpenCV, which reads it back: FFmpeg's own way there and back darkens."""
    planes = load_cv2().cvtColor(picture, load_cv2().COLOR_BGR2YUV_I420)
    return av.VideoFrame.from_ndarray(planes, format="yuv420p")


def _followed(sources: Iterable[Source], detector: FaceDetector, log: Log) -> Iterator[Face]:
    for source in sources:
        try:
            face = follow_face(source.path, detector)
        except (LipsyncError, ValueError) as error:
            log(f"{source.file}: {error}")
            continue
        if face is None or len(face.pts_s) < MIN_FRAMES:
            log(f"{source.file}: no face long enough, or no sound")
        else:
            yield source, face

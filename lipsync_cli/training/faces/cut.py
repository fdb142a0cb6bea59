"""Cuts the face of a clip out of its pictures: the product's own decoder, tracker and geometry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from lipsync_cli.dubbing.compositing.canvas import Place
from lipsync_cli.dubbing.compositing.cutout import cut_canvas
from lipsync_cli.dubbing.generator.mel import MEL_RATE, wav2lip_mel
from lipsync_cli.dubbing.generator.wav2lip import CropGeometry
from lipsync_cli.faces.detect import FaceDetector
from lipsync_cli.faces.stream import FaceStream, TrackChunk
from lipsync_cli.media.audio import AudioBlock
from lipsync_cli.media.reader import read
from lipsync_cli.media.upright import Upright, read_upright
from lipsync_cli.media.video import VideoFrame
from lipsync_cli.training.faces.pack import CROP, MARGIN, MEL_LEVELS, SIDE, SILENCE

# Number of a track, times [n] and faces [n, 112, 112, 3] of a part of it.
_Stretch = tuple[int, NDArray[np.float64], NDArray[np.uint8]]

_GEOMETRY = CropGeometry(CROP)
# Sound kept before and after the face: room for shifts, and for a window's length.
_REACH_S = 1.0


@dataclass(frozen=True, eq=False)
class FollowedFace:
    """The face that a clip shows longest, and its sound.

    Attributes:
        pts_s: float64 [T], times of the pictures.
        faces: uint8 [T, 112, 112, 3] BGR.
        levels: uint8 [80, M], mel in steps, below `MEL_LEVELS`.
        mel_t0_s: time of its first column.
    """

    pts_s: NDArray[np.float64]
    faces: NDArray[np.uint8]
    levels: NDArray[np.uint8]
    mel_t0_s: float


def follow_face(path: Path, detector: FaceDetector) -> FollowedFace | None:
    """Follow the faces of a clip in one pass; None where it shows none or has no sound.

    Raises:
        InputError: it cannot be read.
        ValueError: its pictures are of a kind that is not cut.
    """
    cutter, tracks = _Cutter(path, detector), _Tracks()
    blocks: list[AudioBlock] = []
    with closing(read(path)) as items:
        for item in items:
            if isinstance(item, AudioBlock):
                blocks.append(item)
            else:
                tracks.add(cutter.push(item))
    tracks.add(cutter.close())
    track = tracks.longest()
    if track is None or not blocks:
        return None
    pts_s, faces = track
    return FollowedFace(pts_s, faces, *_levels(blocks, float(pts_s[0]), float(pts_s[-1])))


def _levels(
    blocks: Sequence[AudioBlock], begin_s: float, end_s: float
) -> tuple[NDArray[np.uint8], float]:
    """The mel round a face in `MEL_LEVELS` steps, and the time of its first column."""
    mel = wav2lip_mel(np.concatenate([block.samples for block in blocks]))
    t0_s = blocks[0].t0_s
    first = max(0, int((begin_s - _REACH_S - t0_s) * MEL_RATE))
    last = max(first, int((end_s + _REACH_S - t0_s) * MEL_RATE))
    levels = np.round((mel[:, first:last] - SILENCE) / (-2 * SILENCE) * (MEL_LEVELS - 1))
    return levels.astype(np.uint8), t0_s + first / MEL_RATE


class _Cutter:
    """Follows the faces of a programme and cuts them out of pictures that wait for it."""

    def __init__(self, path: Path, detector: FaceDetector) -> None:
        self._faces = FaceStream(detector)
        self._upright = read_upright(path)
        self._waiting: dict[float, av.VideoFrame] = {}

    def push(self, frame: VideoFrame) -> list[_Stretch]:
        """Take the next picture in; return the stretches of tracks that it completed."""
        assert frame.source is not None
        self._waiting[frame.pts_s] = frame.source.picture
        stretches = [self._cut(chunk) for chunk in self._faces.push(frame)]
        for old_s in [s for s in self._waiting if s < frame.pts_s - self._faces.delay_s]:
            del self._waiting[old_s]
        return stretches

    def close(self) -> list[_Stretch]:
        """End all tracks."""
        return [self._cut(chunk) for chunk in self._faces.close()]

    def _cut(self, chunk: TrackChunk) -> _Stretch:
        pictures = [self._waiting[pts_s] for pts_s in chunk.pts_s.tolist()]
        cut = [
            cut_face(picture, landmarks, self._upright)
            for picture, landmarks in zip(pictures, chunk.landmarks, strict=True)
        ]
        return chunk.track, chunk.pts_s, np.stack(cut)


def cut_face(
    picture: av.VideoFrame, landmarks: npt.ArrayLike, upright: Upright
) -> NDArray[np.uint8]:
    """Cut a face out of a picture, as `DrawnLips` does and `MARGIN` px larger on all sides.

    Args:
        landmarks: [5, 2] in px of the upright source.

    Returns:
        uint8 [112, 112, 3] BGR.
    """
    matrix = _GEOMETRY.matrix(landmarks)
    matrix[:, 2] += MARGIN
    return cut_canvas(picture, Place(SIDE, matrix, upright)).to_bgr()


class _Tracks:
    """Gathers stretches by track."""

    def __init__(self) -> None:
        self._stretches: dict[int, list[_Stretch]] = {}

    def add(self, stretches: Iterable[_Stretch]) -> None:
        for stretch in stretches:
            self._stretches.setdefault(stretch[0], []).append(stretch)

    def longest(self) -> tuple[NDArray[np.float64], NDArray[np.uint8]] | None:
        """Times [T] and faces [T, 112, 112, 3] of the track with the most pictures."""
        if not self._stretches:
            return None
        best = max(self._stretches.values(), key=lambda track: sum(len(s[1]) for s in track))
        return np.concatenate([s[1] for s in best]), np.concatenate([s[2] for s in best])

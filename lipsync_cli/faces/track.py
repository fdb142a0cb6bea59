"""Follow one face through a shot: link detections, bridge gaps, smooth without delay."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipsync_cli.faces.crop import CROP_SIDE
from lipsync_cli.faces.detect import FaceDetection
from lipsync_cli.faces.patch import Patch, see_patch
from lipsync_cli.media.video import VideoFrame

Floats = npt.NDArray[np.float32]

# Frames that wait as views of their pictures; those that wait longer are copied. A face that is
# found at every look never waits so long.
_FRESH = 8
# Frames on either side of the centred mean that smooths the landmarks.
SMOOTHING = 3
# Two sightings are of one face when it moved by less than this share of its size, and its
# size changed by less than this factor.
_REACH, _GROWTH = 0.7, 1.7
# Overlap with a followed face from which a further box is taken for its double.
_DOUBLE = 0.3


@dataclass(frozen=True)
class TrackChunk:
    """A stretch of one followed face; consecutive chunks leave out no frame.

    Attributes:
        track: number of the track, counted from 0 in order of appearance.
        pts_s: float64 [n], presentation times.
        boxes: float32 [n, 4], x0, y0, x1, y1 in px of the upright source.
        landmarks: float32 [n, 5, 2] in px of the upright source, smoothed: the subject's
            right eye, left eye, nose tip, right and left corner of the mouth.
        found: float32 [n, 5, 2], the same as found or interpolated, not smoothed.
        mouths: uint8 [n, 64, 64], grey aligned mouth crops.
        last: the track ends with this chunk.
        frame_size: width and height of the upright source.
    """

    track: int
    pts_s: npt.NDArray[np.float64]
    boxes: Floats
    landmarks: Floats
    found: Floats
    mouths: npt.NDArray[np.uint8]
    last: bool
    frame_size: tuple[int, int]


@dataclass(frozen=True)
class _Cut:
    """A finished frame of the track; poses are box and landmarks [14] in source px."""

    pts_s: float
    pose: npt.NDArray[np.float64]
    found: npt.NDArray[np.float64]
    mouth: npt.NDArray[np.uint8]


class Track:
    """One face from its first sighting in a shot on.

    Frames wait as patches until the face was seen again, so that its way between two
    sightings is interpolated, and until the frames after them are known, for smoothing.
    """

    def __init__(self, frame: VideoFrame, seen: FaceDetection, crop_side: int = CROP_SIDE) -> None:
        self._crop_side = crop_side
        self.number: int | None = None
        self.seen = seen
        self.seen_s = self.first_s = frame.pts_s
        self.looks = self.hits = 0
        self._scale = frame.scale
        height, width = frame.luma.shape
        self._frame_size = (round(width / frame.scale), round(height / frame.scale))
        self._waiting: deque[tuple[float, Patch]] = deque()
        self._unseen_s: list[float] = []
        self._pose = _pose(seen)
        self._poses: deque[npt.NDArray[np.float64]] = deque()
        self._behind = 0
        self._cuts: list[_Cut] = []

    @property
    def waiting(self) -> int:
        """Number of frames that are held in memory."""
        return len(self._waiting)

    @property
    def duration_s(self) -> float:
        """From the first to the last finished frame, that frame's own duration included."""
        if len(self._cuts) < 2:
            return 0.0
        span = self._cuts[-1].pts_s - self._cuts[0].pts_s
        return span * len(self._cuts) / (len(self._cuts) - 1)

    def add(self, frame: VideoFrame, seen: FaceDetection | None, *, looked: bool) -> None:
        """Take the next frame in, with the face where it was found in it."""
        self.looks += looked
        box = self.seen.box if seen is None else seen.box
        self._waiting.append((frame.pts_s, see_patch(frame.luma, box)))
        if len(self._waiting) > _FRESH:
            pts_s, patch = self._waiting[-_FRESH - 1]
            self._waiting[-_FRESH - 1] = pts_s, patch.kept()
        self._unseen_s.append(frame.pts_s)
        if seen is not None:
            self.hits += 1
            self._see(frame.pts_s, seen)
            self._finish_frames(SMOOTHING)

    def end(self) -> None:
        """Finish the frames up to the last sighting; those after it are dropped."""
        self._finish_frames(0)
        self._waiting.clear()

    def take(self, at_least_s: float = 0.0, *, last: bool = False) -> TrackChunk | None:
        """Hand out the finished frames, or None while they last less long than asked for."""
        if self.number is None or not self._cuts or self.duration_s < at_least_s:
            return None
        cuts, self._cuts = self._cuts, []
        poses = np.array([cut.pose for cut in cuts], np.float32)
        found = np.array([cut.found for cut in cuts], np.float32)
        return TrackChunk(
            self.number,
            np.array([cut.pts_s for cut in cuts], np.float64),
            poses[:, :4],
            poses[:, 4:].reshape(-1, 5, 2),
            found[:, 4:].reshape(-1, 5, 2),
            np.array([cut.mouth for cut in cuts], np.uint8),
            last,
            self._frame_size,
        )

    def _see(self, pts_s: float, seen: FaceDetection) -> None:
        """Settle the poses of all frames since the last sighting, in proportion to time."""
        before, after = self._pose, _pose(seen)
        span_s = max(pts_s - self.seen_s, 1e-9)
        for frame_s in self._unseen_s:
            share = min(1.0, max(0.0, (frame_s - self.seen_s) / span_s))
            self._poses.append(before + share * (after - before))
        self._unseen_s.clear()
        self.seen, self.seen_s, self._pose = seen, pts_s, after

    def _finish_frames(self, ahead: int) -> None:
        """Cut the mouths of all frames that have `ahead` settled poses after their own."""
        while self._waiting and len(self._poses) - self._behind > ahead:
            pts_s, patch = self._waiting.popleft()
            places = range(self._behind - SMOOTHING, self._behind + SMOOTHING + 1)
            last = len(self._poses) - 1
            window = [self._poses[min(max(place, 0), last)] for place in places]
            pose = np.mean(window, axis=0)
            mouth = patch.mouth(pose[4:].reshape(5, 2), self._crop_side)
            found = self._poses[self._behind]
            self._cuts.append(_Cut(pts_s, pose / self._scale, found / self._scale, mouth))
            if self._behind < SMOOTHING:
                self._behind += 1
            else:
                self._poses.popleft()


def _pose(seen: FaceDetection) -> npt.NDArray[np.float64]:
    return np.concatenate([seen.box, seen.landmarks.ravel()]).astype(np.float64)


def link(
    tracks: Sequence[Track], found: Sequence[FaceDetection]
) -> tuple[dict[int, FaceDetection], list[FaceDetection]]:
    """Give each track (by its place) its detection, nearest pairs first.

    Returns the pairs and the detections that belong to no track and double none.
    """
    distances = [
        (distance, t, d)
        for t, track in enumerate(tracks)
        for d, face in enumerate(found)
        if (distance := _distance(track.seen, face)) < _REACH
    ]
    pairs: dict[int, FaceDetection] = {}
    taken: set[int] = set()
    for _, t, d in sorted(distances):
        if t not in pairs and d not in taken:
            pairs[t] = found[d]
            taken.add(d)
    known = [pairs.get(t, track.seen) for t, track in enumerate(tracks)]
    rest = [face for d, face in enumerate(found) if d not in taken]
    return pairs, _without_doubles(rest, known)


def _without_doubles(
    faces: Sequence[FaceDetection], known: Sequence[FaceDetection]
) -> list[FaceDetection]:
    """Drop boxes over known faces and over better boxes."""
    kept: list[FaceDetection] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(_overlap(face, other) < _DOUBLE for other in (*known, *kept)):
            kept.append(face)
    return kept


def _distance(first: FaceDetection, second: FaceDetection) -> float:
    """Distance of the centres over the mean size; infinite where the sizes do not fit."""
    sizes = sorted((max(first.size, 1.0), max(second.size, 1.0)))
    if sizes[1] > _GROWTH * sizes[0]:
        return float("inf")
    apart = (first.box[:2] + first.box[2:] - second.box[:2] - second.box[2:]) / 2
    return float(np.hypot(*apart)) * 2 / sum(sizes)


def _overlap(first: FaceDetection, second: FaceDetection) -> float:
    """Intersection over union of two boxes."""
    low = np.maximum(first.box[:2], second.box[:2])
    high = np.minimum(first.box[2:], second.box[2:])
    shared = float(np.prod(np.maximum(high - low, 0.0)))
    return shared / max(first.size**2 + second.size**2 - shared, 1e-6)

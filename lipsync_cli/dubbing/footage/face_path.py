"""Where the face of one person is at any time of a programme, over all of its shots."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.footage.place import parse_place
from lipsync_cli.dubbing.footage.scan import FaceTrack
from lipsync_cli.errors import NotTrustworthy, UsageError
from lipsync_cli.faces.detect import FaceDetector
from lipsync_cli.media.reader import read
from lipsync_cli.media.video import VideoFrame

Floats = npt.NDArray[np.float32]

# Frames that were not looked at lie at most this far from one that was.
NEAR_S = 0.06
# After the last look at a file; a face stays where it was seen.
TAIL_S = 0.25


@dataclass(frozen=True, eq=False)
class FaceAt:
    """A face at one moment.

    Attributes:
        track: number of the track that it belongs to.
        landmarks: float32 [5, 2], px of the upright source, between those of the frames
            around it where it was not looked at itself.
    """

    track: int
    landmarks: Floats


class Faces(Protocol):
    """Where a face is at any time of the source."""

    def at(self, time_s: float) -> FaceAt | None: ...

    def track_number(self, time_s: float) -> int | None: ...


class StillFace:
    """The face of a photograph."""

    def __init__(self, landmarks: Floats) -> None:
        self._face = FaceAt(0, landmarks)

    def at(self, time_s: float) -> FaceAt:
        """The same face at all times."""
        return self._face

    def track_number(self, time_s: float) -> int:
        """The only one."""
        return self._face.track


def find_still_face(path: Path, detector: FaceDetector, face: str = "largest") -> StillFace:
    """A face of a photograph: a number from the left, a place, or else the largest.

    Args:
        face: as in `people.choose_person`.

    Raises:
        UnreadableMedia: it cannot be decoded.
        NotTrustworthy: there is no face in it.
        UsageError: there is no such face.
    """
    with closing(read(path, audio=False)) as items:
        frame = next(item for item in items if isinstance(item, VideoFrame))
    found = sorted(detector.detect(frame.luma), key=lambda each: float(each.box[0]))
    if not found:
        raise NotTrustworthy("no face found", path=path, hint="give a picture with a face")
    boxes = np.array([each.box for each in found], np.float32) / frame.scale
    number = _still_number(boxes, face)
    if number is None:
        there = "; ".join("{:.0f},{:.0f},{:.0f},{:.0f}".format(*_sides(box)) for box in boxes)
        hint = f"its faces, from the left: {there}"
        raise UsageError(f"there is no face {face!r}", path=path, hint=hint)
    return StillFace(np.asarray(found[number].landmarks / frame.scale, np.float32))


def _still_number(boxes: Floats, face: str) -> int | None:
    place = parse_place(face)
    if place is not None:
        overlap = place.overlap(boxes)
        return int(overlap.argmax()) if overlap.any() else None
    if face.isdecimal():
        return int(face) if int(face) < len(boxes) else None
    sides = boxes[:, 2:] - boxes[:, :2]
    return int(sides.prod(1).argmax())


def _sides(box: Floats) -> tuple[float, ...]:
    """x0, y0, x1, y1 -> x, y, w, h."""
    x0, y0, x1, y1 = box.tolist()
    return x0, y0, x1 - x0, y1 - y0


class FacePath:
    """The tracks of one person, by time.

    Args:
        tracks: no two at once.
        end_s: of the file's last picture.
    """

    def __init__(self, tracks: Sequence[FaceTrack], end_s: float) -> None:
        self._tracks = sorted(tracks, key=lambda track: float(track.pts_s[0]))
        self._starts = [float(track.pts_s[0]) - NEAR_S for track in self._tracks]
        self._end_s = end_s

    def at(self, time_s: float) -> FaceAt | None:
        """The face at a time of the source; None where it is not in view."""
        track = self.track_at(time_s)
        return None if track is None else FaceAt(track.track, _between(track, time_s))

    def track_number(self, time_s: float) -> int | None:
        """Number of the track that shows the face at a time; None where it is not in view."""
        track = self.track_at(time_s)
        return None if track is None else track.track

    def track_at(self, time_s: float) -> FaceTrack | None:
        """The track that shows the face at a time of the source."""
        place = bisect_right(self._starts, time_s) - 1
        if place < 0:
            return None
        track = self._tracks[place]
        last_s = float(track.pts_s[-1])
        until_s = self._end_s if last_s > self._end_s - TAIL_S else last_s + NEAR_S
        return track if time_s <= until_s else None


def _between(track: FaceTrack, time_s: float) -> Floats:
    after = int(np.clip(np.searchsorted(track.pts_s, time_s), 1, max(1, len(track.pts_s) - 1)))
    if len(track.pts_s) == 1:
        return np.asarray(track.landmarks[0], np.float32)
    low, high = float(track.pts_s[after - 1]), float(track.pts_s[after])
    share = float(np.clip((time_s - low) / max(high - low, 1e-6), 0.0, 1.0))
    before, behind = track.landmarks[after - 1], track.landmarks[after]
    return np.asarray(before + np.float32(share) * (behind - before), np.float32)

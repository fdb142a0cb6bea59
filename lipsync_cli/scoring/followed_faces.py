"""SyncNet's run_pipeline in one pass: shots, faces, tracks, crops, and a clip of each track."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.faces.detect import FaceDetector
from lipsync_cli.faces.shots import ShotSplitter
from lipsync_cli.media.video import VideoFrame
from lipsync_cli.scoring.clip_score import ClipScore
from lipsync_cli.scoring.grid25 import RATE
from lipsync_cli.scoring.lse_options import LseOptions
from lipsync_cli.scoring.protocols import Row
from lipsync_cli.scoring.reference_crop import cut_face, jpeg_generation, to_network
from lipsync_cli.scoring.reference_track import Box, Place, ReferenceTrack, ReferenceTracker

# A face that stays too small for this many times the shortest track is no longer waited for.
_PATIENCE = 2


class FollowedFaces:
    """Each face that was followed long enough makes a clip.

    Frames are held until the places of the faces in them are settled: six ticks, or up to
    `max_failed` more while a face is not found. Differs from the reference where a face stays
    too small for twice the shortest track: it is then given up, even if the mean over the
    whole track would become large enough.

    Args:
        begin: makes the clip that starts at a tick.
        min_score: of a face.
    """

    def __init__(
        self,
        begin: Callable[[int], ClipScore],
        detector: FaceDetector,
        options: LseOptions,
        *,
        min_score: float = 0.0,
    ) -> None:
        self.rows: list[Row] = []
        self.left_out = 0
        self._begin, self._options = begin, options
        self._detector, self._min_score = detector, min_score
        self._shots = ShotSplitter()
        self._tracker = ReferenceTracker(options.max_failed)
        self._faces: dict[ReferenceTrack, _Face] = {}
        self._ending: list[ClipScore] = []
        self._frames: dict[int, VideoFrame] = {}
        self._looked: tuple[VideoFrame, list[Box]] | None = None
        self._shape: tuple[int, ...] | None = None
        self._tick = 0
        self._longest, self._largest_px = 0, 0.0

    @property
    def needs_from(self) -> int:
        clips = [face.clip for face in self._faces.values() if not face.given_up]
        return min((clip.needs_from for clip in clips + self._ending), default=self._tick)

    def push(self, frame: VideoFrame) -> None:
        for item in self._shots.push(frame):
            self._take(*item)

    def advance(self) -> None:
        for clip in [face.clip for face in self._faces.values()] + self._ending:
            clip.advance()
        self._ending = [clip for clip in self._ending if not clip.is_done]

    def close(self) -> None:
        for item in self._shots.close():
            self._take(*item)
        self._end(self._tracker.end())

    def reason(self) -> str:
        options = self._options
        if not self._longest:
            return "no face found"
        if self._longest <= options.min_track:
            return (
                f"no face was seen in more than {options.min_track} frames of a shot"
                f" (at most in {self._longest})"
            )
        return (
            f"no face that was followed is larger than {options.min_face_px:g} px"
            f" ({self._largest_px:.0f} px at most)"
        )

    def _take(self, frame: VideoFrame, cut: bool) -> None:
        # A change of size is a cut too: places in one size mean nothing in another.
        if cut or frame.luma.shape != self._shape:
            self._end(self._tracker.end())
            self._shape = frame.luma.shape
        self._end(self._tracker.expire(self._tick))
        self._frames[self._tick] = frame
        self._tracker.push(self._tick, self._boxes(frame))
        for track in self._tracker.tracks:
            self._go_on(self._face(track), track.take())
        self._tick += 1
        needed = min((track.unsettled for track in self._tracker.tracks), default=self._tick)
        self._frames = {tick: kept for tick, kept in self._frames.items() if tick >= needed}

    def _boxes(self, frame: VideoFrame) -> list[Box]:
        """Boxes of the faces, best first; px of luma, which is as large as the source here."""
        if self._looked is None or self._looked[0] is not frame:
            found = self._detector.detect(frame.luma)
            boxes = [f.box.astype(np.float64) for f in found if f.score > self._min_score]
            self._looked = frame, boxes
        return self._looked[1]

    def _face(self, track: ReferenceTrack) -> _Face:
        if track not in self._faces:
            self._faces[track] = _Face(track, self._begin(track.first), self._options)
        return self._faces[track]

    def _go_on(self, face: _Face, places: list[Place]) -> None:
        if not face.given_up:
            scale = self._options.crop_scale
            face.add([cut_face(self._frames[place.tick], place, scale) for place in places])

    def _end(self, tracks: list[ReferenceTrack]) -> None:
        for track in tracks:
            face = self._faces.pop(track)
            self._go_on(face, track.end())
            self._longest = max(self._longest, track.detections)
            self._largest_px = max(self._largest_px, track.face_px if face.is_long else 0.0)
            if face.counts and not face.given_up:
                face.clip.end()
                self._ending.append(face.clip)
                x0, y0, x1, y1 = track.mean_box.tolist()
                self.rows.append(Row(face.clip, (x0, y0, x1, y1)))
            elif track.frames >= RATE:
                self.left_out += 1


class _Face:
    """A followed face; its pictures wait until it is known whether it counts."""

    def __init__(self, track: ReferenceTrack, clip: ClipScore, options: LseOptions) -> None:
        self.clip = clip
        self.given_up = False
        self._track, self._options = track, options
        self._waiting: list[NDArray[np.uint8]] = []

    @property
    def is_long(self) -> bool:
        return self._track.detections > self._options.min_track

    @property
    def is_large(self) -> bool:
        return self._track.face_px > self._options.min_face_px

    @property
    def counts(self) -> bool:
        return self.is_long and self.is_large

    def add(self, pictures: list[NDArray[np.uint8]]) -> None:
        """Take pictures of the face; embed them, keep them or give the face up."""
        self._waiting += pictures
        too_many = len(self._waiting) > _PATIENCE * self._options.min_track
        if self.counts or (too_many and self.is_large):
            self._embed()
        elif too_many:
            self.given_up = True
            self._waiting.clear()

    def _embed(self) -> None:
        for picture in map(to_network, self._waiting):
            self.clip.push(jpeg_generation(picture) if self._options.reference_codec else picture)
        self._waiting.clear()

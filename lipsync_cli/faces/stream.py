"""From frames to mouth crops: shots, detection, tracks, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

from lipsync_cli.faces.crop import CROP_SIDE
from lipsync_cli.faces.detect import FaceDetection, FaceDetector
from lipsync_cli.faces.shots import ShotSplitter
from lipsync_cli.faces.track import Track, TrackChunk, link
from lipsync_cli.media.video import VideoFrame

__all__ = ["FaceStats", "FaceStream", "TrackChunk"]

# Length of a chunk, except a track's last.
_CHUNK_S = 1.0
# Time within which cuts and smoothing are settled, at a few frames a second too.
_SETTLING_S = 4.0
# Faces are looked for at least this often, whatever the frame rate.
_LOOK_EVERY_S = 0.15
# Only so many faces are followed at a time, so that a crowd costs no more memory.
_MOST_FACES = 8
# A followed face may shrink below the smallest allowed by this factor.
_HYSTERESIS = 0.8
# A track counts when the face was found in this share of the looks at it.
_FOUND_SHARE = 0.5


@dataclass
class FaceStats:
    """What was met so far.

    Attributes:
        frames: frames seen.
        shots: shots begun.
        looks: frames in which faces were looked for.
        frames_with_face: those of them with a face that is large enough.
        too_small: sightings of faces that are too small.
        tracks: tracks handed out.
        short_tracks: tracks dropped because they were too short or too uncertain.
    """

    frames: int = 0
    shots: int = 0
    looks: int = 0
    frames_with_face: int = 0
    too_small: int = 0
    tracks: int = 0
    short_tracks: int = 0

    def plus(self, later: FaceStats) -> FaceStats:
        """What was met in two parts of a programme."""
        return FaceStats(*(a + b for a, b in zip(astuple(self), astuple(later), strict=True)))


class FaceStream:
    """Follows all faces of a programme; push its frames in order, then close.

    Args:
        every: look for faces in every so manyth frame (more often at low frame rates).
        min_face_px: smallest face, geometric mean of its box's sides, in source px.
        min_track_s: shorter tracks are dropped.
        gap_s: a face that was not found for so long, or less, is still the same track.
        crop_side: px of the mouth crops; training asks for a margin to jitter in.
    """

    def __init__(
        self,
        detector: FaceDetector,
        *,
        every: int = 3,
        min_face_px: float = 40.0,
        min_track_s: float = 1.0,
        gap_s: float = 1.0,
        crop_side: int = CROP_SIDE,
    ) -> None:
        self._crop_side = crop_side
        self.stats = FaceStats()
        self._detector = detector
        self._every = every
        self._min_face_px = min_face_px
        self._min_track_s = min_track_s
        self._gap_s = gap_s
        self._shots = ShotSplitter()
        self._tracks: list[Track] = []
        self._looked: tuple[int, float] | None = None
        self._shape: tuple[int, ...] | None = None

    @property
    def waiting_frames(self) -> int:
        """Patches that are held in memory, over all tracks."""
        return sum(track.waiting for track in self._tracks)

    @property
    def delay_s(self) -> float:
        """The longest time by which a chunk may follow the frames in it."""
        return self._gap_s + max(self._min_track_s, _CHUNK_S) + _SETTLING_S

    def push(self, frame: VideoFrame) -> list[TrackChunk]:
        """Take the next frame in; return the stretches of tracks that it completed."""
        return [chunk for item in self._shots.push(frame) for chunk in self._take_in(*item)]

    def close(self) -> list[TrackChunk]:
        """End all tracks; return what was still waiting."""
        chunks = [chunk for item in self._shots.close() for chunk in self._take_in(*item)]
        return chunks + self._end(self._tracks)

    def _take_in(self, frame: VideoFrame, cut: bool) -> list[TrackChunk]:
        chunks: list[TrackChunk] = []
        self.stats.frames += 1
        if cut or frame.luma.shape != self._shape:
            chunks += self._end(self._tracks)
            self._looked, self._shape = None, frame.luma.shape
            self.stats.shots += 1
        looks = self._due(frame)
        found = self._look(frame) if looks else []
        pairs, new = link(self._tracks, found)
        for place, track in enumerate(self._tracks):
            track.add(frame, pairs.get(place), looked=looks)
        self._begin(frame, new)
        lost = [t for t in self._tracks if frame.pts_s - t.seen_s > self._gap_s]
        return chunks + self._end(lost) + self._finished()

    def _due(self, frame: VideoFrame) -> bool:
        if self._looked is None:
            return True
        index, pts_s = self._looked
        return frame.index - index >= self._every or frame.pts_s - pts_s >= _LOOK_EVERY_S

    def _look(self, frame: VideoFrame) -> list[FaceDetection]:
        self._looked = (frame.index, frame.pts_s)
        faces = self._detector.detect(frame.luma)
        smallest = _HYSTERESIS * self._min_face_px * frame.scale
        large = [face for face in faces if face.size >= smallest]
        self.stats.looks += 1
        self.stats.frames_with_face += bool(large)
        self.stats.too_small += len(faces) - len(large)
        return large

    def _begin(self, frame: VideoFrame, new: list[FaceDetection]) -> None:
        for face in sorted(new, key=lambda face: -face.size):
            if len(self._tracks) >= _MOST_FACES:
                return
            if face.size >= self._min_face_px * frame.scale:
                track = Track(frame, face, self._crop_side)
                track.add(frame, face, looked=True)
                self._tracks.append(track)

    def _finished(self) -> list[TrackChunk]:
        long = [t for t in self._tracks if t.number is None and self._is_long(t)]
        uncertain = [track for track in long if not self._confirm(track)]
        chunks = self._end(uncertain) + [track.take(_CHUNK_S) for track in self._tracks]
        return [chunk for chunk in chunks if chunk is not None]

    def _is_long(self, track: Track) -> bool:
        return track.duration_s >= self._min_track_s - 1e-3

    def _confirm(self, track: Track) -> bool:
        """Number a track that has lasted long enough, unless its face was rarely found."""
        if track.number is None and self._is_long(track):
            if track.hits < _FOUND_SHARE * track.looks:
                return False
            track.number = self.stats.tracks
            self.stats.tracks += 1
        return track.number is not None

    def _end(self, tracks: Iterable[Track]) -> list[TrackChunk]:
        chunks: list[TrackChunk] = []
        for track in list(tracks):
            self._tracks.remove(track)
            track.end()
            self._confirm(track)
            chunk = track.take(last=True)
            if chunk is None:
                self.stats.short_tracks += 1
            else:
                chunks.append(chunk)
        return chunks

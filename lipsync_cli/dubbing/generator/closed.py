"""When the mouth of the original is closed, and which closed mouth to show a generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.showing import FADE_S, Marked, nearest_frames
from lipsync_cli.dubbing.footage.looks import LOOKS
from lipsync_cli.dubbing.footage.scan import FaceTrack
from lipsync_cli.dubbing.generator.wav2lip import choose_references
from lipsync_cli.dubbing.mouths.slots import Window
from lipsync_cli.dubbing.speech import Loudness

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Times = npt.NDArray[np.float64]

_OPENING = LOOKS.index("opening")
# A mouth is closed while it shows no more than this share of how much darker than at rest it
# gets: from the 10th to the 90th percentile of the person's own frames. Less is no movement.
_CLOSED, _STILL = 0.3, 0.03
# Shorter closures are those of speech.
_AT_LEAST_S = 0.3
_GRID_S = 0.01


@dataclass(frozen=True)
class ClosedLevel:
    """How open a person's mouth may look and be closed, see `looks.LOOKS`."""

    most: float

    @classmethod
    def of(cls, tracks: Sequence[FaceTrack]) -> ClosedLevel:
        """Learn it from all frames of a person."""
        opening = np.concatenate([track.looks[:, _OPENING] for track in tracks])
        low, high = np.percentile(opening, (10, 90)).tolist()
        return cls(low + max(_CLOSED * (high - low), _STILL))

    def flags(self, track: FaceTrack) -> Flags:
        """Tell for each frame whether the mouth is closed for a while: bool [n]."""
        closed = track.looks[:, _OPENING] <= self.most
        edges = np.flatnonzero(np.diff(np.concatenate([[False], closed, [False]])))
        for first, end in edges.reshape(-1, 2).tolist():
            if track.pts_s[end - 1] - track.pts_s[first] < _AT_LEAST_S:
                closed[first:end] = False
        return np.asarray(closed, np.bool_)


class OriginalRests:
    """Tells where neither the new speech nor the original moves the mouth.

    Args:
        loudness: of the new speech, on the clock of the output.
    """

    def __init__(self, tracks: Sequence[FaceTrack], window: Window, loudness: Loudness) -> None:
        self._tracks, self._window, self._loudness = tracks, window, loudness
        level = ClosedLevel.of(tracks)
        self.closed = [level.flags(track) for track in tracks]
        self._closed_at = Marked(tracks, self.closed, window)

    def __call__(self, times_s: Times) -> Flags:
        """Tell for times of the output whether the picture may stay: bool [n]."""
        # Lips fade between moments that both show them closed.
        closed = [self._closed_at(times_s + away_s) for away_s in (-FADE_S, 0.0, FADE_S)]
        return np.asarray(self._loudness.silent_at(times_s) & np.all(closed, axis=0), np.bool_)

    def moving(self) -> list[Flags]:
        """Tell for each frame of each track whether its open mouth meets silence: bool [n]."""
        window = self._window
        until_s = min(window.until_s, self._loudness.end_s)
        times_s = np.arange(window.start_s, until_s, _GRID_S)
        times_s = times_s[self._loudness.silent_at(times_s)]
        times_s = times_s[~self._closed_at(times_s)]
        source_s = np.array([window.source_s(t) for t in times_s.tolist()])
        return [_seen_near(track, source_s) for track in self._tracks]


def closed_references(
    tracks: Sequence[FaceTrack], closed: Sequence[Flags], moving: Sequence[Flags]
) -> tuple[Times, Times]:
    """Choose a closed mouth of near pose for each frame that would show an open one.

    Returns:
        Times of the frames and of the references, float64 [n] each; empty where the mouth is
        never closed.
    """
    wanted, flags = np.concatenate(moving), np.concatenate(closed)
    if not flags.any() or not wanted.any():
        return np.zeros(0), np.zeros(0)
    times_s = np.concatenate([track.pts_s for track in tracks])
    landmarks = np.concatenate([track.landmarks for track in tracks])
    chosen = choose_references(landmarks, flags)
    return times_s[wanted], times_s[chosen][wanted]


def _seen_near(track: FaceTrack, times_s: Times) -> Flags:
    inside, nearest = nearest_frames(track, times_s)
    seen = np.zeros(len(track.pts_s), np.bool_)
    seen[nearest[inside]] = True
    return seen

"""Which frames of a person a generator learns from, and which ones it is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.footage.covered import covered
from lipsync_cli.dubbing.footage.looks import POSE, poses
from lipsync_cli.dubbing.footage.scan import FaceTrack

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Times = npt.NDArray[np.float64]

# More of a long programme is not looked at: it would have to be decoded once more.
_LONGEST_S = 600.0
LEAST_S, LEAST_SPOKEN_S = 6.0, 3.0
# Frames to learn from, spread over the clip in pieces that sync losses can look at.
_MOST, _PIECE = 400, 10
# Stretches held out of clips of at least so many seconds, and how long each is.
_HELD_OUT = ((32.0, 6), (16.0, 4), (0.0, 2))
_SHORTEST_S, _LONGEST_STRETCH_S = 1.0, 2.0
# Neighbours of a held-out frame show nearly the same, and hear half of the same sound.
APART_S = 0.3
# Frames further apart do not follow each other.
_GAP_S = 0.12
_SIDEWAYS = 0.4
_YAW = POSE.index("yaw")


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of one person whose mouth can be seen, in order of time.

    Attributes:
        pts_s: [n].
        landmarks: float32 [n, 5, 2], px of the upright source.
        spoken: bool [n], the file's own sound is not silent then.
        run: [n], frames of one number follow each other.
    """

    pts_s: Times
    landmarks: Floats
    spoken: Flags
    run: Rows

    def __len__(self) -> int:
        return len(self.pts_s)

    def take(self, rows: Rows) -> Frames:
        """A choice of frames."""
        return Frames(*(getattr(self, each.name)[rows] for each in fields(self)))

    @property
    def step_s(self) -> float:
        """Usual time from one frame to the next."""
        return float(np.median(np.diff(self.pts_s))) if len(self) > 1 else 0.04


@dataclass(frozen=True, eq=False)
class Parts:
    """Rows of `Frames`; those of different parts are at least `APART_S` apart.

    Attributes:
        learn: to learn from.
        stop: stretches that decide when to stop.
        judge: stretches that decide whether what was learnt is kept.
    """

    learn: Rows
    stop: tuple[Rows, ...]
    judge: tuple[Rows, ...]


def usable_frames(tracks: Sequence[FaceTrack]) -> Frames:
    """Collect the first ten minutes of a person: neither covered nor a side view."""
    tracks = sorted(tracks, key=lambda track: float(track.pts_s[0]))
    fit = np.concatenate([_is_fit(track) for track in tracks])
    pts_s = np.concatenate([track.pts_s for track in tracks])
    number = np.repeat(np.arange(len(tracks)), [len(track.pts_s) for track in tracks])
    breaks = (np.diff(pts_s) > _GAP_S) | (np.diff(number) > 0) | ~fit[1:] | ~fit[:-1]
    frames = Frames(
        pts_s,
        np.concatenate([track.landmarks for track in tracks]),
        ~np.concatenate([track.quiet for track in tracks]),
        np.concatenate([[0], np.cumsum(breaks)]),
    )
    return frames.take(np.flatnonzero(fit & (pts_s < pts_s[0] + _LONGEST_S)))


def divided(frames: Frames) -> Parts | None:
    """Divide frames; None where there are too few, or too little is spoken in them.

    Held-out stretches lie where there is speech, evenly spread.
    """
    spoken = np.flatnonzero(frames.spoken)
    total_s, spoken_s = len(frames) * frames.step_s, len(spoken) * frames.step_s
    if total_s < LEAST_S or spoken_s < LEAST_SPOKEN_S:
        return None
    length_s = float(np.clip(total_s / 8, _SHORTEST_S, _LONGEST_STRETCH_S))
    fitting = max(2, 2 * int(spoken_s / (1.5 * length_s) / 2))
    count = min(next(n for least_s, n in _HELD_OUT if total_s >= least_s), fitting)
    centres = spoken[((np.arange(count) + 0.5) / count * len(spoken)).astype(int)]
    held_out = [_stretch(frames, int(c), round(length_s / frames.step_s)) for c in centres]
    learn = _far_from(frames.pts_s, np.arange(len(frames)), np.concatenate(held_out))
    if len(learn) * frames.step_s < LEAST_S / 3:
        return None
    judge = tuple(held_out[1::2])
    # Stretches of scattered speech may touch each other.
    apart = [_far_from(frames.pts_s, each, np.concatenate(judge)) for each in held_out[::2]]
    stop = tuple(each for each in apart if len(each))
    return Parts(_spread(learn), stop, judge) if stop else None


def _is_fit(track: FaceTrack) -> Flags:
    aside = np.abs(poses(track.landmarks)[:, _YAW])
    return np.asarray(track.known & ~covered(track) & (aside < _SIDEWAYS), np.bool_)


def _stretch(frames: Frames, centre: int, length: int) -> Rows:
    """So many frames of one run around a frame, or all where it has fewer."""
    run = np.flatnonzero(frames.run == frames.run[centre])
    first = min(max(centre - length // 2, int(run[0])), max(int(run[-1]) + 1 - length, int(run[0])))
    return np.arange(first, min(first + length, int(run[-1]) + 1))


def _far_from(pts_s: Times, rows: Rows, others: Rows) -> Rows:
    """Those of the rows that lie far enough from all of the others."""
    there = np.sort(pts_s[others])
    after = np.clip(np.searchsorted(there, pts_s[rows]), 1, max(len(there) - 1, 1))
    near = np.stack([there[np.minimum(after, len(there) - 1)], there[after - 1]])
    far: Flags = np.abs(near - pts_s[rows]).min(0) >= APART_S
    return np.asarray(rows[far], np.int64)


def _spread(rows: Rows) -> Rows:
    """Pieces of consecutive rows, evenly spread, where there are too many."""
    pieces = np.array_split(rows, max(1, round(len(rows) / _PIECE)))
    chosen = np.linspace(0, len(pieces) - 1, min(len(pieces), _MOST // _PIECE))
    return np.concatenate([pieces[i] for i in np.unique(chosen.round().astype(int))])

"""The frames of one person that may be shown, on one time grid, with all that choosing needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.footage.covered import covered
from lipsync_cli.dubbing.footage.looks import LOOKS, POSE, distance, poses, standardised
from lipsync_cli.dubbing.footage.scan import FaceTrack

Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Times = npt.NDArray[np.float64]

# A frame with less than this share of the person's usual sharpness is smeared.
_SMEARED = 0.55
# A crop this much further from the fifth nearest of other moments than is usual shows a hand,
# a sheet of paper or another face. Moments are so many rows apart; few rows cannot tell.
_STRANGE, _SPREAD, _MOMENT, _FEW = 2.0, 300, 25, 150
# Nose this far from the middle of the face, in units of the face's scale: a side view.
_SIDEWAYS = 0.4
_LIGHT = [LOOKS.index(name) for name in ("brightness", "lateral", "vertical")]
_YAW = POSE.index("yaw")


@dataclass(frozen=True, eq=False)
class Units:
    """Frames of one person; a row each, row i + 1 being the next frame where `follows[i]`.

    Attributes:
        step_s: time between rows of one track.
        source, track: int32 [n], the file and the track in it.
        time_s: [n], the row's place on the grid of its track.
        pts_s: [n], true presentation time of the frame that is nearest to it.
        follows: bool [n], the next row continues this one's track.
        embeddings: float16 [n, 256], unit vectors or zero.
        usable: bool [n], has an embedding, and is neither smeared, covered nor a side view.
        pose: float32 [n, 5], see `looks.POSE`.
        light: float32 [n, 3], grey levels: brightness, sideways and downward slope.
        thumbnails: uint8 [n, 256].
        opening: float32 [n], rank of the mouth's opening among all rows, 0 to 1.
        quiet: bool [n], its own sound was silent.
    """

    step_s: float
    source: npt.NDArray[np.int32]
    track: npt.NDArray[np.int32]
    time_s: Times
    pts_s: Times
    follows: Flags
    embeddings: npt.NDArray[np.float16]
    usable: Flags
    pose: Floats
    light: Floats
    thumbnails: Bytes
    opening: Floats
    quiet: Flags

    def __len__(self) -> int:
        return len(self.pts_s)

    def rows_of(self, source: int, track: int) -> Rows:
        """The rows of one track, in order of time."""
        return np.flatnonzero((self.source == source) & (self.track == track))


def frame_step_s(tracks: Sequence[FaceTrack]) -> float:
    """Time from one frame to the next: mean of the intervals that are no gaps."""
    gaps = np.concatenate([np.diff(t.pts_s) for t in tracks])
    gaps = gaps[gaps > 0]
    if len(gaps) == 0:
        return 0.04
    usual = gaps[gaps < 1.5 * np.median(gaps)]
    return float(usual.mean())


def collect(tracks: Sequence[FaceTrack], step_s: float) -> Units:
    """Put the tracks of one person on a grid of `step_s`, the frame interval of the target.

    Footage of another frame rate, or of a variable one, plays at its true speed: each place
    of the grid takes the frame nearest in time.
    """
    picks = [grid(t.pts_s, step_s) for t in tracks]
    sizes = [len(places) for places, _ in picks]

    def gather(name: str) -> npt.NDArray[np.generic]:
        parts = [getattr(t, name)[i] for t, (_, i) in zip(tracks, picks, strict=True)]
        return np.concatenate(parts)

    seen = np.asarray(gather("looks"), np.float32)
    thumbs = np.asarray(gather("thumbnails"), np.uint8)
    pose = poses(gather("landmarks"))
    hidden = np.concatenate([covered(t)[i] for t, (_, i) in zip(tracks, picks, strict=True)])
    fit = _is_sharp(seen) & _is_familiar(thumbs) & ~hidden
    fit &= np.abs(pose[:, _YAW]) < _SIDEWAYS
    last = np.cumsum(sizes) - 1
    return Units(
        step_s=step_s,
        source=np.repeat([t.source for t in tracks], sizes).astype(np.int32),
        track=np.repeat([t.track for t in tracks], sizes).astype(np.int32),
        time_s=np.concatenate([places for places, _ in picks]),
        pts_s=np.asarray(gather("pts_s"), np.float64),
        follows=~np.isin(np.arange(sum(sizes)), last),
        embeddings=np.asarray(gather("embeddings"), np.float16),
        usable=np.asarray(gather("known"), np.bool_) & fit,
        pose=pose,
        light=seen[:, _LIGHT],
        thumbnails=thumbs,
        opening=_rank(seen[:, LOOKS.index("opening")]),
        quiet=np.asarray(gather("quiet"), np.bool_),
    )


def grid(pts_s: Times, step_s: float) -> tuple[Times, Rows]:
    """Places `step_s` apart from the first frame to the last, and the frame nearest to each."""
    count = max(1, round((pts_s[-1] - pts_s[0]) / step_s) + 1)
    places = pts_s[0] + np.arange(count) * step_s
    middles = (pts_s[1:] + pts_s[:-1]) / 2
    return places, np.searchsorted(middles, places)


def _is_sharp(seen: Floats) -> Flags:
    sharpness = seen[:, LOOKS.index("sharpness")]
    return np.asarray(sharpness > _SMEARED * np.median(sharpness), np.bool_)


def _is_familiar(thumbs: Bytes) -> Flags:
    """Like at least a few frames of other moments; a hand before the mouth is not."""
    count = len(thumbs)
    if count < _FEW:
        return np.ones(count, np.bool_)
    spread = np.unique(np.linspace(0, count - 1, _SPREAD).astype(int))
    seen = standardised(thumbs[spread])
    away = np.zeros(count, np.float32)
    for first in range(0, count, 4096):
        part = slice(first, min(first + 4096, count))
        apart = distance(standardised(thumbs[part]), seen)
        near = np.abs(np.arange(part.start, part.stop)[:, None] - spread) < _MOMENT
        away[part] = np.partition(np.where(near, np.inf, apart), 4, axis=1)[:, 4]
    return np.asarray(away < _STRANGE * np.median(away), np.bool_)


def _rank(values: Floats) -> Floats:
    """Share of the other values that are smaller; equal values share a rank."""
    ordered = np.sort(values)
    below = np.searchsorted(ordered, values, side="left")
    return np.asarray(below / max(1, len(values) - 1), np.float32)

"""When something lies before a mouth that is followed nonetheless: a hand, a cup, a microphone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.footage.looks import poses, standardised
from lipsync_cli.dubbing.footage.scan import FaceTrack

Flags = npt.NDArray[np.bool_]
Times = npt.NDArray[np.float64]

# Cosine of a mouth crop with the usual one of its track: speech stays above 0.3, a cover is
# near 0.15. Turned heads look as strange, so only poses near the usual one are judged (yaw and
# pitch, in units of the face's scale; 0.08 is a turn of about ten degrees).
_STRANGE, _NEAR_POSE = 0.25, 0.08
# Shorter is a smear, except at the ends of a track: nobody knows how long it lasted. What comes
# and goes is there a little before and after.
_AT_LEAST_S, _AROUND_S = 0.2, 0.1
# Landmarks under a hand are guesses: where most of a stretch is judged, all of it counts.
_MOST = 0.5


def covered(track: FaceTrack) -> Flags:
    """Tell for each frame of a track whether its mouth is covered: bool [n]."""
    seen = standardised(track.thumbnails)
    usual = np.median(seen, axis=0)
    alike = seen @ usual / max(float(np.linalg.norm(usual)), 1e-6)
    pose = poses(track.landmarks)[:, :2]
    aside = np.linalg.norm(pose - np.median(pose, axis=0), axis=1)
    strange, judged = alike < _STRANGE, aside < _NEAR_POSE
    flags = np.zeros(len(strange), np.bool_)
    for first, end in _runs(strange):
        if judged[first:end].mean() >= _MOST:
            flags[first:end] = True
        else:
            flags[first:end] = judged[first:end]
    return _lasting(flags, track.pts_s)


def _lasting(flags: Flags, times_s: Times) -> Flags:
    """The stretches that are no smears, and a little around them."""
    lasting = np.zeros(len(flags), np.bool_)
    for first, end in _runs(flags):
        start_s, stop_s = times_s[first], times_s[end - 1]
        if stop_s - start_s >= _AT_LEAST_S or first == 0 or end == len(flags):
            lasting |= (times_s >= start_s - _AROUND_S) & (times_s <= stop_s + _AROUND_S)
    return lasting


def _runs(flags: Flags) -> list[tuple[int, int]]:
    """First place and end of each stretch of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]

"""When something lies before a mouth that is followed nonetheless: a hand, a cup, a microphone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.footage.looks import poses, standardised
from lipsync_cli.dubbing.footage.scan import FaceTrack

Flags = npt.NDArray[np.bool_]

# Cosine of a mouth crop with the usual one of its track: speech stays above 0.3, a cover is
# near 0.15. Turned heads look as strange, so only poses near the usual one are judged (yaw and
# pitch, in units of the face's scale; 0.08 is a turn of about ten degrees).
_STRANGE, _NEAR_POSE = 0.25, 0.08
# Shorter is a smear; what comes and goes is there a little before and after.
_AT_LEAST_S, _AROUND_S = 0.2, 0.1


def covered(track: FaceTrack) -> Flags:
    """Tell for each frame of a track whether its mouth is covered: bool [n]."""
    seen = standardised(track.thumbnails)
    usual = np.median(seen, axis=0)
    alike = seen @ usual / max(float(np.linalg.norm(usual)), 1e-6)
    pose = poses(track.landmarks)[:, :2]
    aside = np.linalg.norm(pose - np.median(pose, axis=0), axis=1)
    strange = (alike < _STRANGE) & (aside < _NEAR_POSE)
    flags, times_s = np.zeros(len(strange), np.bool_), track.pts_s
    edges = np.flatnonzero(np.diff(np.concatenate([[False], strange, [False]])))
    for first, end in edges.reshape(-1, 2).tolist():
        start_s, stop_s = times_s[first], times_s[end - 1]
        if stop_s - start_s >= _AT_LEAST_S:
            flags |= (times_s >= start_s - _AROUND_S) & (times_s <= stop_s + _AROUND_S)
    return flags

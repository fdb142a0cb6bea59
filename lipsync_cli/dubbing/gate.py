"""How much of a new face to show: none of it where it could not be right, and no sudden changes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.mask import nose_aside

Floats = npt.NDArray[np.float32]

# How far the tip of the nose stands before the plane of eyes and mouth, in their distance.
_NOSE = 0.45


@dataclass(frozen=True)
class GateOptions:
    """Limits between all of a new face and none of it.

    Attributes:
        turned_deg: heads turned by less are dubbed, by more are left.
        score: detections below the first are not faces, above the second they are.
        residual: of `RingMatch`; above the second something lies before the face.
        fall_s, rise_s: time in which the weight follows downwards and upwards.
    """

    turned_deg: tuple[float, float] = (42.0, 60.0)
    score: tuple[float, float] = (0.3, 0.5)
    residual: tuple[float, float] = (0.15, 0.25)
    fall_s: float = 0.06
    rise_s: float = 0.25


class Gate:
    """Weights of the frames of one track and shot, in order of presentation."""

    def __init__(self, options: GateOptions | None = None) -> None:
        self._options = options or GateOptions()
        self._weight: float | None = None
        self._last_s = 0.0

    def reset(self) -> None:
        """Forget what was before; for the first frame of a shot or of a track."""
        self._weight = None

    def weight(
        self, pts_s: float, landmarks: npt.ArrayLike, *, score: float = 1.0, residual: float = 0.0
    ) -> float:
        """Return what to multiply the mask of a frame with, 0 to 1.

        Args:
            landmarks: [5, 2], px of the upright source.
            score: of the detector, 1 where it is not known.
            residual: of `RingMatch` for this frame.
        """
        limits = self._options
        turned = 1 - _between(turned_deg(landmarks), limits.turned_deg)
        hidden = 1 - _between(residual, limits.residual)
        wanted = turned * hidden * _between(score, limits.score)
        before, elapsed_s = self._weight, pts_s - self._last_s
        self._last_s = pts_s
        if before is None or elapsed_s < 0:
            self._weight = wanted
        else:
            settling_s = limits.fall_s if wanted < before else limits.rise_s
            self._weight = wanted + math.exp(-elapsed_s / settling_s) * (before - wanted)
        return self._weight


def turned_deg(landmarks: npt.ArrayLike) -> float:
    """Estimate by how much a head is turned aside, in degrees: 0 for a frontal face, up to 90."""
    return math.degrees(math.asin(min(1.0, abs(nose_aside(landmarks)) / _NOSE)))


def eased(times_s: npt.ArrayLike, active: npt.ArrayLike, ramp_s: float = 0.12) -> Floats:
    """Turn flags of frames into weights that rise and fall inside of the active stretches.

    Frames that are not active get 0 and active ones far from them 1; neither the first nor
    the last frame is an edge by itself. Serves silence as well as gaps of a track.

    Args:
        times_s: [n], presentation times, ascending.
        active: bool [n].
        ramp_s: duration of a rise or a fall.
    """
    times, flags = np.asarray(times_s, np.float64), np.asarray(active, bool)
    idle = times[~flags]
    if not len(idle):
        return np.ones(len(times), np.float32)
    place = np.searchsorted(idle, times)
    before, after = idle[np.maximum(place - 1, 0)], idle[np.minimum(place, len(idle) - 1)]
    nearest_s = np.minimum(np.abs(times - before), np.abs(times - after))
    share = np.clip(nearest_s / ramp_s, 0, 1)
    return np.asarray(np.where(flags, share * share * (3 - 2 * share), 0), np.float32)


def _between(value: float, limits: tuple[float, float]) -> float:
    """0 below the first limit, 1 above the second, smooth in between."""
    share = min(max((value - limits[0]) / (limits[1] - limits[0]), 0.0), 1.0)
    return share * share * (3 - 2 * share)

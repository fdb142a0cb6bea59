"""How much of a new face to show: none of it where it could not be right, and no sudden changes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.mask import nose_aside
from lipsync_cli.dubbing.compositing.settling import Settling

Floats = npt.NDArray[np.float32]

Reason = Literal["lost", "turned", "covered", "unlike", "silent"]
# (time of the output) -> how much may be shown whatever the face looks like, and why not all.
Planned = Callable[[float], tuple[float, Reason | None]]

# How far the tip of the nose stands before the plane of eyes and mouth, in their distance.
_NOSE = 0.45
# Nobody sees so little of a face, nor that so little of it is missing.
_UNSEEN = 0.02
_HALF = 0.5


@dataclass(frozen=True)
class GateOptions:
    """Limits between all of a new face and none of it.

    Attributes:
        turned_deg: heads turned by less are dubbed, by more are left.
        score: detections below the first are not faces, above the second they are.
        residual: of `RingMatch`; above the second something lies before the face.
        mismatch: see `mismatch`; a face is left above the second until it is below the first.
        fall_s, rise_s: time in which the weight follows downwards and upwards.
    """

    turned_deg: tuple[float, float] = (42.0, 60.0)
    score: tuple[float, float] = (0.3, 0.5)
    residual: tuple[float, float] = (0.15, 0.25)
    mismatch: tuple[float, float] = (0.72, 0.9)
    fall_s: float = 0.06
    rise_s: float = 0.25


@dataclass(frozen=True)
class Verdict:
    """What became of one frame.

    Attributes:
        pts_s: its time.
        weight: of the new face, 0 to 1.
        reason: what keeps most of the old one; None where most of it is new.
    """

    pts_s: float
    weight: float
    reason: Reason | None


class Gate:
    """Weights of the frames of one track and shot, in order of presentation.

    Args:
        planned: what is known beforehand; all may be shown without it.

    Attributes:
        last: what was said of the last frame.
    """

    def __init__(self, options: GateOptions | None = None, planned: Planned | None = None) -> None:
        self._options, self._planned = options or GateOptions(), planned
        self._weight: Settling[float] = Settling()
        self._hindered: Reason | None = None
        self._unlike = False
        self.last: Verdict | None = None

    def reset(self) -> None:
        """Forget what was before; for the first frame of a shot or of a track."""
        self._weight.reset()
        self._unlike = False

    def weight(
        self,
        pts_s: float,
        landmarks: npt.ArrayLike,
        *,
        score: float = 1.0,
        residual: float = 0.0,
        mismatch: float = 0.0,
    ) -> float:
        """Return what to multiply the mask of a frame with, 0 to 1.

        Args:
            landmarks: [5, 2], px of the upright source.
            score: of the detector, 1 where it is not known.
            residual: of `RingMatch` for this frame.
            mismatch: of the function of this name, for this frame.
        """
        limits = self._options
        turned = 1 - _between(turned_deg(landmarks), limits.turned_deg)
        hidden = 1 - _between(residual, limits.residual)
        found = _between(score, limits.score)
        alike = self._alike(mismatch)
        seen = self._settled(pts_s, turned * hidden * found * alike)
        seen_by: dict[Reason, float] = {
            "turned": turned,
            "covered": hidden,
            "lost": found,
            "unlike": alike,
        }
        worst = min(seen_by, key=lambda reason: seen_by[reason])
        if seen_by[worst] < _HALF:
            self._hindered = worst
        planned, reason = (1.0, None) if self._planned is None else self._planned(pts_s)
        weight = _plain(planned * seen)
        if weight >= _HALF:
            reason = None
        elif planned >= seen or reason is None:
            reason = self._hindered
        self.last = Verdict(pts_s, weight, reason)
        return weight

    def _alike(self, mismatch: float) -> float:
        """1 or 0 with hysteresis: a share of a face that does not fit is a ghost."""
        low, high = self._options.mismatch
        self._unlike = mismatch > (low if self._unlike else high)
        return float(not self._unlike)

    def _settled(self, pts_s: float, wanted: float) -> float:
        limits, before = self._options, self._weight.value
        falls = before is not None and wanted < before
        return self._weight.follow(wanted, pts_s, limits.fall_s if falls else limits.rise_s)


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


def _plain(weight: float) -> float:
    if weight < _UNSEEN:
        return 0.0
    return 1.0 if weight > 1 - _UNSEEN else weight


def _between(value: float, limits: tuple[float, float]) -> float:
    """0 below the first limit, 1 above the second, smooth in between."""
    share = min(max((value - limits[0]) / (limits[1] - limits[0]), 0.0), 1.0)
    return share * share * (3 - 2 * share)

"""When new lips may be seen, as far as that is known beforehand: faces in view, speech, rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.gate import Reason, eased
from lipsync_cli.dubbing.footage.face_path import Faces
from lipsync_cli.dubbing.footage.scan import FaceTrack
from lipsync_cli.dubbing.mouths.slots import Window

Codes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Times = npt.NDArray[np.float64]
Moments = Callable[[Times], Flags]

RATE = 100  # values a second
# Duration of a fade, and how far behind the end of a track the cut may be that ended it: faces
# are not looked for in every picture.
FADE_S, _CUT_S = 0.12, 0.25
# A frame that was looked at is at most this far from one that was not.
_NEAR_S = 0.1
_REASONS: tuple[Reason | None, ...] = (None, "silent", "covered", "lost")
_SILENT, _COVERED, _LOST = 1, 2, 3


@dataclass(frozen=True)
class Cuts:
    """When faces of a programme, of whomever, begin and end to be in view."""

    begin_s: tuple[float, ...] = ()
    end_s: tuple[float, ...] = ()

    def begins(self, low_s: float, high_s: float) -> bool:
        """Whether one comes into view between two times."""
        return any(low_s <= each <= high_s for each in self.begin_s)

    def ends(self, low_s: float, high_s: float) -> bool:
        """Whether one goes out of view between two times."""
        return any(low_s <= each <= high_s for each in self.end_s)


@dataclass(frozen=True, eq=False)
class Showing:
    """Shares of a new face by time of the output, 100 a second; 5 bytes each.

    Attributes:
        start_s: time of the first value.
        weights: float32 [n].
        reasons: uint8 [n], places in `_REASONS`.
    """

    start_s: float
    weights: Floats
    reasons: Codes

    def at(self, time_s: float) -> tuple[float, Reason | None]:
        """What may be shown at a time, 0 to 1, and why not all; nothing beyond the speech."""
        place = round((time_s - self.start_s) * RATE)
        if not 0 <= place < len(self.weights):
            return 0.0, None
        return float(self.weights[place]), _REASONS[int(self.reasons[place])]


class Marked:
    """Flags of a person's frames, by time of the output.

    Args:
        flags: bool [n] for each of the tracks.
    """

    def __init__(self, tracks: Sequence[FaceTrack], flags: Sequence[Flags], window: Window) -> None:
        self._tracks, self._flags, self._window = tracks, flags, window

    def __call__(self, times_s: Times) -> Flags:
        """Tell for times of the output whether the frame shown then is marked: bool [n]."""
        source_s = np.array([self._window.source_s(t) for t in times_s.tolist()])
        answer = np.zeros(len(times_s), np.bool_)
        for track, flags in zip(self._tracks, self._flags, strict=True):
            inside, nearest = nearest_frames(track, source_s)
            answer[inside] = flags[nearest[inside]]
        return answer


def nearest_frames(track: FaceTrack, times_s: Times) -> tuple[Flags, npt.NDArray[np.intp]]:
    """Whether a track is in view at each time of its file, and its frame nearest to it."""
    middles = (track.pts_s[1:] + track.pts_s[:-1]) / 2
    nearest = np.searchsorted(middles, times_s)
    return np.abs(track.pts_s[nearest] - times_s) <= _NEAR_S, nearest


def plan_showing(
    faces: Faces,
    window: Window,
    spoken: tuple[float, float],
    *,
    cuts: Cuts | None = None,
    covered: Moments | None = None,
    resting: Moments | None = None,
) -> Showing:
    """Fade new lips in and out where a face comes and goes and where the speech ends.

    At cuts, and where the output itself begins and ends, nothing fades.

    Args:
        spoken: when the speech begins and ends; outside of it nothing is changed.
        cuts: where faces of whomever come and go at once; None where there are none.
        covered: tells for times of the output whether something lies before the mouth.
        resting: tells for times of the output whether the mouth stays as it was filmed.
    """
    low_s, high_s = window.start_s, min(window.until_s, spoken[1] + 2 * FADE_S)
    times_s = low_s + np.arange(max(1, round((high_s - low_s) * RATE) + 1)) / RATE
    lost = np.array([faces.track_number(window.source_s(t)) is None for t in times_s.tolist()])
    hidden, rests = (
        np.zeros(len(times_s), np.bool_) if moments is None else moments(times_s)
        for moments in (covered, resting)
    )
    ends_s = spoken[1] if spoken[1] < window.until_s - FADE_S else np.inf
    inside = (times_s >= spoken[0]) & (times_s < ends_s)
    why = [~inside, lost, hidden, rests]
    reasons = np.select(why, [0, _LOST, _COVERED, _SILENT], 0).astype(np.uint8)
    active = inside & ~hidden & ~rests & ~_fading(lost, times_s, cuts or Cuts())
    return Showing(low_s, eased(times_s, active, FADE_S), _spread(reasons))


def _fading(lost: Flags, times_s: Times, cuts: Cuts) -> Flags:
    """The stretches without a face, but for the ends of them that lie at a cut.

    Where there is no face nothing can be seen to fade: marks there only make faces nearby fade.
    """
    fading = lost.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], lost, [False]])))
    fade, cut = round(FADE_S * RATE), round(_CUT_S * RATE)
    for first, end in edges.reshape(-1, 2).tolist():
        left_s, back_s = times_s[first], times_s[end - 1]
        if cuts.begins(left_s - FADE_S, left_s + _CUT_S):
            fading[first : min(end, first + fade)] = False
        if cuts.ends(back_s - _CUT_S, back_s + FADE_S):
            fading[max(first, end - fade) : end] = False
        # Faces that are lost in the midst of a shot are lost for longer.
        if first > 0 and end < len(lost) and end - first <= cut:
            fading[first:end] = False
    return fading


def _spread(reasons: Codes) -> Codes:
    """Give the frames that fade the reason of the stretch they fade for."""
    wide = reasons.copy()
    fade = round(FADE_S * RATE)
    for code in (_LOST, _COVERED, _SILENT):
        places = np.flatnonzero(reasons == code)
        if not len(places):
            continue
        every = np.arange(len(reasons))
        after = np.searchsorted(places, every)
        near = np.minimum(
            np.abs(every - places[np.maximum(after - 1, 0)]),
            np.abs(every - places[np.minimum(after, len(places) - 1)]),
        )
        wide[(near <= fade) & (wide == 0)] = code
    return wide

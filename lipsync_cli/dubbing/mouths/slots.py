"""The moments of the output that get new lips, and the frames of the target they replace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.footage.face_path import FacePath
from lipsync_cli.dubbing.footage.scan import FaceTrack
from lipsync_cli.dubbing.mouths.units import Units

Rows = npt.NDArray[np.int64]
Times = npt.NDArray[np.float64]

Extend = Literal["cut", "freeze", "loop", "pingpong"]


@dataclass(frozen=True, eq=False)
class Slots:
    """Consecutive moments in which one track is in view.

    Attributes:
        track: number of the track in the target.
        rows: [n], the target's own frames among the units.
        times_s: [n], when they are shown in the output; that of their source except where
            the programme is extended by pictures from earlier.
    """

    track: int
    rows: Rows
    times_s: Times


@dataclass(frozen=True)
class Window:
    """What the output shows.

    Attributes:
        start_s, end_s: first picture, and end of the last one, on the target's clock.
        until_s: when the output ends; later than `end_s` where pictures are shown again.
        extend: how.
    """

    start_s: float
    end_s: float
    until_s: float
    extend: Extend = "cut"

    def source_s(self, time_s: float) -> float:
        """The time in the source of what the output shows at a time."""
        over = time_s - self.end_s
        if over < 0 or self.extend == "cut":
            return time_s
        length = max(self.end_s - self.start_s, 1e-3)
        if self.extend == "loop":
            return self.start_s + over % length
        if self.extend == "pingpong":
            phase = over % (2 * length)
            return self.end_s - phase if phase < length else self.start_s + phase - length
        return self.end_s - 1e-3


def slots_of(
    tracks: Sequence[FaceTrack],
    units: Units,
    faces: FacePath,
    window: Window,
    spoken: tuple[float, float],
) -> list[Slots]:
    """Lay out the moments of a person's tracks that lie in the output and in the speech.

    Args:
        faces: the same tracks by time.
        spoken: when the speech begins and ends; outside of it nothing is changed.
    """
    low, high = max(window.start_s, spoken[0]), min(window.until_s, spoken[1])
    found = []
    for track in tracks:
        rows = units.rows_of(0, track.track)
        times_s = units.time_s[rows]
        inside = (times_s >= low) & (times_s < min(high, window.end_s))
        found.append(Slots(track.track, rows[inside], times_s[inside]))
    found += _repeated(units, faces, window, high)
    return [slots for slots in found if len(slots.rows)]


def _repeated(units: Units, faces: FacePath, window: Window, until_s: float) -> Iterator[Slots]:
    """The same for pictures that are shown again after the end."""
    times_s = np.arange(window.end_s, until_s, units.step_s)
    if not len(times_s) or window.extend == "cut":
        return
    places = [_row_at(units, faces, window.source_s(float(t))) for t in times_s]
    owner = np.array([-1 if place is None else place[0] for place in places])
    edges = np.flatnonzero(np.diff(owner)) + 1
    for part in np.split(np.arange(len(owner)), edges):
        chosen = [place for i in part if (place := places[i]) is not None]
        if chosen:
            yield Slots(chosen[0][0], np.array([row for _, row in chosen]), times_s[part])


def _row_at(units: Units, faces: FacePath, source_s: float) -> tuple[int, int] | None:
    track = faces.track_at(source_s)
    if track is None:
        return None
    rows = units.rows_of(0, track.track)
    return track.track, int(rows[np.abs(units.time_s[rows] - source_s).argmin()])

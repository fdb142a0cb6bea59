"""The rewrite engine: the speaker's own mouth, taken from the moments that fit the new speech."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.cutout import Cutout
from lipsync_cli.dubbing.compositing.fitting import Fitter
from lipsync_cli.dubbing.footage.face_path import FacePath
from lipsync_cli.dubbing.mouths.gallery import Gallery
from lipsync_cli.dubbing.mouths.selection import Selection
from lipsync_cli.media.pictures import Shown

Times = npt.NDArray[np.float64]

# Looked at are at most 33 frames a second: those between them are shown too above this rate.
_LOOKED_AT_HZ = 33.0


@dataclass(frozen=True)
class Borrowed:
    """What to show at one moment.

    Attributes:
        source, time_s: the file and the moment in it.
        other: the same of a run that is being left or entered, with its share.
    """

    source: int
    time_s: float
    other: tuple[int, float, float] | None = None


class Score:
    """The chosen frames of all tracks, by time of the output.

    Args:
        selections: of the tracks, none at the same time as another.
        step_s: time from slot to slot.
    """

    def __init__(self, selections: Sequence[Selection], step_s: float) -> None:
        self._parts = sorted(
            (part for part in selections if len(part.pts_s)), key=lambda part: float(part.pts_s[0])
        )
        self._step_s = step_s

    def at(self, time_s: float) -> Borrowed | None:
        """What to show at a time; None where the picture stays as it is."""
        for part in self._parts:
            if part.pts_s[0] - self._step_s <= time_s <= part.pts_s[-1] + self._step_s:
                return self._slot(part, time_s)
        return None

    def wanted_s(self, source: int, frame_rate: float | None) -> Times:
        """All times of a file that will be shown, ascending."""
        times = [part.wanted_s(source) for part in self._parts]
        if frame_rate is not None and frame_rate > _LOOKED_AT_HZ:
            times += [each + 1 / frame_rate for each in times]
        return np.unique(np.concatenate([np.zeros(0), *times]))

    def _slot(self, part: Selection, time_s: float) -> Borrowed | None:
        slot = int(np.abs(part.pts_s - time_s).argmin())
        away_s = time_s - float(part.pts_s[slot])
        if part.own[slot] or abs(away_s) > self._step_s:
            return None
        # Frames between two slots: inside of a run the footage plays on.
        since_s = 0.0 if part.held[slot] else away_s
        share = float(part.share[slot])
        other = None
        if share > 0:
            other = (int(part.mixed_source[slot]), float(part.mixed_pts_s[slot]) + since_s, share)
        return Borrowed(int(part.source[slot]), float(part.source_pts_s[slot]) + since_s, other)


class BorrowedLips:
    """Edits pictures: each gets the mouth that was chosen for its moment.

    Attributes:
        changed: pictures that were edited so far.
    """

    def __init__(self, score: Score, gallery: Gallery, faces: FacePath, fitter: Fitter) -> None:
        self._score, self._gallery = score, gallery
        self._faces, self._fitter = faces, fitter
        self.changed = 0

    def __call__(self, pictures: Iterator[Shown]) -> Iterator[Shown]:
        for shown in pictures:
            yield self._edited(shown)

    def _edited(self, shown: Shown) -> Shown:
        time_s = shown.picture.time
        face = None if time_s is None else self._faces.at(float(time_s))
        chosen = self._score.at(shown.pts_s)
        if face is None or chosen is None:
            return shown
        taken = self._gallery.cutout(chosen.source, chosen.time_s)
        if taken is None:
            return shown
        other = self._other(chosen)
        picture = self._fitter.borrowed(shown.picture, face, taken, shown.pts_s, other)
        self.changed += picture is not shown.picture
        return replace(shown, picture=picture)

    def _other(self, chosen: Borrowed) -> tuple[Cutout, float] | None:
        if chosen.other is None:
            return None
        source, time_s, share = chosen.other
        other = self._gallery.cutout(source, time_s)
        return None if other is None else (other, share)


def all_wanted(score: Score, rates: Mapping[int, float | None]) -> dict[int, Times]:
    """The times that are needed of each footage file, by its number."""
    return {source: score.wanted_s(source, rate) for source, rate in rates.items()}

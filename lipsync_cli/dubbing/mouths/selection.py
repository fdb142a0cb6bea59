"""The frames that were chosen for a target, slot by slot, and how they are joined."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.mouths.units import Units

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Sources = npt.NDArray[np.int32]
Times = npt.NDArray[np.float64]

# Frames on either side of a join that the two runs share.
_DISSOLVE = 3


@dataclass(frozen=True, eq=False)
class Selection:
    """The frames to show in place of one track's mouth; arrays are [n], a row a slot.

    Attributes:
        pts_s: times of the slots in the output.
        rows: row of the chosen frame among the units.
        source, source_pts_s: file and true presentation time of the chosen frame.
        unit: number of the run of frames it belongs to; a new number is a join.
        held: it is the frame before, shown again.
        silent: the mouth rests.
        own: it is the target's own frame at its own time, and nothing is mixed into it:
            nothing has to be rendered.
        mixed_rows, mixed_source, mixed_pts_s, share: near joins a second frame, that of the
            other run gone on with, and its share of the picture, 0 elsewhere.
        similarity: cosine of the new sound with the chosen mouth; NaN where unknown.
        turned: distance of the head poses of the two frames, see `looks.POSE`.
    """

    pts_s: Times
    rows: Rows
    source: Sources
    source_pts_s: Times
    unit: npt.NDArray[np.int32]
    held: Flags
    silent: Flags
    own: Flags
    mixed_rows: Rows
    mixed_source: Sources
    mixed_pts_s: Times
    share: Floats
    similarity: Floats
    turned: Floats

    def wanted_s(self, source: int) -> Times:
        """All times of a file that are shown or mixed in, each once, ascending."""
        shown = self.source_pts_s[(self.source == source) & ~self.own]
        mixed = self.mixed_pts_s[(self.mixed_source == source) & (self.share > 0)]
        return np.unique(np.concatenate([shown, mixed]))


def arranged(
    units: Units, target: Rows, times_s: Times, rows: Rows, asked: Floats, silent: Flags
) -> Selection:
    """Read chosen rows as runs.

    Args:
        target: rows of the target's frames [n], shown at `times_s` [n].
        rows: rows of the frames shown in their place [n].
        asked: what the sound asks for, unit vectors or zero [n, 256].
        silent: bool [n].
    """
    mouths = units.embeddings[rows].astype(np.float32)
    known = mouths.any(1) & asked.any(1)
    step = np.diff(rows)
    goes_on = (step == 0) | ((step == 1) & units.follows[rows[:-1]])
    joins = np.append(False, ~goes_on)
    mixed, share = _mixed(units, rows, joins)
    return Selection(
        pts_s=times_s,
        rows=rows,
        source=units.source[rows],
        source_pts_s=units.pts_s[rows],
        unit=np.cumsum(joins).astype(np.int32),
        held=np.append(False, step == 0),
        silent=silent,
        own=(rows == target) & (share == 0),
        mixed_rows=mixed,
        mixed_source=units.source[mixed],
        mixed_pts_s=units.pts_s[mixed],
        share=share,
        similarity=np.where(known, (asked * mouths).sum(1), np.nan).astype(np.float32),
        turned=np.linalg.norm(units.pose[rows, :2] - units.pose[target, :2], axis=1),
    )


def _mixed(units: Units, rows: Rows, joins: Flags) -> tuple[Rows, Floats]:
    """The second frame of each slot and its share: six frames at each join lead over.

    Both runs go on beyond the join as far as their tracks reach.
    """
    mixed, share = rows.copy(), np.zeros(len(rows), np.float32)
    unit = np.cumsum(joins)
    for join in np.flatnonzero(joins).tolist():
        left, right = int(rows[join - 1]), int(rows[join])
        for away in range(_DISSOLVE):
            left = left + int(units.follows[left])
            right = right - int(right > 0 and units.follows[right - 1])
            part = (_DISSOLVE - away) / (2 * _DISSOLVE + 1)
            for slot, run, other in ((join + away, join, left), (join - 1 - away, join - 1, right)):
                inside = 0 <= slot < len(rows) and unit[slot] == unit[run]
                if inside and part > share[slot]:
                    mixed[slot], share[slot] = other, part
    return mixed, share

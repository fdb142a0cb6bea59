"""Cheapest way through a lattice of footage frames: going on is free, jumping is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Play:
    """How frames may follow each other.

    Attributes:
        shortest: frames a run should last at least.
        short: cost of each frame that a run lacks.
        hold: cost of showing the same frame once more, where holding is allowed.
        states: frames kept from one slot to the next.
        exits: the cheapest of them, from which jumps are tried.
    """

    shortest: int = 4
    short: float = 2.0
    hold: float = 0.3
    states: int = 96
    exits: int = 48


@dataclass(frozen=True)
class State:
    """Costs of being at each of some frames, by how long its run has lasted.

    Attributes:
        rows: [P], ascending.
        cost: [A, P]; cost[a] is for a run of a + 1 frames, the last for any longer one.
    """

    rows: Rows
    cost: Floats


Seam = Callable[[Rows, Rows], Floats]
"""Cost [P, C] of showing rows [C] instead of what would follow rows [P]."""


class Lattice:
    """Runs forward slot by slot, then back along the cheapest way.

    Args:
        follows: bool [N], frame i + 1 may be shown right after frame i.
    """

    def __init__(self, follows: Flags, seam: Seam, play: Play) -> None:
        self._follows, self._seam, self._play = follows, seam, play
        self._states: list[State] = []
        self._back: list[npt.NDArray[np.int32]] = []

    def start(self, rows: Rows, local: Floats) -> None:
        """Begin with any of `rows` [C] at its local cost [C]."""
        cost = np.full((self._play.shortest, len(rows)), np.inf, np.float32)
        cost[0] = local
        self._states, self._back = [State(rows, cost)], []

    def go_on(self, row: int, age: int) -> None:
        """Begin behind a frame that is settled, in a run of `age` + 1 frames."""
        cost = np.full((self._play.shortest, 1), np.inf, np.float32)
        cost[min(age, self._play.shortest - 1)] = 0.0
        self._states, self._back = [State(np.array([row]), cost)], []

    def step(self, wanted: Rows, local: Floats, *, may_hold: bool) -> None:
        """Take the next slot.

        Args:
            wanted: frames to jump to; those that go on are added.
            local: [N], cost of showing each frame in this slot.
        """
        before = _pruned(self._states[-1], self._play.states)
        self._states[-1] = before[0]
        if self._back:
            self._back[-1] = self._back[-1][:, before[1]]
        state = before[0]
        goes_on = self._follows[state.rows]
        following = state.rows[goes_on] + 1
        rows = np.unique(np.concatenate([wanted, following, *([state.rows] if may_hold else [])]))
        new = _Relaxed(self._play.shortest, len(rows))
        self._jump(new, state, rows)
        new.extend(state.cost, np.flatnonzero(goes_on), np.searchsorted(rows, following), 0.0)
        if may_hold:
            every = np.arange(len(state.rows))
            new.extend(state.cost, every, np.searchsorted(rows, state.rows), self._play.hold)
        self._states.append(State(rows, new.cost + local[rows]))
        self._back.append(new.back)

    def way(self, *, ends: bool) -> tuple[Rows, npt.NDArray[np.int32]]:
        """Rows of the cheapest way and the age of the run at each, first slot first.

        Args:
            ends: nothing follows: the last run, too, should not be short.
        """
        last = self._states[-1]
        cost = last.cost + _lacking(self._play)[:, None] if ends else last.cost
        place = int(cost.argmin())
        rows, ages = [], []
        for state, back in zip(self._states[::-1], [*self._back[::-1], None], strict=True):
            age, column = divmod(place, len(state.rows))
            rows.append(int(state.rows[column]))
            ages.append(age)
            if back is not None:
                place = int(back[age, column])
        return np.array(rows[::-1], np.int64), np.array(ages[::-1], np.int32)

    def _jump(self, new: _Relaxed, state: State, rows: Rows) -> None:
        """Enter each of `rows` from the best frame to leave."""
        leaving = state.cost + _lacking(self._play)[:, None]
        age, cost = leaving.argmin(0), leaving.min(0)
        best = np.argsort(cost)[: self._play.exits]
        total = cost[best, None] + self._seam(state.rows[best], rows)  # [E, C]
        choice = total.argmin(0)
        column = best[choice]
        new.cost[0] = total[choice, np.arange(len(rows))]
        new.back[0] = age[column] * len(state.rows) + column


class _Relaxed:
    """The best known way to each state of a slot."""

    def __init__(self, ages: int, count: int) -> None:
        self.cost = np.full((ages, count), np.inf, np.float32)
        self.back = np.full((ages, count), -1, np.int32)

    def extend(self, cost: Floats, columns: Rows, into: Rows, price: float) -> None:
        """Let runs at `columns` of the last slot last one more frame, at `into` of this one."""
        ages, width = cost.shape
        for age in range(ages):
            reached = min(age + 1, ages - 1)
            offer = cost[age, columns] + price
            better = offer < self.cost[reached, into]
            where = into[better]
            self.cost[reached, where] = offer[better]
            self.back[reached, where] = age * width + columns[better]


def _pruned(state: State, most: int) -> tuple[State, Rows]:
    """The cheapest frames of a state, still in order, and their columns."""
    best = state.cost.min(0)
    if len(best) <= most:
        return state, np.arange(len(best))
    columns = np.sort(np.argpartition(best, most)[:most])
    return State(state.rows[columns], state.cost[:, columns]), columns


def _lacking(play: Play) -> Floats:
    """Cost of leaving a run at each age: [A]."""
    missing = np.arange(play.shortest - 1, -1, -1)
    return np.asarray(play.short * missing, np.float32)

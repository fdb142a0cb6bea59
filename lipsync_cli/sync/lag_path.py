"""Likelihood of every lag in every second, and the most probable path through it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.sync.estimate import Logits, softmax
from lipsync_cli.sync.evidence import BIN_S, LagEvidence, offsets_ms

Floats = NDArray[np.float64]
# Two hours with a wide search are many numbers.
Rows = NDArray[np.float32]

# A second that says nothing of use, whatever it claims.
_OUTLIER = 0.02
# Costs in the path: moving one cell of 10 ms within a second, and jumping anywhere.
_CELL_COST, _JUMP_COST = 2.5, 12.0
# Seconds that are moved at once.
_PART = 256
# What a second must gain over no knowledge to count.
_INFORMATIVE = 1.5


@dataclass(frozen=True)
class Seconds:
    """What is known of every second from the first to the last with evidence.

    Attributes:
        time_s: [S], middle of each second.
        scores: [S, K], logarithm of how much better a lag explains the second than no
            knowledge does; 0 where nothing is known.
        raw: [S, K], evidence that adds up over pictures; weight: [S], how many there are.
        grid_ms: [K].
        logits: what makes an answer of raw evidence.
    """

    time_s: Floats
    scores: Rows
    raw: Rows
    weight: Floats
    grid_ms: Floats
    logits: Logits

    @cached_property
    def informative(self) -> NDArray[np.bool_]:
        """Seconds that speak for some lags: [S]."""
        return np.asarray(self.scores.max(1, initial=0.0) > _INFORMATIVE)

    @property
    def step_ms(self) -> float:
        """Distance of two lags."""
        return float(self.grid_ms[1] - self.grid_ms[0])

    def along(self, offset_ms: Floats) -> Floats:
        """Scores along a curve [S] of offsets."""
        return self._around(self.scores, offset_ms, 0)[:, 0]

    def straightened(self, curve_ms: Floats, reach_ms: float) -> Floats:
        """Raw evidence [S, 2 * reach / step + 1] around a curve [S], as if that were 0."""
        return self._around(self.raw, curve_ms, round(reach_ms / self.step_ms))

    def summed(self, curve_ms: Floats, chosen: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Raw evidence [1, 2 K - 1] of the chosen seconds along a curve, and its weight [1]."""
        total = np.zeros((1, 2 * len(self.grid_ms) - 1))
        for part in np.array_split(chosen, len(chosen) // _PART + 1):
            rows = self.raw[part], curve_ms[part], len(self.grid_ms) - 1
            total += self._around(*rows).sum(0)
        return total, self.weight[chosen].sum(keepdims=True)

    def _around(self, values: Rows, offset_ms: Floats, cells: int) -> Floats:
        return around(values, self.grid_ms, offset_ms, cells)


def around(values: Rows, grid_ms: Floats, offset_ms: Floats, cells: int) -> Floats:
    """Values [n, K] over a grid [K], read around offsets [n]: [n, 2 * cells + 1]."""
    step_ms, last = grid_ms[1] - grid_ms[0], len(grid_ms) - 1
    place = (offset_ms - grid_ms[0]) / step_ms
    low = np.floor(place).astype(int)
    columns = low[:, None] + np.arange(-cells, cells + 1)
    share = (place - low)[:, None]
    here, next_ = (np.take_along_axis(values, np.clip(columns + k, 0, last), 1) for k in (0, 1))
    inside = (columns >= 0) & (columns <= last)
    return np.asarray(np.where(inside, here * (1 - share) + next_ * share, 0.0))


def read_seconds(evidence: LagEvidence, logits: Logits) -> Seconds:
    """Turn evidence into likelihoods; several faces in a second add up."""
    posterior = softmax(logits(evidence.scores, evidence.weight))  # [N, K + 1]
    lags = posterior.shape[1] - 1
    likely = posterior[:, :-1] * lags + posterior[:, -1:]
    gain = np.log((1 - _OUTLIER) * likely + _OUTLIER)
    number = np.round(evidence.start_s / BIN_S).astype(int)
    first = int(number.min())
    shape = (int(number.max()) - first + 1, lags)
    scores, raw = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    weight = np.zeros(shape[0])
    np.add.at(scores, number - first, gain)
    np.add.at(raw, number - first, evidence.scores)
    np.add.at(weight, number - first, evidence.weight)
    time_s = np.asarray((first + np.arange(len(scores)) + 0.5) * BIN_S, np.float64)
    return Seconds(time_s, scores, raw, weight, offsets_ms(evidence.reach), logits)


def most_probable_path(scores: Rows) -> NDArray[np.int64]:
    """Viterbi: the cells [S] of the best path through scores [S, K].

    Moving costs in proportion to the distance, up to what a jump to any cell costs.
    """
    count, cells = scores.shape
    slope = np.asarray(_CELL_COST * np.arange(cells), np.float64)
    came_from = np.zeros((count, cells), np.int16)
    best = scores[0].astype(np.float64)
    for k in range(1, count):
        reached, origin = _moved(best, slope)
        jump = int(best.argmax())
        jumping = best[jump] - _JUMP_COST > reached
        came_from[k] = np.where(jumping, jump, origin)
        best = np.where(jumping, best[jump] - _JUMP_COST, reached) + scores[k]
    path = np.zeros(count, np.int64)
    path[-1] = int(best.argmax())
    for k in range(count - 1, 0, -1):
        path[k - 1] = came_from[k, path[k]]
    return path


def _moved(best: Floats, slope: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Best value for each cell when moving costs, and the cell it comes from."""
    right, right_origin = _running_best(best + slope)
    left, left_origin = _running_best((best + slope[::-1])[::-1])
    up, down = right - slope, left[::-1] - slope[::-1]
    origin = np.where(up >= down, right_origin, len(best) - 1 - left_origin[::-1])
    return np.asarray(np.maximum(up, down)), origin


def _running_best(values: Floats) -> tuple[Floats, NDArray[np.int64]]:
    running: Floats = np.maximum.accumulate(values)
    is_new = np.concatenate([[True], values[1:] > running[:-1]])
    return running, np.maximum.accumulate(np.where(is_new, np.arange(len(values)), 0))

"""Choose, for each moment of new speech, the frame of the speaker whose mouth fits it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.footage.looks import distance, standardised
from lipsync_cli.dubbing.mouths.selection import Selection, arranged
from lipsync_cli.dubbing.mouths.units import Units
from lipsync_cli.dubbing.mouths.viterbi import Lattice, Play
from lipsync_cli.dubbing.speech import Speech

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Times = npt.NDArray[np.float64]

# Frames of the whole footage that one window of the target chooses from.
_POOL = 15_000
_STRETCH_S = 2.0
# Slots settled at once, and those looked at beyond them.
_WINDOW_S, _AHEAD_S = 30.0, 3.0
# Cost of a frame that should not be shown at all.
_UNFIT = 50.0
# Differences of brightness that can be corrected, per 10 grey levels, and the cost of more: a
# picture that fades to black has no light to give.
_CORRECTED, _OTHER_LIGHT = 2.5, 2.0
# Slots whose costs are computed at once.
_BLOCK = 128


@dataclass(frozen=True)
class Weights:
    """What counts how much; tuned on people that the sync model never saw.

    Attributes:
        similarity: of the cosine of sound and mouth embeddings.
        rest_similarity, opening, spoken, own: in silence, of that cosine, of the mouth's
            opening, of a mouth that was filmed while it spoke, and for leaving the target's
            own frame untouched.
        pose: of the distance of head poses, `pose_scale` weighing its dimensions.
        light: of the difference of brightness and its slopes, per 10 grey levels.
        jump, seam: a jump costs jump + seam x RMS difference of standardised thumbnails.
        candidates: frames looked at per slot, besides those that go on.
    """

    similarity: float = 4.0
    rest_similarity: float = 2.0
    opening: float = 3.0
    spoken: float = 0.3
    own: float = 0.4
    pose: float = 3.0
    pose_scale: tuple[float, ...] = (1.0, 1.0, 0.5, 0.3, 0.1)
    light: float = 0.05
    jump: float = 1.5
    seam: float = 8.0
    candidates: int = 64
    play: Play = field(default_factory=Play)


def select(
    units: Units,
    speech: Speech,
    *,
    source: int = 0,
    track: int = 0,
    weights: Weights | None = None,
    progress: Callable[[float], None] | None = None,
) -> Selection:
    """Choose frames for one whole track, shown at its own times; see `select_slots`."""
    rows = units.rows_of(source, track)
    times_s = units.time_s[rows]
    return select_slots(units, speech, rows, times_s, weights=weights, progress=progress)


def select_slots(
    units: Units,
    speech: Speech,
    rows: Rows,
    times_s: Times,
    *,
    weights: Weights | None = None,
    progress: Callable[[float], None] | None = None,
) -> Selection:
    """Choose a frame for each slot of the output, so that its lips follow `speech`.

    Dynamic programming over similarity, pose, light and continuity. In silence, and where
    there is no sound, resting mouths are wanted instead, the target's own frames being
    among the candidates and holding a frame being allowed. Cost and memory do not grow with
    the square of the footage: each window of 30 s chooses from at most 15,000 frames, in
    stretches most like it in pose and light.

    Args:
        units: everything that may be shown, the target's own frames included.
        rows: [n], the target's frames whose mouth is to be replaced, in order.
        times_s: [n], when they are shown, `units.step_s` apart.
        progress: told the share that is done, 0 to 1.
    """
    weights = weights or Weights()
    asked, sounds = speech.at(times_s)
    task = _Task(units, rows, asked, speech.silent(times_s) | ~sounds, weights)
    window, ahead = (max(1, round(t / units.step_s)) for t in (_WINDOW_S, _AHEAD_S))
    chosen, ages = np.zeros(0, np.int64), np.zeros(0, np.int32)
    for first in range(0, len(rows), window):
        end = min(first + window, len(rows))
        settled = (int(chosen[-1]), int(ages[-1])) if first else None
        more = _Window(task, first, min(end + ahead, len(rows)), settled).way()
        chosen = np.concatenate([chosen, more[0][: end - first]])
        ages = np.concatenate([ages, more[1][: end - first]])
        if progress is not None:
            progress(end / len(rows))
    return arranged(units, rows, times_s, chosen, asked, task.silent)


@dataclass(frozen=True, eq=False)
class _Task:
    """What is asked of each slot of the target: sound [n, 256], rest bool [n]."""

    units: Units
    target: Rows
    asked: Floats
    silent: Flags
    weights: Weights

    def local(self, slots: Rows, rows: Rows) -> Floats:
        """Cost of showing each of `rows` in each of `slots`: [S, R]."""
        w, units = self.weights, self.units
        cosine = self.asked[slots] @ units.embeddings[rows].astype(np.float32).T
        silent = self.silent[slots][:, None]
        heard = np.where(silent, w.rest_similarity, w.similarity).astype(np.float32)
        cost = -heard * cosine + self.pose_cost(slots, rows) + self.light_cost(slots, rows)
        resting = w.opening * units.opening[rows] + w.spoken * ~units.quiet[rows]
        cost += np.where(silent, resting, 0.0).astype(np.float32)
        # Its own frame is not edited, so a smeared one may stay where the mouth rests.
        own = silent & (self.target[slots][:, None] == rows)
        cost += _UNFIT * (~units.usable[rows] & ~own) - w.own * (own & units.quiet[rows])
        return np.asarray(cost, np.float32)

    def pose_cost(self, slots: Rows, rows: Rows) -> Floats:
        """[S, R]."""
        scale = np.asarray(self.weights.pose_scale, np.float32)
        pose = self.units.pose * scale
        return self.weights.pose * distance(pose[self.target[slots]], pose[rows])

    def light_cost(self, slots: Rows, rows: Rows) -> Floats:
        """[S, R]."""
        light = self.units.light / np.float32(10)
        wanted, had = light[self.target[slots]], light[rows]
        other = np.abs(wanted[:, None, 0] - had[None, :, 0]) - _CORRECTED
        beyond = _OTHER_LIGHT * np.maximum(other, 0)
        return np.asarray(self.weights.light * distance(wanted, had) + beyond, np.float32)


class _Window:
    """One stretch of the target and the footage it chooses from.

    Args:
        settled: row and age of the run in the slot before; None at the beginning.
    """

    def __init__(self, task: _Task, first: int, end: int, settled: tuple[int, int] | None) -> None:
        self._task, self._slots, self._settled = task, np.arange(first, end), settled
        kept = [] if settled is None else [settled[0]]
        self._pool = _pool(task.units, task.target[first:end], kept)
        self._thumbs = standardised(task.units.thumbnails[self._pool])

    def way(self) -> tuple[Rows, npt.NDArray[np.int32]]:
        """Rows of the units, and ages of the runs, slot by slot."""
        task, pool, settled = self._task, self._pool, self._settled
        follows = task.units.follows[pool] & np.append(np.diff(pool) == 1, False)
        self._next = np.where(follows, np.arange(len(pool)) + 1, np.arange(len(pool)))
        lattice = Lattice(follows, self._seam, task.weights.play)
        if settled is not None:
            lattice.go_on(int(np.searchsorted(pool, settled[0])), settled[1])
        for slot, local in self._costs():
            wanted = self._wanted(slot, local)
            if slot == 0:
                lattice.start(wanted, local[wanted])
            else:
                lattice.step(wanted, local, may_hold=bool(task.silent[slot]))
        rows, ages = lattice.way(ends=bool(self._slots[-1] == len(task.target) - 1))
        skip = len(rows) - len(self._slots)
        return pool[rows[skip:]], ages[skip:]

    def _costs(self) -> Iterator[tuple[int, Floats]]:
        """Each slot with the local cost of all frames of the pool."""
        for first in range(0, len(self._slots), _BLOCK):
            slots = self._slots[first : first + _BLOCK]
            yield from zip(slots.tolist(), self._task.local(slots, self._pool), strict=True)

    def _wanted(self, slot: int, local: Floats) -> Rows:
        """The frames to jump to; in silence the target's own is always among them."""
        task = self._task
        most = min(task.weights.candidates, len(local))
        best = np.argpartition(local, most - 1)[:most]
        if not task.silent[slot]:
            return best
        own = np.searchsorted(self._pool, task.target[slot])
        return np.append(best, own)

    def _seam(self, leaving: Rows, entered: Rows) -> Floats:
        """Jump cost by how unlike the frames are that would have followed: [P, C]."""
        weights, would = self._task.weights, self._next[leaving]
        unlike = distance(self._thumbs[would], self._thumbs[entered])
        return np.asarray(weights.jump + weights.seam * unlike, np.float32)


def _pool(units: Units, target: Rows, kept: Sequence[int]) -> Rows:
    """Rows to choose from for some rows of the target: all, or the stretches most like them."""
    if len(units) <= _POOL:
        return np.arange(len(units))
    length = max(1, round(_STRETCH_S / units.step_s))
    starts = np.arange(0, len(units), length)
    sizes = np.diff(np.append(starts, len(units)))
    unlike = np.zeros(len(starts), np.float32)
    for values, scale in ((units.pose[:, :2], 0.05), (units.light, 20.0)):
        means = np.add.reduceat(values, starts) / sizes[:, None]
        unlike += np.linalg.norm((means - np.median(values[target], axis=0)) / scale, axis=1)
    unlike += 10 * (1 - np.add.reduceat(units.usable.astype(np.float32), starts) / sizes)
    best = np.argsort(unlike)[: _POOL // length]
    chosen = np.zeros(len(units), np.bool_)
    chosen[target], chosen[list(kept)] = True, True
    for stretch in best.tolist():
        chosen[starts[stretch] : starts[stretch] + length] = True
    return np.flatnonzero(chosen)

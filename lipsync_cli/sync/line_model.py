"""Straight lines of one slope with steps between them, fitted to seconds of evidence.

A second alone says little. The evidence of ten seconds, summed along the lines that are
already known, says where they really run; a few rounds settle that.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.sync.blocks import CLEAR, block_count, clear_mass, pieces_of, summed
from lipsync_cli.sync.lag_path import Floats, Seconds

MIN_PIECE = 5  # informative seconds that a piece between two steps needs
MAX_BREAKS = 30  # to begin with; the largest ones
MIN_STEP_MS = 35.0  # less may be another speaker's habit of articulation

_JUMP_MS, _TREND_S = 20.0, 30
_ROUNDS = 5
PEAK_MS = 20.0  # evidence so close to a lag speaks for it
_LEAST_BLOCKS, _RESAMPLES = 5, 200


@dataclass(frozen=True)
class LineModel:
    """Lines of one slope between steps, and how well they explain the seconds.

    Attributes:
        breaks: [n], number of the first second of every piece but the first.
        levels_ms: [n + 1], offset of each piece in the middle of the programme.
        slope: in ms per second.
        criterion: Bayesian information criterion; less is better.
        curve_ms: [S], offset in the middle of each second.
    """

    breaks: tuple[int, ...]
    levels_ms: Floats
    slope: float
    criterion: float
    curve_ms: Floats

    @property
    def sizes_ms(self) -> Floats:
        """Sizes of the steps, without their signs."""
        return np.abs(np.diff(self.levels_ms))


def candidate_breaks(seconds: Seconds, path: NDArray[np.int64]) -> list[int]:
    """Seconds at which the path has left its course; what follows at once is one break."""
    known = np.flatnonzero(seconds.informative)
    course = seconds.grid_ms[path] - _trend(seconds.grid_ms[path]) * np.arange(len(path))
    breaks: dict[int, float] = {}
    last, place = -MIN_PIECE, 0
    for number, (a, b) in enumerate(pairwise(known.tolist())):
        jump_ms = abs(float(course[b] - course[a]))
        # Through a gap, a drift may go on.
        if jump_ms < max(_JUMP_MS, 2.0 * (b - a)):
            continue
        if number - last < MIN_PIECE:
            jump_ms = max(jump_ms, breaks.pop(place, 0.0))
        breaks[b], last, place = jump_ms, number, b
    return sorted(sorted(breaks, key=lambda k: -breaks[k])[:MAX_BREAKS])


def _trend(course_ms: Floats) -> float:
    """Median slope of a path, in ms per second."""
    # A step in the middle must not be in most of the differences.
    span = min(_TREND_S, len(course_ms) // 4)
    return float(np.median(course_ms[span:] - course_ms[:-span])) / span if span else 0.0


def best_model(seconds: Seconds, path: NDArray[np.int64], breaks: list[int]) -> LineModel:
    """Take steps away one by one as long as that is a gain or they are doubtful."""
    course = seconds.grid_ms[path].astype(np.float64)
    model = fit(seconds, course, tuple(breaks))
    while model.breaks:
        simpler = _simpler(seconds, model) or _less_vague(seconds, model)
        if simpler is None:
            break
        model = simpler
    return model


def fit(
    seconds: Seconds,
    course_ms: Floats,
    breaks: tuple[int, ...],
    *,
    drifting: bool = True,
    rounds: int = _ROUNDS,
) -> LineModel:
    """Fit levels, and a slope where there is enough to tell it from steps.

    Args:
        course_ms: [S], where to look first.
    """
    curve = course_ms
    design = _design(seconds, pieces_of(seconds, breaks), seconds.time_s, breaks)
    drifting = drifting and block_count(seconds, breaks) >= _LEAST_BLOCKS + len(breaks)
    columns = slice(None) if drifting else slice(-1)
    solution = np.zeros(0)
    for _ in range(rounds):
        blocks = summed(seconds, curve, breaks)
        rows = _design(seconds, blocks.piece, blocks.time_s, breaks)
        solution = _solve(rows[:, columns], blocks.place_ms, blocks.weight)
        curve = design[:, columns] @ solution
    known = seconds.informative
    gain = float(seconds.along(curve)[known].sum())
    criterion = (len(solution) + len(breaks)) * float(np.log(known.sum())) - 2 * gain
    slope = float(solution[-1]) if drifting else 0.0
    return LineModel(breaks, solution[: len(breaks) + 1], slope, criterion, curve)


def settled(seconds: Seconds, model: LineModel) -> LineModel:
    """The same model with every break where the seconds around it want it most."""
    breaks = list(model.breaks)
    for k in range(len(breaks)):
        low = breaks[k - 1] if k else 0
        high = breaks[k + 1] if k + 1 < len(breaks) else len(seconds.time_s)
        places, gains = break_gains(seconds, model, k)
        inside = (places > low) & (places < high)
        if inside.any():
            breaks[k] = int(places[inside][gains[inside].argmax()])
    return fit(seconds, model.curve_ms, tuple(breaks))


def break_gains(seconds: Seconds, model: LineModel, k: int) -> tuple[NDArray[np.int64], Floats]:
    """Informative seconds near break k, and the log-likelihood of each as the first new one.

    Where exactly a step lies, the raw evidence tells better than what is left of it after
    doubting every second: it is taken as a level with noise of the same kind everywhere.
    """
    known = np.flatnonzero(seconds.informative)
    level = model.levels_ms[pieces_of(seconds, model.breaks)]
    line = model.curve_ms - level
    old, new = (heard(seconds, line + model.levels_ms[k + i]) for i in (0, 1))
    place = int(np.searchsorted(known, model.breaks[k]))
    near = known[max(0, place - 4 * MIN_PIECE) : place + 4 * MIN_PIECE]
    gains = np.concatenate([[0.0], np.cumsum((old - new)[near])[:-1]])
    return near, worth(seconds, model) * gains


def worth(seconds: Seconds, model: LineModel) -> float:
    """Log-likelihood by unit of raw evidence: its level where it is right over its variance."""
    known = seconds.informative
    right = float(heard(seconds, model.curve_ms)[known].mean())
    return max(0.0, right) / float(seconds.raw[known].var())


def heard(seconds: Seconds, curve_ms: Floats) -> Floats:
    """Raw evidence [S] close to a curve."""
    return np.asarray(seconds.straightened(curve_ms, PEAK_MS).mean(1))


def slope_error(seconds: Seconds, model: LineModel) -> float | None:
    """Half of a 95 % interval of the slope in ms per second, over 1.96; None for too few blocks.

    By drawing blocks anew, with Student's quantile (Cornish and Fisher's expansion of it):
    lines fitted to few blocks lie closer to them than to the truth.
    """
    blocks = summed(seconds, model.curve_ms, model.breaks)
    rows = _design(seconds, blocks.piece, blocks.time_s, model.breaks)
    rng = np.random.default_rng(0)
    count = len(blocks.time_s)
    if count < _LEAST_BLOCKS + len(model.breaks):
        return None
    draws = rng.multinomial(count, np.full(count, 1 / count), _RESAMPLES)
    slopes = [_solve(rows, blocks.place_ms, blocks.weight * times)[-1] for times in draws]
    free = count - rows.shape[1]
    quantile = 1.96 + 2.37 / free + 2.82 / free**2
    return float(np.std(slopes) * np.sqrt(count / free) * quantile / 1.96)


def _simpler(seconds: Seconds, model: LineModel) -> LineModel | None:
    """The model without one of its steps, where that is better or the step is doubtful."""
    if not model.breaks:
        return None
    known, sizes = seconds.informative, model.sizes_ms
    edges = (0, *model.breaks, len(known))
    short = [known[a:b].sum() < MIN_PIECE for a, b in pairwise(edges)]
    doubtful = [k for k in range(len(sizes)) if short[k] or short[k + 1]]
    if sizes.min() < MIN_STEP_MS:
        doubtful = [int(sizes.argmin())]
    fewer = [_without(seconds, model, k) for k in (doubtful or range(len(sizes)))]
    best = min(fewer, key=lambda m: m.criterion)
    return best if doubtful or best.criterion < model.criterion else None


def _without(seconds: Seconds, model: LineModel, k: int) -> LineModel:
    """The model without step k; what it divided may run at either level."""
    breaks = (*model.breaks[:k], *model.breaks[k + 1 :])
    piece = pieces_of(seconds, model.breaks)
    divided = (piece == k) | (piece == k + 1)
    # A fit sees no further than a block's window: from half way it would find neither.
    levels = (k, k + 1) if model.sizes_ms[k] > PEAK_MS else (k,)
    fits = []
    for level in levels:
        moved_ms = np.where(divided, model.levels_ms[level] - model.levels_ms[piece], 0.0)
        fits.append(fit(seconds, model.curve_ms + moved_ms, breaks, rounds=2))
    return min(fits, key=lambda m: m.criterion)


def _less_vague(seconds: Seconds, model: LineModel) -> LineModel | None:
    """The model without a step beside a piece whose evidence alone does not tell its level."""
    known = np.flatnonzero(seconds.informative)
    piece = pieces_of(seconds, model.breaks)[known]
    for number in range(len(model.levels_ms)):
        raw, weight = seconds.summed(model.curve_ms, known[piece == number])
        mass = clear_mass(seconds, raw, weight)[0]
        if mass[len(mass) // 2] < CLEAR:
            # Not the smaller step: the piece may belong to the far side of the larger one.
            beside = [k for k in (number - 1, number) if 0 <= k < len(model.breaks)]
            fewer = [_without(seconds, model, k) for k in beside]
            return min(fewer, key=lambda m: m.criterion)
    return None


def _design(
    seconds: Seconds, piece: NDArray[np.int64], time_s: Floats, breaks: tuple[int, ...]
) -> Floats:
    """A column for the level of each piece, and one for the slope."""
    levels = np.eye(len(breaks) + 1)[piece]
    return np.column_stack([levels, time_s - seconds.time_s.mean()])


def _solve(design: Floats, values: Floats, weight: Floats) -> Floats:
    root = np.sqrt(weight)
    return np.asarray(np.linalg.lstsq(design * root[:, None], values * root, rcond=None)[0])

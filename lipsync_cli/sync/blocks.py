"""Evidence of about ten seconds each, summed along a curve: enough to say something."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.sync.estimate import NEAR_MS, softmax
from lipsync_cli.sync.lag_path import Floats, Seconds

BLOCK_S = 10
# A stretch says something of its own with this probability near one lag.
CLEAR = 0.8

_WINDOW_MS = 100.0
# No block is known better than this, in ms: what a speaker's habits allow.
_SHARPEST_MS = 5.0


@dataclass(frozen=True)
class Blocks:
    """What blocks of seconds say, none of which a step divides.

    Attributes:
        time_s: [B], middle of the evidence.
        place_ms: [B], where the block sees the offset near the curve.
        weight: [B], inverse variance of that.
        piece: [B], piece of the curve it lies in.
    """

    time_s: Floats
    place_ms: Floats
    weight: Floats
    piece: NDArray[np.int64]


def summed(seconds: Seconds, curve_ms: Floats, breaks: tuple[int, ...]) -> Blocks:
    """Sum the evidence along a curve [S], and see how far from it each block is."""
    known = np.flatnonzero(seconds.informative)
    block, piece = _blocks(seconds, known, breaks)
    count = len(piece)
    raw = np.zeros((count, 2 * round(_WINDOW_MS / seconds.step_ms) + 1))
    np.add.at(raw, block, seconds.straightened(curve_ms, _WINDOW_MS)[known])
    weight = np.bincount(block, seconds.weight[known], count).astype(np.float64)
    posterior = _posterior(seconds, raw, weight)[:, :-1]
    posterior /= posterior.sum(1, keepdims=True)
    lag_ms = (np.arange(raw.shape[1]) - raw.shape[1] // 2) * seconds.step_ms
    place = posterior @ lag_ms
    spread = (posterior * (lag_ms - place[:, None]) ** 2).sum(1)
    share = seconds.weight[known] / weight[block]
    time_s, middle_ms = (
        np.bincount(block, values[known] * share, count).astype(np.float64)
        for values in (seconds.time_s, curve_ms)
    )
    return Blocks(time_s, middle_ms + place, 1 / (spread + _SHARPEST_MS**2), piece)


def block_count(seconds: Seconds, breaks: tuple[int, ...]) -> int:
    """How many blocks there are between steps at these seconds."""
    return len(_blocks(seconds, np.flatnonzero(seconds.informative), breaks)[1])


def share_astray(seconds: Seconds, curve_ms: Floats, breaks: tuple[int, ...]) -> float:
    """Share of the blocks with a clear answer of their own that is not near the curve."""
    known = np.flatnonzero(seconds.informative)
    block, piece = _blocks(seconds, known, breaks)
    raw = np.zeros((len(piece), seconds.raw.shape[1]))
    np.add.at(raw, block, seconds.raw[known])
    mass = clear_mass(seconds, raw, np.bincount(block, seconds.weight[known]).astype(np.float64))
    clear, peak_ms = mass.max(1) > CLEAR, seconds.grid_ms[mass.argmax(1)]
    middle_ms = np.bincount(block, curve_ms[known]) / np.bincount(block)
    off = np.abs(peak_ms - middle_ms) > 2 * NEAR_MS
    return float(off[clear].mean()) if clear.any() else 0.0


def clear_mass(seconds: Seconds, raw: Floats, weight: Floats) -> Floats:
    """Probability near every lag [B, K] by summed evidence."""
    posterior = _posterior(seconds, raw, weight)
    cells = round(NEAR_MS / seconds.step_ms)
    running = np.cumsum(np.pad(posterior[:, :-1], ((0, 0), (cells + 1, cells))), axis=1)
    return np.asarray(running[:, 2 * cells + 1 :] - running[:, : -2 * cells - 1], np.float64)


def pieces_of(seconds: Seconds, breaks: tuple[int, ...]) -> NDArray[np.int64]:
    """Number of the piece that each second belongs to: [S]."""
    return np.searchsorted(np.array(breaks, np.int64), np.arange(len(seconds.time_s)), "right")


def _blocks(
    seconds: Seconds, known: NDArray[np.int64], breaks: tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Block of each known second, and piece of each block."""
    piece = pieces_of(seconds, breaks)[known]
    since = known - np.array([0, *breaks])[piece]
    names, block = np.unique(piece * len(seconds.time_s) + since // BLOCK_S, return_inverse=True)
    return block, names // len(seconds.time_s)


def _posterior(seconds: Seconds, raw: Floats, weight: Floats) -> Floats:
    answers = seconds.logits(raw.astype(np.float32), weight.astype(np.float32))
    return softmax(answers).astype(np.float64)

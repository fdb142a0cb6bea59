"""From summed evidence to an offset, an interval and a probability, or to "cannot tell"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.sync.calibration import Calibration
from lipsync_cli.sync.evidence import LagEvidence, offsets_ms

NEAR_MS = 40.0  # one frame at 25 fps: what "right" means
RESAMPLES = 200
MIN_BINS = 4  # fewer cannot be resampled

Logits = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
"""Summed evidence [B, K] and weight [B] -> [B, K + 1]; the last column is "no offset"."""


@dataclass(frozen=True)
class Estimate:
    """One reading of evidence.

    Attributes:
        offset_ms: > 0 audio early.
        interval_ms: 95 % interval around it.
        probability: calibrated, that it is right within 40 ms.
        posterior: [K + 1], the last entry is "picture and sound do not belong together".
        mass: posterior within 40 ms of the offset.
        weight: pictures' worth of evidence.
        agreement: share of resampled programmes whose answer is within 40 ms of this one.
        resampled: whether there was enough to resample; otherwise agreement and error are
            what the posterior itself says.
        standard_error_ms: scatter of those answers.
        diagonal_ms: offset at the peak of the plain diagonal mean, None where unknown.
    """

    offset_ms: float
    interval_ms: tuple[float, float]
    probability: float
    posterior: NDArray[np.float32]
    diagonal_ms: float | None
    mass: float
    weight: float
    agreement: float
    resampled: bool
    standard_error_ms: float

    @property
    def none(self) -> float:
        """Posterior of "picture and sound do not belong together"."""
        return float(self.posterior[-1])


def estimate(evidence: LagEvidence, logits: Logits, calibration: Calibration) -> Estimate | None:
    """Read the sum of all bins; None where no picture could be compared with sound."""
    if len(evidence.start_s) == 0 or evidence.frames.sum() == 0:
        return None
    scores, weight = evidence.scores.sum(0), evidence.weight.sum()
    posterior = softmax(logits(scores[None], weight[None]))[0]
    grid = offsets_ms(evidence.reach)
    mass = mass_near(posterior[:-1], grid)
    peak = int(mass.argmax())
    offset = refined_ms(posterior[:-1], grid, peak)
    agreement, error = _resampled(evidence, logits, grid, offset)
    half = calibration.half_width_ms(error)
    resampled = len(evidence.start_s) >= MIN_BINS
    sure = float(mass[peak]), float(weight), agreement
    probability = calibration.probability(*sure, float(posterior[-1]), resampled)
    interval = (offset - half, offset + half)
    diagonal = diagonal_offset_ms(evidence)
    return Estimate(offset, interval, probability, posterior, diagonal, *sure, resampled, error)


def diagonal_offset_ms(evidence: LagEvidence) -> float | None:
    """Baseline: peak of the mean along each diagonal of the lag matrix, by parabola."""
    curve = evidence.diagonal()
    if not np.isfinite(curve).any():
        return None
    return peak_ms(np.where(np.isfinite(curve), curve, -2.0), offsets_ms(evidence.reach))


def peak_ms(curve: NDArray[np.floating], grid: NDArray[np.float64]) -> float:
    """Position of the maximum of `curve` over `grid`, refined by a parabola."""
    i = int(curve.argmax())
    if not 0 < i < len(curve) - 1:
        return float(grid[i])
    left, top, right = (float(curve[j]) for j in (i - 1, i, i + 1))
    bend = left - 2 * top + right
    shift = 0.0 if bend >= 0 else 0.5 * (left - right) / bend
    return float(grid[i] + np.clip(shift, -0.5, 0.5) * (grid[1] - grid[0]))


def mass_near(posterior: NDArray[np.float32], grid: NDArray[np.float64]) -> NDArray[np.float32]:
    """Probability within 40 ms of each candidate."""
    cells = round(NEAR_MS / (grid[1] - grid[0]))
    return np.convolve(posterior, np.ones(2 * cells + 1, np.float32), "same")


def refined_ms(posterior: NDArray[np.float32], grid: NDArray[np.float64], peak: int) -> float:
    """Mean of the posterior around its heaviest 80 ms."""
    near = np.abs(grid - grid[peak]) <= NEAR_MS
    weights = posterior[near].astype(np.float64) + 1e-12
    return float((grid[near] * weights).sum() / weights.sum())


def _resampled(
    evidence: LagEvidence, logits: Logits, grid: NDArray[np.float64], offset: float
) -> tuple[float, float]:
    """Agreement and scatter of the answers of programmes drawn from the same seconds."""
    bins = len(evidence.start_s)
    if bins >= MIN_BINS:
        rng = np.random.default_rng(0)
        times = rng.multinomial(bins, np.full(bins, 1 / bins), RESAMPLES).astype(np.float32)
    else:
        times = np.ones((1, bins), np.float32)
    posteriors = softmax(logits(times @ evidence.scores, times @ evidence.weight)[:, :-1])
    near = np.abs(grid - offset) <= 2 * NEAR_MS
    weights = posteriors[:, near] + 1e-12
    weights /= weights.sum(1, keepdims=True)
    if bins < MIN_BINS:
        # Too little to draw from: what the posterior itself says.
        same = np.abs(grid - offset) <= NEAR_MS
        spread = float(np.sqrt((weights[0] * (grid[near] - offset) ** 2).sum()))
        return float(posteriors[0, same].sum()), spread
    answers = grid[posteriors.argmax(1)]
    agreement = float((np.abs(answers - offset) <= NEAR_MS).mean())
    return agreement, float((weights * grid[near]).sum(1).std())


def softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits [..., K] to probabilities."""
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True), np.float32)

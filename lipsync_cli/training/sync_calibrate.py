"""Fits probabilities and intervals on speakers that no encoder was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from lipsync_cli.sync.calibration import Calibration, features
from lipsync_cli.sync.estimate import NEAR_MS, estimate
from lipsync_cli.sync.evidence import LagEvidence, LagEvidenceBins
from lipsync_cli.sync.model import SyncModel
from lipsync_cli.training.sync_cache import Clip
from lipsync_cli.training.sync_evaluate import ClipMatrix, clip_matrix

REACH = 150
LABEL_ERROR_MS = 20.0  # what two good models differ by on the same clip
LENGTHS_S = (0.6, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0)


@dataclass(frozen=True)
class Trial:
    """One uncalibrated estimate of a cut whose truth is known (NaN: sound of somebody else)."""

    mass: float
    weight: float
    agreement: float
    none: float
    error_ms: float
    standard_error_ms: float
    length_s: float

    def probability(self, calibration: Calibration) -> float:
        """What a calibration makes of it."""
        return calibration.probability(self.mass, self.weight, self.agreement)

    @property
    def right(self) -> bool:
        """Within one frame at 25 fps, as far as the label can tell; a stranger's sound never is."""
        return bool(abs(self.error_ms) <= NEAR_MS + LABEL_ERROR_MS)


def trials(
    model: SyncModel, clips: Sequence[Clip], *, seed: int = 0, strangers: float = 0.4
) -> list[Trial]:
    """Cuts of all lengths of each clip, with its own sound and with that of another person."""
    rng = np.random.default_rng(seed)
    found: list[Trial] = []
    for clip in clips:
        own = clip_matrix(model.eval(), clip, reach=REACH)
        found += _cuts(model, own, rng, clip.offset_ms)
        others = [c for c in clips if c.group != clip.group]
        if others and rng.random() < strangers:
            other = others[int(rng.integers(len(others)))]
            foreign = clip_matrix(model, clip, reach=REACH, sound_of=other)
            found += _cuts(model, foreign, rng, np.nan)
    return found


def _cuts(
    model: SyncModel, item: ClipMatrix | None, rng: np.random.Generator, own_ms: float
) -> Iterator[Trial]:
    if item is None:
        return
    span = item.pts_s[-1] - item.pts_s[0]
    for length in LENGTHS_S:
        if length > span:
            break
        for _ in range(min(4, 1 + int(span / length / 2))):
            start = item.pts_s[0] + rng.uniform(0, span - length)
            rows = (item.pts_s >= start) & (item.pts_s < start + length)
            trial = _trial(model, item, rows, own_ms, length)
            if trial is not None:
                yield trial


@torch.no_grad()
def cut_evidence(model: SyncModel, item: ClipMatrix, rows: NDArray[np.bool_]) -> LagEvidence:
    """Evidence of some pictures of a clip, binned as the product does."""
    index = torch.from_numpy(np.flatnonzero(rows))
    matrix, valid = item.matrix[index][None], item.valid[index][None]
    scores, weight = model.classifier(matrix, valid)
    bins = LagEvidenceBins(matrix.shape[2] // 2)
    arrays = (x[0].numpy() for x in (scores, weight, matrix, valid))
    bins.add(item.pts_s[rows], *arrays)
    return bins.result()


def logits_of(
    model: SyncModel, scores: NDArray[np.float32], weight: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The model's logits as the estimator wants them."""
    with torch.no_grad():
        answer = model.logits(torch.from_numpy(scores), torch.from_numpy(np.asarray(weight)))
    return np.asarray(answer.numpy(), np.float32)


def _trial(
    model: SyncModel, item: ClipMatrix, rows: NDArray[np.bool_], own_ms: float, length_s: float
) -> Trial | None:
    evidence = cut_evidence(model, item, rows)
    found = estimate(evidence, lambda s, w: logits_of(model, s, w), Calibration())
    if found is None:
        return None
    error = float(found.offset_ms - own_ms) if np.isfinite(own_ms) else np.inf
    none, scatter = float(found.posterior[-1]), found.standard_error_ms
    return Trial(found.mass, found.weight, found.agreement, none, error, scatter, length_s)


def fit(found: Sequence[Trial]) -> dict[str, float]:
    """Calibration constants: logistic regression, then a 95 % interval of the sure answers."""
    x = np.array([features(t.mass, t.weight, t.agreement) for t in found])
    y = np.array([t.right for t in found], float)
    w = _logistic(x, y)
    p = 1 / (1 + np.exp(-(x @ w)))
    sure = [t for t, q in zip(found, p, strict=True) if q >= 0.9 and t.right]
    spread, floor = _interval(sure)
    bias, slope, length, agreement = w.tolist()
    return asdict(Calibration(bias, slope, length, agreement, spread, floor))


def reliability(found: Sequence[Trial], calibration: Calibration) -> list[dict[str, float]]:
    """Stated probability against the share that was right, in bins; and interval coverage."""
    p = np.array([t.probability(calibration) for t in found])
    right = np.array([t.right for t in found])
    edges = (0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.001)
    rows = []
    for low, high in pairwise(edges):
        inside = (p >= low) & (p < high)
        if inside.any():
            stated, true = float(p[inside].mean()), float(right[inside].mean())
            rows.append({"from": low, "n": float(inside.sum()), "stated": stated, "right": true})
    return rows


def coverage(found: Sequence[Trial], calibration: Calibration, at_least: float = 0.9) -> float:
    """Share of sure answers whose 95 % interval holds the truth."""
    sure = [t for t in found if t.probability(calibration) >= at_least]
    held = [abs(t.error_ms) <= calibration.half_width_ms(t.standard_error_ms) for t in sure]
    return float(np.mean(held)) if held else float("nan")


def _logistic(
    x: NDArray[np.float64], y: NDArray[np.float64], ridge: float = 1e-3
) -> NDArray[np.float64]:
    """Newton's method."""
    w = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-(x @ w)))
        gradient = x.T @ (y - p) - ridge * w
        hessian = (x * (p * (1 - p))[:, None]).T @ x + ridge * np.eye(len(w))
        w += np.linalg.solve(hessian, gradient)
    return w


def _interval(sure: Sequence[Trial]) -> tuple[float, float]:
    """Spread and floor with 95 % of the errors inside, by the best likelihood."""
    errors = np.array([t.error_ms for t in sure])
    spans = np.array([t.standard_error_ms for t in sure])
    best = (np.inf, 1.0, 8.0)
    for spread in np.linspace(0.3, 3.0, 28):
        for floor in np.linspace(1.0, 20.0, 39):
            sigma = np.hypot(spread * spans, floor)
            loss = float(np.mean(np.log(sigma) + 0.5 * (errors / sigma) ** 2))
            best = min(best, (loss, float(spread), float(floor)))
    _, spread, floor = best
    widen = float(np.quantile(np.abs(errors) / np.hypot(spread * spans, floor), 0.95)) / 1.96
    return spread * widen, floor * widen


def sure_about_strangers(
    found: Sequence[Trial], calibration: Calibration, at_least: float = 0.9
) -> float:
    """Share of cuts with somebody else's sound that got a sure answer."""
    foreign = [t for t in found if not np.isfinite(t.error_ms)]
    sure = [t.probability(calibration) >= at_least and t.none < 0.5 for t in foreign]
    return float(np.mean(sure)) if sure else float("nan")

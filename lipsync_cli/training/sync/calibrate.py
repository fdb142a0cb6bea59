"""Fits probabilities and intervals on speakers that no encoder was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from lipsync_cli.sync.calibration import FACTORS, Calibration, features
from lipsync_cli.sync.estimate import NEAR_MS, estimate
from lipsync_cli.sync.evidence import LagEvidence, LagEvidenceBins
from lipsync_cli.training.sync.cache import Clip
from lipsync_cli.training.sync.evaluate import Compared, Network, Seen, compare, hear_clip

Floats = NDArray[np.float64]

REACH = 150
LABEL_ERROR_MS = 20.0  # what two good models differ by on the same clip
LENGTHS_S = (0.6, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0)
MOST_CUTS = 5  # of one length from one clip
SURE = 0.9


@dataclass(frozen=True)
class Trial:
    """One uncalibrated estimate of a cut whose truth is known (inf: sound of somebody else).

    Attributes:
        whole: whether it is the clip itself, uncut.
        mass, weight, agreement, none, resampled: what `Calibration.probability` looks at.
        offset_ms: the answer; `error_ms` is its distance from the truth.
    """

    file: str
    speaker: str
    length_s: float
    whole: bool
    mass: float
    weight: float
    agreement: float
    none: float
    resampled: bool
    offset_ms: float
    error_ms: float
    standard_error_ms: float

    def probability(self, calibration: Calibration) -> float:
        """What a calibration makes of it."""
        sure = self.mass, self.weight, self.agreement, self.none, self.resampled
        return calibration.probability(*sure)

    def sure(self, calibration: Calibration, at_least: float = SURE) -> bool:
        """Whether the product would give this answer."""
        return self.none < 0.5 and self.probability(calibration) >= at_least

    @property
    def stranger(self) -> bool:
        """Whether the sound is somebody else's."""
        return not np.isfinite(self.error_ms)

    @property
    def right(self) -> bool:
        """Within one frame at 25 fps, as far as the label can tell; a stranger's sound never is."""
        return bool(abs(self.error_ms) <= NEAR_MS + LABEL_ERROR_MS)


def trials(
    model: Network, people: Sequence[Seen], *, seed: int = 0, strangers: float = 1.0
) -> list[Trial]:
    """Cuts of all lengths of each clip, with its own sound and with other people's.

    Args:
        strangers: other people per clip; what lies above a whole number is a chance.
    """
    rng = np.random.default_rng(seed)
    found: list[Trial] = []
    for seen in people:
        found += _cuts(model, seen, seen.clip, rng, seen.clip.offset_ms)
        others = [s.clip for s in people if s.clip.group != seen.clip.group]
        count = int(strangers + rng.random())
        for i in rng.permutation(len(others))[:count].tolist():
            found += _cuts(model, seen, others[i], rng, np.inf)
    return found


def _cuts(
    model: Network, seen: Seen, sound_of: Clip, rng: np.random.Generator, own_ms: float
) -> Iterator[Trial]:
    """Cuts of the evidence of a whole clip, which is what the product sums up too."""
    heard = hear_clip(model, sound_of, seen.clip)
    if heard is None:
        return
    whole = compare(model, seen, heard, slice(None), REACH)
    first_s, span = seen.pts_s[0], float(seen.pts_s[-1] - seen.pts_s[0])
    cuts = [(first_s, span + 1.0)]
    for length in LENGTHS_S:
        count = min(MOST_CUTS, 1 + int(span / length)) if length <= span else 0
        cuts += [(first_s + rng.uniform(0, span - length), length) for _ in range(count)]
    for start, length in cuts:
        rows = (seen.pts_s >= start) & (seen.pts_s < start + length)
        trial = _trial(model, seen.clip, whole, rows, own_ms, min(length, span))
        if trial is not None:
            yield replace(trial, whole=length > span)


def cut_evidence(whole: Compared, rows: NDArray[np.bool_]) -> LagEvidence:
    """Evidence of some pictures of a clip, binned as the product does."""
    bins = LagEvidenceBins(whole.matrix.shape[1] // 2)
    parts = (whole.evidence, whole.weight, whole.matrix, whole.valid)
    bins.add(whole.pts_s[rows], *(x.numpy()[rows] for x in parts))
    return bins.result()


def logits_of(
    model: Network, scores: NDArray[np.float32], weight: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The model's logits as the estimator wants them."""
    with torch.no_grad():
        inputs = (torch.from_numpy(np.asarray(x, np.float32)) for x in (scores, weight))
        return np.asarray(model.logits(*inputs).numpy(), np.float32)


def _trial(
    model: Network,
    clip: Clip,
    whole: Compared,
    rows: NDArray[np.bool_],
    own_ms: float,
    length_s: float,
) -> Trial | None:
    evidence = cut_evidence(whole, rows)
    found = estimate(evidence, lambda s, w: logits_of(model, s, w), Calibration())
    if found is None:
        return None
    error = found.offset_ms - own_ms if np.isfinite(own_ms) else np.inf
    sure = found.mass, found.weight, found.agreement, found.none, found.resampled
    scatter = found.standard_error_ms
    return Trial(
        clip.file, clip.group, length_s, False, *sure, found.offset_ms, float(error), scatter
    )


def fit(found: Sequence[Trial]) -> dict[str, float]:
    """Calibration constants: logistic regression, then a 95 % interval of the sure answers."""
    x = np.array([features(t.mass, t.weight, t.agreement, t.none, t.resampled) for t in found])
    y = np.array([t.right for t in found], float)
    constants = dict(zip(FACTORS, logistic(x, y, even_odds(found)).tolist(), strict=True))
    draft = Calibration(**constants)
    sure = [t for t in found if t.right and t.probability(draft) >= SURE]
    spread, floor = _interval(sure)
    return asdict(Calibration(**{**constants, "spread": spread, "floor_ms": floor}))


def even_odds(found: Sequence[Trial]) -> Floats:
    """Weights with which own and strangers' sound count alike, whatever their numbers."""
    stranger = np.array([t.stranger for t in found])
    share = stranger.mean()
    if share in (0, 1):
        return np.ones(len(found))
    return np.asarray(np.where(stranger, 0.5 / share, 0.5 / (1 - share)), np.float64)


def coverage(found: Sequence[Trial], calibration: Calibration, at_least: float = SURE) -> float:
    """Share of sure answers whose 95 % interval holds the truth."""
    sure = [t for t in found if t.probability(calibration) >= at_least]
    held = [abs(t.error_ms) <= calibration.half_width_ms(t.standard_error_ms) for t in sure]
    return float(np.mean(held)) if held else float("nan")


def logistic(x: Floats, y: Floats, weight: Floats, ridge: float = 1.0) -> Floats:
    """Logistic regression of y [N] on x [N, F] by Newton's method: [F].

    Args:
        weight: [N], how much each row counts.
        ridge: pulls factors to 0 that so few people say little about.
    """
    w = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-(x @ w)))
        gradient = x.T @ (weight * (y - p)) - ridge * w
        hessian = (x * (weight * p * (1 - p))[:, None]).T @ x + ridge * np.eye(len(w))
        w += np.linalg.solve(hessian, gradient)
    return w


def _interval(sure: Sequence[Trial]) -> tuple[float, float]:
    """Spread and floor with 95 % of the errors inside, by the best likelihood.

    Labels are wrong by clip, so each clip counts alike, however many cuts there are of it.
    """
    _, clip = np.unique([t.file for t in sure], return_inverse=True)
    weight = 1 / np.bincount(clip)[clip]
    errors = np.array([t.error_ms for t in sure])
    spans = np.array([t.standard_error_ms for t in sure])
    best = (np.inf, 1.0, 8.0)
    for spread in np.linspace(0.3, 3.0, 28):
        for floor in np.linspace(1.0, 20.0, 39):
            sigma = np.hypot(spread * spans, floor)
            loss = np.average(np.log(sigma) + 0.5 * (errors / sigma) ** 2, weights=weight)
            best = min(best, (float(loss), float(spread), float(floor)))
    _, spread, floor = best
    widen = _quantile(np.abs(errors) / np.hypot(spread * spans, floor), weight, 0.95) / 1.96
    return spread * widen, floor * widen


def _quantile(values: Floats, weight: Floats, share: float) -> float:
    order = np.argsort(values)
    below = np.cumsum(weight[order]) / weight.sum()
    return float(values[order][np.searchsorted(below, share).clip(max=len(values) - 1)])

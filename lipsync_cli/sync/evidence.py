"""Evidence for each candidate offset, summed per second of programme."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.sync.lag_matrix import STEP_S

Floats = NDArray[np.float32]

BIN_S = 1.0


def offsets_ms(reach: int) -> NDArray[np.float64]:
    """The candidate offsets, ascending; > 0 audio early: [2 * reach + 1]."""
    return np.arange(-reach, reach + 1, dtype=np.float64) * (STEP_S * 1000)


@dataclass(frozen=True)
class LagEvidence:
    """Sums over one or more bins.

    Attributes:
        start_s: float64 [N], time at which each bin starts.
        scores: [N, K], classifier evidence; sums over bins add up.
        weight: [N], pictures' worth of evidence in each bin.
        cosine, valid: [N, K], sum of the lag matrix and number of its valid cells.
        frames: [N], pictures compared with sound.
    """

    start_s: NDArray[np.float64]
    scores: Floats
    weight: Floats
    cosine: Floats
    valid: Floats
    frames: Floats

    @property
    def reach(self) -> int:
        """Candidates on either side of 0."""
        return int(self.scores.shape[1]) // 2

    def between(self, start_s: float, end_s: float) -> LagEvidence:
        """The bins that start in [start_s, end_s)."""
        return self.take((self.start_s >= start_s) & (self.start_s < end_s))

    def take(self, index: NDArray[np.bool_] | NDArray[np.int64]) -> LagEvidence:
        """A choice of bins; one may be taken several times."""
        return LagEvidence(
            self.start_s[index],
            self.scores[index],
            self.weight[index],
            self.cosine[index],
            self.valid[index],
            self.frames[index],
        )

    def diagonal(self) -> Floats:
        """Mean of the lag matrix along each diagonal, NaN where fewer than half are known: [K]."""
        total = self.valid.sum(0)
        enough = total >= max(1.0, 0.5 * float(self.frames.sum()))
        mean = self.cosine.sum(0) / np.maximum(total, 1)
        return np.where(enough, mean, np.nan).astype(np.float32)


def merged(parts: list[LagEvidence]) -> LagEvidence:
    """Bins of several tracks or stretches as one list, in order of time."""
    if len(parts) == 1:
        return parts[0]
    order = np.argsort(np.concatenate([p.start_s for p in parts]), kind="stable")
    names = ("start_s", "scores", "weight", "cosine", "valid", "frames")
    return LagEvidence(*(np.concatenate([getattr(p, n) for p in parts])[order] for n in names))


@dataclass
class LagEvidenceBins:
    """Collects evidence of one track, bin by bin, in memory that grows by 4 kB a second."""

    reach: int
    bins: dict[int, list[Floats]] = field(default_factory=dict)

    def add(
        self,
        pts_s: NDArray[np.float64],
        scores: Floats,
        weight: Floats,
        matrix: Floats,
        valid: NDArray[np.bool_],
    ) -> None:
        """Add pictures at `pts_s` [T]; scores, matrix and valid are [T, K], weight is [T]."""
        number = np.floor(pts_s / BIN_S).astype(int)
        for n in np.unique(number):
            rows = number == n
            known = valid[rows].any(1).sum()
            sums = [
                scores[rows].sum(0),
                weight[rows].sum(keepdims=True),
                matrix[rows].sum(0),
                valid[rows].sum(0).astype(np.float32),
                np.array([known], np.float32),
            ]
            held = self.bins.get(int(n))
            self.bins[int(n)] = (
                sums if held is None else [a + b for a, b in zip(held, sums, strict=True)]
            )

    def result(self) -> LagEvidence:
        """Everything collected so far."""
        numbers = sorted(self.bins)
        width = 2 * self.reach + 1
        rows = [self.bins[n] for n in numbers]

        def column(i: int, shape: tuple[int, ...]) -> Floats:
            return np.array([r[i] for r in rows], np.float32).reshape(shape)

        n = len(rows)
        return LagEvidence(
            np.array(numbers, np.float64) * BIN_S,
            column(0, (n, width)),
            column(1, (n,)),
            column(2, (n, width)),
            column(3, (n, width)),
            column(4, (n,)),
        )

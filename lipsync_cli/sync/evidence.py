"""Evidence for each candidate offset, summed per second of programme."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

STEP_S = 0.01  # from one candidate offset to the next
BIN_S = 1.0
# A step is placed to a part of a bin: less than what an embedding sees at once says nothing.
PARTS = 5


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
        cosine: float16 [N, K], sum of the lag matrix; only the baseline and pictures need it.
        valid: uint8 [N, K], number of its valid cells.
        frames: [N], pictures compared with sound.
        parts: float16 [N, P, K], the scores of equal parts of each bin; P is `PARTS`, or 0
            where they are not known.
    """

    start_s: NDArray[np.float64]
    scores: Floats
    weight: Floats
    cosine: NDArray[np.float16]
    valid: NDArray[np.uint8]
    frames: Floats
    parts: NDArray[np.float16]

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
            self.parts[index],
        )

    def diagonal(self) -> Floats:
        """Mean of the lag matrix along each diagonal, NaN where fewer than half are known: [K]."""
        total = self.valid.sum(0, dtype=np.int64)
        enough = total >= max(1.0, 0.5 * float(self.frames.sum()))
        mean = self.cosine.sum(0, dtype=np.float64) / np.maximum(total, 1)
        return np.where(enough, mean, np.nan).astype(np.float32)


def merged(parts: list[LagEvidence]) -> LagEvidence:
    """Bins of several tracks or stretches as one list, in order of time."""
    if len(parts) == 1:
        return parts[0]
    order = np.argsort(np.concatenate([p.start_s for p in parts]), kind="stable")
    names = [f.name for f in fields(LagEvidence)]
    return LagEvidence(*(np.concatenate([getattr(p, n) for p in parts])[order] for n in names))


@dataclass
class _Bin:
    """Sums over the pictures of one second."""

    scores: Floats
    weight: float
    cosine: Floats | NDArray[np.float16]
    valid: NDArray[np.uint8]
    frames: int
    parts: Floats | NDArray[np.float16]

    def add(self, later: _Bin) -> None:
        self.scores = self.scores + later.scores
        self.weight += later.weight
        self.cosine = self.cosine.astype(np.float32) + later.cosine
        self.valid = self.valid + later.valid
        self.frames += later.frames
        self.parts = self.parts.astype(np.float32) + later.parts

    def pack(self) -> None:
        """Halve what only the baseline, pictures and the places of steps need."""
        self.cosine = self.cosine.astype(np.float16)
        self.parts = self.parts.astype(np.float16)


@dataclass
class LagEvidenceBins:
    """Collects evidence of one track, bin by bin, in memory that grows by 5 kB a second."""

    reach: int
    bins: dict[int, _Bin] = field(default_factory=dict)

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
        for n in np.unique(number).tolist():
            rows = number == n
            new = _Bin(
                scores[rows].sum(0),
                float(weight[rows].sum()),
                matrix[rows].sum(0),
                valid[rows].sum(0, dtype=np.uint8),
                int(valid[rows].any(1).sum()),
                _in_parts(pts_s[rows] / BIN_S - n, scores[rows]),
            )
            if n in self.bins:
                self.bins[n].add(new)
                continue
            self._pack_last()
            self.bins[n] = new

    def result(self) -> LagEvidence:
        """Everything collected so far."""
        width = 2 * self.reach + 1
        rows = [self.bins[n] for n in sorted(self.bins)]
        shape = (len(rows), width)
        return LagEvidence(
            np.array(sorted(self.bins), np.float64) * BIN_S,
            np.array([r.scores for r in rows], np.float32).reshape(shape),
            np.array([r.weight for r in rows], np.float32),
            np.array([r.cosine for r in rows], np.float16).reshape(shape),
            np.array([r.valid for r in rows], np.uint8).reshape(shape),
            np.array([r.frames for r in rows], np.float32),
            np.array([r.parts for r in rows], np.float16).reshape(len(rows), PARTS, width),
        )

    def _pack_last(self) -> None:
        # Pictures come in order of time: what lies before a new second is complete.
        if self.bins:
            self.bins[next(reversed(self.bins))].pack()


def _in_parts(place: NDArray[np.float64], scores: Floats) -> Floats:
    """Sums [PARTS, K] of scores [T, K] by their places [T] in a bin, 0 to 1."""
    sums = np.zeros((PARTS, scores.shape[1]), np.float32)
    np.add.at(sums, np.clip((place * PARTS).astype(int), 0, PARTS - 1), scores)
    return sums

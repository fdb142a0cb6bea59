"""From embeddings to LSE-D, LSE-C and the offset in frames, as SyncNet's reference computes them.

The reference compares every window of the picture with the windows of the sound from `vshift`
frames before it to `vshift` after, and takes the mean over the clip for each shift. LSE-D is
the least of the means; LSE-C is how far it lies below their median (Prajwal et al., "A lip
sync expert is all you need", 2020).

Where the clip ends the reference compares with zeros. A zero vector is nearer to a picture
than an unrelated sound is, so the largest shifts win in clips that are short or out of sync;
leaving those comparisons out removes the bias.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.scoring.syncnet import DIM

# What torch's pairwise_distance adds to every difference.
_EPS = np.float32(1e-6)

Embeddings = NDArray[np.float32]


class Lse(NamedTuple):
    """The figures of a clip.

    Attributes:
        av_offset: frames at 25 a second; > 0 audio early.
        lse_d: distance at the best shift; lower is better.
        lse_c: confidence, the median of the distances less the best; higher is better.
    """

    av_offset: int
    lse_d: float
    lse_c: float


class ShiftDistances:
    """Mean distance at each shift of the sound, in memory that does not grow with the clip.

    Push the embeddings of the same windows of picture and sound, in order, and close.
    """

    def __init__(self, vshift: int = 15) -> None:
        self._vshift = vshift
        self._lips = np.zeros((0, DIM), np.float32)
        # The sound around the first of `_lips`, and which of it is sound and not padding.
        self._sound = np.zeros((vshift, DIM), np.float32)
        self._known = np.zeros(vshift, bool)
        shifts = 2 * vshift + 1
        self._sums = np.zeros((2, shifts))  # of all comparisons, and of those with sound
        self._counts = np.zeros((2, shifts), np.int64)

    def push(self, lips: Embeddings, sound: Embeddings) -> None:
        """Take the next windows, both [n, 1024]."""
        self._lips = np.concatenate([self._lips, lips])
        self._take(sound, known=True)

    def close(self) -> None:
        """Compare the last windows with what lies beyond the end."""
        self._take(np.zeros((self._vshift, DIM), np.float32), known=False)

    def reading(self, *, valid_overlap: bool = False) -> Lse | None:
        """Read the figures; None where there was nothing to compare.

        Args:
            valid_overlap: leave out comparisons with what lies beyond the ends.
        """
        sums, counts = self._sums[int(valid_overlap)], self._counts[int(valid_overlap)]
        if not counts.any():
            return None
        means = np.divide(sums, counts, out=np.full(len(sums), np.inf), where=counts > 0)
        best = int(means.argmin())
        ordered = np.sort(means[counts > 0])
        # Of an even number torch.median takes the lower of the two in the middle.
        median = ordered[(len(ordered) - 1) // 2]
        return Lse(self._vshift - best, float(means[best]), float(median - means[best]))

    def _take(self, sound: Embeddings, *, known: bool) -> None:
        self._sound = np.concatenate([self._sound, sound])
        self._known = np.concatenate([self._known, np.full(len(sound), known)])
        ready = min(len(self._lips), len(self._sound) - 2 * self._vshift)
        if ready > 0:
            self._compare(ready)
            self._lips = self._lips[ready:]
            self._sound, self._known = self._sound[ready:], self._known[ready:]

    def _compare(self, count: int) -> None:
        shifts = self._sums.shape[1]
        for shift in range(shifts):
            difference = self._lips[:count] - self._sound[shift : shift + count] + _EPS
            distance = np.linalg.norm(difference, axis=1).astype(np.float64)  # [count]
            known = self._known[shift : shift + count]
            self._sums[:, shift] += distance.sum(), distance[known].sum()
            self._counts[:, shift] += count, known.sum()

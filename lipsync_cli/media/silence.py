"""Where a programme is quiet: the place for a cut in its sound."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lipsync_cli.media.audio import SAMPLE_RATE, AudioBlock
from lipsync_cli.media.reader import read

HOP_S = 0.01
# Quieter than this, one silence is as good as another.
_SILENT_DB = -60.0
# A cut so far from where it belongs is as bad as one in a sound so much louder; all the time
# in between is out of sync. Inside the span where it may belong, that is only likely. Words
# are 20 to 40 dB louder than the pauses between them.
_DB_PER_S, _DB_PER_S_INSIDE, _FURTHEST_S = 80.0, 25.0, 0.3


@dataclass(frozen=True)
class Loudness:
    """Power of the sound every 10 ms.

    Attributes:
        start_s: time at which the first hop begins.
        power: [n], mean square at full scale 1.
    """

    start_s: float
    power: npt.NDArray[np.float64]

    def quietest_s(self, centre_s: float, span_s: tuple[float, float], width_s: float) -> float:
        """Middle of the quietest stretch of a width, near a time and inside a span.

        Args:
            centre_s: where it should be.
            span_s: times between which it may belong; a little beyond them, the distance is
                held against a place even more.
        """
        hops = max(1, round(width_s / HOP_S))
        if len(self.power) < hops:
            return centre_s
        running = np.concatenate([[0.0], np.cumsum(self.power)])
        mean = (running[hops:] - running[:-hops]) / hops
        level_db = np.maximum(10 * np.log10(mean + 1e-12), _SILENT_DB)
        middle_s = self.start_s + (np.arange(len(mean)) + hops / 2) * HOP_S
        low_s, high_s = span_s
        beyond_s = np.maximum(0, np.maximum(low_s - middle_s, middle_s - high_s))
        away_s = np.abs(middle_s - centre_s) - beyond_s
        cost = level_db + _DB_PER_S * beyond_s + _DB_PER_S_INSIDE * np.maximum(away_s, 0)
        cost[beyond_s > _FURTHEST_S] = np.inf
        best = int(cost.argmin())
        return float(middle_s[best]) if np.isfinite(cost[best]) else centre_s


def loudness(path: str | Path, audio_track: int = 0) -> Loudness:
    """Read the loudness of a whole track; memory grows by 800 bytes a second.

    Raises:
        As `reader.read`.
    """
    hop = round(HOP_S * SAMPLE_RATE)
    start_s: float | None = None
    left = np.zeros(0, np.float32)
    parts: list[npt.NDArray[np.float64]] = []
    for block in read(path, audio_track=audio_track, video=False):
        assert isinstance(block, AudioBlock)
        start_s = block.t0_s if start_s is None else start_s
        samples = np.concatenate([left, block.samples])
        count = len(samples) // hop
        squares = samples[: count * hop].astype(np.float64).reshape(count, hop) ** 2
        parts.append(squares.mean(axis=1))
        left = samples[count * hop :]
    power = np.concatenate(parts) if parts else np.zeros(0)
    return Loudness(start_s or 0.0, power)

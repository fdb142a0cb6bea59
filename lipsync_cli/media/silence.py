"""Where a programme is quiet: the place for a cut in its sound."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lipsync_cli.media.audio import SAMPLE_RATE, AudioBlock
from lipsync_cli.media.reader import read

Floats = npt.NDArray[np.float64]

HOP_S = 0.01
# Quieter than this, one silence is as good as another.
_SILENT_DB = -60.0
# Sound within this of the loud parts of the same stretch counts as spoken.
_SPOKEN_DB, _LOUD_PERCENTILE, _STRETCH_S = 25.0, 95.0, 20.0
# A second of speech out of sync is as bad as a cut in a sound so much louder; a second of
# silence hardly counts. Words are 20 to 40 dB louder than the pauses between them.
_DB_PER_SPOKEN_S, _DB_PER_S = 100.0, 2.0
# The span within which a cut may belong is as wide as so many standard deviations.
_SPAN_DEVIATIONS, _LEAST_DEVIATION_S, _FURTHEST_S = 7.0, 0.05, 0.3


@dataclass(frozen=True)
class Loudness:
    """Power of the sound every 10 ms.

    Attributes:
        start_s: time at which the first hop begins.
        power: [n], mean square at full scale 1.
    """

    start_s: float
    power: Floats

    @cached_property
    def spoken(self) -> npt.NDArray[np.bool_]:
        """Hops as loud as speech, by the standard of the 20 s that they lie in: [n]."""
        count = max(1, round(len(self.power) * HOP_S / _STRETCH_S))
        stretches = [part for part in np.array_split(self.power, count) if len(part)]
        share = 10 ** (-_SPOKEN_DB / 10)
        loud = [part > share * np.percentile(part, _LOUD_PERCENTILE) for part in stretches]
        return np.concatenate([*loud, np.zeros(0, np.bool_)])

    def is_spoken(self, time_s: Floats) -> npt.NDArray[np.bool_]:
        """Whether there is speech at sound times [n]; none where there is no sound."""
        hop = np.floor((time_s - self.start_s) / HOP_S).astype(int)
        inside = (hop >= 0) & (hop < len(self.power))
        spoken = np.zeros(len(hop), np.bool_)
        spoken[inside] = self.spoken[hop[inside]]
        return spoken

    def joint_s(self, likely_s: float, span_s: tuple[float, float], width_s: float) -> float:
        """Where to cut: in a quiet stretch, with as little speech as possible out of sync.

        Between the cut and the unknown time where it belongs, all sound is out of sync; in a
        pause nobody hears that.

        Args:
            likely_s: where it most likely belongs.
            span_s: times between which it may belong.
            width_s: of the stretch that is left out or repeated.
        """
        hops = max(1, round(width_s / HOP_S))
        first, end = (
            int(np.clip((edge_s - self.start_s) / HOP_S - hops / 2, 0, len(self.power)))
            for edge_s in (span_s[0] - _FURTHEST_S, span_s[1] + _FURTHEST_S)
        )
        places = np.arange(first, min(end + 1, len(self.power) - hops + 1))
        if not len(places):
            return likely_s
        middle_s = self.start_s + (places.astype(np.float64) + hops / 2) * HOP_S
        running = np.concatenate([[0.0], np.cumsum(self.power)])
        mean = (running[places + hops] - running[places]) / hops
        cost = np.maximum(10 * np.log10(mean + 1e-12), _SILENT_DB)
        cost += _DB_PER_SPOKEN_S * self._speech_between(middle_s, likely_s, span_s)
        cost += _DB_PER_S * np.abs(middle_s - likely_s)
        return float(middle_s[cost.argmin()])

    def _speech_between(
        self, middle_s: Floats, likely_s: float, span_s: tuple[float, float]
    ) -> Floats:
        """Expected seconds of speech between each time [n] and the one that is not known."""
        hop = np.clip(((middle_s - self.start_s) / HOP_S).astype(int), 0, len(self.power) - 1)
        speech_s = HOP_S * np.cumsum(self.spoken[hop[0] : hop[-1] + 1])[hop - hop[0]]
        deviation_s = max(_LEAST_DEVIATION_S, (span_s[1] - span_s[0]) / _SPAN_DEVIATIONS)
        likely = np.exp(-0.5 * ((middle_s - likely_s) / deviation_s) ** 2) + 1e-12
        likely /= likely.sum()
        # Speech only grows with time: the mean distance needs sums alone.
        before, spoken_before = np.cumsum(likely), np.cumsum(likely * speech_s)
        return np.asarray(speech_s * (2 * before - 1) - 2 * spoken_before + spoken_before[-1])


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

"""When an offset stepped: the likelihood of each moment, by parts of a second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.sync.evidence import BIN_S, LagEvidence
from lipsync_cli.sync.lag_path import Floats, Seconds, around
from lipsync_cli.sync.line_model import PEAK_MS, LineModel, break_gains, worth

# Moments that are less likely than the best by this much, as a logarithm, are out.
_UNLIKELY = 3.0
# The mean leans to the side on which more moments lie that are barely likely; a sharpened one
# stays near the best. (Held-out training people: 0.5 s kept by 93 % of the steps, before 89 %.)
_SHARPNESS = 3.0


@dataclass(frozen=True)
class Moments:
    """Moments at which a step may have happened.

    Attributes:
        time_s: [n], ascending; gain: [n], logarithm of the likelihood.
        early_s, late_s: [n], between these lies what each moment stands for.
    """

    time_s: Floats
    gain: Floats
    early_s: Floats
    late_s: Floats

    @property
    def expected_s(self) -> float:
        """Mean of the moments near the likeliest."""
        weight = np.exp(_SHARPNESS * (self.gain - self.gain.max()))
        return float((self.time_s * weight).sum() / weight.sum())

    @property
    def span_s(self) -> tuple[float, float]:
        """Between the first and the last moment that is not unlikely."""
        likely = np.flatnonzero(self.gain > self.gain.max() - _UNLIKELY)
        return float(self.early_s[likely[0]]), float(self.late_s[likely[-1]])


def step_moments(seconds: Seconds, evidence: LagEvidence, model: LineModel, k: int) -> Moments:
    """Likelihood of the moments at which step k may have happened."""
    places, gains = break_gains(seconds, model, k)
    if not evidence.parts.shape[1]:
        return _by_seconds(seconds, places, gains)
    # What lies behind a neighbouring step is of no use.
    low = model.breaks[k - 1] + 1 if k else 0
    high = model.breaks[k + 1] - 1 if k + 1 < len(model.breaks) else len(seconds.time_s)
    first, end = max(low, int(places[0])), min(high, int(places[-1]) + 1)
    gain = _part_gains(seconds, evidence, model, k, first, end)
    gain = np.concatenate([[0.0], np.cumsum(gain)])
    part_s = BIN_S / evidence.parts.shape[1]
    time_s = seconds.time_s[first] - BIN_S / 2 + part_s * np.arange(len(gain))
    return Moments(time_s, gain, time_s - part_s / 2, time_s + part_s / 2)


def _by_seconds(seconds: Seconds, places: NDArray[np.int64], gains: Floats) -> Moments:
    """A new level begins somewhere between the second before a place and the place itself."""
    before = np.concatenate([places[:1] - 1, places[:-1]])
    early_s, late_s = seconds.time_s[before], seconds.time_s[places]
    return Moments((early_s + late_s) / 2, gains, early_s, late_s)


def _part_gains(
    seconds: Seconds, evidence: LagEvidence, model: LineModel, k: int, first: int, end: int
) -> Floats:
    """Log-likelihood by which each part of some seconds is rather of the old level than new."""
    found = evidence.between(seconds.time_s[first] - BIN_S / 2, seconds.time_s[end - 1])
    count = found.parts.shape[1]
    time_s = (found.start_s[:, None] + BIN_S * (np.arange(count) + 0.5) / count).ravel()
    line = model.slope * (time_s - seconds.time_s.mean())
    values = found.parts.reshape(len(time_s), -1).astype(np.float32)
    cells = round(PEAK_MS / seconds.step_ms)
    old, new = (
        around(values, seconds.grid_ms, line + model.levels_ms[k + i], cells).mean(1)
        for i in (0, 1)
    )
    number = np.floor((time_s - seconds.time_s[first]) / BIN_S + 0.5).astype(int)
    part = number * count + np.tile(np.arange(count), len(found.start_s))
    gain = np.bincount(part, old - new, (end - first) * count)
    counted = np.repeat(seconds.informative[first:end], count)
    return np.asarray(worth(seconds, model) * gain * counted)

"""From the model's own figures to probabilities and intervals that hold on other people."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Calibration:
    """Fitted on speakers that no encoder was trained on (training/sync_calibrate.py).

    Attributes:
        bias, slope, length, agreement: logistic regression of "right within 40 ms" on the
            logit of the posterior mass, the logarithm of the weight it rests on, and the
            logit of the share of resampled programmes with the same answer.
        spread: factor on the estimated standard error.
        floor_ms: standard error that no amount of material removes.
    """

    bias: float = 0.0
    slope: float = 1.0
    length: float = 0.0
    agreement: float = 0.0
    spread: float = 1.0
    floor_ms: float = 8.0

    def probability(self, mass: float, weight: float, agreement: float) -> float:
        """Calibrated probability that an estimate is right within 40 ms."""
        x = features(mass, weight, agreement)
        factors = (self.bias, self.slope, self.length, self.agreement)
        z = sum(a * b for a, b in zip(factors, x, strict=True))
        return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, z))))

    def half_width_ms(self, error_ms: float) -> float:
        """Half of the 95 % interval around an estimate whose standard error is `error_ms`."""
        return 1.96 * math.hypot(self.spread * error_ms, self.floor_ms)


def features(mass: float, weight: float, agreement: float) -> tuple[float, ...]:
    """What the logistic regression sees."""
    # Two hundred resamples cannot tell 0.995 from 1.
    return 1.0, logit(mass), math.log1p(weight), logit(min(max(agreement, 0.005), 0.995))


def logit(p: float) -> float:
    """Log-odds, finite for 0 and 1."""
    p = min(max(p, 1e-6), 1 - 1e-6)
    return math.log(p / (1 - p))

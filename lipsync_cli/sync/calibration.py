"""From the model's own figures to probabilities and intervals that hold on other people."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Calibration:
    """Fitted on speakers that no encoder was trained on (training/sync_calibrate.py).

    Attributes:
        bias, slope, length: logistic regression of "right within 40 ms" on the logit of
            the posterior mass and on the logarithm of the weight it rests on.
        spread: factor on the estimated standard error.
        floor_ms: standard error that no amount of material removes.
    """

    bias: float = 0.0
    slope: float = 1.0
    length: float = 0.0
    spread: float = 1.0
    floor_ms: float = 8.0

    def probability(self, mass: float, weight: float) -> float:
        """Calibrated probability that an estimate is right within 40 ms."""
        z = self.bias + self.slope * logit(mass) + self.length * math.log1p(weight)
        return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, z))))

    def half_width_ms(self, error_ms: float) -> float:
        """Half of the 95 % interval around an estimate whose standard error is `error_ms`."""
        return 1.96 * math.hypot(self.spread * error_ms, self.floor_ms)


def logit(p: float) -> float:
    """Log-odds, finite for 0 and 1."""
    p = min(max(p, 1e-6), 1 - 1e-6)
    return math.log(p / (1 - p))

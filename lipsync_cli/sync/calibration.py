"""From the model's own figures to probabilities and intervals that hold on other people."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Names of the factors of `features`, in its order.
FACTORS = ("bias", "slope", "length", "agreement", "few", "few_agreement", "unrelated")


@dataclass(frozen=True)
class Calibration:
    """Fitted on speakers that no encoder was trained on (training/sync/calibrate.py).

    Attributes:
        bias, slope, length, agreement, few, few_agreement, unrelated: logistic regression of
            "right within 40 ms", see `features`. Factors that a model file lacks are 0.
        spread: factor on the estimated standard error.
        floor_ms: standard error that no amount of material removes.
    """

    bias: float = 0.0
    slope: float = 1.0
    length: float = 0.0
    agreement: float = 0.0
    few: float = 0.0
    few_agreement: float = 0.0
    unrelated: float = 0.0
    spread: float = 1.0
    floor_ms: float = 8.0

    def probability(
        self,
        mass: float,
        weight: float,
        agreement: float,
        none: float = 0.0,
        resampled: bool = True,
    ) -> float:
        """Calibrated probability that an estimate is right within 40 ms; see `features`."""
        x = features(mass, weight, agreement, none, resampled)
        factors = (getattr(self, name) for name in FACTORS)
        z = sum(a * b for a, b in zip(factors, x, strict=True))
        return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, z))))

    def half_width_ms(self, error_ms: float) -> float:
        """Half of the 95 % interval around an estimate whose standard error is `error_ms`."""
        return 1.96 * math.hypot(self.spread * error_ms, self.floor_ms)


def features(
    mass: float, weight: float, agreement: float, none: float, resampled: bool
) -> tuple[float, ...]:
    """What the logistic regression sees, in the order of `FACTORS`.

    Args:
        mass: posterior within 40 ms of the answer.
        weight: pictures' worth of evidence.
        agreement: share of resampled programmes with the same answer. Of programmes too
            short to be resampled it says what `mass` says, so it counts otherwise.
        none: posterior of "picture and sound do not belong together".
        resampled: whether there was enough to resample.
    """
    # Two hundred resamples cannot tell 0.995 from 1.
    same = logit(min(max(agreement, 0.005), 0.995))
    few = 0.0 if resampled else 1.0
    return 1.0, logit(mass), math.log1p(weight), same, few, few * same, logit(none)


def logit(p: float) -> float:
    """Log-odds, finite for 0 and 1."""
    p = min(max(p, 1e-6), 1 - 1e-6)
    return math.log(p / (1 - p))

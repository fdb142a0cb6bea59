"""How well a dub will do, foretold from the cosine of sound and chosen mouths: the fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipsync_cli.training.dub.judge import Verdict


@dataclass(frozen=True)
class Dub:
    """One case, dubbed and judged.

    Attributes:
        real: height of the judge's curve for the clip with its own sound.
        ratio: cosine of sound and chosen mouths over that of the clip's own.
        run_s: mean time from join to join.
        join_change: change of the mouth from frame to frame near joins, dissolved, over that
            of consecutive frames of the footage.
    """

    name: str
    verdict: Verdict
    real: float
    coverage: float
    ratio: float
    run_s: float
    joins_per_s: float
    join_change: float


def fitted(dubs: Sequence[Dub]) -> tuple[float, float]:
    """Slope and intercept of the judge's height by the ratio of cosines, in shares of real speech.

    Least squares, each dub with the weight of how clear its person's own speech is.
    """
    known = [d for d in dubs if np.isfinite(d.ratio)]
    inputs = np.array([[d.real * d.ratio, d.real] for d in known])
    heights = np.array([d.verdict.height(0) for d in known])
    slope, intercept = np.linalg.lstsq(inputs, heights, rcond=None)[0].tolist()
    return round(slope, 3), round(intercept, 3)


def refitted(dubs: Sequence[Dub], every: Sequence[Dub]) -> npt.NDArray[np.float64]:
    """What a line fitted to the dubs of all other people says of each: 0 to 1, NaN if unknown."""
    lines = {d.name: fitted([e for e in every if e.name != d.name]) for d in dubs}
    said = [lines[d.name][0] * d.ratio + lines[d.name][1] for d in dubs]
    return np.clip(np.array(said, np.float64), 0.0, 1.0)

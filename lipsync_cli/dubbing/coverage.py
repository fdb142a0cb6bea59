"""How well footage will do for new speech, before anything is rendered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.selection import Selection
from lipsync_cli.dubbing.units import Units

Floats = npt.NDArray[np.float32]

# Share of 5 s windows in which independent judges saw the lips follow, by the mean cosine of
# sound and chosen mouth: logistic, fitted by training/benchmark_dub.py on 150 dubs of people
# that the model never saw, their footage cut down to between a third of a second and 40 s.
_MIDDLE, _STEEPNESS = 0.364, 17.3
# Below this cosine, over a fifth of a second, the footage has no mouth for the sound.
_LACKING, _LACKING_S = 0.25, 0.2
# Less speech than this repeats itself visibly.
_ENOUGH_S = 5.0
_WELL = 0.85
_HINT = "give more video of the same person talking with --footage"


@dataclass(frozen=True)
class Coverage:
    """What is expected of a dub from this footage.

    Attributes:
        value: expected share of the speech in which the lips follow it, 0 to 1; 1 where
            there is no speech.
        similarity: mean cosine of sound and chosen mouth; None without speech.
        lacking: share of the speech for which the footage has no fitting mouth.
        usable_s: seconds of footage that can be shown.
        spoken_s: those of them with speech in their own sound (all where it is unknown).
        repeats: how often, in the mean, a frame that is shown is shown.
        reason: why it will not do well, in words; None where it should.
        hint: what would help.
    """

    value: float
    similarity: float | None
    lacking: float
    usable_s: float
    spoken_s: float
    repeats: float
    reason: str | None
    hint: str | None


def coverage_of(units: Units, selections: Sequence[Selection]) -> Coverage:
    """Judge chosen frames by how they fit the sound, and footage by how much there is."""
    fits = [_spoken(chosen) for chosen in selections]
    cosine = np.concatenate([np.zeros(0, np.float32), *fits])
    width = max(1, round(_LACKING_S / units.step_s))
    lasting = [np.convolve(f, np.full(width, 1 / width), "valid") for f in fits if len(f) >= width]
    lacks = np.concatenate([np.zeros(0), *lasting]) < _LACKING
    similarity = float(cosine.mean()) if len(cosine) else None
    shown = np.concatenate([np.zeros(0, np.int64), *(s.rows[~s.own] for s in selections)])
    usable_s = float(units.usable.sum()) * units.step_s
    spoken_s = float((units.usable & ~units.quiet).sum()) * units.step_s
    value = expected(similarity)
    reason = _reason(value, spoken_s, units)
    return Coverage(
        value=round(value, 3),
        similarity=None if similarity is None else round(similarity, 3),
        lacking=round(float(lacks.mean()), 3) if len(lacks) else 0.0,
        usable_s=round(usable_s, 2),
        spoken_s=round(spoken_s, 2),
        repeats=round(len(shown) / max(1, len(np.unique(shown))), 2),
        reason=reason,
        hint=_HINT if reason else None,
    )


def expected(similarity: float | None) -> float:
    """Share of 5 s windows that follow, from the mean cosine of sound and chosen mouth."""
    if similarity is None:
        return 1.0
    return 1 / (1 + math.exp(-_STEEPNESS * (similarity - _MIDDLE)))


def _spoken(chosen: Selection) -> Floats:
    """Cosine of each slot with speech; a mouth that is unknown fits nothing."""
    return np.nan_to_num(chosen.similarity[~chosen.silent])


def _reason(value: float, spoken_s: float, units: Units) -> str | None:
    if not units.usable.any():
        return "no frame can be used: side views, smeared or covered mouths"
    if value < _WELL:
        return (
            "the footage lacks mouth shapes for this speech: the lips are expected to follow"
            f" {value:.0%} of it"
        )
    if spoken_s < _ENOUGH_S:
        return f"the footage shows only {spoken_s:.1f} s of speech: mouths will repeat"
    return None

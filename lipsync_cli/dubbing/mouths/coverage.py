"""How well footage will do for new speech, before anything is rendered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.mouths.selection import Selection
from lipsync_cli.dubbing.mouths.units import Units

Floats = npt.NDArray[np.float32]

# How clearly an independent judge saw the lips follow, over how clearly those of real clips did,
# by the mean cosine of sound and chosen mouth over that of the person's own speech: a line
# fitted to dubs of people that the model never saw, with all of their footage and with less.
# It belongs to the model: `benchmark-dub` with such people prints it for another one.
_SLOPE, _INTERCEPT = 0.975, -0.016
# The cosine of real speech where the footage's own sound cannot tell.
_USUAL = 0.54
# Below this cosine, over a fifth of a second, the footage has no mouth for the sound.
_LACKING, _LACKING_S = 0.25, 0.2
# Less speech than this repeats itself visibly.
_ENOUGH_S = 5.0
_WELL = 0.75
_HINT = "give more video of the same person talking with --footage"


@dataclass(frozen=True)
class Coverage:
    """What is expected of a dub from this footage.

    Attributes:
        value: how clearly the lips are expected to follow, as a share of how clearly they do
            in real speech, 0 to 1; 1 where there is no speech.
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


def coverage_of(
    units: Units, selections: Sequence[Selection], own: float | None = None
) -> Coverage:
    """Judge chosen frames by how they fit the sound, and footage by how much there is.

    Args:
        own: cosine of the person's mouth with their own speech, see `people.Person.fit`.
    """
    fits = [_spoken(chosen) for chosen in selections]
    cosine = np.concatenate([np.zeros(0, np.float32), *fits])
    width = max(1, round(_LACKING_S / units.step_s))
    lasting = [np.convolve(f, np.full(width, 1 / width), "valid") for f in fits if len(f) >= width]
    lacks = np.concatenate([np.zeros(0), *lasting]) < _LACKING
    similarity = float(cosine.mean()) if len(cosine) else None
    shown = np.concatenate([np.zeros(0, np.int64), *(s.rows[~s.own] for s in selections)])
    usable_s = float(units.usable.sum()) * units.step_s
    spoken_s = float((units.usable & ~units.quiet).sum()) * units.step_s
    value = expected(similarity, own)
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


def expected(similarity: float | None, own: float | None = None) -> float:
    """How clearly lips will follow, 0 to 1, from cosines of chosen and of real mouths."""
    if similarity is None:
        return 1.0
    return min(1.0, max(0.0, _INTERCEPT + _SLOPE * similarity / (own or _USUAL)))


def _spoken(chosen: Selection) -> Floats:
    """Cosine of each slot with speech; a mouth that is unknown fits nothing."""
    return np.nan_to_num(chosen.similarity[~chosen.silent])


def _reason(value: float, spoken_s: float, units: Units) -> str | None:
    if not units.usable.any():
        return "no frame can be used: side views, smeared or covered mouths"
    if value < _WELL:
        return (
            "the footage lacks mouth shapes for this speech: the lips will follow it about"
            f" {value:.0%} as clearly as in real speech"
        )
    if spoken_s < _ENOUGH_S:
        return f"the footage shows only {spoken_s:.1f} s of speech: mouths will repeat"
    return None

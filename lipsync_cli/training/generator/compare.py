"""The paper's comparison of generators, at the scale of the data at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.dubbing.generator.expert import SyncExpert
from lipsync_cli.errors import InputError
from lipsync_cli.training.faces.pack import PackedClip
from lipsync_cli.training.generator.measure import Sync, Talk, expert_sync, mouth_error
from lipsync_cli.training.generator.models import TrainedGenerator, draw_clip
from lipsync_cli.training.generator.plan import GeneratorPlan, LossWeights

Faces = NDArray[np.uint8]
Log = Callable[[str], None]
# Further opinions on a talk and its faces, by name: (talk, faces) -> figures.
Opinion = Callable[[Talk, Faces], Mapping[str, float]]

_LEAST_S, LONGEST_S = 6.0, 20.0
_OFFICIAL_WIDTH = 16


def contenders(plan: GeneratorPlan) -> dict[str, GeneratorPlan]:
    """The generators that are compared, all with this plan's steps, batches and seed.

    The first three differ in their losses only, with the shares of the paper. The baselines
    are as much narrower than their authors' as the plan's generator is, and so are critics.
    """
    width = max(2, 32 * plan.encoder // _OFFICIAL_WIDTH)
    plan = replace(plan, critic_width=width)
    alone = LossWeights(mouth=plan.weights.mouth, gradient=plan.weights.gradient, sync=0)
    lipgan = LossWeights(mouth=0, gradient=0, sync=0, contrastive=0.01)
    plain = LossWeights(mouth=0, gradient=0, sync=0)
    return {
        "L1 only": replace(plan, weights=alone),
        "+ expert": replace(plan, weights=replace(alone, sync=0.03)),
        "+ discriminator": replace(plan, weights=replace(alone, sync=0.03, adversarial=0.07)),
        "LipGAN": replace(plan, architecture="lipgan", width=width, weights=lipgan),
        "Speech2Vid": replace(
            plan, architecture="speech2vid", width=2 * width, weights=plain, silence=0
        ),
    }


@dataclass(frozen=True)
class Figures:
    """What one method reaches; means over clips.

    Attributes:
        mouth_psnr, mouth_ssim: own sound, reference from elsewhere; None for controls.
        height, follows: of the drawn lips with another clip's sound, see `Sync`, to the
            expert that training asks.
        opinions: what further judges say of the same, by name.
    """

    method: str
    clips: int
    mouth_psnr: float | None
    mouth_ssim: float | None
    height: float
    follows: float
    opinions: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """A row of the table."""
        rounded = {name: _rounded(value) for name, value in self.opinions.items()}
        return {
            "method": self.method,
            "clips": self.clips,
            "mouth_psnr": _rounded(self.mouth_psnr),
            "mouth_ssim": _rounded(self.mouth_ssim),
            "expert_height": _rounded(self.height),
            "expert_follows": _rounded(self.follows),
            **rounded,
        }


def compare_generators(
    clips: Sequence[PackedClip],
    generators: Mapping[str, TrainedGenerator],
    expert: SyncExpert,
    *,
    opinion: Opinion | None = None,
    longest_s: float = LONGEST_S,
    log: Log | None = None,
) -> list[Figures]:
    """Measure generators on clips of people they have not seen.

    Each draws every clip twice: with its own sound, to be compared with the real mouth
    (the reference comes from 1 s away or more), and with the next clip's, which the expert
    judges. Two controls frame the figures: real clips with their own sound, and real clips
    with the other one.

    Args:
        clips: those shorter than 6 s are left out.
        expert: as for training. It flatters generators that were trained with it: ask
            another judge by `opinion` too.
        longest_s: what is used of each clip.

    Raises:
        InputError: fewer than two clips are long enough.
    """
    long = [c for c in clips if c.duration_s >= _LEAST_S]
    if len(long) < 2:
        raise InputError(
            "fewer than two clips are long enough to compare generators on",
            hint=f"clips need {_LEAST_S:g} s and more",
        )
    own = [Talk.of(c, c, longest_s) for c in long]
    other = [Talk.of(c, o, longest_s) for c, o in _pairs(long)]
    table = [
        _figures("real, own sound", own, [t.crops for t in own], expert, opinion),
        _figures("real, other sound", other, [t.crops for t in other], expert, opinion),
    ]
    for name, model in generators.items():
        table.append(_measured(name, model, own, other, expert, opinion))
        if log is not None:
            log(str(table[-1].to_dict()))
    return table


def _pairs(clips: Sequence[PackedClip]) -> list[tuple[PackedClip, PackedClip]]:
    """Each clip with the next one's sound."""
    return list(zip(clips, [*clips[1:], *clips[:1]], strict=True))


def _measured(
    name: str,
    model: TrainedGenerator,
    own: Sequence[Talk],
    other: Sequence[Talk],
    expert: SyncExpert,
    opinion: Opinion | None,
) -> Figures:
    errors = [mouth_error(_drawn(model, talk), talk.crops) for talk in own]
    dubbed = [_drawn(model, talk) for talk in other]
    psnr, ssim = np.mean(errors, axis=0).tolist()
    found = _figures(name, other, dubbed, expert, opinion)
    return replace(found, mouth_psnr=psnr, mouth_ssim=ssim)


def _drawn(model: TrainedGenerator, talk: Talk) -> Faces:
    hearing = model.hearing
    sound = talk.sound(hearing.start_s, hearing.columns)
    return draw_clip(model, talk.crops, talk.references(), sound)


def _figures(
    method: str,
    talks: Sequence[Talk],
    faces: Sequence[Faces],
    expert: SyncExpert,
    opinion: Opinion | None,
) -> Figures:
    found = [expert_sync(expert, talk, shown) for talk, shown in zip(talks, faces, strict=True)]
    told = [opinion(t, f) for t, f in zip(talks, faces, strict=True)] if opinion else []
    return Figures(
        method=method,
        clips=len(talks),
        mouth_psnr=None,
        mouth_ssim=None,
        height=float(np.mean([each.height for each in found])),
        follows=_follows(found),
        opinions=_means(told),
    )


def _follows(found: Sequence[Sync]) -> float:
    lags = [lag for each in found for lag in each.lags]
    return Sync(0.0, tuple(lags)).follows


def _means(told: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Means of the figures that are numbers."""
    found: dict[str, list[float]] = {}
    for name, value in (pair for each in told for pair in each.items()):
        found.setdefault(name, []).extend([value] if np.isfinite(value) else [])
    return {name: float(np.mean(values)) for name, values in found.items() if values}


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(value, 4)


def one_a_speaker(clips: Sequence[PackedClip], count: int) -> list[PackedClip]:
    """The longest clip of each speaker, the longest first."""
    chosen: dict[str, PackedClip] = {}
    for clip in sorted(clips, key=lambda c: (-c.duration_s, c.file)):
        chosen.setdefault(clip.group, clip)
    return list(chosen.values())[:count]


def train_contenders(
    plans: Mapping[str, GeneratorPlan],
    runs: Path,
    train: Callable[[GeneratorPlan, Path], TrainedGenerator],
) -> dict[str, TrainedGenerator]:
    """Train every plan in its own folder of `runs`; what is done there already is not repeated."""
    return {name: train(plan, runs / folder_of(name)) for name, plan in plans.items()}


def folder_of(method: str) -> str:
    """`+ expert` -> `expert`."""
    return method.lower().strip("+ ").replace(" ", "_")

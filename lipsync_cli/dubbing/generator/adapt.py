"""Adapt a generator to one person's own clip, and keep that only where it helps."""

from __future__ import annotations

from pathlib import Path

import torch

from lipsync_cli.dubbing.footage.people import Person
from lipsync_cli.dubbing.generator.adapt_frames import LEAST_S, LEAST_SPOKEN_S
from lipsync_cli.dubbing.generator.adapt_learning import AdaptPlan, Learning
from lipsync_cli.dubbing.generator.adapt_material import collect, own_offset_s
from lipsync_cli.dubbing.generator.expert import SyncExpert
from lipsync_cli.dubbing.generator.loading import read_network
from lipsync_cli.dubbing.generator.network import Generator
from lipsync_cli.progress import Progress, part_of
from lipsync_cli.results import Adaptation
from lipsync_cli.sync.model_file import LoadedModel

_COLLECT = 0.15  # share of the work that is done then
_UNCLEAR = "it cannot be told whether the lips follow the clip's own sound"
_TOO_LITTLE = (
    f"{LEAST_S:g} s of the person in view are needed, and {LEAST_SPOKEN_S:g} s of speech in them"
)


def adapt(
    path: Path,
    video: Path,
    person: Person,
    model: LoadedModel,
    plan: AdaptPlan,
    *,
    expert: SyncExpert | None = None,
    progress: Progress | None = None,
) -> tuple[Generator | None, Adaptation]:
    """Adapt the generator of a file to a person as the video shows them.

    The clip needs its original sound. A constant offset of it is taken out; where it cannot
    be told, nothing is learnt. The same seed leads to the same weights on a CPU.

    Args:
        path: the generator; never changed.
        model: also says where to compute.
        expert: a guard of the lips' sync, where there is one.

    Returns:
        The network, in single precision and folded, or None where it is not kept; and what
        came of it.

    Raises:
        WeightsError: as `read_network`.
        UnreadableMedia: the video cannot be decoded.
        LipsyncError: not even one picture fits into the device's memory.
    """
    offset_s = own_offset_s(person, model, plan.min_probability)
    if offset_s is None:
        return None, Adaptation(False, _UNCLEAR)
    network = read_network(path).eval()
    material = collect(
        video,
        person,
        model,
        size=network.topology.size,
        shift_s=plan.shift_s,
        offset_s=offset_s,
        progress=part_of(progress, 0.0, _COLLECT),
    )
    if material is None:
        return None, Adaptation(False, _TOO_LITTLE)
    network.fold()
    network.to(model.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    learning = Learning(network, material, plan, expert)
    return learning.run(model, part_of(progress, _COLLECT, 1.0))

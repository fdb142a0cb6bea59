"""All that an expert's training run is, and its checkpoint."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lipsync_cli.dubbing.generator.expert import SyncExpert
from lipsync_cli.errors import WeightsError
from lipsync_cli.training.checkpoint import read_checkpoint, write_checkpoint
from lipsync_cli.training.expert.augment import varied_pairs
from lipsync_cli.training.expert.losses import (
    Choices,
    MultiwayLoss,
    PairLoss,
    choices,
    right_share,
)
from lipsync_cli.training.expert.samples import Stretches
from lipsync_cli.training.running import decayed, follow

Loss = Literal["multiway", "bce"]

CHECKPOINT = "checkpoint.pt"
_CLIP = 3.0


@dataclass(frozen=True)
class ExpertPlan:
    """Everything that decides a training run.

    Attributes:
        width: of the network; 32 is the official one.
        loss: "bce", the paper's pairs, or "multiway", many shifts of one clip at once.
        steps: optimiser steps in all; the learning rate falls to nothing over them.
        rate: of learning, at most.
        clips: stretches in a batch.
        pictures: windows of pictures in a stretch.
        reach: further windows of sound at either end of it; a picture window is compared
            with `pictures + 2 * reach - 1` shifts.
        silence: share of sounds that are taken away.
        average: of the weights that are kept; share of the old ones at each step.
        bf16: compute in bfloat16 where that is safe.
    """

    width: int = 16
    loss: Loss = "multiway"
    steps: int = 20_000
    rate: float = 1.0e-3
    weight_decay: float = 0.02
    warm_up: int = 100
    clips: int = 6
    pictures: int = 20
    reach: int = 7
    silence: float = 0.05
    average: float = 0.998
    seed: int = 5
    bf16: bool = False


class ExpertState:
    """Expert, running average, loss, optimiser, and where the run is.

    Attributes:
        step: optimiser steps made.
        spent_s: time they took, over all resumed runs.
        batch: stretches that fit into memory.
    """

    def __init__(self, plan: ExpertPlan, device: torch.device) -> None:
        torch.manual_seed(plan.seed)
        self.plan, self.device = plan, device
        self.step, self.spent_s, self.batch = 0, 0.0, plan.clips
        self.model = SyncExpert(plan.width).to(device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged: SyncExpert = copy.deepcopy(self.model).eval()
        self.loss: nn.Module = (MultiwayLoss() if plan.loss == "multiway" else PairLoss()).to(
            device
        )
        weights = [*self.model.parameters(), *self.loss.parameters()]
        groups = decayed(weights, plan.weight_decay)
        self.optimiser = torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98))

    def advance(self, stretches: Stretches, share: float) -> dict[str, float]:
        """Make one step; nothing has changed if memory runs out.

        Args:
            stretches: on any device.
            share: of the learning rate.

        Returns:
            The loss, and the share of windows whose own sound was the most similar.
        """
        generator = torch.Generator().manual_seed(self.plan.seed * 1_000_003 + self.step)
        found = self._choices(stretches.to(self.device), generator)
        loss: Tensor = self.loss(found, generator)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), _CLIP)
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.rate * share
        self.optimiser.step()
        self.step += 1
        follow(self.averaged, self.model, self.plan.average, self.step)
        return {"loss": float(loss.detach()), "right": float(right_share(found))}

    def _choices(self, stretches: Stretches, generator: torch.Generator) -> Choices:
        pairs = varied_pairs(stretches, self.plan.silence, generator)
        layout = torch.channels_last
        self.model.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.bf16):
            seen = self.model.embed_pictures(pairs.halves.contiguous(memory_format=layout))
            heard = self.model.embed_sound(pairs.mel.contiguous(memory_format=layout))
        count = len(stretches)
        return choices(
            seen.view(count, -1, seen.shape[1]),
            heard.view(count, -1, heard.shape[1]),
            stretches.times_s,
            stretches.known,
            pairs.silent,
            pairs.faint,
        )

    def save(self, folder: Path) -> None:
        """Write the checkpoint, in one step."""
        content: dict[str, Any] = {n: getattr(self, n).state_dict() for n in _PARTS}
        content |= {"plan": json.dumps(asdict(self.plan))}
        content |= {"step": self.step, "spent_s": self.spent_s, "batch": self.batch}
        write_checkpoint(content, folder / CHECKPOINT)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            WeightsError: it is damaged, or one of another architecture or loss.
        """
        saved = read_checkpoint(path, _NEEDED, "expert")
        before = plan_of(saved)
        for name in ("width", "loss"):
            if getattr(before, name) != getattr(self.plan, name):
                raise WeightsError(
                    f"is a checkpoint of another run: {name} is {getattr(before, name)} instead"
                    f" of {getattr(self.plan, name)}",
                    path=path,
                    hint="train in another folder, or with the options it was begun with",
                )
        for name in _PARTS:
            getattr(self, name).load_state_dict(saved[name])
        self.step, self.spent_s = int(saved["step"]), float(saved["spent_s"])
        self.batch = min(self.plan.clips, int(saved["batch"]))


_PARTS = ("model", "averaged", "loss", "optimiser")
_NEEDED = {*_PARTS, "plan", "step"}


def plan_of(saved: dict[str, Any]) -> ExpertPlan:
    """The plan that a checkpoint was made with."""
    return ExpertPlan(**json.loads(saved["plan"]))


def trained_expert(folder: Path) -> tuple[SyncExpert, ExpertPlan, int]:
    """Load the averaged expert of a run, with its plan and its steps.

    Raises:
        WeightsError: the folder holds no run.
    """
    saved = read_checkpoint(folder / CHECKPOINT, _NEEDED, "expert")
    plan = plan_of(saved)
    expert = SyncExpert(plan.width)
    expert.load_state_dict(saved["averaged"])
    return expert.eval(), plan, int(saved["step"])

"""All that a generator's training run is, and its checkpoint."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lipsync_cli.dubbing.generator.losses import expert_cosine, sync_loss
from lipsync_cli.errors import WeightsError
from lipsync_cli.training.checkpoint import read_checkpoint, write_checkpoint
from lipsync_cli.training.generator.critics import critics_of
from lipsync_cli.training.generator.losses import reconstruction, weighed
from lipsync_cli.training.generator.models import TrainedGenerator, pixels
from lipsync_cli.training.generator.plan import GeneratorPlan, LossWeights
from lipsync_cli.training.generator.samples import Windows
from lipsync_cli.training.running import follow

CHECKPOINT = "checkpoint.pt"
_CLIP = 3.0
_BETAS = (0.5, 0.999)  # of the official run with a discriminator


class TrainingState:
    """Generator, running average, critics, their optimisers, and where the run is.

    Attributes:
        step: optimiser steps made.
        spent_s: time they took, over all resumed runs.
        sync_counts: whether the sync term counts already.
        batch: windows that fit into memory.
    """

    def __init__(
        self, plan: GeneratorPlan, device: torch.device, expert: nn.Module | None = None
    ) -> None:
        torch.manual_seed(plan.seed)
        self.plan, self.device = plan, device
        self.step, self.spent_s, self.batch = 0, 0.0, plan.batch
        self.sync_counts = plan.sync_below == float("inf")
        self.expert = None if expert is None else expert.to(device).eval().requires_grad_(False)
        self.model = TrainedGenerator(plan).to(device)
        self.averaged: TrainedGenerator = copy.deepcopy(self.model).eval()
        self.optimiser = torch.optim.Adam(self.model.parameters(), plan.rate, _BETAS)
        self.critics = critics_of(plan)
        parameters = [p for c in self.critics.values() for p in c.network.to(device).parameters()]
        self.critic_optimiser = (
            torch.optim.Adam(parameters, plan.critic_rate, _BETAS) if parameters else None
        )

    def advance(self, windows: Windows, share: float) -> dict[str, float]:
        """Make one step; nothing has changed if memory runs out.

        Args:
            windows: on any device.
            share: of the learning rate.

        Returns:
            The value of each term.
        """
        given = windows.to(self.device)
        with self._precision():
            drawn = self.model.train()(given.target, given.reference, given.sound)
            real = pixels(given.target)
            terms = self._terms(drawn, real, given)
        self.optimiser.zero_grad(set_to_none=True)
        weighed(terms, self.plan.weights).backward()  # type: ignore[no-untyped-call]
        found = self._criticise(drawn.detach(), real, given)
        nn.utils.clip_grad_norm_(self.model.parameters(), _CLIP)
        _step(self.optimiser, self.plan.rate * share)
        if self.critic_optimiser is not None:
            _step(self.critic_optimiser, self.plan.critic_rate * share)
        self.step += 1
        follow(self.averaged, self.model, self.plan.average, self.step)
        return {name: float(v.detach()) for name, v in (terms | found).items()}

    def _terms(self, drawn: Tensor, real: Tensor, given: Windows) -> dict[str, Tensor]:
        weights = self.plan.weights
        terms = reconstruction(drawn, real, weights)
        if self.expert is not None and weights.sync and self.sync_counts:
            cosine = expert_cosine(self.expert, drawn, given.mel)
            terms["sync"] = sync_loss(cosine, given.voiced)
        if self.step >= self.plan.adversarial_from:
            for name, critic in self.critics.items():
                critic.network.requires_grad_(False)
                terms[name] = critic.of_drawn(drawn, given.sound)
        return terms

    def _criticise(self, drawn: Tensor, real: Tensor, given: Windows) -> dict[str, Tensor]:
        """Gradients of the critics' own losses, which are returned."""
        found: dict[str, Tensor] = {}
        if self.critic_optimiser is not None:
            self.critic_optimiser.zero_grad(set_to_none=True)
        for name, critic in self.critics.items():
            critic.network.requires_grad_(True)
            with self._precision():
                loss = critic.own(drawn, real, given.sound)
            loss.backward()  # type: ignore[no-untyped-call]
            found[f"{name}_critic"] = loss
        return found

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.bf16)

    def save(self, folder: Path) -> None:
        """Write the checkpoint, in one step."""
        content: dict[str, Any] = {name: part.state_dict() for name, part in self._parts().items()}
        content |= {"network": self.plan.network(), "plan": json.dumps(asdict(self.plan))}
        content |= {"step": self.step, "spent_s": self.spent_s, "batch": self.batch}
        content |= {"sync_counts": self.sync_counts}
        write_checkpoint(content, folder / CHECKPOINT)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint; critics that it lacks begin anew.

        Raises:
            WeightsError: it is damaged, or one of another architecture.
        """
        saved = read_checkpoint(path, _NEEDED, "generator")
        _check_network(saved["network"], self.plan, path)
        try:
            for name, part in self._parts().items():
                if name in saved:
                    part.load_state_dict(saved[name])
        except (RuntimeError, ValueError) as error:
            raise WeightsError(
                "is a checkpoint of another run: its discriminators differ",
                path=path,
                hint="train in another folder, or with the options it was begun with",
            ) from error
        self.step, self.spent_s = int(saved["step"]), float(saved["spent_s"])
        self.sync_counts = self.sync_counts or bool(saved["sync_counts"])
        self.batch = min(self.plan.batch, int(saved["batch"]))

    def _parts(self) -> dict[str, Any]:
        """What has a state, by its name in the checkpoint."""
        parts: dict[str, Any] = {
            "model": self.model,
            "averaged": self.averaged,
            "optimiser": self.optimiser,
        }
        for name, critic in self.critics.items():
            parts[f"critic_{name}"] = critic.network
        if self.critic_optimiser is not None:
            parts["optimiser_" + "_".join(self.critics)] = self.critic_optimiser
        return parts


_NEEDED = {"averaged", "network", "plan", "step"}


def trained_generator(folder: Path) -> tuple[TrainedGenerator, GeneratorPlan, int]:
    """Load the averaged generator of a run, with its plan and its steps.

    Raises:
        WeightsError: the folder holds no run.
    """
    saved = read_checkpoint(folder / CHECKPOINT, _NEEDED, "generator")
    plan = plan_of(saved)
    model = TrainedGenerator(plan)
    model.load_state_dict(saved["averaged"])
    return model.eval(), plan, int(saved["step"])


def plan_of(saved: Mapping[str, Any]) -> GeneratorPlan:
    """The plan that a checkpoint was made with."""
    values = json.loads(saved["plan"])
    return GeneratorPlan(**{**values, "weights": LossWeights(**values["weights"])})


def _step(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()


def _check_network(saved: Mapping[str, Any], plan: GeneratorPlan, path: Path) -> None:
    wanted = plan.network()
    if dict(saved) != wanted:
        raise WeightsError(
            f"is a checkpoint of another architecture: {_words(saved)} instead of {_words(wanted)}",
            path=path,
            hint="train in another folder, or with the options it was begun with",
        )


def _words(network: Mapping[str, Any]) -> str:
    widths = "/".join(str(value) for name, value in network.items() if name != "architecture")
    return f"{network['architecture']} {widths}"

"""Joint training of encoders and classifier, with checkpoints to resume from."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from lipsync_cli.sync.lag_matrix import lag_matrix
from lipsync_cli.sync.model import SyncModel
from lipsync_cli.sync.model_file import shipped_weights
from lipsync_cli.training.checkpoint import write_checkpoint
from lipsync_cli.training.running import begin_folder, decayed, follow, prefetched, rate_share
from lipsync_cli.training.sync.cache import Clip
from lipsync_cli.training.sync.losses import SyncLoss
from lipsync_cli.training.sync.samples import REACH, Batch, Sampler

LOSS_WEIGHTS = {"single": 0.3, "short": 1.0, "choice": 0.5, "class": 1.0}


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides a training run.

    Attributes:
        steps: optimiser steps in all; the learning rate falls to nothing over them.
        long_frames, long_batch: shape of most batches; short clips come in the other one.
        short_share: share of batches of the short shape.
        crowd: how many times these batches; the rate is for 1 and grows with its root.
        workers: processes that draw samples; 0 draws in a thread.
        bfloat16: encode in mixed precision (CUDA).
    """

    steps: int = 6000
    rate: float = 1.0e-3
    weight_decay: float = 0.02
    warm_up: int = 100
    long_frames: int = 60
    long_batch: int = 6
    short_frames: int = 30
    short_batch: int = 10
    short_share: float = 0.3
    average: float = 0.998
    seed: int = 1
    crowd: int = 1
    workers: int = 0
    bfloat16: bool = False


def train(
    clips: list[Clip],
    folder: Path,
    plan: TrainingPlan,
    *,
    device: str = "cpu",
    on_step: Callable[[int, dict[str, float]], None] | None = None,
    save_every: int = 200,
    deadline_s: float = math.inf,
    start_from: Path | None = None,
) -> SyncModel:
    """Train (or resume in) `folder`; returns the averaged model.

    A fresh run begins with the weights of `start_from`, a shipped model file, if one is given.

    `on_step` is told the step and the mean of each loss since it was last told. The
    learning rate follows steps or, when it is nearer, the share of `deadline_s` spent, all
    resumed runs counted.
    """
    state = _State.fresh_or_resumed(folder, plan, device, start_from)
    batches = _drawn(clips, plan, state.step)
    totals: dict[str, float] = {}
    while state.step < plan.steps:
        begun = time.monotonic()
        share = max(state.step / plan.steps, state.spent_s / deadline_s)
        if share >= 1:
            break
        terms = state.advance(_to(next(batches), device), _rate(plan, state.step, share))
        state.spent_s += time.monotonic() - begun
        totals = {k: totals.get(k, 0.0) + v for k, v in terms.items()}
        if state.step % 50 == 0 and on_step:
            on_step(state.step, {k: v / 50 for k, v in totals.items()})
            totals = {}
        if state.step % save_every == 0:
            state.save(folder)
    state.save(folder)
    return state.averaged


def _rate(plan: TrainingPlan, step: int, share: float) -> float:
    return plan.rate * math.sqrt(plan.crowd) * rate_share(step, plan.warm_up, share)


def _drawn(clips: list[Clip], plan: TrainingPlan, step: int) -> Iterator[Batch]:
    if plan.workers == 0:
        batches = _mixed(clips, plan, step)
        return prefetched(lambda _: next(batches), step)
    return iter(DataLoader(_Stream(clips, plan, step), None, num_workers=plan.workers))


class _Stream(IterableDataset[Batch]):
    """What one of several processes draws."""

    def __init__(self, clips: list[Clip], plan: TrainingPlan, step: int) -> None:
        self.clips, self.plan, self.step = clips, plan, step

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        return _mixed(self.clips, self.plan, self.step, 0 if worker is None else worker.id)


def _mixed(clips: list[Clip], plan: TrainingPlan, step: int, worker: int = 0) -> Iterator[Batch]:
    """Long and short batches; the seed moves with the step so that a resumed run goes on."""
    seed = plan.seed * 100_003 + step + 1_000_003 * worker
    rng = np.random.default_rng(seed)
    long = Sampler(
        clips, frames=plan.long_frames, batch=plan.long_batch * plan.crowd, seed=seed + 1
    )
    short = Sampler(
        clips, frames=plan.short_frames, batch=plan.short_batch * plan.crowd, seed=seed + 2
    )
    while True:
        yield (short if rng.random() < plan.short_share else long).draw()


def _to(batch: Batch, device: str) -> Batch:
    return Batch(**{f.name: getattr(batch, f.name).to(device) for f in fields(batch)})


class _State:
    """Model, losses, optimiser and running average of one training run."""

    def __init__(self, plan: TrainingPlan, device: str) -> None:
        torch.manual_seed(plan.seed)
        self.plan, self.step, self.spent_s = plan, 0, 0.0
        self.model = SyncModel().to(device)
        self.losses = SyncLoss().to(device)
        self.averaged: SyncModel = copy.deepcopy(self.model).eval()
        weights = [*self.model.parameters(), *self.losses.parameters()]
        groups = decayed(weights, plan.weight_decay)
        self.optimiser = torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98))
        self.rng = np.random.default_rng(plan.seed)

    @classmethod
    def fresh_or_resumed(
        cls, folder: Path, plan: TrainingPlan, device: str, start_from: Path | None
    ) -> _State:
        """The state saved in `folder`, else a new one."""
        begin_folder(folder, plan)
        state = cls(plan, device)
        checkpoint = folder / "checkpoint.pt"
        if checkpoint.exists():
            saved = torch.load(checkpoint, map_location=device, weights_only=True)
            for name in ("model", "losses", "averaged", "optimiser"):
                getattr(state, name).load_state_dict(saved[name])
            state.step, state.spent_s = saved["step"], saved["spent_s"]
        elif start_from is not None:
            weights = shipped_weights(start_from, device)
            state.model.load_state_dict(weights)
            state.averaged.load_state_dict(weights)
        return state

    def save(self, folder: Path) -> None:
        """Write the checkpoint, in one step."""
        names = ("model", "losses", "averaged", "optimiser")
        content = {n: getattr(self, n).state_dict() for n in names}
        content |= {"step": self.step, "spent_s": self.spent_s}
        write_checkpoint(content, folder / "checkpoint.pt")

    def advance(self, batch: Batch, rate: float) -> dict[str, float]:
        """One optimiser step; returns the value of each loss term."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        terms = self._losses(batch)
        loss = sum((LOSS_WEIGHTS[k] * v for k, v in terms.items()), torch.zeros(()))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 3.0)
        self.optimiser.step()
        self.step += 1
        follow(self.averaged, self.model, self.plan.average, self.step)
        return {k: float(v.detach()) for k, v in terms.items()}

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        model = self.model.train()
        kind = batch.crops.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self.plan.bfloat16):
            visual, audio = model.embed_visual(batch.crops), model.embed_audio(batch.mel)
        visual, audio = visual.float(), audio.float()
        matrix, valid = lag_matrix(visual, audio, batch.position, batch.known, REACH)
        evidence, weight = model.classifier(matrix, valid)
        frames = int(self.rng.integers(4, matrix.shape[1] + 1))
        start = int(self.rng.integers(0, matrix.shape[1] - frames + 1))
        stretch = slice(start, start + frames)
        logits = model.logits(evidence[:, stretch].sum(1), weight[:, stretch].sum(1))
        terms: dict[str, Tensor] = self.losses(visual, audio, matrix, valid, logits, batch)
        return terms

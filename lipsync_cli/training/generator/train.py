"""Train a generator, with or without an expert and discriminators; interrupted runs go on."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from lipsync_cli.device import choose, halve_on_oom
from lipsync_cli.dubbing.generator.losses import expert_cosine, l1, mouth_l1, sync_loss
from lipsync_cli.errors import UsageError
from lipsync_cli.training.faces.pack import PackedClip
from lipsync_cli.training.generator.grid import write_grid
from lipsync_cli.training.generator.models import TrainedGenerator, pixels
from lipsync_cli.training.generator.plan import GeneratorPlan
from lipsync_cli.training.generator.samples import Sampler, Windows
from lipsync_cli.training.generator.state import CHECKPOINT, TrainingState
from lipsync_cli.training.running import begin_folder, prefetched, rate_share

Terms = dict[str, float]
OnStep = Callable[[int, Terms], None]

_HELD_OUT_BATCHES, _GRID_ROWS = 4, 6
_HELD_OUT_SEED = 97
_LONGEST_UNSAVED_S = 120.0


@dataclass(frozen=True)
class Habits:
    """How a run is looked after; of all this only the deadline changes the result.

    Attributes:
        tell_every, save_every, grid_every: in steps; slow runs are saved more often.
        workers: threads that make batches ready.
        deadline_s: the run ends when it has taken as long, all resumed runs counted, and the
            learning rate falls towards it.
    """

    tell_every: int = 50
    save_every: int = 500
    grid_every: int = 1000
    workers: int = 1
    deadline_s: float = math.inf


def train_generator(
    clips: Sequence[PackedClip],
    held_out: Sequence[PackedClip],
    folder: Path,
    plan: GeneratorPlan,
    *,
    expert: nn.Module | None = None,
    device: str = "auto",
    eval_every: int = 500,
    habits: Habits | None = None,
    on_step: OnStep | None = None,
) -> TrainedGenerator:
    """Train (or go on training) in `folder`; return the averaged generator.

    Batches depend on the seed and the step alone, so that a run that was interrupted comes
    to the weights of one that was not. Every `eval_every` steps the held-out people decide
    whether the sync term begins to count; they are also who the grids show. Losses go to
    losses.jsonl.

    Args:
        clips: people to train with.
        held_out: others; the same ones where there are none.
        expert: what `plan.weights.sync` asks for: an `nn.Module` that takes (lower halves
            [B, 15, 48, 96], mel [B, 1, 80, 16]) and returns two unit vectors [B, D].
        on_step: told the step and the mean of each term since it was last told.

    Raises:
        UsageError: there is no such device, or the sync term has no expert.
        InputError: the clips are too short.
        WeightsError: the folder holds a run of another architecture.
        OutputError: the folder cannot be written to.
    """
    if plan.weights.sync and expert is None:
        raise UsageError("the sync loss needs an expert", hint="give --expert, or --loss sync=0")
    state = TrainingState(plan, choose(device), expert)
    if (folder / CHECKPOINT).exists():
        state.resume(folder / CHECKPOINT)
    run = _Run(state, clips, held_out or clips, folder, habits or Habits(), eval_every)
    begin_folder(folder, plan)
    run.go(on_step)
    return state.averaged


class _Run:
    """One stretch of a training run."""

    def __init__(
        self,
        state: TrainingState,
        clips: Sequence[PackedClip],
        held_out: Sequence[PackedClip],
        folder: Path,
        habits: Habits,
        eval_every: int,
    ) -> None:
        self.state, self.folder, self.habits = state, folder, habits
        self.eval_every = eval_every
        plan = state.plan
        hearing = state.model.hearing
        self.sampler = Sampler(
            clips, hearing, batch=plan.batch, seed=plan.seed, silence=plan.silence
        )
        self.held_out = Sampler(
            held_out, hearing, batch=_GRID_ROWS, seed=_HELD_OUT_SEED, silence=0, augment=False
        )

    def go(self, on_step: OnStep | None) -> None:
        """Train until the steps or the time are used up."""
        state, habits = self.state, self.habits
        batches = prefetched(self.sampler.draw, state.step, habits.workers)
        sums: Terms = {}
        saved_s = state.spent_s
        while (share := self._done()) < 1:
            begun = time.monotonic()
            for name, value in self._advance(next(batches), share).items():
                sums[name] = sums.get(name, 0.0) + value
            state.spent_s += time.monotonic() - begun
            if state.step % habits.tell_every == 0:
                self._tell({k: v / habits.tell_every for k, v in sums.items()}, on_step)
                sums = {}
            if state.step % self.eval_every == 0:
                self._evaluate(on_step)
            if state.step % habits.grid_every == 0:
                write_grid(self._grid(), state.averaged, self.held_out.draw(0))
            unsaved_s = state.spent_s - saved_s
            if state.step % habits.save_every == 0 or unsaved_s > _LONGEST_UNSAVED_S:
                state.save(self.folder)
                saved_s = state.spent_s
        state.save(self.folder)
        write_grid(self._grid(), state.averaged, self.held_out.draw(0))

    def _done(self) -> float:
        state = self.state
        return max(state.step / state.plan.steps, state.spent_s / self.habits.deadline_s)

    def _advance(self, windows: Windows, share: float) -> Terms:
        state = self.state
        rate = rate_share(state.step, state.plan.warm_up, share)
        terms, state.batch = halve_on_oom(
            lambda count: state.advance(windows.first(count), rate), state.batch
        )
        return terms

    def _evaluate(self, on_step: OnStep | None) -> None:
        terms = held_out_terms(self.state, self.held_out)
        if terms.get("held_out_sync", math.inf) < self.state.plan.sync_below:
            self.state.sync_counts = True
        self._tell(terms, on_step)

    def _tell(self, terms: Terms, on_step: OnStep | None) -> None:
        with (self.folder / "losses.jsonl").open("a") as file:
            file.write(json.dumps({"step": self.state.step, **terms}) + "\n")
        if on_step is not None:
            on_step(self.state.step, terms)

    def _grid(self) -> Path:
        return self.folder / "grids" / f"{self.state.step:06d}.png"


@torch.no_grad()
def held_out_terms(state: TrainingState, sampler: Sampler) -> Terms:
    """Losses of the averaged generator on windows that do not change.

    The sync loss of the real pictures stands beside that of the drawn ones: no generator
    comes below what the expert itself can do.
    """
    model = state.averaged.eval()
    sums: Terms = {}
    for number in range(_HELD_OUT_BATCHES):
        windows = sampler.draw(number).to(state.device)
        drawn = model(windows.target, windows.reference, windows.sound)
        real = pixels(windows.target)
        terms = {"held_out_l1": l1(drawn, real), "held_out_mouth": mouth_l1(drawn, real)}
        if state.expert is not None:
            for name, faces in (("held_out_sync", drawn), ("held_out_sync_real", real)):
                cosine = expert_cosine(state.expert, faces, windows.mel)
                terms[name] = sync_loss(cosine, windows.voiced)
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + float(value) / _HELD_OUT_BATCHES
    return sums

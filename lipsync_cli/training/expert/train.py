"""Train a sync expert from packed faces alone; interrupted runs go on."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lipsync_cli.device import choose, halve_on_oom
from lipsync_cli.dubbing.generator.expert import SyncExpert
from lipsync_cli.training.expert.evaluate import evaluate_expert
from lipsync_cli.training.expert.samples import Sampler, Stretches
from lipsync_cli.training.expert.state import CHECKPOINT, ExpertPlan, ExpertState
from lipsync_cli.training.faces.pack import PackedClip
from lipsync_cli.training.running import begin_folder, prefetched, rate_share

Terms = dict[str, float]
OnStep = Callable[[int, Terms], None]


@dataclass(frozen=True)
class Habits:
    """How a run is looked after; nothing of it changes the weights.

    Attributes:
        tell_every, save_every, evaluate_every: in steps.
        deadline_s: the run ends when it has taken as long, all resumed runs counted; the
            learning rate falls towards it.
    """

    tell_every: int = 20
    save_every: int = 100
    evaluate_every: int = 500
    deadline_s: float = math.inf


def train_expert(
    clips: Sequence[PackedClip],
    held_out: Sequence[PackedClip],
    folder: Path,
    plan: ExpertPlan,
    *,
    device: str = "auto",
    habits: Habits | None = None,
    on_step: OnStep | None = None,
) -> SyncExpert:
    """Train (or go on training) in `folder`; return the averaged expert.

    Batches and what is drawn depend on the seed and the step alone, so that a run that was
    interrupted comes to the weights of one that was not. Nothing is shared with the sync
    model, which grades what is made with the expert. Losses go to losses.jsonl.

    Args:
        clips: people to train with.
        held_out: others, on whom accuracies are told; may be empty.
        on_step: told the step, the mean loss and share of right answers since it was last
            told, or the accuracies.

    Raises:
        UsageError: there is no such device.
        InputError: the clips are too short.
        WeightsError: the folder holds a run of another architecture, or a damaged one.
        OutputError: the folder cannot be written to.
        LipsyncError: not even one clip fits into memory.
    """
    habits, state = habits or Habits(), ExpertState(plan, choose(device))
    sampler = Sampler(
        clips, batch=plan.clips, pictures=plan.pictures, reach=plan.reach, seed=plan.seed
    )
    if (folder / CHECKPOINT).exists():
        state.resume(folder / CHECKPOINT)
    begin_folder(folder, plan)
    batches = prefetched(sampler.draw, state.step)
    sums: Terms = {}
    while (share := max(state.step / plan.steps, state.spent_s / habits.deadline_s)) < 1:
        begun = time.monotonic()
        for name, value in _advance(state, next(batches), share).items():
            sums[name] = sums.get(name, 0.0) + value
        state.spent_s += time.monotonic() - begun
        if state.step % habits.tell_every == 0:
            means = {name: value / habits.tell_every for name, value in sums.items()}
            _tell(folder, state, means, on_step)
            sums = {}
        if state.step % habits.evaluate_every == 0 and held_out:
            _tell(folder, state, _held_out(state, held_out), on_step)
        if state.step % habits.save_every == 0:
            state.save(folder)
    state.save(folder)
    return state.averaged


def _advance(state: ExpertState, stretches: Stretches, share: float) -> Terms:
    rate = rate_share(state.step, state.plan.warm_up, share)
    terms, state.batch = halve_on_oom(
        lambda count: state.advance(stretches.first(count), rate), state.batch
    )
    return terms


def _held_out(state: ExpertState, clips: Sequence[PackedClip]) -> Terms:
    found = evaluate_expert(state.averaged, clips, windows=(1, 15), most_s=8.0)
    return {
        f"{name}_{length}": figures[name]
        for length, figures in found.by_length.items()
        for name in ("pair", "way_25")
    }


def _tell(folder: Path, state: ExpertState, terms: Terms, on_step: OnStep | None) -> None:
    line = {"step": state.step, "spent_s": round(state.spent_s, 1)}
    line |= {name: round(value, 5) for name, value in terms.items()}
    with (folder / "losses.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    if on_step is not None:
        on_step(state.step, terms)

"""What every training run does alike: learning rate, running average, weight decay, batches."""

from __future__ import annotations

import itertools
import json
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import torch
from torch import nn

from lipsync_cli.errors import OutputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")


class Spoken(Protocol):
    """A clip of somebody."""

    @property
    def group(self) -> str:
        """Whose it is."""


C = TypeVar("C", bound=Spoken)


def rate_share(step: int, warm_up: int, share: float) -> float:
    """Share of the learning rate: a warm-up, then half a cosine down to a hundredth.

    Args:
        share: of the run that is over, in steps or in time.
    """
    warm = min(1.0, (step + 1) / warm_up)
    return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, share))))


@torch.no_grad()
def follow(averaged: nn.Module, newest: nn.Module, average: float, step: int) -> None:
    """Let a running average follow the weights; at first it follows faster.

    Args:
        average: share of the old ones that stays at each step.
        step: steps made, this one included.
    """
    keep = min(average, (1 + step) / (10 + step))
    new = newest.state_dict()
    for name, kept in averaged.state_dict().items():
        if kept.dtype.is_floating_point:
            kept.lerp_(new[name], 1 - keep)
        else:
            kept.copy_(new[name])


def decayed(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, object]]:
    """Groups for an optimiser: weight decay on matrices and kernels only."""
    every = list(parameters)
    return [
        {"params": [p for p in every if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in every if p.ndim <= 1], "weight_decay": 0.0},
    ]


def prefetched(draw: Callable[[int], T], first: int, workers: int = 1) -> Iterator[T]:
    """Yield what is drawn for the numbers from `first` on, in order, some in advance."""
    with ThreadPoolExecutor(workers) as pool:
        numbers = itertools.count(first)
        pending = deque(pool.submit(draw, next(numbers)) for _ in range(workers + 1))
        while True:
            yield pending.popleft().result()
            pending.append(pool.submit(draw, next(numbers)))


def split(
    clips: Sequence[C], groups: Collection[str], count: int, seed: int
) -> tuple[list[C], list[C]]:
    """Split by speaker: (kept, held out). The same seed always holds out the same people.

    Args:
        groups: those of whom `count` are held out.
    """
    chosen = np.random.default_rng(seed).permutation(len(groups))[:count]
    named = sorted(groups)
    out = {named[i] for i in chosen}
    return [c for c in clips if c.group not in out], [c for c in clips if c.group in out]


def begin_folder(folder: Path, plan: DataclassInstance) -> None:
    """Make the folder of a run and write its plan there.

    Raises:
        OutputError: it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "plan.json").write_text(json.dumps(asdict(plan), indent=1) + "\n")
    except OSError as error:
        raise OutputError(
            f"cannot be written to: {error.strerror}", path=folder, hint="name another folder"
        ) from error

"""Train the face detector: timed cosine schedule, averaged weights, checkpoints, export."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lipsync_cli.training.checkpoint import write_checkpoint
from lipsync_cli.training.detector.augment import Composer
from lipsync_cli.training.detector.data import PackedPictures
from lipsync_cli.training.detector.loss import Targets, assign, detector_loss, stack
from lipsync_cli.training.detector.model import YuNet, export_onnx
from lipsync_cli.training.running import follow, rate_share

# Picture side and batch size drawn for each step: equal work, unequal views.
SHAPES = ((160, 24), (192, 18), (256, 10), (320, 6))
PEAK_RATE, WEIGHT_DECAY, WARM_UP_STEPS = 4e-3, 1e-4, 100
AVERAGING = 0.998
SAVE_EVERY_S = 120.0


@dataclass
class _Run:
    network: YuNet
    averaged: YuNet
    optimiser: torch.optim.Optimizer
    step: int = 0
    elapsed_s: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    summed: int = 0

    def save(self, path: Path) -> None:
        state: dict[str, Any] = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
        }
        write_checkpoint(state, path)

    def load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]


def train_detector(
    data: Path,
    checkpoint: Path,
    *,
    minutes: float = 60.0,
    start_from: Path | None = None,
    peak_rate: float = PEAK_RATE,
    seed: int = 0,
    log: Callable[[str], None] | None = None,
) -> int:
    """Train for `minutes` of wall time and return the number of steps made.

    An existing `checkpoint` is resumed; `start_from` begins a new schedule from the averaged
    weights of another one. Threads are those torch is set to.
    """
    run = _begin(seed, peak_rate, start_from)
    if checkpoint.exists():
        run.load(checkpoint)
    composer = Composer(PackedPictures(data), np.random.default_rng((seed, run.step)))
    began_s = time.monotonic() - run.elapsed_s
    saved_s = run.elapsed_s
    while run.elapsed_s < 60.0 * minutes:
        _set_rate(run, peak_rate, run.elapsed_s / (60.0 * minutes))
        _step(run, composer, seed)
        run.elapsed_s = time.monotonic() - began_s
        if log is not None and run.step % 100 == 0:
            log(_progress(run))
        if run.elapsed_s - saved_s > SAVE_EVERY_S:
            run.save(checkpoint)
            saved_s = run.elapsed_s
    run.save(checkpoint)
    return run.step


def export_detector(checkpoint: Path, output: Path) -> int:
    """Write the averaged weights of a checkpoint as ONNX; returns the size in bytes."""
    export_onnx(load_averaged(checkpoint), output)
    return output.stat().st_size


def load_averaged(checkpoint: Path) -> YuNet:
    """The network with the averaged weights of a checkpoint, ready to infer."""
    network = YuNet()
    network.load_state_dict(torch.load(checkpoint, weights_only=True)["averaged"])
    return network.eval()


def _begin(seed: int, peak_rate: float, start_from: Path | None) -> _Run:
    torch.manual_seed(seed)
    network = YuNet()
    if start_from is not None:
        network = load_averaged(start_from).train()
    # Depthwise convolutions are about twice as fast in this layout on a CPU.
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=peak_rate, weight_decay=WEIGHT_DECAY)
    return _Run(network, averaged, optimiser)


def _set_rate(run: _Run, peak_rate: float, progress: float) -> None:
    rate = peak_rate * rate_share(run.step, WARM_UP_STEPS, progress)
    for group in run.optimiser.param_groups:
        group["lr"] = rate


def _batch(composer: Composer, side: int, count: int) -> tuple[Tensor, Targets]:
    pictures, targets = [], []
    for _ in range(count):
        picture, labels = composer.compose(side)
        pictures.append(torch.from_numpy(picture))
        targets.append(assign(labels, side))
    return torch.stack(pictures)[:, None].float(), stack(targets)


def _step(run: _Run, composer: Composer, seed: int) -> None:
    chooser = np.random.default_rng((seed, 1, run.step))
    side, count = SHAPES[int(chooser.integers(len(SHAPES)))]
    pictures, targets = _batch(composer, side, count)
    parts = detector_loss(run.network(pictures), targets, side)
    loss = torch.stack(list(parts.values())).sum()
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), 10.0)
    run.optimiser.step()
    run.step += 1
    follow(run.averaged, run.network, AVERAGING, run.step)
    run.summed += 1
    for name, value in parts.items():
        run.sums[name] = run.sums.get(name, 0.0) + value.item()


def _progress(run: _Run) -> str:
    parts = "  ".join(f"{name} {value / run.summed:.3f}" for name, value in run.sums.items())
    run.sums.clear()
    run.summed = 0
    return f"step {run.step}  {run.elapsed_s / 60:.1f} min  {parts}"

"""What each stage of dubbing costs: clocks round the steps of a real run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from lipsync_cli import dub
from lipsync_cli.dubbing.generator.designs import design
from lipsync_cli.dubbing.generator.loading import LoadedGenerator
from lipsync_cli.dubbing.generator.network import Generator
from lipsync_cli.training.speed.benchmark import Cost, Stage, stage, timed

# Where the steps of a dub come from; they are timed wherever they are called.
_STEPS = {
    "scan": ("dubbing.footage.scan", "scan"),
    "speech": ("dubbing.speech", "hear"),
    "choose person": ("dubbing.footage.people", "choose_person"),
    "collect": ("dubbing.mouths.units", "collect"),
    "select": ("dubbing.mouths.select", "select_slots"),
    "gather": ("dubbing.mouths.gallery", "gather"),
}
# Sides of the pictures of generators, and how many are drawn at once.
_GENERATORS = ((96, 16), (256, 4))


class _Clocks:
    """Sums of what was spent in each step; generators are timed item by item."""

    def __init__(self) -> None:
        self.spent: dict[str, Cost] = {}

    def add(self, name: str, cost: Cost) -> None:
        before = self.spent.get(name, Cost(0.0, 0.0))
        self.spent[name] = Cost(before.cpu_s + cost.cpu_s, before.wall_s + cost.wall_s)

    def around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, timed, with all threads of the process."""

        def timed_call(*args: Any, **options: Any) -> Any:
            cpu_s, wall_s = time.process_time(), time.perf_counter()
            try:
                return call(*args, **options)
            finally:
                cost = Cost(time.process_time() - cpu_s, time.perf_counter() - wall_s)
                self.add(name, cost)

        return timed_call

    def items(self, name: str, items: Iterator[Any]) -> Iterator[Any]:
        """The same items; the making of each is timed, in its own thread only."""
        while True:
            cpu_s, wall_s = time.thread_time(), time.perf_counter()
            item = next(items, None)
            self.add(name, Cost(time.thread_time() - cpu_s, time.perf_counter() - wall_s))
            if item is None:
                return
            yield item

    def rewriting(self, rewrite: Callable[..., Any]) -> Callable[..., Any]:
        """`rewrite` with clocks before and behind what edits the pictures."""

        def timed_rewrite(*args: Any, edit_stream: Callable[..., Any], **options: Any) -> Any:
            def edit(pictures: Iterator[Any]) -> Iterator[Any]:
                return self.items("edited", iter(edit_stream(self.items("decoded", pictures))))

            return self.around("rewrite", rewrite)(*args, edit_stream=edit, **options)

        return timed_rewrite

    def minus(self, name: str, *others: str) -> Cost:
        """What a step took apart from the steps inside it."""
        whole = self.spent.get(name, Cost(0.0, 0.0))
        inner = [self.spent.get(other, Cost(0.0, 0.0)) for other in others]
        return Cost(
            whole.cpu_s - sum(each.cpu_s for each in inner),
            whole.wall_s - sum(each.wall_s for each in inner),
        )


def dub_stages(video: Path, speech: Path, target: Path) -> Iterator[Stage]:
    """The stages of the rewrite engine on one file, per picture of it."""
    clocks = _Clocks()
    with ExitStack() as stack:
        for name, step in _STEPS.items():
            _replace(stack, step, partial(clocks.around, name))
        _replace(stack, ("media.rewrite", "rewrite"), clocks.rewriting)
        options = dub.DubOptions(engine="rewrite", extend="cut", verify=False)
        results: list[Any] = []
        whole = timed(
            lambda: results.append(
                dub.dub_video(video, speech, target, options=options, overwrite=True)
            )
        )
    frames = results[0].frames
    for name in _STEPS:
        if name in clocks.spent:
            yield stage(name, clocks.spent[name], frames)
    yield stage("compositing", clocks.minus("edited", "decoded"), frames)
    coding = clocks.minus("rewrite", "edited")
    yield stage("decoding, encoding, check", coding, frames)
    yield stage("dub", whole, frames, "decoding, encoding, check", coding)


def _replace(
    stack: ExitStack, step: tuple[str, str], timed_step: Callable[[Any], Callable[..., Any]]
) -> None:
    """Put clocks round a function in all modules that have it; a renamed one is left out."""
    home, name = step
    function = getattr(import_module(f"lipsync_cli.{home}"), name, None)
    for module_name, module in list(sys.modules.items()):
        is_ours = module_name.startswith("lipsync_cli.") and function is not None
        if is_ours and getattr(module, name, None) is function:
            stack.enter_context(patch.object(module, name, timed_step(function)))


def generator_stages() -> Iterator[Stage]:
    """A Wav2Lip generator of random weights: no checkpoint is needed to know its cost."""
    for size, batch in _GENERATORS:
        topology = design(size=size)
        loaded = LoadedGenerator(Generator(topology), topology, torch.device("cpu"))
        faces = np.zeros((batch, size, size, 3), np.uint8)
        mel = np.zeros((batch, 80, 16), np.float32)
        loaded.generate(faces, faces, mel)

        def run(loaded: LoadedGenerator = loaded, faces: Any = faces, mel: Any = mel) -> object:
            return loaded.generate(faces, faces, mel)

        yield stage(f"generator {size} px", timed(run), batch)

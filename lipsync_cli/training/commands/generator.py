"""The generator of dub, and those it is compared with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lipsync_cli.errors import InputError, UsageError
from lipsync_cli.training.commands.common import Report, Run, Threads, publish, set_threads

if TYPE_CHECKING:
    from lipsync_cli.dubbing.generator.expert import SyncExpert
    from lipsync_cli.training.faces.pack import PackedClip
    from lipsync_cli.training.generator.models import TrainedGenerator
    from lipsync_cli.training.generator.opinions import Opinions
    from lipsync_cli.training.generator.plan import GeneratorPlan

app = typer.Typer()

Pack = Annotated[Path, typer.Option(help="Folder of packed faces, made by pack-faces.")]
Expert = Annotated[Path | None, typer.Option(help="Sync expert: its file, or a run's folder.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Steps = Annotated[int, typer.Option(help="Optimiser steps in all.")]
Minutes = Annotated[float, typer.Option(help="End when the run has taken as long.")]
Widths = Annotated[str, typer.Option(help="Channels: encoder/audio/decoder.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Another setting of the plan: batch=8, bf16=true, ..."),
]
_COMPACT = "8/16/14"
_ENDLESS = 1e9


@app.command()
def train_generator(
    pack: Pack,
    run: Run,
    expert: Expert = None,
    architecture: Annotated[str, typer.Option(help="wav2lip, lipgan, speech2vid.")] = "wav2lip",
    widths: Widths = _COMPACT,
    loss: Annotated[
        list[str] | None, typer.Option(help="Weight of a term: sync=0.03, adversarial=0.07, ...")
    ] = None,
    set_: Set = None,
    steps: Steps = 100_000,
    minutes: Minutes = _ENDLESS,
    eval_every: int = 500,
    grid_every: int = 1000,
    device: Device = "auto",
    threads: Threads = 2,
) -> None:
    """Train a generator, or go on with it; grids of samples are written beside it."""
    from lipsync_cli.training.generator.plan import LossWeights, architecture_named, changed

    weights = changed(LossWeights(), loss or ())
    plan = _plan(widths, steps, set_)
    plan = replace(plan, weights=weights, architecture=architecture_named(architecture))
    set_threads(threads)
    judge = _expert(expert) if weights.sync else None
    _Training(pack, judge, device, 60 * minutes, threads, eval_every, grid_every).run(plan, run)


@app.command()
def export_generator(
    run: Run,
    weights: Annotated[Path, typer.Option(help="Where to.")] = Path("weights/generator.pth"),
    trained_on: Annotated[str, typer.Option(help="The data, in words.")] = "",
    figures: Annotated[Path | None, typer.Option(help="JSON of what it measured.")] = None,
) -> None:
    """Write the averaged weights in half precision and enter them into the manifest."""
    from lipsync_cli.training.generator.export import export_generator as export

    measured = {} if figures is None else _measured(figures)
    weight = export(run, weights, trained_on=trained_on, figures=measured)
    typer.echo(json.dumps(asdict(weight), indent=1))


@app.command()
def compare_generators(
    pack: Pack,
    expert: Expert,
    runs: Annotated[Path, typer.Option(help="Folder of the runs, one a method.")],
    split: str = "val",
    widths: Widths = _COMPACT,
    set_: Set = None,
    steps: Steps = 2000,
    minutes: Annotated[float, typer.Option(help="Of each method at most.")] = _ENDLESS,
    count: Annotated[int, typer.Option(help="Clips to measure on, one a speaker.")] = 10,
    seconds: Annotated[float, typer.Option(help="Of each clip.")] = 20.0,
    clips: Annotated[Path | None, typer.Option(help="The clips themselves, for judges.")] = None,
    judge: Annotated[Path | None, typer.Option(help="Python file of an independent judge.")] = None,
    syncnet: Annotated[Path | None, typer.Option(help="syncnet_v2.model, for LSE.")] = None,
    report: Report = None,
    device: Device = "auto",
    threads: Threads = 2,
) -> None:
    """Train the paper's methods alike, where that is not done, and measure them on strangers."""
    from lipsync_cli.training.faces.pack import load_pack
    from lipsync_cli.training.generator import compare as comparison

    set_threads(threads)
    opinion, net = _opinions(clips, judge, syncnet), _expert(expert)
    plans = comparison.contenders(_plan(widths, steps, set_))
    strangers = comparison.one_a_speaker(load_pack(pack, split), count)
    training = _Training(pack, net, device, 60 * minutes, threads)
    table = comparison.compare_generators(
        strangers,
        comparison.train_contenders(plans, runs, training.run),
        net,
        opinion=opinion,
        longest_s=seconds,
        log=lambda line: typer.echo(line, err=True),
    )
    publish([row.to_dict() for row in table], report)


@dataclass(frozen=True)
class _Training:
    """What the runs of a command have in common."""

    pack: Path
    expert: SyncExpert | None
    device: str
    deadline_s: float
    workers: int
    eval_every: int = 200
    grid_every: int = 1000

    def run(self, plan: GeneratorPlan, folder: Path) -> TrainedGenerator:
        """Train with the people of the pack that are not held out."""
        from lipsync_cli.training.generator.train import Habits, train_generator

        kept, held_out = self._people
        habits = Habits(
            grid_every=self.grid_every, workers=self.workers, deadline_s=self.deadline_s
        )
        return train_generator(
            kept,
            held_out,
            folder,
            plan,
            expert=self.expert,
            device=self.device,
            eval_every=self.eval_every,
            habits=habits,
            on_step=_tell,
        )

    @cached_property
    def _people(self) -> tuple[list[PackedClip], list[PackedClip]]:
        from lipsync_cli.training.faces.pack import hold_out, load_pack

        return hold_out(load_pack(self.pack, "train"))


def _tell(step: int, terms: dict[str, float]) -> None:
    typer.echo(f"{step} " + " ".join(f"{name}={value:.4f}" for name, value in terms.items()))


def _measured(report: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(report.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            "holds no figures", path=report, hint="give an object in JSON: {NAME: VALUE, ...}"
        ) from error


def _plan(widths: str, steps: int, settings: list[str] | None) -> GeneratorPlan:
    from lipsync_cli.training.generator.plan import GeneratorPlan, changed

    try:
        encoder, audio, decoder = (int(part) for part in widths.split("/"))
    except ValueError as error:
        raise UsageError(f"{widths!r} are no widths", hint="give three, as in 8/16/14") from error
    plan = GeneratorPlan(encoder=encoder, audio=audio, decoder=decoder, steps=steps)
    return changed(plan, settings or ())


def _expert(path: Path | None) -> SyncExpert:
    if path is None:
        raise UsageError("the sync loss needs an expert", hint="give --expert, or --loss sync=0")
    from lipsync_cli.dubbing.generator.expert import load_expert
    from lipsync_cli.training.expert.state import trained_expert

    return trained_expert(path)[0] if path.is_dir() else load_expert(path)


def _opinions(clips: Path | None, judge: Path | None, syncnet: Path | None) -> Opinions | None:
    if judge is None and syncnet is None:
        return None
    if clips is None:
        raise UsageError("judges hear the original sound", hint="give --clips, what was packed")
    from lipsync_cli.training.generator.opinions import Opinions

    return Opinions(clips, judge, syncnet)

"""Packed faces, and the sync expert that judges a generator while it learns."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lipsync_cli.training.commands.common import Clips, Report, Run, Threads, publish, set_threads

app = typer.Typer()

Packed = Annotated[Path, typer.Option("--pack", help="Packed faces, made by pack-faces.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]


@app.command()
def pack_faces(
    clips: Clips,
    out: Annotated[Path, typer.Option(help="Folder of the packed faces.")],
    split: str = "train",
    shard: int = 0,
    shards: int = 1,
) -> None:
    """Pack colour faces and mel of talking-head clips; one process a shard, resumed if begun."""
    from lipsync_cli.errors import InputError
    from lipsync_cli.faces.detect import create_detector
    from lipsync_cli.training.faces.write import pack_faces
    from lipsync_cli.training.sync.prepare import Source

    set_threads(1)
    manifest = clips / "manifest.csv"
    if not manifest.exists():
        raise InputError(
            "there is no manifest.csv in it", path=clips, hint="name the folder of the clips"
        )
    with manifest.open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["split"] == split]
    wanted = [r for r in rows if r["kind"] == "talking_head"][shard::shards]
    sources = [Source(clips / r["file"], r["file"], r["speaker"], r["corpus"]) for r in wanted]
    name = f"{split}.{shard}"
    count = pack_faces(sources, clips / "lags.csv", out, name, create_detector(), log=typer.echo)
    typer.echo(f"{name}: {count} clips")


@app.command()
def train_expert(
    pack: Packed,
    run: Run,
    width: Annotated[int, typer.Option(help="Of the network; 32 is the official one.")] = 16,
    loss: Annotated[str, typer.Option(help="multiway, or bce as in the paper.")] = "multiway",
    steps: int = 20_000,
    rate: Annotated[float, typer.Option(help="Of learning.")] = 1e-3,
    batch: Annotated[int, typer.Option(help="Clips in a step, 20 windows of each.")] = 6,
    seed: int = 5,
    minutes: float = 1e6,
    device: Device = "auto",
    bf16: bool = False,
    threads: Threads = 2,
) -> None:
    """Train the sync expert, or go on with it; held-out people of the split show how well."""
    from lipsync_cli.errors import UsageError
    from lipsync_cli.training.expert.state import ExpertPlan
    from lipsync_cli.training.expert.train import Habits
    from lipsync_cli.training.expert.train import train_expert as train
    from lipsync_cli.training.faces.pack import hold_out, load_pack

    if loss not in ("multiway", "bce"):
        raise UsageError(f"there is no loss {loss!r}", hint="multiway or bce")
    set_threads(threads)
    kept, out = hold_out(load_pack(pack, "train"))
    # A few minutes of strangers tell enough while it trains.
    plan = ExpertPlan(
        width=width, loss=_loss(loss), steps=steps, rate=rate, clips=batch, seed=seed, bf16=bf16
    )
    habits = Habits(deadline_s=60 * minutes)
    train(kept, out[:24], run, plan, device=device, habits=habits, on_step=_tell)


@app.command()
def evaluate_expert(
    pack: Packed,
    weights: Annotated[Path, typer.Option(help="An expert's file, or a run's folder.")],
    split: str = "val",
    device: Device = "auto",
    report: Report = None,
    threads: Threads = 1,
) -> None:
    """Accuracy of an expert, official or own, on the people of a split."""
    from lipsync_cli.device import choose
    from lipsync_cli.dubbing.generator.expert import load_expert
    from lipsync_cli.training.expert.evaluate import evaluate_expert
    from lipsync_cli.training.expert.state import trained_expert
    from lipsync_cli.training.faces.pack import load_pack

    set_threads(threads)
    expert = trained_expert(weights)[0] if weights.is_dir() else load_expert(weights)
    found = evaluate_expert(expert.to(choose(device)), load_pack(pack, split))
    publish(asdict(found), report)


@app.command()
def export_expert(
    run: Run,
    to: Annotated[Path, typer.Option(help="The file to write.")],
    listed: Annotated[bool, typer.Option(help="Enter it into the manifest beside it.")] = False,
    trained_on: Annotated[str, typer.Option(help="Data, for the manifest.")] = "",
    figures: Annotated[Path | None, typer.Option(help="Report of evaluate-expert.")] = None,
) -> None:
    """Write the averaged expert of a run in half precision."""
    from lipsync_cli.training.expert.export import export_expert

    measured = None if figures is None else json.loads(figures.read_text())
    about = export_expert(run, to, listed=listed, trained_on=trained_on, figures=measured)
    publish(about, None)


def _tell(step: int, terms: dict[str, float]) -> None:
    typer.echo(f"{step} " + " ".join(f"{name}={value:.4f}" for name, value in terms.items()))


def _loss(name: str) -> Any:
    # Checked before; the plan's type is narrower than an option's.
    return name

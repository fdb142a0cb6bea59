"""The sync model."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lipsync_cli.training.commands.common import (
    Cache,
    Clips,
    Report,
    Run,
    Threads,
    own_offsets,
    set_threads,
    split_speakers,
)

app = typer.Typer()
Runs = Annotated[list[Path], typer.Option(help="Folder of checkpoints; repeatable.")]
Pictures = Annotated[Path, typer.Option(help="Converted clips, made by prepare-benchmark.")]


@app.command()
def prepare_sync(
    clips: Clips, cache: Cache, split: str = "train", shard: int = 0, shards: int = 1
) -> None:
    """Pack mouth crops and sound of talking-head clips; one process a shard."""
    from lipsync_cli.faces.detect import create_detector
    from lipsync_cli.training.sync.prepare import Source, prepare_sync_data

    set_threads(1)
    with (clips / "manifest.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["split"] == split]
    wanted = [r for r in rows if r["kind"] == "talking_head"][shard::shards]
    sources = [Source(clips / r["file"], r["file"], r["speaker"], r["corpus"]) for r in wanted]
    name = f"{split}.{shard}"
    count = prepare_sync_data(sources, cache, name, create_detector(), log=typer.echo)
    typer.echo(f"{name}: {count} clips")


@app.command()
def train_sync(
    clips: Clips,
    cache: Cache,
    run: Run,
    steps: int = 20_000,
    minutes: float = 1e6,
    device: str = "cpu",
    threads: Threads = 2,
    start_from: Path | None = None,
    crowd: Annotated[int, typer.Option(help="How many times the usual batch.")] = 1,
    workers: Annotated[int, typer.Option(help="Processes that draw samples.")] = 0,
    bfloat16: bool = False,
) -> None:
    """Train encoders and classifier jointly, afresh, from a shipped model or a checkpoint."""
    from lipsync_cli.training.sync.train import TrainingPlan, train

    set_threads(threads)
    kept, _ = split_speakers(clips, cache)

    def tell(step: int, losses: dict[str, float]) -> None:
        typer.echo(f"{step} " + " ".join(f"{k}={v:.3f}" for k, v in losses.items()))

    deadline_s = 60 * minutes
    plan = TrainingPlan(steps=steps, crowd=crowd, workers=workers, bfloat16=bfloat16)
    train(
        kept,
        run,
        plan,
        device=device,
        on_step=tell,
        deadline_s=deadline_s,
        start_from=start_from,
    )


@app.command()
def export_sync(clips: Clips, cache: Cache, run: Runs, weights: Path = Path("weights")) -> None:
    """Calibrate on the held-out speakers and write weights/sync.pt; several runs are averaged."""
    from lipsync_cli.training.sync.export import export

    set_threads(1)
    _, held_out = split_speakers(clips, cache)
    typer.echo(json.dumps(export(run, held_out, weights / "sync.pt"), indent=1))


@app.command()
def prepare_benchmark(clips: Clips, cache: Cache, pictures: Pictures, count: int = 12) -> None:
    """Convert, encode and shrink validation clips, and pack them; needs no model, goes on."""
    from lipsync_cli.faces.detect import create_detector
    from lipsync_cli.training.accuracy.pictures import (
        PICTURE_CONDITIONS,
        choose_clips,
        measure_poses,
        prepare_conditions,
    )
    from lipsync_cli.training.sync.prepare import Source

    set_threads(1)
    known, trusted = own_offsets(clips, cache, "val")
    sure = [c for c in known if c.file in trusted]
    sources = {c.file: Source(clips / c.file, c.file, c.speaker, c.corpus) for c in sure}
    measure_poses(list(sources.values()), pictures, create_detector, log=typer.echo)
    chosen = [sources[c.file] for c in choose_clips(sure, count)]
    prepare_conditions(chosen, PICTURE_CONDITIONS, pictures, create_detector, log=typer.echo)


@app.command()
def benchmark_sync(
    clips: Clips,
    cache: Cache,
    pictures: Pictures,
    results: Annotated[Path, typer.Option(help="Folder of figures; a run goes on from there.")],
    model: Annotated[Path | None, typer.Option(help="Model file; else the shipped one.")] = None,
    seed: int = 0,
    threads: Threads = 1,
) -> None:
    """Accuracy, probabilities and refusals on validation speakers, by condition.

    Writes report.json, report.txt and reliability.png into a folder of `results` named by
    the model's hash.
    """
    import torch

    from lipsync_cli.sync.model_file import load_model
    from lipsync_cli.training.accuracy.benchmark import Plan, run
    from lipsync_cli.training.accuracy.pictures import load_poses
    from lipsync_cli.training.accuracy.report import write_report
    from lipsync_cli.weights import locate
    from lipsync_cli.weights.listing import sha256_of

    set_threads(threads)
    path = model or locate("sync")
    loaded = load_model(path, torch.device("cpu"))
    known, trusted = own_offsets(clips, cache, "val")
    sure = [c for c in known if c.file in trusted]
    folder = results / f"{sha256_of(path)[:12]}-{seed}"
    plan = Plan(sure, pictures, folder, load_poses(pictures), seed)
    run(loaded.module, plan, log=lambda line: typer.echo(line, err=True))
    about = {"model_bytes": path.stat().st_size, "clips": len(sure), "seed": seed}
    typer.echo(write_report(folder, loaded.calibration, about))


@app.command()
def evaluate_injected(files: list[Path], report: Report = None, threads: Threads = 2) -> None:
    """Shift the sound of files by known amounts and measure the change with the product."""
    from lipsync_cli.training.sync.injected import injected_shifts, summary

    set_threads(threads)
    found = injected_shifts(files, log=lambda line: typer.echo(line, err=True))
    answer = {"summary": summary(found), "files": [asdict(f) for f in found]}
    typer.echo(json.dumps(answer["summary"], indent=1))
    if report is not None:
        report.write_text(json.dumps(answer, indent=1) + "\n")

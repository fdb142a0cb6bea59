"""The sync model."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from lipsync_cli.training.commands.common import (
    Cache,
    Clips,
    Report,
    Run,
    Threads,
    own_offsets,
    publish,
    set_threads,
    split_speakers,
)

app = typer.Typer()


@app.command()
def prepare_sync(
    clips: Clips, cache: Cache, split: str = "train", shard: int = 0, shards: int = 1
) -> None:
    """Pack mouth crops and sound of talking-head clips; one process a shard."""
    from lipsync_cli.faces.detect import create_detector
    from lipsync_cli.training.sync_prepare import Source, prepare_sync_data

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
) -> None:
    """Train encoders and classifier jointly, afresh, from a shipped model or a checkpoint."""
    from lipsync_cli.training.sync_train import TrainingPlan, train

    set_threads(threads)
    kept, _ = split_speakers(clips, cache)

    def tell(step: int, losses: dict[str, float]) -> None:
        typer.echo(f"{step} " + " ".join(f"{k}={v:.3f}" for k, v in losses.items()))

    deadline_s = 60 * minutes
    plan = TrainingPlan(steps=steps)
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
def export_sync(clips: Clips, cache: Cache, run: Run, weights: Path = Path("weights")) -> None:
    """Calibrate on the held-out speakers and write weights/sync.pt."""
    from lipsync_cli.training.sync_export import export

    set_threads(1)
    _, held_out = split_speakers(clips, cache)
    typer.echo(json.dumps(export(run, held_out, weights / "sync.pt"), indent=1))


@app.command()
def evaluate_sync(
    clips: Clips, cache: Cache, run: Run, report: Report = None, threads: Threads = 1
) -> None:
    """Accuracy by window length and reliability on speakers of the validation split."""
    from lipsync_cli.training.sync_calibrate import coverage, reliability, sure_about_strangers
    from lipsync_cli.training.sync_calibrate import trials as run_trials
    from lipsync_cli.training.sync_evaluate import accuracy_table, matrices, own_by_model
    from lipsync_cli.training.sync_export import load_checkpoint, shipped_calibration

    set_threads(threads)
    every, trusted = own_offsets(clips, cache, "val")
    model, calibration = load_checkpoint(run), shipped_calibration()
    items = matrices(model, every)
    sure = [m for m in items if m.clip.file in trusted]
    found = run_trials(model, [c for c in every if c.file in trusted], seed=1)
    answer: dict[str, Any] = {
        "clips": len(items),
        "trusted_clips": len(sure),
        "against_table": accuracy_table(model, sure, [m.clip.offset_ms for m in sure]),
        "against_table_all": accuracy_table(model, items, [m.clip.offset_ms for m in items]),
        "against_itself": accuracy_table(model, items, [own_by_model(m) for m in items]),
        "reliability": reliability(found, calibration),
        "interval_coverage": coverage(found, calibration),
        "sure_about_strangers": sure_about_strangers(found, calibration),
    }
    publish(answer, report)


@app.command()
def evaluate_injected(files: list[Path], report: Report = None, threads: Threads = 2) -> None:
    """Shift the sound of files by known amounts and measure the change with the product."""
    from lipsync_cli.training.sync_injected import injected_shifts, summary

    set_threads(threads)
    found = injected_shifts(files, log=lambda line: typer.echo(line, err=True))
    answer = {"summary": summary(found), "files": [asdict(f) for f in found]}
    typer.echo(json.dumps(answer["summary"], indent=1))
    if report is not None:
        report.write_text(json.dumps(answer, indent=1) + "\n")

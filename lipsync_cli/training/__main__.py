"""`python -m lipsync_cli.training`: prepare, train, export and measure the shipped models."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

Clips = Annotated[Path, typer.Option(help="Folder with manifest.csv, lags.csv and the clips.")]
Cache = Annotated[Path, typer.Option(help="Packed training data, made by prepare-sync.")]
Run = Annotated[Path, typer.Option(help="Folder of checkpoints; resumed when there is one.")]
Threads = Annotated[int, typer.Option(help="CPU threads.")]
HELD_OUT = 0.08
SPLIT_SEED = 7


@app.command()
def prepare_sync(
    clips: Clips, cache: Cache, split: str = "train", shard: int = 0, shards: int = 1
) -> None:
    """Pack mouth crops and sound of talking-head clips; one process a shard."""
    from lipsync_cli.faces.detect import create_detector
    from lipsync_cli.training.sync_prepare import Source, prepare_sync_data

    _threads(1)
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

    _threads(threads)
    kept, _ = _split(clips, cache)

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

    _threads(1)
    _, held_out = _split(clips, cache)
    typer.echo(json.dumps(export(run, held_out, weights / "sync.pt"), indent=1))


@app.command()
def evaluate_sync(
    clips: Clips, cache: Cache, run: Run, report: Path | None = None, threads: Threads = 1
) -> None:
    """Accuracy by window length and reliability on speakers of the validation split."""
    from lipsync_cli.training.sync_calibrate import coverage, reliability, sure_about_strangers
    from lipsync_cli.training.sync_calibrate import trials as run_trials
    from lipsync_cli.training.sync_evaluate import accuracy_table, matrices, own_by_model
    from lipsync_cli.training.sync_export import load_checkpoint, shipped_calibration

    _threads(threads)
    every, trusted = _own_offsets(clips, cache, "val")
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
    text = json.dumps(answer, indent=1)
    typer.echo(text)
    if report is not None:
        report.write_text(text + "\n")


@app.command()
def evaluate_injected(files: list[Path], report: Path | None = None, threads: Threads = 2) -> None:
    """Shift the sound of files by known amounts and measure the change with the product."""
    from lipsync_cli.training.sync_injected import injected_shifts, summary

    _threads(threads)
    found = injected_shifts(files, log=lambda line: typer.echo(line, err=True))
    answer = {"summary": summary(found), "files": [asdict(f) for f in found]}
    typer.echo(json.dumps(answer["summary"], indent=1))
    if report is not None:
        report.write_text(json.dumps(answer, indent=1) + "\n")


@app.command()
def benchmark_dub(
    clips: Clips,
    judge: Annotated[Path, typer.Option(help="Python file of an independent judge.")],
    files: Annotated[list[Path] | None, typer.Argument()] = None,
    split: str = "val",
    count: int = 10,
    report: Path | None = None,
    threads: Threads = 1,
) -> None:
    """Dub clips with each other's speech, lips only, and ask a judge."""
    from lipsync_cli.device import choose
    from lipsync_cli.sync.model_file import load_model
    from lipsync_cli.training.benchmark_dub import benchmark, surest_clips
    from lipsync_cli.training.dub_judge import load_judge
    from lipsync_cli.weights import locate

    _threads(threads)
    paths = files or surest_clips(clips, split, count)
    model = load_model(locate("sync"), choose("cpu"))
    answer = benchmark(paths, model, load_judge(judge), log=lambda t: typer.echo(t, err=True))
    text = json.dumps(answer, indent=1)
    typer.echo(text)
    if report is not None:
        report.write_text(text + "\n")


@app.command()
def prepare_detector(shared: Path, data: Path, report: bool = False) -> None:
    """Label pictures by the teachers in SHARED and pack them."""
    from lipsync_cli.training.detector_data import prepare_detector_data

    purpose: Literal["train", "report"] = "report" if report else "train"
    typer.echo(json.dumps(prepare_detector_data(shared, data, purpose=purpose)))


@app.command()
def train_detector(
    data: Path,
    checkpoint: Path,
    minutes: float = 60.0,
    threads: Threads = 1,
    start_from: Path | None = None,
    rate: float = 4e-3,
) -> None:
    """Train the face detector, or go on with it; a new run may start from another's weights."""
    _threads(threads)
    from lipsync_cli.training.detector_train import train_detector as train

    train(data, checkpoint, minutes=minutes, start_from=start_from, peak_rate=rate, log=typer.echo)


@app.command()
def export_detector(
    checkpoint: Path, output: Path = Path("weights/face_detector.onnx"), trained_on: str = ""
) -> None:
    """Write the averaged weights as ONNX and enter them into the manifest."""
    from lipsync_cli.training.detector_train import export_detector as export
    from lipsync_cli.weights import register

    export(checkpoint, output)
    register(output, name="face_detector", kind="onnx", trained_on=trained_on)


@app.command()
def evaluate_detector(weights: Path, data: Path) -> None:
    """Measure a face detector on held-out pictures."""
    _threads(1)
    from lipsync_cli.training.detector_evaluate import evaluate_detector as evaluate

    typer.echo(json.dumps(evaluate(weights, data), indent=1))


@app.command()
def choose_thresholds(weights: Path, data: Path) -> None:
    """Print the scores that keep to the allowed false boxes on held-out training pictures."""
    _threads(1)
    from lipsync_cli.training.detector_evaluate import choose_thresholds as choose

    typer.echo(json.dumps([look._asdict() for look in choose(weights, data)]))


def _threads(count: int) -> None:
    import cv2
    import torch

    torch.set_num_threads(count)
    cv2.setNumThreads(1)


def _split(clips: Path, cache: Path) -> tuple[list[Any], list[Any]]:
    """Re-centred training clips of (training speakers, speakers for calibration)."""
    from lipsync_cli.training.sync_cache import hold_out, load_clips
    from lipsync_cli.training.sync_labels import SURE_MARGIN, recentre

    table = clips / "lags.csv"
    # Split what training sees first: the held-out people must not depend on the margin.
    kept, out = hold_out(recentre(load_clips(cache, "train"), table), HELD_OUT, SPLIT_SEED)
    return kept, recentre(out, table, SURE_MARGIN)


def _own_offsets(clips: Path, cache: Path, split: str) -> tuple[list[Any], set[str]]:
    """In-the-wild clips with their own offsets, and those whose offset is no guess."""
    from lipsync_cli.training.sync_cache import load_clips
    from lipsync_cli.training.sync_labels import MIN_MARGIN, own_offsets_ms

    wild = [c for c in load_clips(cache, split) if c.corpus == "wild"]
    own = own_offsets_ms(wild, clips / "lags.csv")
    known = [replace(c, offset_ms=own[c.file][0]) for c in wild if c.file in own]
    return known, {c.file for c in known if own[c.file][1] >= MIN_MARGIN}


if __name__ == "__main__":
    app()

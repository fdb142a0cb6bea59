"""The face detector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import typer

from lipsync_cli.training.commands.common import Threads, set_threads

app = typer.Typer()


@app.command()
def prepare_detector(shared: Path, data: Path, report: bool = False) -> None:
    """Label pictures by the teachers in SHARED and pack them."""
    from lipsync_cli.training.detector.data import prepare_detector_data

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
    set_threads(threads)
    from lipsync_cli.training.detector.train import train_detector as train

    train(data, checkpoint, minutes=minutes, start_from=start_from, peak_rate=rate, log=typer.echo)


@app.command()
def export_detector(
    checkpoint: Path, output: Path = Path("weights/face_detector.onnx"), trained_on: str = ""
) -> None:
    """Write the averaged weights as ONNX and enter them into the manifest."""
    from lipsync_cli.training.detector.train import export_detector as export
    from lipsync_cli.weights import register

    export(checkpoint, output)
    register(output, name="face_detector", kind="onnx", trained_on=trained_on)


@app.command()
def evaluate_detector(weights: Path, data: Path) -> None:
    """Measure a face detector on held-out pictures."""
    set_threads(1)
    from lipsync_cli.training.detector.evaluate import evaluate_detector as evaluate

    typer.echo(json.dumps(evaluate(weights, data), indent=1))


@app.command()
def choose_thresholds(weights: Path, data: Path) -> None:
    """Print the scores that keep to the allowed false boxes on held-out training pictures."""
    set_threads(1)
    from lipsync_cli.training.detector.evaluate import choose_thresholds as choose

    typer.echo(json.dumps([look._asdict() for look in choose(weights, data)]))

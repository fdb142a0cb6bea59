"""Offsets that change."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Any

import typer

from lipsync_cli.training.commands.common import (
    Cache,
    Clips,
    Report,
    Threads,
    own_offsets,
    publish,
    set_threads,
    split_speakers,
)

app = typer.Typer()

# Clips that people are repeated from, as long and as smooth as that.
_MIN_S, _MIN_RATE = 8.0, 20.0


@app.command()
def benchmark_drift(
    clips: Clips,
    cache: Cache,
    folder: Annotated[Path, typer.Option(help="Where the long programme is written, and stays.")],
    split: Annotated[str, typer.Option(help="val, or train for its held-out speakers.")] = "train",
    drift_people: Annotated[int, typer.Option(help="Who drift for ten minutes each.")] = 3,
    step_people: Annotated[int, typer.Option(help="Whose sound makes four steps each.")] = 24,
    people: Annotated[int, typer.Option(help="Who speak in turn in the long programme.")] = 8,
    minutes: Annotated[float, typer.Option(help="Of the long programme; 0 for none.")] = 45.0,
    seed: int = 0,
    report: Report = None,
    threads: Threads = 1,
) -> None:
    """Plant drifts and steps, measure them and repair them: in memory, and in one long file."""
    import torch

    from lipsync_cli.sync.model_file import load_model
    from lipsync_cli.training.drift.benchmark import benchmark
    from lipsync_cli.training.drift.cases import benchmark_drifts, benchmark_steps, long_programme
    from lipsync_cli.training.drift.programme import lags_ms
    from lipsync_cli.training.drift.report import record, table
    from lipsync_cli.training.drift.talk import talker
    from lipsync_cli.weights import locate

    set_threads(threads)
    chosen = _surest(clips, cache, split)
    model = load_model(locate("sync"), torch.device("cpu"))

    def tell(line: str) -> None:
        typer.echo(line, err=True)

    drifting = ([talker(model, c) for c in person] for person in chosen[:drift_people])
    rows = list(benchmark_drifts(model, drifting, tell))
    stepping = ([talker(model, c) for c in person] for person in chosen[:step_people])
    rows += benchmark_steps(model, stepping, seed, tell)
    if minutes:
        folder.mkdir(parents=True, exist_ok=True)
        lags = lags_ms(clips)
        known = [(clips / c.file, lags[c.file]) for c, *_ in chosen[:people]]
        planted = long_programme(60 * minutes)
        rows.append(benchmark(known, folder, 60 * minutes, planted, log=tell))
    typer.echo("\n".join(table(rows)))
    publish(record(rows), report)


def _surest(clips: Path, cache: Path, split: str) -> list[list[Any]]:
    """Clips of each person that the shipped model did not train on, the clearest person first."""
    if split == "train":
        known = split_speakers(clips, cache)[1]
    else:
        every, trusted = own_offsets(clips, cache, split)
        known = [c for c in every if c.file in trusted]
    with (clips / "lags.csv").open(newline="") as file:
        margins = {r["file"]: float(r["margin"]) for r in csv.DictReader(file)}
    people: dict[str, list[Any]] = {}
    for clip in sorted(known, key=lambda c: -margins[c.file]):
        rate = (len(clip.pts_s) - 1) / clip.duration_s if clip.duration_s else 0.0
        if clip.duration_s >= _MIN_S and rate >= _MIN_RATE:
            people.setdefault(clip.group, []).append(clip)
    return list(people.values())

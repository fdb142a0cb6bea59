"""Offsets that change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lipsync_cli.training.commands.common import Clips, Report, Threads, publish, set_threads

app = typer.Typer()


@app.command()
def benchmark_drift(
    clips: Clips,
    folder: Annotated[Path, typer.Option(help="Where the programmes are written, and stay.")],
    split: str = "val",
    people: Annotated[int, typer.Option(help="Who speak in turn in the long programme.")] = 8,
    minutes: Annotated[float, typer.Option(help="Of the long programme; 0 for none.")] = 45.0,
    drift_minutes: Annotated[float, typer.Option(help="Of one who drifts; 0 for none.")] = 10.0,
    report: Report = None,
    threads: Threads = 1,
) -> None:
    """Write programmes whose sound drifts and steps, measure them and repair them."""
    from lipsync_cli.training.drift.benchmark import benchmark, record, table
    from lipsync_cli.training.drift.programme import Planted, lags_ms
    from lipsync_cli.training.dub.cases import surest_clips

    set_threads(threads)
    folder.mkdir(parents=True, exist_ok=True)
    lags = lags_ms(clips)
    files = surest_clips(clips, split, people)
    known = [(path, lags[path.relative_to(clips).as_posix()]) for path in files]

    def tell(line: str) -> None:
        typer.echo(line, err=True)

    rows = []
    if minutes:
        length_s = 60 * minutes
        steps = ((length_s / 3 + 0.3, 120.0), (2 * length_s / 3 + 0.6, -420.0))
        rows.append(benchmark(known, folder, length_s, Planted(0.0, 120.0, steps), log=tell))
    for ppm in (20.0, 100.0, 500.0) if drift_minutes else ():
        name, planted = f"drift{ppm:.0f}", Planted(0.0, ppm)
        one = known[:1], folder, 60 * drift_minutes, planted
        rows.append(benchmark(*one, name=name, repair=False, log=tell))
    typer.echo("\n".join(table(rows)))
    publish(record(rows), report)

"""How fast it is, and what it survives."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from lipsync_cli.training.commands.common import Report, Threads, publish, set_threads

app = typer.Typer()

_HEADS = ("stage", "CPU ms", "wall ms", "limit", "CPU ms", "wall ms")


class Part(StrEnum):
    """What can be measured."""

    detect = "detect"
    fix = "fix"
    dub = "dub"
    generator = "generator"
    growth = "growth"
    start = "start"


Media = Annotated[
    list[str] | None,
    typer.Option("--media", help="As in 1080p-h264; 360p, 1080p, 2160p; h264, hevc, prores."),
]
Parts = Annotated[list[Part] | None, typer.Option("--part", help="Only these; all if left out.")]
Folder = Annotated[Path | None, typer.Option(help="Keep the media there, to use them again.")]
_MEDIA = ("360p-h264", "1080p-h264", "1080p-hevc", "1080p-prores", "2160p-h264")


@app.command()
def benchmark_speed(
    media: Media = None,
    part: Parts = None,
    seconds: Annotated[float, typer.Option(help="Length of each file.")] = 10.0,
    minutes: Annotated[
        list[float] | None, typer.Option(help="Lengths for the growth with duration.")
    ] = None,
    faces: Annotated[list[int] | None, typer.Option(help="Faces for the growth, 0 to 3.")] = None,
    height: Annotated[int, typer.Option(help="Height of the pictures of the growth.")] = 360,
    folder: Folder = None,
    report: Report = None,
    threads: Threads = 1,
) -> None:
    """CPU and wall time of every stage beside its limit, on media made by the command itself.

    With more than one thread the CPU time of compositing misses that of other threads.
    """
    from lipsync_cli.training.speed.run import Asked, run

    set_threads(threads)
    asked = Asked(
        media=tuple(media or _MEDIA),
        parts=frozenset(p.value for p in part or Part),
        seconds=seconds,
        minutes=tuple(minutes or (0.25, 1.0)),
        faces=tuple(faces if faces is not None else (0, 1, 3)),
        height=height,
    )
    with tempfile.TemporaryDirectory() as temporary:
        kept = folder or Path(temporary)
        kept.mkdir(parents=True, exist_ok=True)
        answer = run(asked, kept, _show)
    publish(answer, report)


def _show(title: str, stages: list[Any]) -> None:
    """Print a table to stderr; the figures themselves go to stdout as JSON."""
    from rich.console import Console
    from rich.table import Table

    rows = [asdict(each) for each in stages]
    table = Table(title=title, title_justify="left")
    for head in rows[0] if rows else ():
        table.add_column(head.replace("_", " "))
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    Console(stderr=True, width=110).print(table)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)


@app.command()
def test_faults(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long to go on.")] = 5.0,
    seed: Annotated[int, typer.Option(help="Of the damage and the moments.")] = 0,
    dub: Annotated[bool, typer.Option(help="Stop dubs too.")] = True,
    report: Report = None,
) -> None:
    """Damaged files, kills, full disks: how many were tried, and what was lost; exit 1 if any."""
    from lipsync_cli.training.faults.run import run

    answer = run(minutes, seed, dub=dub)
    publish(answer, report)
    if answer["damaged"]["problems"] or answer["stopped"]["problems"]:
        raise typer.Exit(1)

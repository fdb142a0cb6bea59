"""Dubs, judged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lipsync_cli.training.commands.common import Clips, Report, Threads, publish, set_threads

app = typer.Typer()


@app.command()
def benchmark_dub(
    clips: Clips,
    judge: Annotated[Path, typer.Option(help="Python file of an independent judge.")],
    files: Annotated[list[Path] | None, typer.Argument()] = None,
    split: str = "val",
    count: int = 10,
    report: Report = None,
    threads: Threads = 1,
) -> None:
    """Dub clips with each other's speech, lips only, and ask a judge."""
    from lipsync_cli.device import choose
    from lipsync_cli.sync.model_file import load_model
    from lipsync_cli.training.benchmark_dub import benchmark, surest_clips
    from lipsync_cli.training.dub_judge import load_judge
    from lipsync_cli.weights import locate

    set_threads(threads)
    paths = files or surest_clips(clips, split, count)
    model = load_model(locate("sync"), choose("cpu"))
    answer = benchmark(paths, model, load_judge(judge), log=lambda t: typer.echo(t, err=True))
    publish(answer, report)

"""Dubs, judged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lipsync_cli.training.commands.common import Clips, Report, Threads, publish, set_threads

app = typer.Typer()

JudgeFile = Annotated[Path, typer.Option(help="Python file of an independent judge.")]
Files = Annotated[list[Path] | None, typer.Argument(help="Videos instead of those of a split.")]


@app.command()
def benchmark_dub(
    clips: Clips,
    judge: JudgeFile,
    files: Files = None,
    split: str = "val",
    count: int = 10,
    report: Report = None,
    threads: Threads = 1,
) -> None:
    """Dub clips with each other's speech, lips only, with less and less footage; ask a judge.

    With people that the model never saw in training it also refits the coverage figure.
    """
    from lipsync_cli.device import choose
    from lipsync_cli.sync.model_file import load_model
    from lipsync_cli.training.dub.benchmark import benchmark
    from lipsync_cli.training.dub.cases import surest_clips
    from lipsync_cli.training.dub.judge import load_judge
    from lipsync_cli.weights import locate

    set_threads(threads)
    paths = files or surest_clips(clips, split, count)
    model = load_model(locate("sync"), choose("cpu"))
    answer = benchmark(paths, model, load_judge(judge), log=_log)
    publish(answer, report)


@app.command()
def benchmark_dub_files(
    clips: Clips,
    judge: JudgeFile,
    out: Annotated[Path, typer.Option(help="Folder of the dubs; what is there is kept.")],
    files: Files = None,
    split: str = "val",
    count: int = 10,
    seconds: Annotated[float, typer.Option(help="Of each clip.")] = 20.0,
    silence: Annotated[bool, typer.Option(help="Also dub with silence.")] = True,
    report: Report = None,
    threads: Threads = 1,
) -> None:
    """Dub clips with each other's speech into files, and measure lips, picture and speed."""
    from lipsync_cli.device import choose
    from lipsync_cli.sync.model_file import load_model
    from lipsync_cli.training.dub.cases import surest_clips
    from lipsync_cli.training.dub.files import FilesOptions, benchmark_files
    from lipsync_cli.training.dub.judge import load_judge
    from lipsync_cli.training.dub.table import lines, summary
    from lipsync_cli.weights import locate, sha256_of

    set_threads(threads)
    paths = files or surest_clips(clips, split, count)
    path = locate("sync")
    rows = benchmark_files(
        paths,
        out,
        load_model(path, choose("cpu")),
        load_judge(judge),
        model_id=sha256_of(path),
        options=FilesOptions(seconds=seconds, silence=silence),
        log=_log,
    )
    for line in lines(rows):
        _log(line)
    publish({"files": rows, **summary(rows)}, report)


def _log(text: str) -> None:
    typer.echo(text, err=True)

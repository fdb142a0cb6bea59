"""`lipsync demo`: the whole way on a clip that is made on the spot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lipsync_cli.cli import batch, options, wording
from lipsync_cli.cli.process import Setup
from lipsync_cli.cli.report import Report
from lipsync_cli.text import printable

if TYPE_CHECKING:
    from lipsync_cli.demo import DemoResult

EPILOG = """[bold]Examples[/]
[cyan]lipsync demo[/]
[cyan]lipsync demo --error -80 --seed 3 tour/[/]  another clip, with the audio 80 ms late"""


@dataclass(frozen=True)
class Demonstrate:
    """Run the demo in one folder."""

    seed: int
    error_ms: float | None

    def __call__(self, folder: Path, progress: batch.Progress | None) -> DemoResult:
        from lipsync_cli.demo import run_demo

        return run_demo(folder, seed=self.seed, error_ms=self.error_ms, progress=progress)


@dataclass(frozen=True)
class Show:
    """Report what was put in, what was found, what is left, and where the files are."""

    report: Report

    def __call__(self, result: DemoResult) -> int:
        found = "nothing" if result.measured_ms is None else _signed(result.measured_ms)
        left = "unknown" if result.residual_ms is None else _signed(result.residual_ms)
        self.report.answer(
            f"{printable(result.clip)}: {_signed(result.injected_ms)} put in, "
            f"{found} found, {left} left after the repair",
            result.to_dict(),
        )
        self.report.table("", ("", "offset", "95 % interval", "p"), _rows(result))
        for name, path in (
            ("clip", result.clip),
            ("repaired", result.fixed),
            ("evidence", result.picture),
        ):
            self.report.paragraph(f"{name:<9} {printable(path)}")
        made, measured, repaired = result.seconds
        self.report.note(
            f"{made:.1f} s to make {result.duration_s:g} s of video, "
            f"{measured:.1f} s to measure it, {repaired:.1f} s to repair and measure again"
        )
        return 0


def demo(
    *,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder to leave the files in.")
    ] = Path("lipsync-demo"),
    error: Annotated[
        float | None,
        typer.Option(
            min=-1000.0,
            max=1000.0,
            metavar="MS",
            show_default=False,
            help="Error to put in, > 0 for early audio; taken from the seed if left out.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Makes another clip.")] = 0,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    threads: options.Threads = None,
    weights: options.Weights = None,
) -> None:
    """Make a talking face with a [bold]known error[/], measure it, repair it, measure again.

    Needs no file and no network. Leaves the clip, the repaired clip and a picture of the
    evidence in DIR.
    """
    report = Report(as_json=as_json, quiet=quiet, verbose=verbose)
    plan = batch.Plan(setup=Setup(threads, weights, report.verbose))
    raise typer.Exit(batch.run([folder], Demonstrate(seed, error), Show(report), report, plan))


def _rows(result: DemoResult) -> Iterator[tuple[str, str, str, str]]:
    yield "put in", wording.early_or_late(result.injected_ms), "", ""
    yield (
        "measured",
        _words(result.measured_ms),
        _interval(result.interval_ms),
        wording.probability(result.probability),
    )
    yield (
        "after the repair",
        _words(result.residual_ms),
        _interval(result.residual_interval_ms),
        "",
    )


def _words(offset_ms: float | None) -> str:
    return "cannot tell" if offset_ms is None else wording.early_or_late(offset_ms)


def _interval(interval_ms: tuple[float, float] | None) -> str:
    return "" if interval_ms is None else wording.interval_words(interval_ms)


def _signed(offset_ms: float) -> str:
    return f"{'+' if offset_ms > 0 else ''}{wording.milliseconds(offset_ms)} ms"

"""`lipsync detect-offset`: by how much is the sound of a video early or late?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lipsync_cli.cli import batch, inputs, options, wording
from lipsync_cli.cli.process import Setup
from lipsync_cli.cli.report import Report
from lipsync_cli.errors import UsageError
from lipsync_cli.scoring.tolerance import parse_tolerance

if TYPE_CHECKING:
    from lipsync_cli.results import OffsetResult

OUT_OF_TOLERANCE = 4
CANNOT_TELL = 3

EPILOG = """[bold]Examples[/]
[cyan]lipsync detect-offset clip.mp4[/]
[cyan]lipsync detect-offset --plot evidence.png -v clip.mp4[/]
[cyan]lipsync detect-offset --export markers.edl programme.mov[/]
[cyan]lipsync detect-offset --quick feature.mkv[/]
[cyan]lipsync detect-offset --json --jobs 4 --recursive rushes/ > offsets.ndjson[/]
[cyan]lipsync detect-offset --tolerance ebu master.mxf || echo "out of tolerance, or worse"[/]

[bold]Exit codes[/]  0 measured · 1 a file failed · 2 wrong usage · 3 cannot tell · \
4 out of tolerance"""


@dataclass(frozen=True)
class Measure:
    """Measure one file, with the picture of the evidence where one is wanted."""

    how: options.Measuring
    plots: Mapping[Path, Path] = field(default_factory=dict)
    overwrite: bool = False
    export: Path | None = None
    quick: bool = False

    def __call__(self, path: Path, progress: batch.Progress | None) -> OffsetResult:
        from lipsync_cli.media.output import check_target
        from lipsync_cli.media.probe import probe

        inputs.refuse_folder(path)
        # A bad file answers at once, not after the seconds that the model takes to load.
        probe(path)
        plot = self.plots.get(path)
        for target in filter(None, (plot, self.export)):
            check_target(target, overwrite=self.overwrite)
        return self._measure(path, plot, progress)

    def _measure(
        self, path: Path, plot: Path | None, progress: batch.Progress | None
    ) -> OffsetResult:
        from lipsync_cli.detect import measure

        options = {**asdict(self.how), **({"quick": True} if self.quick else {})}
        measurement = measure(path, evidence=plot is not None, progress=progress, **options)
        if plot is not None:
            from lipsync_cli.plot import save_evidence

            save_evidence(measurement, plot)
        if self.export is not None:
            from lipsync_cli.markers import export_markers

            export_markers(measurement.result, self.export, overwrite=self.overwrite)
        return measurement.result


@dataclass(frozen=True)
class Show:
    """Report one answer; the exit code says whether it is one, and within tolerance."""

    report: Report
    tolerance: str | None = None

    def __call__(self, result: OffsetResult) -> int:
        if result.offset_ms is None:
            self._say(wording.offset_line(result), result.to_dict(), result, style="yellow")
            return CANNOT_TELL
        if self.tolerance is None:
            self._say(wording.offset_line(result), result.to_dict(), result)
            return 0
        limits = parse_tolerance(self.tolerance, result.frame_rate)
        within = limits.allows(result.worst_ms)
        verdict = {
            "name": limits.name,
            "early_ms": limits.early_ms,
            "late_ms": limits.late_ms,
            "within": within,
        }
        record = {**result.to_dict(), "tolerance": verdict}
        self._say(
            wording.offset_line(result, limits), record, result, style="green" if within else "red"
        )
        return 0 if within else OUT_OF_TOLERANCE

    def _say(
        self, line: str, record: Mapping[str, Any], result: OffsetResult, *, style: str = ""
    ) -> None:
        self.report.answer(line, record, style=style)
        for warning in result.warnings:
            self.report.warning(f"{result.file}: {warning}")
        if self.report.verbose > 0:
            first, *rest = wording.SEGMENT_HEADS[1:]
            heads = ("face", wording.SEGMENT_HEADS[0], first, "frames", *rest)
            self.report.table("faces", heads, wording.track_rows(result))
        if len(result.segments) > 1 and (self.report.verbose > 0 or wording.changes(result)):
            self.report.table("segments", wording.SEGMENT_HEADS, wording.segment_rows(result))
        if result.steps:
            self.report.table("steps", wording.STEP_HEADS, wording.step_rows(result))


def detect_offset(
    *,
    files: options.Files = None,
    as_json: options.AsJson = False,
    tolerance: options.Tolerance = None,
    plot: options.Plot = None,
    export: options.Export = None,
    overwrite: options.Overwrite = False,
    search_ms: options.SearchMs = 1500.0,
    audio_track: options.AudioTrack = 0,
    min_probability: options.MinProbability = 0.9,
    quick: options.Quick = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    recursive: options.Recursive = False,
    files_from: options.FilesFrom = None,
    jobs: options.Jobs = 1,
    fail_fast: options.FailFast = False,
    face_detector: options.FaceDetector = "own",
    device: options.Device = "auto",
    threads: options.Threads = None,
    weights: options.Weights = None,
) -> None:
    """Measure by how much the sound of talking-head videos is [bold]early or late[/].

    A positive offset means that the audio is [bold]early[/]: it leads the picture, and
    fix-sync delays it by as much. Every answer has a 95 % interval and a probability;
    without a speaking face the answer is "cannot tell".
    """
    if tolerance is not None:
        parse_tolerance(tolerance, frame_rate=25.0)
    how = options.Measuring(search_ms, audio_track, min_probability, face_detector, device)
    report = Report(as_json=as_json, quiet=quiet, verbose=verbose)
    paths = inputs.collect(files or [], files_from, recursive=recursive)
    check_export(paths, export)
    job = Measure(how, plots_of(paths, plot), overwrite, export, quick)
    plan = batch.Plan(jobs, fail_fast, Setup(threads, weights, report.verbose))
    raise typer.Exit(batch.run(paths, job, Show(report, tolerance), report, plan))


def check_export(paths: list[Path], export: Path | None) -> None:
    """Refuse before any work what cannot be exported.

    Raises:
        UsageError: several files, or a format that is not known.
        DependencyError: the format needs a library that is missing.
    """
    if export is None:
        return
    if len(paths) > 1:
        raise UsageError("--export names one file for several inputs", hint="run them apart")
    from lipsync_cli import markers

    markers.check_export(export)


def plots_of(paths: list[Path], plot: Path | None) -> Mapping[Path, Path]:
    """Say where each file's picture goes, before any work.

    Raises:
        UsageError: one name for several pictures, or several pictures of one name.
        OutputError: the folder of the pictures cannot be made.
    """
    if plot is None:
        return {}
    if len(paths) == 1 and not plot.is_dir():
        return {paths[0]: plot}
    if plot.suffix.lower() == ".png" or plot.is_file():
        raise UsageError(
            "one picture cannot hold the evidence of several files",
            path=plot,
            hint="give --plot a folder",
        )
    named = inputs.targets(paths, plot, suffix=".png")
    inputs.make_folder(plot)
    return named

"""`lipsync fix-sync`: move the sound back onto the lips, and code nothing else anew."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from lipsync_cli.cli import batch, inputs, options, wording
from lipsync_cli.cli.process import Setup
from lipsync_cli.cli.report import Report
from lipsync_cli.errors import UsageError

if TYPE_CHECKING:
    from lipsync_cli.results import FixResult

EPILOG = """[bold]Examples[/]
[cyan]lipsync fix-sync clip.mp4[/]  measures, writes clip.synced.mp4, measures again
[cyan]lipsync fix-sync --offset 120 clip.mov -o fixed.mov[/]  delays the sound by 120 ms
[cyan]lipsync fix-sync --dry-run --recursive library/[/]  says what it would do
[cyan]lipsync fix-sync --piecewise programme.mxf[/]  moves each part by its own offset

[bold]Exit codes[/]  0 repaired, or in sync · 1 a file failed · 2 wrong usage · \
3 no trustworthy offset, nothing written"""


@dataclass(frozen=True)
class Ways:
    """How a repair may go about it; the fields are keywords of the library's `fix_sync`."""

    audio_tracks: tuple[int, ...] | None
    method: Literal["auto", "timestamps", "samples"]
    drift: Literal["audio", "video"]
    piecewise: bool


@dataclass(frozen=True)
class Repair:
    """Repair one file."""

    how: options.Measuring
    outputs: Mapping[Path, Path]
    offset_ms: float | None
    min_offset_ms: float
    verify: bool | None
    dry_run: bool
    overwrite: bool
    in_place: bool
    ways: Ways

    def __call__(self, path: Path, progress: batch.Progress | None) -> FixResult:
        from lipsync_cli.fix import MeasureOptions, fix_sync

        inputs.refuse_folder(path)
        measuring = asdict(self.how)
        return fix_sync(
            path,
            output=self.outputs.get(path),
            offset_ms=self.offset_ms,
            dry_run=self.dry_run,
            overwrite=self.overwrite,
            in_place=self.in_place,
            min_offset_ms=self.min_offset_ms,
            min_probability=measuring.pop("min_probability"),
            verify=self.verify,
            measuring=MeasureOptions(**measuring),
            progress=progress,
            **asdict(self.ways),
        )


@dataclass(frozen=True)
class Show:
    """Report one repair."""

    report: Report

    def __call__(self, result: FixResult) -> int:
        self.report.answer(wording.fix_line(result), result.to_dict())
        if result.residuals:
            rate = result.measured.frame_rate if result.measured else None
            rows = wording.stretch_rows(result.residuals, rate)
            self.report.table("re-measured", wording.SEGMENT_HEADS, rows)
        for warning in result.warnings:
            self.report.warning(f"{result.file}: {warning}")
        if result.plan is not None:
            for note in result.plan.notes:
                self.report.note(f"{result.file}: {note}")
        return 0


def fix_sync(
    *,
    files: options.Files = None,
    output: options.Output = None,
    out_dir: options.OutDir = None,
    in_place: options.InPlace = False,
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
    offset: options.Offset = None,
    method: options.Method = "auto",
    drift: options.Drift = "audio",
    piecewise: options.Piecewise = False,
    only_track: options.OnlyTrack = None,
    min_offset: options.MinOffset = 15.0,
    verify: options.Verify = None,
    search_ms: options.SearchMs = 1500.0,
    audio_track: options.AudioTrack = 0,
    min_probability: options.MinProbability = 0.9,
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
    """Repair the offset of videos [bold]without re-encoding[/].

    Only the times of the audio packets change: picture, sound, subtitles, chapters and
    tags stay as they are. Where a container cannot store that, or the offset drifts, the
    sound alone is written again. The original is not touched, an existing file is not
    replaced, and nothing is written when the offset cannot be trusted.
    """
    if offset is not None and not math.isfinite(offset):
        raise UsageError(f"--offset {offset} is no time", hint="give milliseconds, as in 120")
    how = options.Measuring(search_ms, audio_track, min_probability, face_detector, device)
    report = Report(as_json=as_json, quiet=quiet, verbose=verbose)
    paths = inputs.collect(files or [], files_from, recursive=recursive)
    outputs = outputs_of(paths, output, out_dir, in_place=in_place)
    ways = Ways(tuple(only_track) if only_track else None, method, drift, piecewise)
    job = Repair(how, outputs, offset, min_offset, verify, dry_run, overwrite, in_place, ways)
    plan = batch.Plan(jobs, fail_fast, Setup(threads, weights, report.verbose))
    # Even a dry run tells whether the folder can be made.
    with inputs.output_folder(out_dir, keep=not dry_run):
        raise typer.Exit(batch.run(paths, job, Show(report), report, plan))


def outputs_of(
    paths: Sequence[Path], output: Path | None, out_dir: Path | None, *, in_place: bool
) -> Mapping[Path, Path]:
    """Say where each file's result goes, before any work; empty leaves it to the library.

    Raises:
        UsageError: the options exclude each other, or several results share a name.
    """
    if sum((output is not None, out_dir is not None, in_place)) > 1:
        raise UsageError("only one of --output, --out-dir and --in-place can be used")
    if out_dir is not None:
        return _apart(inputs.targets(paths, out_dir))
    if output is None:
        return {}
    if len(paths) > 1:
        raise UsageError("--output names one file for several inputs", hint="use --out-dir")
    if output.is_dir():
        raise UsageError("--output is a folder", path=output, hint="use --out-dir")
    return _apart({paths[0]: output})


def _apart(outputs: Mapping[Path, Path]) -> Mapping[Path, Path]:
    for source, target in outputs.items():
        if target.exists() and source.exists() and target.samefile(source):
            raise UsageError(
                "input and output are the same file", path=source, hint="use --in-place"
            )
    return outputs

"""`lipsync score`: figures and verdicts on the sync of videos, one by one and together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

import typer

from lipsync_cli.cli import batch, inputs, options
from lipsync_cli.cli import score_options as own
from lipsync_cli.cli.cluster import check_address
from lipsync_cli.cli.process import Setup
from lipsync_cli.cli.report import Report
from lipsync_cli.device import check_name
from lipsync_cli.errors import MediaNotFound, UsageError, WeightsError
from lipsync_cli.scoring.tolerance import parse_tolerance

if TYPE_CHECKING:
    # A tenth of the time that --help takes: imported by what uses them.
    from lipsync_cli.cli.score_batch import Fid, Reports
    from lipsync_cli.scoring.references import References

EPILOG = """[bold]Examples[/]
[cyan]lipsync score clip.mp4[/]
[cyan]lipsync score -t ebu -t atsc --html report.html --recursive rushes/[/]
[cyan]lipsync score --json --skip-existing old.ndjson --jobs 4 -r library/ > new.ndjson[/]
[cyan]lipsync score --protocol lrs --filelist lrs2.txt --data-root mvlrs/ --fid results/[/]

[bold]On a Slurm cluster[/] Dask's workers run as jobs; all of them need lipsync and see the \
same files:
[cyan]dask scheduler --scheduler-file dask.json &[/]
[cyan]sbatch --array=1-8 --cpus-per-task=4 --gres=gpu:1 --wrap \
"dask worker --scheduler-file dask.json --nthreads 1 --resources GPU=1"[/]
[cyan]lipsync score --json --cluster dask.json --files-from list.txt > scores.ndjson[/]

[bold]Exit codes[/]  0 scored, within the limits · 1 a file failed · 2 wrong usage · \
3 cannot tell, not checkable · 4 out of the limits"""


def score(
    *,
    files: options.Files = None,
    as_json: options.AsJson = False,
    tolerance: own.Tolerances = None,
    csv: own.Csv = None,
    html: own.Html = None,
    overwrite: options.Overwrite = False,
    search_ms: options.SearchMs = 1500.0,
    audio_track: options.AudioTrack = 0,
    min_probability: options.MinProbability = 0.9,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    syncnet: own.SyncNet = None,
    protocol: own.Protocol = "tracked",
    valid_overlap: own.ValidOverlap = False,
    min_track: own.MinTrack = 100,
    min_face: own.MinFace = 100.0,
    crop_scale: own.CropScale = 0.4,
    max_failed: own.MaxFailed = 25,
    vshift: own.VShift = 15,
    reference_codec: own.ReferenceCodec = False,
    reference: own.Reference = None,
    fid: own.Fid = False,
    fid_weights: own.FidWeights = None,
    filelist: own.FileList = None,
    style: own.Style = "lrs2",
    data_root: own.DataRoot = None,
    recursive: options.Recursive = False,
    files_from: options.FilesFrom = None,
    jobs: options.Jobs = 1,
    cluster: own.Cluster = None,
    skip_existing: own.SkipExisting = None,
    fail_fast: options.FailFast = False,
    face_detector: options.FaceDetector = "own",
    device: options.Device = "auto",
    threads: options.Threads = None,
    weights: options.Weights = None,
) -> None:
    """Score how well lips and sound belong together, and judge by [bold]sync standards[/].

    Every file gets the probability that it is in sync, its offset with a 95 % interval, how
    much the offset scatters over time, and the share of it that could be measured. With the
    public SyncNet v2 file it also gets LSE-D and LSE-C as papers define them. Several files
    end with a summary: means in which every file counts alike.
    """
    from lipsync_cli.cli.score_batch import Run, Score
    from lipsync_cli.score import ScoreOptions
    from lipsync_cli.scoring.lse_options import LseOptions
    from lipsync_cli.scoring.references import References

    how = ScoreOptions(
        tolerances=_limits(tolerance or []),
        lse=LseOptions(
            protocol=protocol,
            vshift=vshift,
            valid_overlap=valid_overlap,
            min_track=min_track,
            min_face_px=min_face,
            crop_scale=crop_scale,
            max_failed=max_failed,
            reference_codec=reference_codec,
        ),
        syncnet=_weights_file(syncnet),
        search_ms=search_ms,
        audio_track=audio_track,
        min_probability=min_probability,
        face_detector=face_detector,
        device=check_name(device),
        pictures=html is not None,
    )
    report = Report(as_json=as_json, quiet=quiet, verbose=verbose)
    references = References(reference, filelist, style, data_root)
    typed = inputs.collect(files or [], files_from, recursive=recursive and filelist is None)
    setup = Setup(threads, weights, report.verbose)
    run = Run(
        _paths(typed, references, report),
        Score(how, references, _earlier(skip_existing, report), time()),
        report,
        batch.Plan(jobs, fail_fast, setup, _place(cluster, jobs), use_gpu=device != "cpu"),
        _reports(csv, html, overwrite=overwrite),
        _fid(fid, fid_weights, references, device),
    )
    raise typer.Exit(run.go())


def _limits(typed: Sequence[str]) -> tuple[str, ...]:
    """The names of the limits, each once.

    Raises:
        UsageError: one is no tolerance.
    """
    names = tuple(dict.fromkeys(text.strip().lower() for text in typed))
    for name in names:
        parse_tolerance(name, frame_rate=25.0)
    return names


def _paths(typed: list[Path], references: References, report: Report) -> list[Path]:
    """The files to score: those named, or the results of a list of pairs in the folder named."""
    references.check(typed)
    if references.filelist is None:
        return typed
    if len(typed) != 1 or not typed[0].is_dir():
        raise UsageError("--filelist takes one folder of results", hint="as in results/")
    found = references.results_in(typed[0])
    if not found:
        raise MediaNotFound(
            "holds no results of the list",
            path=typed[0],
            hint="they are named by the number of their line: 0.mp4 is the first",
        )
    missing = references.pairs() - len(found)
    if missing:
        report.log("warning", f"{missing} of {references.pairs()} pairs have no result")
    return found


def _reports(csv: Path | None, html: Path | None, *, overwrite: bool) -> Reports:
    if csv is not None and csv == html:
        raise UsageError("--csv and --html name the same file", path=csv)
    from lipsync_cli.cli.score_batch import Reports

    return Reports(csv, html, overwrite)


def _fid(wanted: bool, file: Path | None, references: References, device: str) -> Fid | None:
    if not wanted and file is None:
        return None
    if not references:
        raise UsageError("FID compares with real videos", hint="add --reference or --filelist")
    from lipsync_cli.cli.score_batch import Fid

    return Fid(_weights_file(file), device)


def _weights_file(path: Path | None) -> Path | None:
    if path is not None and not path.is_file():
        raise WeightsError("there is no such file", path=path, hint="check the path")
    return path


def _place(cluster: str | None, jobs: int) -> str | None:
    if cluster is None:
        return None
    if jobs > 1:
        raise UsageError("--jobs and --cluster exclude each other", hint=f"--cluster local:{jobs}")
    return check_address(cluster)


def _earlier(path: Path | None, report: Report) -> Path | None:
    """Try the earlier results out, and say what they are worth."""
    if path is not None:
        from lipsync_cli.scoring.resume import Earlier

        earlier = Earlier.read(path)
        report.note(f"{path}: {len(earlier.lines)} earlier results")
        if earlier.unreadable:
            report.log("warning", f"{path}: {earlier.unreadable} lines hold no result")
    return path

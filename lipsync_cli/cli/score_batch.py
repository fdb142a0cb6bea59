"""Scores of many files: each one reported as it comes, and all of them together at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from lipsync_cli import __version__
from lipsync_cli.cli import batch, inputs, process, score_lines
from lipsync_cli.cli.report import Report
from lipsync_cli.errors import LipsyncError
from lipsync_cli.media.output import atomic
from lipsync_cli.report.rows import Row, State
from lipsync_cli.results import ScoreResult
from lipsync_cli.score import Scored, ScoreOptions, examine
from lipsync_cli.scoring.references import References
from lipsync_cli.scoring.resume import Earlier
from lipsync_cli.scoring.summary import Summary, summarise
from lipsync_cli.weights import locate

_CODES: dict[State, int] = {"pass": 0, "measured": 0, "not_checkable": 3, "fail": 4, "error": 1}
_STYLES: dict[State, str] = {"pass": "green", "not_checkable": "yellow", "fail": "red"}


@dataclass(frozen=True)
class Score:
    """Score one file, or take its score over from earlier results.

    Attributes:
        earlier: file of these results.
        version: of that file, for workers that outlive a call.
    """

    options: ScoreOptions
    references: References
    earlier: Path | None = None
    version: float = 0.0

    def __call__(self, path: Path, progress: batch.Progress | None) -> Scored:
        inputs.refuse_folder(path)
        # Pairs of a list put other words into the mouth: only their statistics compare.
        real = self.references.of(path) if self.references.real is not None else None
        how = replace(self.options, reference=real)
        earlier = _earlier(self.earlier, self.version) if self.earlier is not None else None
        return examine(path, how, earlier=earlier, progress=progress)


@lru_cache(maxsize=1)
def _earlier(path: Path, version: float) -> Earlier:
    # Each process reads them once; sending them with every file would cost more.
    return Earlier.read(path)


@dataclass
class Show:
    """Report each answer, and keep it for what is said about all of them."""

    report: Report
    rows: dict[str, Row] = field(default_factory=dict)

    def __call__(self, scored: Scored) -> int:
        result = scored.result
        row = Row(result.file, result, pictures=scored.pictures)
        self.rows[result.file] = row
        style = _STYLES.get(row.state, "")
        self.report.answer(score_lines.score_line(result), result.to_dict(), style=style)
        for warning in result.warnings:
            self.report.warning(f"{result.file}: {warning}")
        if self.report.verbose > 0:
            self._tables(result)
        return _CODES[row.state]

    def failed(self, path: Path, error: LipsyncError) -> None:
        """Keep a file that has no answer; the batch has reported it."""
        self.rows[str(path)] = Row(str(path), error=error)

    def in_order(self, paths: Sequence[Path]) -> list[Row]:
        """The rows in the order of the inputs, in whatever order they came."""
        return [self.rows[str(path)] for path in dict.fromkeys(paths) if str(path) in self.rows]

    def _tables(self, result: ScoreResult) -> None:
        if result.lse_reason:
            self.report.note(f"{result.file}: no LSE: {result.lse_reason}")
        for title, heads, rows in (
            ("LSE by face track", score_lines.TRACK_HEADS, score_lines.track_rows(result)),
            ("out of limits", score_lines.RANGE_HEADS, score_lines.range_rows(result)),
        ):
            cells = list(rows)
            if cells:
                self.report.table(title, heads, cells)


@dataclass(frozen=True)
class Reports:
    """Files that are written at the end, under names that are tried out at the start."""

    csv: Path | None = None
    html: Path | None = None
    overwrite: bool = False

    @contextmanager
    def opened(self) -> Iterator[Reports]:
        """Yield temporary files that take these names once everything has worked.

        Raises:
            OutputError: one cannot be written there, or exists.
        """
        with ExitStack() as stack:

            def temporary(path: Path | None) -> Path | None:
                return path and stack.enter_context(atomic(path, overwrite=self.overwrite))

            yield Reports(temporary(self.csv), temporary(self.html))

    def write(self, rows: Sequence[Row], summary: Summary, tolerances: tuple[str, ...]) -> None:
        """Write what was asked for."""
        if self.csv is not None:
            from lipsync_cli.report.table import write_table

            write_table(rows, self.csv)
        if self.html is not None:
            from lipsync_cli.report.page import About, write_page

            about = About(tolerances, datetime.now(UTC), __version__)
            write_page(rows, summary, about, self.html)


@dataclass(frozen=True)
class Fid:
    """The distance of a whole set; `weights` None takes what was imported."""

    weights: Path | None
    device: str

    def check(self) -> Path:
        """Find Inception's file, before any work.

        Raises:
            WeightsError: there is none.
        """
        return self.weights or locate("inception")

    def measure(self, videos: Sequence[Path], references: References) -> float:
        """Compare all pictures of the videos with all those of their references."""
        from lipsync_cli.device import choose
        from lipsync_cli.scoring.fid import fid

        real = dict.fromkeys(references.of(video) for video in videos)
        known = [reference for reference in real if reference is not None]
        return fid(videos, known, self.check(), choose(self.device))


@dataclass(frozen=True)
class Run:
    """All files of one call."""

    paths: Sequence[Path]
    job: Score
    report: Report
    plan: batch.Plan
    reports: Reports
    fid: Fid | None = None

    def go(self) -> int:
        """Score every file, sum up, write the reports, and return the exit code.

        Raises:
            OutputError: a report cannot be written.
            WeightsError: FID was asked for, and there is no file for it.
        """
        process.apply(self.plan.setup, self.report.log_handler())
        if self.fid is not None:
            self.fid.check()
        show = Show(self.report)
        with self.reports.opened() as reports:
            code = batch.run(
                self.paths, self.job, show, self.report, self.plan, on_error=show.failed
            )
            rows = show.in_order(self.paths)
            summary, fid_code = self._summary(rows)
            if len(self.paths) > 1 or self.fid is not None:
                self.report.answer(score_lines.summary_line(summary), summary.to_dict())
            reports.write(rows, summary, self.job.options.tolerances)
        return batch.worst(code, fid_code)

    def _summary(self, rows: Sequence[Row]) -> tuple[Summary, int]:
        """Sum up; that FID fails must not cost what all files before have cost."""
        results = [row.result for row in rows if row.result is not None]
        summary = summarise(results, failed=len(rows) - len(results))
        if self.fid is None or not results:
            return summary, 0
        try:
            videos = [Path(result.file) for result in results]
            value = self.fid.measure(videos, self.job.references)
        except LipsyncError as error:
            self.report.error(error)
            return summary, error.exit_code
        return replace(summary, fid=value), 0

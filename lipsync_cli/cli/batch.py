"""One job over many files: in turn, in processes or on a cluster, on after failures.

Whatever does the work is an `Executor`: it takes the files and the job and yields an outcome
for each file, so that reporting, exit codes and --fail-fast are the same for all of them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from lipsync_cli.cli import process
from lipsync_cli.cli.report import Bar, Report
from lipsync_cli.errors import (
    DependencyError,
    LipsyncError,
    OutputError,
)

if TYPE_CHECKING:
    # Only --jobs needs them.
    from concurrent.futures import Future, ProcessPoolExecutor

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Progress = Callable[[float], None]

# Exit codes from good to bad, for inputs that end differently.
_SEVERITY = (0, 4, 3, 1, 2)
_FAILURES = (1, 2, 3)

_log = logging.getLogger(__name__)


class Job(Protocol[T_co]):
    """What is done to one file; with `--jobs` it travels to another process."""

    def __call__(self, path: Path, progress: Progress | None, /) -> T_co: ...


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What became of one file: a value, or the error that stands for it."""

    path: Path
    value: T | None = None
    error: LipsyncError | None = None


@dataclass(frozen=True)
class Plan:
    """How to go about many files.

    Attributes:
        jobs: processes; 1 works in this one.
        fail_fast: stops at the first file that fails or has no answer.
        cluster: where a Dask cluster is, as `cluster.check_address` reads it; then outcomes
            come as they arrive instead of in the order of the files.
        use_gpu: takes one GPU of the cluster per file, where its workers offer any.
    """

    jobs: int = 1
    fail_fast: bool = False
    setup: process.Setup = field(default_factory=process.Setup)
    cluster: str | None = None
    use_gpu: bool = True


class Executor(Protocol):
    """Where the work is done."""

    def __call__(
        self, paths: Sequence[Path], job: Job[T], plan: Plan, bar: Bar, /
    ) -> Generator[Outcome[T], None, None]: ...


def run(
    paths: Sequence[Path],
    job: Job[T],
    show: Callable[[T], int],
    report: Report,
    plan: Plan,
    *,
    on_error: Callable[[Path, LipsyncError], None] | None = None,
) -> int:
    """Do the job to every file, report each, and return the exit code.

    Args:
        show: reports one value and returns its exit code.
        on_error: also told of each file that failed.
    """
    process.apply(plan.setup, report.log_handler())
    code = 0
    work = _executor(plan, len(paths))
    with (
        report.progress(len(paths)) as bar,
        contextlib.closing(work(paths, job, plan, bar)) as outcomes,
    ):
        for outcome in outcomes:
            bar.pause()
            shown = _show(outcome, show, report)
            if outcome.error is not None and on_error is not None:
                on_error(outcome.path, outcome.error)
            code = worst(code, shown)
            if plan.fail_fast and shown in _FAILURES:
                break
            bar.resume()
    return code


def worst(first: int, second: int) -> int:
    """The worse of two exit codes."""
    return max(first, second, key=_SEVERITY.index)


def attempt(job: Job[T], path: Path, progress: Progress | None = None) -> Outcome[T]:
    """Do the job to one file; whatever goes wrong with that file becomes its outcome."""
    try:
        # A library that prints must not spoil the answer.
        with contextlib.redirect_stdout(sys.stderr):
            return Outcome(path, value=job(path, progress))
    except LipsyncError as error:
        return Outcome(path, error=error)
    except Exception as error:
        _log.debug("the defect in full:", exc_info=error)
        return Outcome(path, error=_in_our_words(error, path))


def _show(outcome: Outcome[T], show: Callable[[T], int], report: Report) -> int:
    try:
        if outcome.error is not None:
            raise outcome.error
        assert outcome.value is not None
        return show(outcome.value)
    except LipsyncError as error:
        report.error(error, str(outcome.path))
        return error.exit_code


def _executor(plan: Plan, files: int) -> Executor:
    if plan.cluster is not None:
        # Dask is an optional part.
        from lipsync_cli.cli.cluster import on_cluster

        return on_cluster
    return _in_processes if plan.jobs > 1 and files > 1 else _in_turn


def _in_turn(
    paths: Sequence[Path], job: Job[T], plan: Plan, bar: Bar
) -> Generator[Outcome[T], None, None]:
    for path in paths:
        bar.begin(path.name)
        outcome = attempt(job, path, bar.advance)
        bar.finish()
        yield outcome


def _in_processes(
    paths: Sequence[Path], job: Job[T], plan: Plan, bar: Bar
) -> Generator[Outcome[T], None, None]:
    jobs = min(plan.jobs, len(paths))
    threads = plan.setup.threads or max(1, process.available_cores() // jobs)
    pool = _pool(jobs, replace(plan.setup, threads=threads))
    try:
        with process.interrupts_held():
            futures = [pool.submit(_in_worker, job, path) for path in paths]
        bar.begin(f"{len(paths)} files")
        for future in futures:
            future.add_done_callback(lambda _: bar.finish())
        for path, future in zip(paths, futures, strict=True):
            yield _outcome(path, future)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        process.stop_children()
        raise
    pool.shutdown()


def _pool(jobs: int, setup: process.Setup) -> ProcessPoolExecutor:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, context, process.apply_in_worker, (setup,))


def _in_worker(job: Job[T], path: Path) -> Outcome[T]:
    try:
        return attempt(job, path)
    except SystemExit:
        # The pool would hand this process its next file.
        os._exit(process.TERMINATED)


def _outcome(path: Path, future: Future[Outcome[T]]) -> Outcome[T]:
    from concurrent.futures.process import BrokenProcessPool

    try:
        return future.result()
    except BrokenProcessPool:
        hint = "the memory may have run out: use fewer --jobs"
        return Outcome(path, error=LipsyncError("a worker process died", path=path, hint=hint))


def _in_our_words(error: Exception, path: Path) -> LipsyncError:
    if isinstance(error, ImportError):
        remedy = "apt install libgl1" if "libGL" in str(error) else "pip install . once more"
        return DependencyError(f"a library cannot be loaded: {error}", path=path, hint=remedy)
    if isinstance(error, OSError) and error.strerror:
        where = error.filename or path
        return OutputError(error.strerror, path=str(where), hint="check the disk and its rights")
    return LipsyncError(
        f"unexpected {type(error).__name__}: {error}",
        path=path,
        hint="this is a defect of lipsync: please report what -vv adds",
    )

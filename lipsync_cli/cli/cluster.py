"""Many machines: the same jobs, mapped over the workers of a Dask cluster.

Dask runs on one machine and below Slurm, LSF, PBS and Kubernetes alike. All workers need this
package and see the files under the same paths; each should work on one file at a time:

    dask worker --scheduler-file dask.json --nthreads 1 [--resources GPU=1]

A worker that dies loses nothing: its files go to the others. A file whose job fails for a
reason that may pass (a full disk, a share that is away) is tried again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from lipsync_cli.cli import process
from lipsync_cli.cli.batch import Job, Outcome, Plan, attempt
from lipsync_cli.cli.report import Bar
from lipsync_cli.errors import (
    DependencyError,
    InputError,
    LipsyncError,
    NotTrustworthy,
    UsageError,
    WeightsError,
)

T = TypeVar("T")

RETRIES = 2
CONNECT_S = 5
# Trying these again would only fail again.
_LASTING = (InputError, UsageError, WeightsError, DependencyError, NotTrustworthy)
_LOCAL = re.compile(r"local(?::([1-9]\d*))?")
_REMOTE = re.compile(r"(tcp|tls|ws|wss|ucx)://\S+")

_log = logging.getLogger(__name__)


def check_address(text: str) -> str:
    """Return the place of a cluster if it is well-formed.

    It is `local`, `local:N` with N workers, the address of a scheduler (`tcp://host:8786`), or
    the file that a scheduler writes (`dask scheduler --scheduler-file FILE`).

    Raises:
        UsageError: it is none of them.
    """
    if _LOCAL.fullmatch(text) or _REMOTE.fullmatch(text) or Path(text).suffix == ".json":
        return text
    raise UsageError(
        f"{text!r} is no cluster", hint="use local, local:4, tcp://host:8786 or scheduler.json"
    )


def on_cluster(
    paths: Sequence[Path], job: Job[T], plan: Plan, bar: Bar
) -> Generator[Outcome[T], None, None]:
    """Do the job to every file on a cluster; outcomes come as they arrive.

    Raises:
        DependencyError: Dask is not installed.
        LipsyncError: no scheduler answers.
    """
    distributed = _load()
    with _quiet(plan.setup.verbose), _client(distributed, plan, len(paths)) as (client, setup):
        bar.begin(f"{len(paths)} files")
        futures = client.map(
            _on_worker,
            paths,
            job=job,
            setup=setup,
            folder=Path.cwd(),
            # The same file may be asked for twice, and is worked on anew in every run.
            pure=False,
            retries=RETRIES,
            resources=_resources(client, plan),
        )
        path_of = {future.key: path for future, path in zip(futures, paths, strict=True)}
        try:
            for future in distributed.as_completed(futures, loop=client.loop):
                bar.finish()
                yield _outcome(path_of[future.key], future)
                future.release()
        finally:
            with contextlib.suppress(Exception):
                client.cancel(futures, force=True)


class PassingError(Exception):
    """Makes Dask try again; carries what to report if that does not help."""

    def __init__(self, error: LipsyncError) -> None:
        super().__init__(error)
        self.error = error


def _on_worker(path: Path, *, job: Job[T], setup: process.Setup, folder: Path) -> Outcome[T]:
    """Do the job in the folder in which the command was called."""
    _prepare(setup)
    with contextlib.chdir(folder):
        outcome = attempt(job, path)
    if outcome.error is not None and not isinstance(outcome.error, _LASTING):
        raise PassingError(outcome.error)
    return outcome


@lru_cache(maxsize=1)
def _prepare(setup: process.Setup) -> None:
    process.apply(setup, logging.StreamHandler())


def _outcome(path: Path, future: Any) -> Outcome[Any]:
    """What became of one file, once Dask is done with it."""
    try:
        outcome: Outcome[Any] = future.result()
        return outcome
    except PassingError as failure:
        return Outcome(path, error=failure.error)
    except Exception as error:
        return Outcome(path, error=_in_our_words(error, path))


def _in_our_words(error: Exception, path: Path) -> LipsyncError:
    kind = type(error).__name__
    if kind == "KilledWorker":
        hint = "the memory may have run out: give the workers more, or fewer threads"
        return LipsyncError("the workers that tried it died", path=path, hint=hint)
    if kind in ("CancelledError", "FutureCancelledError", "FuturesCancelledError"):
        hint = "start it again, and give --skip-existing what is done"
        return LipsyncError("the scheduler of the cluster is gone", path=path, hint=hint)
    if isinstance(error, ImportError):
        hint = "install the same lipsync where the workers run"
        return DependencyError(f"a worker cannot load it: {error}", path=path, hint=hint)
    if isinstance(error, FileNotFoundError):
        hint = "the workers have to see the files under the same paths"
        return LipsyncError(f"a worker has no folder {error.filename}", path=path, hint=hint)
    return LipsyncError(f"failed on the cluster: {kind}: {error}", path=path)


def _load() -> Any:
    try:
        return import_module("distributed")
    except ImportError as error:
        raise DependencyError(
            "--cluster needs Dask, which is not installed", hint="pip install distributed"
        ) from error


@contextlib.contextmanager
def _client(distributed: Any, plan: Plan, files: int) -> Iterator[tuple[Any, process.Setup]]:
    """Connect to the cluster, or start one on this machine, and say how to set workers up."""
    place = plan.cluster or "local"
    local = _LOCAL.fullmatch(place)
    if local is None:
        with _connected(distributed, place) as client:
            if not client.scheduler_info()["workers"]:
                _log.warning("the cluster has no workers yet: waiting for some")
            yield client, plan.setup
        return
    workers = min(int(local[1] or process.available_cores()), max(files, 1))
    threads = plan.setup.threads or max(1, process.available_cores() // workers)
    with (
        _started(distributed, workers) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client, replace(plan.setup, threads=threads)


@contextlib.contextmanager
def _started(distributed: Any, workers: int) -> Iterator[Any]:
    with process.interrupts_held():
        cluster = distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=None,
            # The files are read by FFmpeg and the models: Dask must not judge their memory.
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        )
    with cluster:
        yield cluster


def _connected(distributed: Any, place: str) -> Any:
    address = place if _REMOTE.fullmatch(place) else _address_in(Path(place))
    try:
        import asyncio

        asyncio.run(_greet(distributed, address))
        return distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
    except Exception as error:
        _log.debug("the defect in full:", exc_info=error)
        raise LipsyncError(
            f"no Dask scheduler answers at {address}",
            hint="start one with `dask scheduler`, or use --cluster local",
        ) from error


async def _greet(distributed: Any, address: str) -> None:
    """Shake hands: a client that fails to would go on trying, and complain, for a long time."""
    arguments = distributed.Security().get_connection_args("client")
    comm = await distributed.core.connect(address, timeout=CONNECT_S, **arguments)
    await comm.close()


def _address_in(scheduler_file: Path) -> str:
    try:
        return str(json.loads(scheduler_file.read_bytes())["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LipsyncError(
            "is no file of a Dask scheduler",
            path=scheduler_file,
            hint="start one with `dask scheduler --scheduler-file FILE`",
        ) from error


def _resources(client: Any, plan: Plan) -> dict[str, float] | None:
    """One GPU per file, where the workers were started with --resources GPU=N."""
    workers = client.scheduler_info()["workers"].values()
    offered = any(worker.get("resources", {}).get("GPU") for worker in workers)
    return {"GPU": 1.0} if plan.use_gpu and offered else None


@contextlib.contextmanager
def _quiet(verbose: int) -> Iterator[None]:
    """Keep Dask's own log out of the way of the answer, here and in workers started here."""
    if verbose >= 2:
        yield
        return
    handlers = logging.getLogger("distributed").handlers
    before = [handler.level for handler in handlers]
    for handler in handlers:
        handler.setLevel(logging.CRITICAL)
    try:
        with import_module("dask").config.set({"logging.distributed": "critical"}):
            yield
    finally:
        for handler, level in zip(handlers, before, strict=True):
            handler.setLevel(level)

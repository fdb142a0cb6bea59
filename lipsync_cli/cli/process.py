"""What the command line may do to a whole process, and the library may not."""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import NoReturn

from lipsync_cli import weights

TERMINATED = 128 + signal.SIGTERM
CLOSED_PIPE = 128 + 13  # SIGPIPE, which Windows does not define

# Read by the numeric libraries when they are first imported.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)


def user_store() -> Path | None:
    """Where this user's imported model files lie: LIPSYNC_STORE, or the usual data folder.

    None where the user has no home.
    """
    return _own_folder("LIPSYNC_STORE", "XDG_DATA_HOME", ".local/share", "Application Support")


def user_cache() -> Path | None:
    """Where findings about this user's footage lie: LIPSYNC_CACHE, or the usual cache folder.

    None where the user has no home.
    """
    return _own_folder("LIPSYNC_CACHE", "XDG_CACHE_HOME", ".cache", "Caches")


def _own_folder(variable: str, xdg: str, in_home: str, in_library: str) -> Path | None:
    asked = os.environ.get(variable)
    if asked:
        return Path(asked)
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "lipsync"
    if sys.platform == "darwin":
        return home / "Library" / in_library / "lipsync"
    # The XDG specification has relative paths ignored.
    named = Path(os.environ.get(xdg, ""))
    return (named if named.is_absolute() else home / in_home) / "lipsync"


@dataclass(frozen=True)
class Setup:
    """What every process that works on inputs is set to.

    Attributes:
        threads: of the numeric libraries; None gives them half of the cores.
        weights: folder of model files that is looked into first.
        verbose: -1 errors only, 0 warnings, 1 information, 2 everything and FFmpeg's log.
        store: folder of imported model files.
    """

    threads: int | None = None
    weights: Path | None = None
    verbose: int = 0
    store: Path | None = field(default_factory=user_store)


def apply(setup: Setup, handler: logging.Handler) -> None:
    """Set this process up, before anything heavy is imported."""
    # Decoding keeps the other half of the cores busy; waiting for it would cost both.
    set_threads(setup.threads or max(1, available_cores() // 2))
    weights.prefer(setup.weights)
    weights.use_store(setup.store)
    _log_to(handler, setup.verbose)
    if setup.verbose < 2 and not sys.warnoptions:
        warnings.simplefilter("ignore")


def apply_in_worker(setup: Setup) -> None:
    """Set a worker process up: the parent hears Ctrl-C for it, SIGTERM unwinds it."""
    unwind_on_sigterm()
    apply(setup, logging.StreamHandler())


def unwind_on_sigterm() -> None:
    """Make SIGTERM raise, so that half-written files are removed on the way out."""
    signal.signal(signal.SIGTERM, _terminated)


def tolerate_any_name() -> None:
    """Escape what the terminal's encoding lacks instead of failing on it."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def stop_children(patience_s: float = 5.0) -> None:
    """Terminate the worker processes and wait until they have cleaned up."""
    import multiprocessing

    children = multiprocessing.active_children()
    for child in children:
        child.terminate()
    for child in children:
        child.join(patience_s)
        if child.is_alive():
            child.kill()


def set_threads(count: int) -> None:
    """Give the numeric libraries of this process `count` threads, loaded or not yet."""
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(count)))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(count)


def available_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Start processes that never see Ctrl-C; one that comes meanwhile is delivered after."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_closed_pipe() -> NoReturn:
    """End quietly when nobody reads stdout any more."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(CLOSED_PIPE)


def _terminated(signum: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(TERMINATED)


def _log_to(handler: logging.Handler, verbose: int) -> None:
    levels = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
    logger = logging.getLogger("lipsync_cli")
    logger.handlers[:] = [handler]
    logger.setLevel(levels.get(verbose, logging.DEBUG))
    logger.propagate = False
    if verbose >= 2:
        import av.logging

        # Printed by FFmpeg itself: a decoder that is closed while one of its threads waits for
        # Python's logging never ends.
        av.logging.set_libav_level(av.logging.VERBOSE)
        av.logging.restore_default_callback()

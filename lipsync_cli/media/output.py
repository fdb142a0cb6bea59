"""Files that appear complete or not at all."""

from __future__ import annotations

import errno
import os
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import BinaryIO, NoReturn

from lipsync_cli.errors import MediaNotFound, OutputError
from lipsync_cli.media.temporary import head_of_names, temporary_beside

TERMINATED = 143
# What a full disk, a used-up quota and a file over its size limit say.
NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def atomic(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its name when the block succeeds.

    The temporary file is synced to disk before the rename. It is removed when the block
    raises anything, Ctrl-C and (in the main thread) SIGTERM included; SIGTERM leaves as
    SystemExit(143). What a killed process left behind is removed by the next one that writes
    the same file. A replaced file keeps its permissions; a symbolic link stays one.

    Raises:
        OutputError: `path` exists and may not be overwritten, is no regular file, its
            folder is missing, vanishes or cannot be written to, or the disk is full.
    """
    target = check_target(path, overwrite=overwrite)
    with (
        _sigterm_as_exit(),
        _claimed(target) as (temporary, claim),
        naming_full_disk(target),
        _naming_lost_folder(target),
    ):
        yield temporary
        _sync(temporary)
        _take_over_owner(target, temporary)
        # Windows renames no file that is open.
        claim.close()
        _give_name(temporary, target, overwrite=overwrite)
    _sync_folder(target.parent)


def check_target(path: str | Path, *, overwrite: bool = False) -> Path:
    """Return the real path behind `path`, or say why nothing can be written there.

    Raises:
        OutputError: as `atomic`, save for what only the writing itself can show.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise OutputError("its folder does not exist", path=path, hint=f"create {target.parent}")
    if target.is_dir():
        raise OutputError("is a folder", path=path, hint="name a file to write")
    if target.exists() and not target.is_file():
        raise OutputError("is not a regular file", path=path, hint="name another file")
    if not overwrite:
        _refuse_existing(target)
    return target


@contextmanager
def naming_full_disk(target: Path) -> Iterator[None]:
    """Turn "no space left" in any of its forms into an OutputError that names `target`."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        raise OutputError(
            f"could not be written: {os.strerror(error.errno)}",
            path=target,
            hint="free some space or write to another disk; nothing was left behind",
        ) from error


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise OutputError(
            "exists already", path=target, hint="choose another name or allow overwriting"
        )


def _give_name(temporary: Path, target: Path, *, overwrite: bool) -> None:
    """Rename; without `overwrite` a file that appeared meanwhile is never replaced."""
    if overwrite:
        os.replace(temporary, target)
        return
    try:
        # Unlike a rename, a link refuses a name that is taken, whoever was a moment faster.
        os.link(temporary, target)
    except FileExistsError:
        _refuse_existing(target)
        raise
    except (OSError, NotImplementedError, AttributeError):
        # Not all file systems have links.
        _refuse_existing(target)
        os.replace(temporary, target)


@contextmanager
def _naming_lost_folder(target: Path) -> Iterator[None]:
    """Say so where the folder, or the unfinished file in it, was removed meanwhile."""
    try:
        yield
    except FileNotFoundError as error:
        raise _lost(target) from error
    except MediaNotFound as error:
        lost = error.path is not None and Path(error.path).parent == target.parent
        if not (lost and Path(error.path or "").name.startswith(head_of_names(target))):
            raise
        raise _lost(target) from error


def _lost(target: Path) -> OutputError:
    return OutputError(
        "its folder, or the unfinished file in it, was removed while it was written",
        path=target,
        hint="name a folder that stays",
    )


@contextmanager
def _claimed(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """`temporary_beside`, with errors of its making that name the target."""
    with ExitStack() as stack:
        try:
            with naming_full_disk(target):
                made = stack.enter_context(temporary_beside(target))
        except OSError as error:
            raise OutputError(
                f"cannot be written to its folder: {error.strerror}",
                path=target,
                hint="check the permissions or choose another folder",
            ) from error
        yield made


def _take_over_owner(target: Path, temporary: Path) -> None:
    """Give the new file the permissions and, where allowed, the owner of the old one."""
    with suppress(FileNotFoundError):
        old = target.stat()
        if hasattr(os, "chown"):
            with suppress(PermissionError):
                os.chown(temporary, old.st_uid, old.st_gid)
        temporary.chmod(stat.S_IMODE(old.st_mode))


def _sync(file: Path) -> None:
    with file.open("rb+") as handle:
        os.fsync(handle.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; some systems cannot open a folder, and need not."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    # Python only lets the main thread handle signals; elsewhere they stay as they are.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _exit_terminated)
    try:
        yield
    finally:
        # A handler that was not installed from Python reads as None and cannot be put back.
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _exit_terminated(signum: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(TERMINATED)

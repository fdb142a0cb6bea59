"""Unfinished files beside the ones that they will become, and what killed processes left of them.

The name says whose it is, and a lock that nobody but its process holds says whether it is alive.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

# Longest name that every usual file system takes, in bytes.
_NAME_BYTES = 255
# Of a temporary name: two dots, "PID-NUMBER" and ".part".
_OWNER_BYTES = 24
_OWNER = re.compile(r"\d+(-\d+)?", re.ASCII)
_MOST_TRIES = 100


@contextmanager
def temporary_beside(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file in the same folder and the handle that claims it; removed on every way out.

    Raises:
        OSError: none can be made.
    """
    _remove_leftovers(target)
    temporary, claim = _claimed_beside(target)
    with claim, _folder_of(temporary) as folder:
        try:
            yield temporary, claim
        finally:
            with suppress(OSError):
                os.unlink(temporary if folder is None else temporary.name, dir_fd=folder)


def head_of_names(target: Path) -> str:
    """What the names of unfinished files begin with, cut where the file system needs it."""
    room = _NAME_BYTES - len(os.fsencode(target.suffix)) - _OWNER_BYTES
    stem = os.fsencode(target.stem)[:room]
    # A name need not be text: only a character that was cut in two is dropped.
    return f".{os.fsdecode(_whole_characters(stem, os.fsencode(target.stem)))}."


@contextmanager
def _folder_of(path: Path) -> Iterator[int | None]:
    """Hold a folder, so that it is found under another name too; None where that cannot be."""
    folder: int | None = None
    if os.unlink in os.supports_dir_fd:
        with suppress(OSError):
            folder = os.open(path.parent, os.O_RDONLY)
    try:
        yield folder
    finally:
        if folder is not None:
            os.close(folder)


def _claimed_beside(target: Path) -> tuple[Path, BinaryIO]:
    """Create a file that nobody else has, and lock it for as long as its handle lives."""
    for number in range(_MOST_TRIES):
        owner = f"{os.getpid()}-{number}" if number else f"{os.getpid()}"
        temporary = target.with_name(f"{head_of_names(target)}{owner}.part{target.suffix}")
        # Never through a link that somebody else has put there.
        with suppress(FileExistsError):
            claim = temporary.open("xb")
            _try_lock(claim)
            return temporary, claim
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))


def _whole_characters(cut: bytes, whole: bytes) -> bytes:
    while len(cut) < len(whole) and cut and whole[len(cut)] & 0xC0 == 0x80:
        cut = cut[:-1]
    return cut


def _remove_leftovers(target: Path) -> None:
    """Remove what killed processes left of the same output.

    A file counts as left behind when the process in its name is gone and nobody holds it.
    """
    head, tail = head_of_names(target), f".part{target.suffix}"
    names: list[str] = []
    with suppress(PermissionError):
        # One may be allowed to write into a folder, but not to list it.
        names = os.listdir(target.parent)
    for name in names:
        if not (name.startswith(head) and name.endswith(tail)):
            continue
        owner = name[len(head) : len(name) - len(tail)]
        if _OWNER.fullmatch(owner) and not _is_running(int(owner.partition("-")[0])):
            with suppress(OSError):
                _remove_unclaimed(target.with_name(name))


def _remove_unclaimed(path: Path) -> None:
    if path.is_symlink() or not path.is_file():
        return
    with path.open("rb") as handle:
        if not _try_lock(handle):
            return
    path.unlink()


def _try_lock(handle: BinaryIO) -> bool:
    """Lock an open file unless somebody else has; where there are no locks, it is free."""
    try:
        import fcntl
    except ImportError:
        # Windows removes no file that is open.
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


def _is_running(process: int) -> bool:
    if os.name == "nt":
        # Asking is killing there; what is in use cannot be removed anyway.
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True

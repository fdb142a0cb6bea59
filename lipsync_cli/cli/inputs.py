"""From what was typed to the list of files to work on, and where their outputs go."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lipsync_cli.errors import InputError, MediaNotFound, OutputError, UsageError

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".f4v", ".mkv", ".webm", ".ogv", ".avi", ".mxf"),
    *(".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".m2v", ".vob", ".flv", ".wmv", ".asf"),
)


def collect(files: Sequence[Path], files_from: str | None, *, recursive: bool) -> list[Path]:
    """List the inputs in the order given.

    Args:
        files_from: a file that lists more of them, one a line or NUL-separated; "-" is stdin.
        recursive: replaces a folder by the videos below it, sorted. Without it, and where
            there are none, the folder stays and fails as an input.

    Raises:
        UsageError: there is no input at all.
        MediaNotFound: the list cannot be read.
    """
    typed = [*files, *(_read_list(files_from) if files_from else [])]
    if not typed:
        raise UsageError("no input file", hint="name one or more videos, or use --files-from")
    if not recursive:
        return typed
    return [path for item in typed for path in (_videos_below(item) or [item])]


def refuse_folder(path: Path) -> None:
    """Say what to do with a folder where a file is needed.

    Raises:
        InputError: it is a folder.
    """
    if path.is_dir():
        raise InputError(
            "is a folder", path=path, hint="--recursive takes the videos below a folder"
        )


def targets(paths: Iterable[Path], folder: Path, suffix: str | None = None) -> dict[Path, Path]:
    """Give every input its own file name in one folder.

    Args:
        suffix: of the outputs; None keeps each input's own name.

    Raises:
        UsageError: two inputs would write the same file.
    """
    named = {path: folder / (path.stem + suffix if suffix else path.name) for path in paths}
    taken = Counter(os.path.normcase(target) for target in named.values())
    for path, target in named.items():
        if taken[os.path.normcase(target)] > 1:
            raise UsageError(
                f"several inputs would write {target.name}",
                path=path,
                hint="run them apart, with a folder each",
            )
    return named


def make_folder(folder: Path) -> None:
    """Make a folder for outputs, and those above it.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot be made: {error.strerror}", path=folder, hint="name another folder"
        ) from error


@contextmanager
def output_folder(folder: Path | None, *, keep: bool) -> Iterator[None]:
    """Make sure that a folder for outputs is there; `keep` says whether one made stays.

    Raises:
        OutputError: it cannot be made.
    """
    missing: list[Path] = []
    if folder is not None:
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        make_folder(folder)
    try:
        yield
    finally:
        for each in () if keep else missing:
            with suppress(OSError):
                each.rmdir()


def _read_list(source: str) -> list[Path]:
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise MediaNotFound(
            f"the list of files cannot be read: {error.strerror}",
            path=source,
            hint="--files-from takes a text file with one path a line, or - for stdin",
        ) from error
    entries = data.split(b"\0") if b"\0" in data else data.splitlines()
    return [Path(os.fsdecode(entry)) for entry in entries if entry.strip()]


def _videos_below(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )

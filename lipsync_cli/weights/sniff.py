"""What kind of file somebody hands over as a checkpoint, found out without reading any object."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Literal

from lipsync_cli.errors import WeightsError

Form = Literal["pickle", "zip", "torchscript"]

# The largest public checkpoint with its optimizer takes about 1.2 GB.
MAX_BYTES = 2 << 30
# Checkpoints are stored uncompressed; only the code of TorchScript is not.
_MAX_EXPANSION = 10
_SMALL_BYTES = 16 << 20
_MAX_RECORDS = 20_000

# Encrypted and exotic archives raise errors of their own.
_UNREADABLE_ARCHIVE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, RuntimeError, NotImplementedError),
    *(EOFError, OSError, ValueError),
)

_AGAIN = "download it again from its authors' page"
_WEB_PAGE = (b"<!doctype html", b"<html", b"<head", b"<?xml")
_FOREIGN = (
    (b"\x89HDF\r\n", "is a Keras file (HDF5), not a PyTorch checkpoint"),
    (b"\x1f\x8b", "is a gzip archive; unpack it first"),
    (b"BZh", "is a bzip2 archive; unpack it first"),
    (b"\xfd7zXZ", "is an xz archive; unpack it first"),
    (b"7z\xbc\xaf", "is a 7z archive; unpack it first"),
    (b"Rar!", "is a RAR archive; unpack it first"),
    (b"\x93NUMPY", "is a NumPy array, not a PyTorch checkpoint"),
    (b"MATLAB", "is a MATLAB file, not a PyTorch checkpoint"),
    (b"%PDF", "is a PDF, not a PyTorch checkpoint"),
)


def form_of(path: Path) -> Form:
    """Return how a checkpoint is stored.

    Raises:
        WeightsError: it is missing, no file, empty, too large, cut short, damaged, a zip bomb,
            a web page, a Git LFS pointer or something else that is no PyTorch checkpoint.
    """
    size, head = _size(path), _head(path)
    if size > MAX_BYTES:
        raise _no(path, f"is too large for a checkpoint ({size >> 20} MiB)", "name another file")
    if not head:
        raise _no(path, "is empty", _AGAIN)
    if head.lstrip().lower().startswith(_WEB_PAGE):
        raise _no(path, "is a web page, not the file that it offers", f"{_AGAIN}, in a browser")
    if head.startswith(b"version https://git-lfs"):
        raise _no(path, "is a Git LFS pointer, not the file itself", "git lfs pull, in its folder")
    for magic, what in _FOREIGN:
        if head.startswith(magic):
            raise _no(path, what, "name a PyTorch checkpoint (.pth, .pt, .model)")
    if head.startswith(b"PK"):
        return _archive_form(path, size)
    # What torch.save wrote before PyTorch 1.6 is a pickle of protocol 2.
    if head.startswith(b"\x80\x02"):
        return "pickle"
    if head.startswith(b"\x80"):
        what = "is a Python pickle, but none that torch.save wrote; it was not read"
        raise _no(path, what, "name a PyTorch checkpoint (.pth, .pt, .model)")
    raise _no(path, "is no PyTorch checkpoint", "name one (.pth, .pt, .model)")


def root_of(archive: zipfile.ZipFile) -> str | None:
    """Return the folder inside an archive of PyTorch that holds everything."""
    for name in archive.namelist():
        root, slash, file = name.partition("/")
        if slash and file == "data.pkl":
            return root
    return None


def _archive_form(path: Path, size: int) -> Form:
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_bomb(path, archive, size)
            root = root_of(archive)
            if root is None:
                raise _no(path, *_about_other_archive(archive))
            broken = archive.testzip()
            names = archive.namelist()
    except _UNREADABLE_ARCHIVE as error:
        raise _no(path, "is cut short or damaged", _AGAIN) from error
    if broken is not None:
        raise _no(path, f"is damaged: {broken} does not match its checksum", _AGAIN)
    return "torchscript" if f"{root}/constants.pkl" in names else "zip"


def _refuse_bomb(path: Path, archive: zipfile.ZipFile, size: int) -> None:
    records = archive.infolist()
    unpacked = sum(record.file_size for record in records)
    limit = min(MAX_BYTES, max(_MAX_EXPANSION * size, _SMALL_BYTES))
    if unpacked > limit or len(records) > _MAX_RECORDS:
        raise _no(
            path,
            f"would unpack to {unpacked >> 20} MiB in {len(records)} records; it was not read",
            "do not use this file",
        )


def _about_other_archive(archive: zipfile.ZipFile) -> tuple[str, str]:
    names = archive.namelist()
    inside = next((name for name in names if name.endswith((".pth", ".pt", ".model"))), None)
    if inside is not None:
        return f"is an archive that holds {inside}", "unpack it and import that file"
    if any(name.endswith("/model.json") for name in names):
        return "is TorchScript from before PyTorch 1.4", "load it in PyTorch and save it again"
    return "is an archive, but no PyTorch checkpoint", "name one (.pth, .pt, .model)"


def _size(path: Path) -> int:
    try:
        if path.is_dir():
            raise _no(path, "is a folder", "name the checkpoint inside it")
        size = path.stat().st_size
        if not path.is_file():
            raise _no(path, "is no regular file", "name a checkpoint")
    except OSError as error:
        raise _no(path, f"cannot be read: {error.strerror}", "check its name") from error
    return size


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(512)
    except OSError as error:
        raise _no(path, f"cannot be read: {error.strerror}", "check its permissions") from error


def _no(path: Path, what: str, hint: str) -> WeightsError:
    return WeightsError(what, path=path, hint=hint)

"""Find the project's model files and prove that they are the right ones before any is read.

A folder of weights holds `manifest.json`, which names every file with its SHA-256. The
folders are, in this order: one asked for, the one inside an installed package, the one of
a source checkout.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from lipsync_cli.errors import WeightsError

MANIFEST = "manifest.json"

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "weights_data"
_CHECKOUT = _PACKAGE.parent / "weights"

_preferred: list[Path] = []


@dataclass(frozen=True)
class Weight:
    """One line of a manifest.

    Attributes:
        name: what the code asks for, as in "sync".
        file: name of the file, beside the manifest.
        sha256: lower-case hexadecimal digest of the file.
        bytes: its size.
        kind: "torchscript", "onnx", ...
        trained_on: the data behind it, in words.
        figures: what it measured, with the data it was measured on.
    """

    name: str
    file: str
    sha256: str
    bytes: int
    kind: str
    version: str = "1"
    licence: str = "MIT"
    trained_on: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)


def prefer(folder: Path | None) -> None:
    """Make `locate` look into this folder first, in this process; None takes it back."""
    _preferred[:] = [] if folder is None else [folder]


def locate(name: str, *, folder: Path | None = None) -> Path:
    """Return the path of a model file whose SHA-256 has been checked.

    A file is hashed once per process, and again when its size or time changes.

    Args:
        folder: looked into before all others.

    Raises:
        WeightsError: no manifest lists the name, or the file is missing or another one.
    """
    asked = [folder] if folder is not None else _preferred
    for place in asked:
        _require_manifest(place)
    for place in [*asked, _INSTALLED, _CHECKOUT]:
        weight = manifest(place).get(name)
        if weight is not None:
            return _verified(place / weight.file, weight)
    home = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
    raise WeightsError(f"no weights are called {name!r}", hint=_repair(home, MANIFEST))


def manifest(folder: Path) -> dict[str, Weight]:
    """Read the manifest of a folder, by name; empty where there is none.

    Raises:
        WeightsError: the manifest is no valid one.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    try:
        weights = [_weight(entry) for entry in json.loads(path.read_bytes())["weights"]]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise WeightsError(
            f"is no manifest of weights: {error}", path=path, hint=_repair(folder, MANIFEST)
        ) from error
    return {weight.name: weight for weight in weights}


def register(path: Path, *, name: str, kind: str, **about: Any) -> Weight:
    """Hash a model file and enter it into the manifest beside it, in place of its old entry.

    Args:
        about: further fields of `Weight`, such as trained_on and figures.
    """
    weight = Weight(name, path.name, sha256_of(path), path.stat().st_size, kind, **about)
    entries = {**manifest(path.parent), name: weight}
    listing = {"weights": [asdict(entries[key]) for key in sorted(entries)]}
    (path.parent / MANIFEST).write_text(json.dumps(listing, indent=2) + "\n", encoding="utf-8")
    return weight


def sha256_of(path: Path) -> str:
    """Hash a file in lower-case hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _weight(entry: Mapping[str, Any]) -> Weight:
    known = {each.name for each in fields(Weight)}
    weight = Weight(**{key: value for key, value in entry.items() if key in known})
    if weight.file in ("", ".", "..") or Path(weight.file).name != weight.file:
        raise ValueError(f"{weight.file!r} is not the name of a file beside the manifest")
    return weight


def _verified(path: Path, weight: Weight) -> Path:
    repair = _repair(path.parent, weight.file)
    try:
        status = path.stat()
        found = _hash_once(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise WeightsError(
            f"weights {weight.name!r} cannot be read: {error.strerror}; "
            f"expected SHA-256 {weight.sha256}",
            path=path,
            hint=repair,
        ) from error
    if found != weight.sha256.lower():
        raise WeightsError(
            f"weights {weight.name!r} are damaged or others: "
            f"expected SHA-256 {weight.sha256}, found {found}",
            path=path,
            hint=repair,
        )
    return path


@lru_cache(maxsize=64)
def _hash_once(path: Path, size: int, mtime_ns: int) -> str:
    return sha256_of(path)


def _require_manifest(folder: Path) -> None:
    if not (folder / MANIFEST).is_file():
        raise WeightsError(f"holds no {MANIFEST}", path=folder, hint=_repair(folder, MANIFEST))


def _repair(folder: Path, file: str) -> str:
    # The name on the package index may be somebody else's: only the source repairs it.
    if folder == _CHECKOUT:
        return f"git -C '{_CHECKOUT.parent}' restore weights/{file}"
    if folder == _INSTALLED:
        return "pip install --force-reinstall --no-deps . in the source folder of lipsync"
    return "put the right file there, or unset LIPSYNC_WEIGHTS to use the weights that ship"

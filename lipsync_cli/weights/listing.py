"""The list of model files in a folder, each with its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from lipsync_cli.errors import WeightsError
from lipsync_cli.media.output import atomic

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Weight:
    """One line of a manifest.

    Attributes:
        name: what the code asks for, as in "sync".
        file: name of the file, beside the manifest.
        sha256: lower-case hexadecimal digest of the file.
        bytes: its size.
        kind: "torchscript", "onnx", "state_dict", ...
        trained_on: the data behind it, in words.
        figures: what it measured, with the data it was measured on.
        about: what it is, in words.
        source: the file or address that an imported one was made from.
        source_sha256: digest of that file, as it was before it was stripped.
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
    about: str = ""
    source: str = ""
    source_sha256: str = ""


def manifest(folder: Path) -> dict[str, Weight]:
    """Read the manifest of a folder, by name; empty where there is none.

    Raises:
        WeightsError: the manifest is no valid one, or cannot be read.
    """
    path = folder / MANIFEST
    try:
        weights = [_weight(entry) for entry in json.loads(path.read_bytes())["weights"]]
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise WeightsError(
            f"is no manifest of weights: {error}",
            path=path,
            hint="delete it, and import or register the files again",
        ) from error
    return {weight.name: weight for weight in weights}


def register(path: Path, *, name: str, kind: str, **about: Any) -> Weight:
    """Hash a model file and enter it into the manifest beside it, in place of its old entry.

    Args:
        about: further fields of `Weight`, such as trained_on and figures.

    Raises:
        WeightsError: the manifest that is there is no valid one.
        OutputError: the manifest cannot be written; the old one stays.
    """
    weight = Weight(name, path.name, sha256_of(path), path.stat().st_size, kind, **about)
    entries = {**manifest(path.parent), name: weight}
    listing = {"weights": [_entry(entries[key]) for key in sorted(entries)]}
    with atomic(path.parent / MANIFEST, overwrite=True) as temporary:
        temporary.write_text(json.dumps(listing, indent=2) + "\n", encoding="utf-8")
    return weight


def sha256_of(path: Path) -> str:
    """Hash a file in lower-case hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _weight(entry: Mapping[str, Any]) -> Weight:
    known = {each.name for each in fields(Weight)}
    weight = Weight(**{key: value for key, value in entry.items() if key in known})
    if not all(isinstance(each, str) for each in (weight.name, weight.file, weight.sha256)):
        raise TypeError("name, file and sha256 are not all text")
    if weight.file in ("", ".", "..") or Path(weight.file).name != weight.file:
        raise ValueError(f"{weight.file!r} is not the name of a file beside the manifest")
    return weight


def _entry(weight: Weight) -> dict[str, Any]:
    told_only_when_known = ("about", "source", "source_sha256")
    values = asdict(weight)
    return {key: values[key] for key in values if values[key] or key not in told_only_when_known}

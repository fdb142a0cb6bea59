"""Footage is looked at once: what was found is kept, by the content of the file."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.footage import FaceTrack, Footage, scan
from lipsync_cli.sync.evidence import LagEvidence
from lipsync_cli.sync.model_file import LoadedModel
from lipsync_cli.weights import sha256_of

# Raised whenever what is kept changes its meaning.
_VERSION = 1

_ARRAYS = tuple(
    f.name for f in fields(FaceTrack) if f.name not in ("source", "track", "frame_size", "evidence")
)
_EVIDENCE = tuple(f.name for f in fields(LagEvidence))


def cached_scan(
    path: str | Path,
    model: LoadedModel,
    folder: Path,
    *,
    model_id: str,
    source: int = 0,
    audio_track: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Footage:
    """Do what `scan` does, or read what it found before in a file of the same content.

    Args:
        folder: where findings are kept, about 0.9 kB a frame; made when missing.
        model_id: what tells models apart, such as the hash of their file.

    Raises:
        MediaNotFound, UnreadableMedia, MissingStream: as `scan`.
    """
    path = Path(path)
    if not path.is_file():
        return scan(path, model, source=source)  # raises what a missing file raises
    name = f"{sha256_of(path)[:32]}.{model_id[:16]}.{audio_track}.v{_VERSION}.npz"
    known = load(folder / name)
    if known is None:
        known = scan(path, model, source=source, audio_track=audio_track, progress=progress)
        save(known, folder / name)
    elif progress is not None:
        progress(1.0)
    tracks = tuple(replace(track, source=source) for track in known.tracks)
    return replace(known, path=path, source=source, tracks=tracks)


def save(footage: Footage, path: Path) -> None:
    """Write findings; a reader sees all of them or none."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for i, track in enumerate(footage.tracks):
        arrays |= {f"{i}.{name}": getattr(track, name) for name in _ARRAYS}
        if track.evidence is not None:
            arrays |= {f"{i}.evidence.{n}": getattr(track.evidence, n) for n in _EVIDENCE}
    about = {
        "span_s": (footage.start_s, footage.end_s),
        "has_sound": footage.has_sound,
        "warnings": footage.warnings,
        "tracks": [[t.track, *t.frame_size] for t in footage.tracks],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez(stream, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load(path: Path) -> Footage | None:
    """Read findings; None where there are none, or damaged ones."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
            about = json.loads(str(kept["about"]))
            tracks = tuple(_track(kept, i, *row) for i, row in enumerate(about["tracks"]))
        return Footage(
            path=path,
            source=0,
            tracks=tracks,
            start_s=about["span_s"][0],
            end_s=about["span_s"][1],
            has_sound=about["has_sound"],
            warnings=tuple(about["warnings"]),
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def _track(kept: Any, place: int, number: int, width: int, height: int) -> FaceTrack:
    arrays = {name: kept[f"{place}.{name}"] for name in _ARRAYS}
    evidence = None
    if f"{place}.evidence.{_EVIDENCE[0]}" in kept:
        evidence = LagEvidence(**{n: kept[f"{place}.evidence.{n}"] for n in _EVIDENCE})
    frame_size = (width, height)
    return FaceTrack(source=0, track=number, frame_size=frame_size, evidence=evidence, **arrays)

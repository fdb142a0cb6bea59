"""Footage is looked at once: what was found is kept, by the content of the file."""

from __future__ import annotations

import json
import os
import zipfile
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.footage.scan import FaceTrack, Footage, scan
from lipsync_cli.errors import OutputError
from lipsync_cli.faces.detect import create_detector
from lipsync_cli.media.output import atomic
from lipsync_cli.progress import Progress
from lipsync_cli.sync.evidence import LagEvidence
from lipsync_cli.sync.model_file import LoadedModel
from lipsync_cli.weights import sha256_of

# Raised whenever what is kept changes its meaning.
_VERSION = 3
# About five hours of one face; what was not read for longest goes first.
MOST_BYTES = 500_000_000

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
    detector: str = "own",
    source: int = 0,
    audio_track: int = 0,
    progress: Progress | None = None,
) -> Footage:
    """Do what `scan` does, or read what it found before in a file of the same content.

    A folder that cannot be written to only costs time.

    Args:
        folder: where findings are kept, about 1 kB a frame and 500 MB in all; made when
            missing.
        model_id: what tells models apart, such as the hash of their file.
        detector: name of the face detector.

    Raises:
        MediaNotFound, UnreadableMedia, MissingStream: as `scan`.
    """
    path = Path(path)
    record = _record_of(path, folder, f"{model_id[:16]}.{detector}.{audio_track}")
    known = None if record is None else load(record)
    if known is None:
        known = scan(
            path,
            model,
            detector=create_detector(detector),
            audio_track=audio_track,
            progress=progress,
        )
        if record is not None:
            with suppress(OSError, OutputError):
                save(known, record)
                prune(folder)
    elif progress is not None:
        progress(1.0)
    tracks = tuple(replace(track, source=source) for track in known.tracks)
    return replace(known, path=path, source=source, tracks=tracks)


def _record_of(path: Path, folder: Path, how: str) -> Path | None:
    """Where findings about a file belong; None where it cannot be read."""
    try:
        content = sha256_of(path)[:32] if path.is_file() else None
    except OSError:
        return None
    return None if content is None else folder / f"{content}.{how}.v{_VERSION}.npz"


def prune(folder: Path, most_bytes: int = MOST_BYTES) -> None:
    """Delete the findings that were not read for longest, until the rest fits."""
    records = []
    for record in folder.glob("*.npz"):
        with suppress(OSError):
            status = record.stat()
            records.append((status.st_mtime_ns, status.st_size, record))
    kept = 0
    for _, size, record in sorted(records, reverse=True):
        kept += size
        if kept > most_bytes:
            with suppress(OSError):
                record.unlink()


def save(footage: Footage, path: Path) -> None:
    """Write findings; a reader sees all of them or none.

    Raises:
        OSError, OutputError: the folder cannot be written to.
    """
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
    with atomic(path, overwrite=True) as temporary:
        np.savez(temporary, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]


def load(path: Path) -> Footage | None:
    """Read findings; None where there are none, or damaged ones."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
            about = json.loads(str(kept["about"]))
            with suppress(OSError):
                os.utime(path)
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

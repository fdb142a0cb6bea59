"""The whole benchmark: which parts on which media, and the machine they ran on."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import torch

from lipsync_cli.device import choose
from lipsync_cli.errors import LipsyncError, UsageError
from lipsync_cli.sync.model_file import LoadedModel, load_model
from lipsync_cli.training.speed.benchmark import Stage, detect_stages, fix_stages, stage, timed
from lipsync_cli.training.speed.growth import detect_cost, start_costs
from lipsync_cli.training.speed.media import (
    CODECS,
    Material,
    can_encode,
    synthesise_media,
)
from lipsync_cli.training.speed.raw import copy_by_ffmpeg
from lipsync_cli.weights import locate

Show = Callable[[str, list[Any]], None]


@dataclass(frozen=True)
class Asked:
    """What is measured.

    Attributes:
        media: as in "1080p-h264".
        parts: of detect, fix, dub, generator, growth, start.
        seconds: length of each file.
        minutes, faces, height: of the files of the growth.
    """

    media: tuple[str, ...]
    parts: frozenset[str]
    seconds: float
    minutes: tuple[float, ...]
    faces: tuple[int, ...]
    height: int

    def materials(self) -> list[Material]:
        """The files that this machine can make.

        Raises:
            UsageError: a name says neither size nor codec.
        """
        found = []
        for name in self.media:
            match = re.fullmatch(rf"(\d+)p-({'|'.join(CODECS)})", name)
            if match is None:
                raise UsageError(f"{name!r} is no media", hint="as in 1080p-h264")
            if can_encode(match[2]):
                found.append(Material(int(match[1]), match[2], duration_s=self.seconds))
        return found


def run(asked: Asked, folder: Path, show: Show) -> dict[str, Any]:
    """Measure what was asked for; `show` is told each table as soon as it is known."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for title, rows in _tables(asked, folder):
        show(title, rows)
        tables[title] = [_rounded(asdict(row)) for row in rows]
    return {"machine": _machine(), "tables": tables}


def _tables(asked: Asked, folder: Path) -> Iterator[tuple[str, list[Any]]]:
    model = load_model(locate("sync"), choose("cpu"))
    for material in asked.materials():
        rows = _stages(asked, material, folder, model)
        if rows:
            yield f"{material.name}, per picture", rows
    if "generator" in asked.parts:
        from lipsync_cli.training.speed.dub import generator_stages

        yield "generator, per picture", list(generator_stages())
    if "growth" in asked.parts:
        yield f"growth at {asked.height}p", list(_growth(asked, folder))
    if "start" in asked.parts:
        path = synthesise_media(Material(360, duration_s=10.0), folder)
        yield "start", start_costs(path, folder / "started.mp4")


def _stages(asked: Asked, material: Material, folder: Path, model: LoadedModel) -> list[Stage]:
    if not asked.parts & {"detect", "fix", "dub"}:
        return []
    path = synthesise_media(material, folder)
    rows: list[Stage] = []
    if "detect" in asked.parts:
        rows += detect_stages(path, material, model)
    if "fix" in asked.parts:
        rows += [*fix_stages(path, material, folder), *_by_ffmpeg(path, material, folder)]
    if "dub" in asked.parts:
        rows += _dubbed(path, folder)
    return rows


def _by_ffmpeg(path: Path, material: Material, folder: Path) -> Iterator[Stage]:
    target = folder / f"copied{path.suffix}"
    copied: list[bool] = []
    cost = timed(lambda: copied.append(copy_by_ffmpeg(path, target)))
    if copied[0]:
        target.unlink()
        yield stage("ffmpeg -c copy", cost, material.frames)


def _dubbed(path: Path, folder: Path) -> Iterator[Stage]:
    from lipsync_cli.training.speed.dub import dub_stages

    target = folder / f"dubbed{path.suffix}"
    try:
        # A speaker's own speech is as good as any: what it costs is the same.
        yield from dub_stages(path, path, target)
    except LipsyncError as error:
        yield Stage(f"dub refused: {error.message}", 0.0, 0.0)
    target.unlink(missing_ok=True)


def _growth(asked: Asked, folder: Path) -> Iterator[Any]:
    for minutes in asked.minutes:
        material = Material(asked.height, duration_s=60 * minutes)
        path = synthesise_media(material, folder)
        yield detect_cost(path, material, f"{minutes:g} min, 1 face")
    for faces in asked.faces:
        material = Material(asked.height, faces=faces, duration_s=asked.seconds)
        path = synthesise_media(material, folder)
        yield detect_cost(path, material, f"{asked.seconds:g} s, faces: {faces}")


def _machine() -> dict[str, Any]:
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "av": av.__version__,
        "threads": torch.get_num_threads(),
    }


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}

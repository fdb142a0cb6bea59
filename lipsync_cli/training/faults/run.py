"""All faults for a number of minutes, and how many there were."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lipsync_cli.training.faults.fuzz import fuzz
from lipsync_cli.training.faults.kill import Job, Outcomes, stop_at_random
from lipsync_cli.training.speed.media import Material, synthesise_media

# Shares of the time.
_FUZZ, _REPAIR, _DUB = 0.5, 0.3, 0.2
# So long that a good part of a repair is the writing.
_LONG_S = 300.0


def run(minutes: float, seed: int, *, dub: bool) -> dict[str, Any]:
    """Damaged files first, then interrupted repairs, then interrupted dubs."""
    total_s = 60 * minutes
    findings = fuzz(seed, _until(total_s * _FUZZ))
    outcomes = Outcomes()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        stop_at_random(_repairs(folder), seed, _until(total_s * _REPAIR), outcomes)
        if dub:
            stop_at_random([_dub(folder)], seed, _until(total_s * _DUB), outcomes)
    return {"seed": seed, "damaged": findings.to_dict(), "stopped": outcomes.to_dict()}


def _repairs(folder: Path) -> list[Job]:
    path = synthesise_media(Material(360, faces=0, duration_s=_LONG_S), folder)
    aside = ("fix-sync", "--offset", "120", path.name, "-o", "fixed.mp4")
    return [
        Job("fix-sync", (path,), aside, "fixed.mp4"),
        Job(
            "fix-sync --in-place",
            (path,),
            ("fix-sync", "--offset", "120", "--in-place", path.name),
            path.name,
        ),
    ]


def _dub(folder: Path) -> Job:
    path = synthesise_media(Material(360, duration_s=6.0), folder)
    arguments = ("dub", "--engine", "rewrite", "--no-verify", path.name, path.name, "-o", "out.mp4")
    return Job("dub", (path,), arguments, "out.mp4")


def _until(seconds: float) -> Callable[[int], bool]:
    end_s = time.monotonic() + seconds
    return lambda count: time.monotonic() < end_s

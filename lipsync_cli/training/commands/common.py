"""What the training commands share."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

Clips = Annotated[Path, typer.Option(help="Folder with manifest.csv, lags.csv and the clips.")]
Cache = Annotated[Path, typer.Option(help="Packed training data, made by prepare-sync.")]
Run = Annotated[Path, typer.Option(help="Folder of checkpoints; resumed when there is one.")]
Threads = Annotated[int, typer.Option(help="CPU threads.")]
Report = Annotated[Path | None, typer.Option(help="Write the figures there as JSON too.")]
HELD_OUT = 0.08
SPLIT_SEED = 7


def set_threads(count: int) -> None:
    """Threads of torch; OpenCV stays with one."""
    import cv2
    import torch

    torch.set_num_threads(count)
    cv2.setNumThreads(1)


def split_speakers(clips: Path, cache: Path) -> tuple[list[Any], list[Any]]:
    """Re-centred training clips of (training speakers, speakers for calibration)."""
    from lipsync_cli.training.sync.cache import hold_out, load_clips
    from lipsync_cli.training.sync.labels import recentre

    table = clips / "lags.csv"
    return hold_out(recentre(load_clips(cache, "train"), table), HELD_OUT, SPLIT_SEED)


def own_offsets(clips: Path, cache: Path, split: str) -> tuple[list[Any], set[str]]:
    """In-the-wild clips with their own offsets, and those whose offset is no guess."""
    from lipsync_cli.training.sync.cache import load_clips
    from lipsync_cli.training.sync.labels import MIN_MARGIN, own_offsets_ms

    wild = [c for c in load_clips(cache, split) if c.corpus == "wild"]
    own = own_offsets_ms(wild, clips / "lags.csv")
    known = [replace(c, offset_ms=own[c.file][0]) for c in wild if c.file in own]
    return known, {c.file for c in known if own[c.file][1] >= MIN_MARGIN}


def publish(answer: object, report: Path | None) -> None:
    """Print JSON, and write it to `report` too."""
    text = json.dumps(answer, indent=1)
    typer.echo(text)
    if report is not None:
        report.write_text(text + "\n")

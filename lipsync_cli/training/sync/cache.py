"""The packed training set: mouth crops and sound of every clip, with their times.

A folder holds, per shard, `NAME.json` (one record a clip), `NAME.u8` (grey 80x80 crops:
the 64 px the model sees and a margin to jitter in) and `NAME.s16` (16 kHz mono sound).
Training needs nothing but this folder.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.training.running import split

SIDE = 80  # pixels stored


@dataclass(frozen=True)
class Clip:
    """One clip of one speaker.

    Attributes:
        crops: uint8 [T, 80, 80], memory-mapped.
        pts_s: float64 [T], true time of each crop.
        sound: int16 [n], memory-mapped; its first sample is at `t0_s`.
        offset_ms: the clip's own offset (> 0 audio early), subtracted in training.
    """

    file: str
    speaker: str
    corpus: str
    crops: NDArray[np.uint8]
    pts_s: NDArray[np.float64]
    sound: NDArray[np.int16]
    t0_s: float
    offset_ms: float = 0.0

    @property
    def duration_s(self) -> float:
        return float(self.pts_s[-1] - self.pts_s[0])

    @property
    def group(self) -> str:
        """Speaker id; corpora whose ids are guesses count as one speaker."""
        return (
            "lrwar_mixed"
            if self.speaker.startswith(("lrwar_wpool", "lrwar_misc"))
            else self.speaker
        )


def as_float(sound: NDArray[np.int16]) -> NDArray[np.float32]:
    """Stored sound in [-1, 1]."""
    return np.asarray(sound * np.float32(1 / 32768), np.float32)


def load_clips(folder: Path, split: str) -> list[Clip]:
    """All clips of the shards `split.*.json` in `folder`."""
    clips: list[Clip] = []
    for index in sorted(folder.glob(f"{split}.*.json")):
        crops = np.memmap(index.with_suffix(".u8"), np.uint8, "r").reshape(-1, SIDE, SIDE)
        sound = np.memmap(index.with_suffix(".s16"), np.int16, "r")
        for r in json.loads(index.read_text()):
            frames = slice(r["first"], r["first"] + r["frames"])
            samples = slice(r["sample0"], r["sample0"] + r["samples"])
            pts = np.asarray(r["pts"], np.float64)
            who = r["file"], r["speaker"] or r["file"], r["corpus"]
            clips.append(Clip(*who, crops[frames], pts, sound[samples], r["t0"]))
    return clips


def hold_out(clips: Sequence[Clip], share: float, seed: int) -> tuple[list[Clip], list[Clip]]:
    """Split by speaker: (kept, held out). The same seed always holds out the same people."""
    groups = {c.group for c in clips if c.corpus == "wild"}
    return split(clips, groups, int(share * len(groups)), seed)

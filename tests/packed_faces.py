"""Packed clips of a drawn face whose mouth opens with its sound, and an expert who sees that."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lipsync_cli.training.faces.pack import MARGIN, MEL_RATE, SIDE, PackedClip

RATE = 25.0
# Of the 96 px crop: lips, between which the drawn mouth opens downwards.
LIPS, MOUTH_COLUMNS, MOST_OPEN = 60, (36, 60), 20


def talking_clip(
    name: str = "a", seconds: float = 4.0, *, seed: int = 0, offset_ms: float = 0.0
) -> PackedClip:
    """A face that is quiet with closed lips in about a third of the time.

    Its sound is as much early as `offset_ms` says.
    """
    rng = np.random.default_rng(seed)
    pts_s = 3.0 + np.arange(int(seconds * RATE)) / RATE
    # Syllables of 160 ms, some of them silent: levels 0 to 1.
    count = int(seconds / 0.16) + 2
    levels = rng.uniform(0.4, 1, count) * (rng.random(count) < 0.75)
    levels[2:6] = 0  # a pause of half a second

    def opening(times_s: np.ndarray) -> np.ndarray:
        return np.interp(times_s - pts_s[0], np.arange(len(levels)) * 0.16, levels)

    skin = rng.integers(200, 240, 3)
    faces = np.empty((len(pts_s), SIDE, SIDE, 3), np.uint8)
    faces[:] = skin
    faces[:, 30 + MARGIN : 36 + MARGIN, 20 + MARGIN : 76 + MARGIN] = 40  # eyes
    for face, wide in zip(faces, opening(pts_s), strict=True):
        low = LIPS + MARGIN
        left, right = (MARGIN + c for c in MOUTH_COLUMNS)
        face[low : low + 1 + round(MOST_OPEN * wide), left:right] = 20
    # Columns stand for what sounds from their time on; an early sound comes before its picture.
    times_s = pts_s[0] - 0.5 + np.arange(int((seconds + 1) * MEL_RATE)) / MEL_RATE
    loud = opening(times_s + offset_ms / 1000)
    bands = np.linspace(1, 0.5, 80)[:, None]
    mel = np.round(255 * 0.8 * bands * loud).astype(np.uint8)
    return PackedClip(f"{name}.mp4", name, "wild", pts_s, faces, mel, times_s[0], offset_ms)


class DrawnMouthExpert(nn.Module):
    """Compares how open drawn mouths are with how loud the sound is; learns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, halves: Tensor, mel: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 15, 48, 96], [B, 1, 80, 16] -> unit vectors [B, 6]."""
        return self.embed_pictures(halves), self.embed_sound(mel)

    def embed_pictures(self, halves: Tensor) -> Tensor:
        frames = halves.unflatten(1, (5, 3)).mean(2)  # [B, 5, 48, 96]
        mouth = frames[..., LIPS - 48 : LIPS - 48 + MOST_OPEN, slice(*MOUTH_COLUMNS)]
        return self._unit((1 - mouth.mean((2, 3)) / frames[..., -1, 0]).clamp(min=0))

    def embed_sound(self, mel: Tensor) -> Tensor:
        at = [round(i * MEL_RATE / RATE) for i in range(5)]
        return self._unit((mel[:, 0].mean(1)[:, at] + 4) / 5)

    def _unit(self, opening: Tensor) -> Tensor:
        constant = torch.full_like(opening[:, :1], 0.3)
        return functional.normalize(torch.cat([self.scale * opening, constant], 1), dim=1)

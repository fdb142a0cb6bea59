"""Random stretches of clips, from which windows of pictures and of sound are paired."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipsync_cli.errors import InputError
from lipsync_cli.training.faces.pack import SILENCE, PackedClip

FRAMES = 5  # pictures of a window
COLUMNS = 16  # of the sound of a window
# Slower or interrupted pictures show no movement of lips.
_SLOWEST_S, _LONGEST_GAP_S = 0.05, 0.1
_TRIES = 20


@dataclass(frozen=True)
class Stretches:
    """Parts of clips; picture window p begins with sound window `reach` + p.

    Attributes:
        faces: uint8 [B, P + 4, 112, 112, 3] BGR, consecutive pictures.
        mel: [B, 80, L], sound of the same time and of `reach` windows before and after it.
        starts: int64 [B, S], first column of each sound window.
        times_s: float64 [B, S], times of the pictures at which they begin.
        known: bool [B, S], wholly inside of the clip's sound.
    """

    faces: Tensor
    mel: Tensor
    starts: Tensor
    times_s: Tensor
    known: Tensor

    def __len__(self) -> int:
        return len(self.known)

    def first(self, count: int) -> Stretches:
        """The first so many clips."""
        return Stretches(**{f.name: getattr(self, f.name)[:count] for f in fields(self)})

    def to(self, device: torch.device) -> Stretches:
        """The same on another device."""
        return Stretches(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


class Sampler:
    """Draws stretches; people are drawn by the square root of their minutes.

    Args:
        batch: stretches drawn together.
        pictures: windows of pictures in each.
        reach: further windows of sound at either end.

    Raises:
        InputError: no clip is long enough.
    """

    def __init__(
        self,
        clips: Sequence[PackedClip],
        *,
        batch: int,
        pictures: int,
        reach: int,
        seed: int,
    ) -> None:
        self.batch, self.pictures, self.reach, self.seed = batch, pictures, reach, seed
        self._frames = pictures + FRAMES - 1
        self._clips = [c for c in clips if is_steady(c, self._frames)]
        if not self._clips:
            raise InputError(
                "no clip of the pack is long enough to train with",
                hint=f"clips need {self._frames} pictures and more",
            )
        self._weights = _weights(self._clips)

    def draw(self, number: int) -> Stretches:
        """The batch of a number, which is always the same."""
        rng = np.random.default_rng((self.seed, number))
        picks = rng.choice(len(self._clips), self.batch, p=self._weights)
        parts = [self._stretch(self._clips[pick], rng) for pick in picks]
        longest = max(mel.shape[1] for _, mel, *_ in parts)
        faces, mels, starts, times_s, known = zip(*parts, strict=True)
        room = [((0, 0), (0, longest - mel.shape[1])) for mel in mels]
        padded = [np.pad(m, r, constant_values=SILENCE) for m, r in zip(mels, room, strict=True)]
        columns = (faces, padded, starts, times_s, known)
        return Stretches(*(torch.from_numpy(np.stack(column)) for column in columns))

    def _stretch(
        self, clip: PackedClip, rng: np.random.Generator
    ) -> tuple[
        NDArray[np.uint8],
        NDArray[np.float32],
        NDArray[np.int64],
        NDArray[np.float64],
        NDArray[np.bool_],
    ]:
        for _ in range(_TRIES):
            start = int(rng.integers(0, len(clip.pts_s) - self._frames + 1))
            pts_s = clip.pts_s[start : start + self._frames]
            if np.diff(pts_s).max() <= _LONGEST_GAP_S:
                break
        times_s = self._times(pts_s)
        mel, starts, known = heard(clip, times_s)
        return clip.faces[start : start + self._frames], mel, starts, times_s, known

    def _times(self, pts_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """When sound windows begin: at the pictures, and as often before and after them."""
        apart_s = (pts_s[-1] - pts_s[0]) / (len(pts_s) - 1)
        inner = pts_s[: self.pictures]
        further = np.arange(1, self.reach + 1) * apart_s
        return np.concatenate([inner[0] - further[::-1], inner, inner[-1] + further])


def heard(
    clip: PackedClip, times_s: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
    """Sound from the first of some rising times on: mel [80, L], first columns and `known` [S]."""
    columns = np.array([clip.column_at(t) for t in times_s.tolist()], np.int64)
    known = (columns >= 0) & (columns + COLUMNS <= clip.mel.shape[1])
    starts = columns - columns[0]
    return clip.mel_window(float(times_s[0]), int(starts[-1]) + COLUMNS), starts, known


def is_steady(clip: PackedClip, frames: int) -> bool:
    """Whether a clip has so many pictures, and 20 or more of them a second."""
    enough = len(clip.pts_s) >= frames
    return enough and clip.duration_s / (len(clip.pts_s) - 1) <= _SLOWEST_S


def _weights(clips: Sequence[PackedClip]) -> NDArray[np.float64]:
    seconds: dict[str, float] = defaultdict(float)
    for clip in clips:
        seconds[clip.group] += clip.duration_s
    share = np.array([c.duration_s / np.sqrt(seconds[c.group]) for c in clips])
    return np.asarray(share / share.sum(), np.float64)

"""Random training samples: a stretch of mouths, and the sound around it at a known offset."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipsync_cli.sync.encoders import (
    AUDIO_FIELD,
    AUDIO_STRIDE,
    EMBED_RATE,
    VISUAL_CONTEXT,
)
from lipsync_cli.sync.features import HOP, MEL_RATE, SAMPLE_RATE, WINDOW, log_mel
from lipsync_cli.sync.lag_matrix import STEP_S
from lipsync_cli.training.sync.augment import augment_crops, augment_sound, mask_mel, plain_crops
from lipsync_cli.training.sync.cache import Clip, as_float

REACH = 60  # candidate offsets on either side, 10 ms each
MAX_SHIFT_S = 0.45  # the true offset is anywhere within this of the grid's centre


@dataclass(frozen=True)
class Batch:
    """Samples of one shape.

    Attributes:
        crops: uint8 [B, T, 64, 64].
        mel: [B, M, 80].
        position: [B, T - 10], row of the audio embeddings at each picture if the offset were 0.
        known: bool [B, (M - 49) // 2], audio embeddings whose whole context lies in the clip.
        offset_s: [B], the true offset (> 0 audio early); NaN where picture and sound are strangers.
    """

    crops: Tensor
    mel: Tensor
    position: Tensor
    known: Tensor
    offset_s: Tensor


@dataclass(frozen=True)
class _Sample:
    crops: NDArray[np.uint8]
    mel: NDArray[np.float32]
    position: NDArray[np.float32]
    known: NDArray[np.bool_]
    offset_s: float


class Sampler:
    """Endless batches; people are drawn by the square root of their minutes."""

    def __init__(
        self,
        clips: Sequence[Clip],
        *,
        frames: int,
        batch: int,
        seed: int,
        strangers: float = 0.12,
        augment: bool = True,
    ) -> None:
        self.frames, self.batch, self.strangers, self.augment = frames, batch, strangers, augment
        self.clips = [c for c in clips if len(c.pts_s) >= frames]
        self.rng = np.random.default_rng(seed)
        self.weights = self._draw_weights()
        # The longest stretch of sound any sample needs, so that a batch has one shape.
        context_s = AUDIO_FIELD / MEL_RATE + WINDOW / SAMPLE_RATE
        self.span_s = (frames - 1) / 26.0 + 2 * REACH * STEP_S + context_s

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield self.draw()

    def draw(self) -> Batch:
        """One batch."""
        picks = self.rng.choice(len(self.clips), self.batch, p=self.weights)
        samples = [self._sample(self.clips[i]) for i in picks]
        return Batch(
            torch.from_numpy(np.stack([s.crops for s in samples])),
            torch.from_numpy(np.stack([s.mel for s in samples])),
            torch.from_numpy(np.stack([s.position for s in samples])),
            torch.from_numpy(np.stack([s.known for s in samples])),
            torch.tensor([s.offset_s for s in samples], dtype=torch.float32),
        )

    def _draw_weights(self) -> NDArray[np.float64]:
        minutes: dict[str, float] = defaultdict(float)
        for clip in self.clips:
            minutes[clip.group] += clip.duration_s
        share = [c.duration_s / np.sqrt(minutes[c.group]) for c in self.clips]
        return np.asarray(np.divide(share, np.sum(share)), np.float64)

    def _sample(self, clip: Clip) -> _Sample:
        rng = self.rng
        first = int(rng.integers(0, len(clip.pts_s) - self.frames + 1))
        crops = clip.crops[first : first + self.frames]
        pts = clip.pts_s[first : first + self.frames]
        middle = (pts[0] + pts[-1]) / 2
        offset_s = float(rng.uniform(-MAX_SHIFT_S, MAX_SHIFT_S))
        if rng.random() < self.strangers:
            other = self.clips[int(rng.integers(len(self.clips)))]
            start = rng.uniform(other.pts_s[0], other.pts_s[-1]) - self.span_s / 2
            sound, inside = self._cut(other, start)
            offset_s = np.nan
        else:
            # Picture t truly sounds at t - own; after the shift it sounds at t - offset_s.
            start = middle - self.span_s / 2 - clip.offset_ms / 1000 + offset_s
            sound, inside = self._cut(clip, start)
        mel = log_mel(sound, 0.0)
        # Row 0 of the embeddings is centred half a field after the first mel frame.
        row0_s = mel.t0_s + AUDIO_FIELD // 2 / MEL_RATE - self.span_s / 2
        seen_s = pts[VISUAL_CONTEXT : self.frames - VISUAL_CONTEXT] - middle
        return _Sample(
            augment_crops(crops, rng) if self.augment else plain_crops(crops),
            mask_mel(mel.frames, rng) if self.augment else mel.frames,
            ((seen_s - row0_s) * EMBED_RATE).astype(np.float32),
            _known(inside, len(mel.frames)),
            offset_s,
        )

    def _cut(self, clip: Clip, start_s: float) -> tuple[NDArray[np.float32], tuple[int, int]]:
        """`span_s` of sound from `start_s` (to the sample), and the part that truly exists."""
        n = int(self.span_s * SAMPLE_RATE)
        first = round((start_s - clip.t0_s) * SAMPLE_RATE)
        low, high = max(0, -first), min(n, len(clip.sound) - first)
        if self.augment and self.rng.random() < 0.5:
            # Otherwise the clip's own ends would tell where picture and sound belong together.
            low += int(self.rng.integers(0, SAMPLE_RATE // 4))
            high -= int(self.rng.integers(0, SAMPLE_RATE // 4))
        high = max(low, high)
        sound = np.zeros(n, np.float32)
        sound[low:high] = as_float(clip.sound[first + low : first + high])
        if self.augment:
            sound = augment_sound(sound, self.rng, self._babble())
        return sound, (low, high)

    def _babble(self) -> NDArray[np.float32]:
        sound = self.clips[int(self.rng.integers(len(self.clips)))].sound
        start = int(self.rng.integers(0, max(1, len(sound) - 2 * SAMPLE_RATE)))
        return as_float(sound[start : start + 4 * SAMPLE_RATE])


def _known(inside: tuple[int, int], mel_frames: int) -> NDArray[np.bool_]:
    """Audio embeddings that see nothing outside samples [low, high)."""
    begin = np.arange(_embeddings(mel_frames)) * AUDIO_STRIDE * HOP
    end = begin + (AUDIO_FIELD - 1) * HOP + WINDOW + 1
    return (begin >= inside[0]) & (end <= inside[1])


def _embeddings(mel_frames: int) -> int:
    return (mel_frames - AUDIO_FIELD) // AUDIO_STRIDE + 1

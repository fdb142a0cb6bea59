"""Random windows of five pictures, another look at the same face, and the sound of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipsync_cli.dubbing.generator.windows import FRAMES, window_rows, window_starts
from lipsync_cli.errors import InputError
from lipsync_cli.training.faces.pack import BANDS, SILENCE, PackedClip
from lipsync_cli.training.generator.augment import (
    louder,
    plain_look,
    random_gain_db,
    random_look,
)
from lipsync_cli.training.generator.closed_mouths import closed_windows

REFERENCE_APART_S = 0.4
EXPERT_COLUMNS = 16
# A usual window, and room for a reference on at least one side of it.
_SHORTEST_CLIP_S = 0.2 + 2 * REFERENCE_APART_S


@dataclass(frozen=True)
class Hearing:
    """What a generator hears of a picture.

    Attributes:
        start_s: where it begins, from the picture's own time.
        columns: of the spectrogram.
    """

    start_s: float
    columns: int


@dataclass(frozen=True)
class Windows:
    """Samples.

    Attributes:
        target: uint8 [B, 5, 96, 96, 3] BGR, 40 ms apart.
        reference: uint8 [B, 5, 96, 96, 3] BGR, the same face at other times.
        sound: [B, 5, 80, C], what is heard of each picture.
        mel: [B, 80, 16], what the expert hears of the window.
        voiced: bool [B], False where sound was taken away.
    """

    target: Tensor
    reference: Tensor
    sound: Tensor
    mel: Tensor
    voiced: Tensor

    def __len__(self) -> int:
        return len(self.voiced)

    def first(self, count: int) -> Windows:
        """The first so many samples."""
        return Windows(**{f.name: getattr(self, f.name)[:count] for f in fields(self)})

    def to(self, device: torch.device) -> Windows:
        """The same on another device."""
        return Windows(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


class Sampler:
    """Draws batches; people are drawn by the square root of their minutes.

    Args:
        hearing: of the generator.
        batch: windows drawn together.
        silence: share of windows whose sound is taken away, in clips with pauses: they show
            closed mouths.
        augment: vary looks and loudness.

    Raises:
        InputError: no clip is long enough for a window and a look from elsewhere.
    """

    def __init__(
        self,
        clips: Sequence[PackedClip],
        hearing: Hearing,
        *,
        batch: int,
        seed: int,
        silence: float = 0.12,
        augment: bool = True,
    ) -> None:
        self.hearing, self.batch, self.seed = hearing, batch, seed
        self.silence, self.augment = silence, augment
        self.clips = [c for c in clips if _long_enough(c)]
        if not self.clips:
            raise InputError(
                "no clip of the pack is long enough to train with",
                hint=f"clips need {_SHORTEST_CLIP_S:g} s and more",
            )
        self._weights = _weights(self.clips)
        self._closed: dict[int, NDArray[np.int64]] = {}

    def draw(self, number: int) -> Windows:
        """The batch of a number, which is always the same."""
        rng = np.random.default_rng((self.seed, number))
        picks = rng.choice(len(self.clips), self.batch, p=self._weights)
        samples = [self._sample(int(pick), rng) for pick in picks]
        columns = zip(*samples, strict=True)
        target, reference, sound, mel, voiced = (np.stack(list(column)) for column in columns)
        return Windows(*map(torch.from_numpy, (target, reference, sound, mel, voiced)))

    def _sample(self, pick: int, rng: np.random.Generator) -> tuple[NDArray[np.generic], ...]:
        clip = self.clips[pick]
        rows, voiced = self._rows(pick, rng)
        look = random_look(rng) if self.augment else plain_look()
        shown = look.crops(clip.faces[rows])
        others = look.crops(clip.faces[_references(clip, rows, rng)])
        gain_db = random_gain_db(rng) if self.augment else 0.0
        sound, mel = heard(clip, rows, self.hearing)
        if not voiced:
            sound, mel = np.full_like(sound, SILENCE), np.full_like(mel, SILENCE)
        return shown, others, louder(sound, gain_db), louder(mel, gain_db), np.array(voiced)

    def _rows(self, pick: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], bool]:
        """The pictures [5] of a window, and whether it keeps its sound."""
        clip = self.clips[pick]
        if rng.random() < self.silence:
            if pick not in self._closed:
                self._closed[pick] = closed_windows(clip, FRAMES)
            if len(self._closed[pick]):
                start = int(rng.choice(self._closed[pick]))
                return np.arange(start, start + FRAMES), False
        start = int(rng.choice(window_starts(clip.pts_s)))
        return window_rows(clip.pts_s, np.array([start]))[0], True


def heard(
    clip: PackedClip, rows: NDArray[np.int64], hearing: Hearing
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sound of the pictures of a window: [5, 80, C], and of the expert: [80, 16]."""
    times = clip.pts_s[rows].tolist()
    sound = [clip.mel_window(t + hearing.start_s, hearing.columns) for t in times]
    return np.stack(sound), clip.mel_window(times[0], EXPERT_COLUMNS)


def silent(hearing: Hearing, frames: int) -> NDArray[np.float32]:
    """No sound: [frames, 80, C]."""
    return np.full((frames, BANDS, hearing.columns), SILENCE, np.float32)


def _references(
    clip: PackedClip, rows: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Five other pictures [5] of the clip, as far away as it allows, up to 0.4 s."""
    window = clip.pts_s[rows]
    apart = np.maximum(window[0] - clip.pts_s, clip.pts_s - window[-1])
    # In a clip with gaps there may be nothing that far away.
    far = np.flatnonzero(apart >= min(REFERENCE_APART_S, float(apart.max())))
    return rng.choice(far, FRAMES)


def _long_enough(clip: PackedClip) -> bool:
    if clip.duration_s < _SHORTEST_CLIP_S or len(clip.pts_s) < FRAMES:
        return False
    return len(window_starts(clip.pts_s)) > 0


def _weights(clips: Sequence[PackedClip]) -> NDArray[np.float64]:
    minutes: dict[str, float] = defaultdict(float)
    for clip in clips:
        minutes[clip.group] += clip.duration_s
    share = [c.duration_s / np.sqrt(minutes[c.group]) for c in clips]
    return np.asarray(np.divide(share, np.sum(share)), np.float64)

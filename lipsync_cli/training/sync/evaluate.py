"""Clips embedded once, and stretches of them compared with sound at any offset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipsync_cli.sync.encoders import AUDIO_FIELD, EMBED_RATE, VISUAL_CONTEXT
from lipsync_cli.sync.features import MEL_RATE, SAMPLE_RATE, log_mel
from lipsync_cli.sync.lag_matrix import STEP_S
from lipsync_cli.sync.model import SyncModel
from lipsync_cli.training.sync.augment import plain_crops
from lipsync_cli.training.sync.cache import Clip, as_float

Network = SyncModel | torch.jit.ScriptModule
Sound = NDArray[np.float32]

_TOGETHER = 256  # pictures embedded at once


@dataclass(frozen=True)
class Seen:
    """The pictures of a clip, embedded.

    Attributes:
        visual: unit vectors [T, 256].
        pts_s: float64 [T].
        speech: bool [T], pictures whose own sound is loud enough to be speech.
        rate: pictures per second.
    """

    clip: Clip
    visual: Tensor
    pts_s: NDArray[np.float64]
    speech: NDArray[np.bool_]
    rate: float


@dataclass(frozen=True)
class Heard:
    """Sound, embedded: row i of `audio` [A, 256] is centred at `row0_s + i / 50`."""

    audio: Tensor
    row0_s: float


@dataclass(frozen=True)
class Compared:
    """A stretch of pictures against sound, over candidates at every 10 ms.

    Attributes:
        matrix, valid, evidence: [T, K].
        weight: [T].
        pts_s: float64 [T].
    """

    matrix: Tensor
    valid: Tensor
    evidence: Tensor
    weight: Tensor
    pts_s: NDArray[np.float64]


def see(model: Network, clip: Clip) -> Seen | None:
    """Embed the pictures of a clip; None when it is too short."""
    if len(clip.pts_s) <= 2 * VISUAL_CONTEXT:
        return None
    return seen_as(clip, embed_pictures(model, clip))


@torch.no_grad()
def embed_pictures(model: Network, clip: Clip) -> Tensor:
    """Unit vectors of all pictures of a clip but the first and last five: [T, 256]."""
    crops = torch.from_numpy(plain_crops(clip.crops).copy())
    parts = [
        model.embed_visual(crops[first : first + _TOGETHER + 2 * VISUAL_CONTEXT][None])[0]
        for first in range(0, len(crops) - 2 * VISUAL_CONTEXT, _TOGETHER)
    ]
    return torch.cat(parts)


def seen_as(clip: Clip, visual: Tensor) -> Seen:
    """What `see` returns, of pictures that are embedded already."""
    pts = clip.pts_s[VISUAL_CONTEXT:-VISUAL_CONTEXT]
    rate = 1 / float(np.median(np.diff(clip.pts_s)))
    return Seen(clip, visual, pts, speech_at(clip, pts), rate)


@torch.no_grad()
def hear(model: Network, sound: Sound, t0_s: float) -> Heard | None:
    """Embed sound whose first sample is at `t0_s`; None when it is too short."""
    mel = log_mel(sound, t0_s)
    if len(mel.frames) <= AUDIO_FIELD + 2:
        return None
    audio = model.embed_audio(torch.from_numpy(mel.frames)[None])[0]
    return Heard(audio, mel.t0_s + AUDIO_FIELD // 2 / MEL_RATE)


def hear_clip(model: Network, clip: Clip, under: Clip | None = None) -> Heard | None:
    """Embed a clip's sound, moved to begin with the pictures of the clip `under` if given."""
    moved_s = 0.0 if under is None else float(under.pts_s[0] - clip.pts_s[0])
    return hear(model, as_float(clip.sound), clip.t0_s + moved_s)


def covered(seen: Seen, heard: Heard, rows: slice, reach: int, moved_s: float = 0.0) -> bool:
    """Whether all candidates of all these pictures exist."""
    place = _position(seen, heard, rows, moved_s)
    span = reach * STEP_S * EMBED_RATE
    return bool(place[0] - span >= 0 and place[-1] + span + 1 <= len(heard.audio) - 1)


@torch.no_grad()
def compare(
    model: Network, seen: Seen, heard: Heard, rows: slice, reach: int, moved_s: float = 0.0
) -> Compared:
    """Compare a stretch of pictures with sound.

    Args:
        moved_s: play the sound earlier by this; it adds to the offset.
    """
    place = _position(seen, heard, rows, moved_s)
    span = int(reach * STEP_S * EMBED_RATE) + 2
    low = int(np.clip(np.floor(place[0]) - span, 0, len(heard.audio) - 2))
    audio = heard.audio[low : max(low + 2, int(np.ceil(place[-1])) + span)][None]
    position = torch.from_numpy((place - low).astype(np.float32))[None]
    known = torch.ones(1, audio.shape[1], dtype=torch.bool)
    found = model.classify(seen.visual[rows][None], audio, position, known, reach)
    matrix, valid, evidence, weight = (x[0] for x in found)
    return Compared(matrix, valid, evidence, weight, seen.pts_s[rows])


def speech_at(clip: Clip, pts_s: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Pictures whose sound is within 20 dB of the loud ones."""
    half = SAMPLE_RATE // 50
    power = np.convolve(as_float(clip.sound) ** 2, np.ones(2 * half) / (2 * half), "same")
    level = np.sqrt(np.maximum(power, 0))
    at = np.clip(((pts_s - clip.t0_s) * SAMPLE_RATE).astype(int), 0, len(level) - 1)
    return np.asarray(level[at] > max(0.1 * np.percentile(level[at], 95), 1e-3))


def _position(seen: Seen, heard: Heard, rows: slice, moved_s: float) -> NDArray[np.float64]:
    """Fractional row of the sound at each picture, were the offset 0."""
    return np.asarray((seen.pts_s[rows] - heard.row0_s + moved_s) * EMBED_RATE, np.float64)

"""Accuracy by window length on unseen speakers, beside the diagonal-mean baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipsync_cli.sync.encoders import AUDIO_FIELD, EMBED_RATE, VISUAL_CONTEXT
from lipsync_cli.sync.estimate import NEAR_MS, mass_near, peak_ms, refined_ms
from lipsync_cli.sync.evidence import offsets_ms
from lipsync_cli.sync.features import MEL_RATE, SAMPLE_RATE, log_mel
from lipsync_cli.sync.lag_matrix import lag_matrix
from lipsync_cli.sync.model import SyncModel
from lipsync_cli.training.sync_augment import plain_crops
from lipsync_cli.training.sync_cache import Clip, as_float

WINDOWS_S = (0.2, 0.6, 1.0, 2.0, 3.0, 5.0, 10.0)
SPEECH_SHARE = 0.5
REACH = 60


@dataclass(frozen=True)
class ClipMatrix:
    """Lag matrix of a whole clip, round its sound delayed by `shift_ms` less than nothing.

    Attributes:
        matrix, valid: [T, K], candidates within 600 ms.
        pts_s: [T].
        speech: bool [T], frames whose sound is loud enough to be speech.
    """

    clip: Clip
    matrix: Tensor
    valid: Tensor
    pts_s: NDArray[np.float64]
    speech: NDArray[np.bool_]
    frame_rate: float


@torch.no_grad()
def clip_matrix(
    model: SyncModel, clip: Clip, *, reach: int = REACH, sound_of: Clip | None = None
) -> ClipMatrix | None:
    """Embed a clip (with the sound of another one, if given); None when it is too short."""
    source = sound_of or clip
    sound = as_float(source.sound)
    mel = log_mel(sound, source.t0_s - (source.pts_s[0] - clip.pts_s[0] if sound_of else 0.0))
    if len(clip.pts_s) <= 2 * VISUAL_CONTEXT or len(mel.frames) <= AUDIO_FIELD + 2:
        return None
    visual = model.embed_visual(torch.from_numpy(plain_crops(clip.crops).copy())[None])
    audio = model.embed_audio(torch.from_numpy(mel.frames)[None])
    pts = clip.pts_s[VISUAL_CONTEXT:-VISUAL_CONTEXT]
    row0_s = mel.t0_s + AUDIO_FIELD // 2 / MEL_RATE
    position = torch.from_numpy(((pts - row0_s) * EMBED_RATE).astype(np.float32))[None]
    known = torch.ones(1, audio.shape[1], dtype=torch.bool)
    matrix, valid = lag_matrix(visual, audio, position, known, reach)
    rate = 1 / float(np.median(np.diff(clip.pts_s)))
    return ClipMatrix(clip, matrix[0], valid[0], pts, _speech(clip, pts), rate)


def _speech(clip: Clip, pts_s: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Frames within 20 dB of the loud ones."""
    half = SAMPLE_RATE // 50
    power = np.convolve((clip.sound / 32768.0) ** 2, np.ones(2 * half) / (2 * half), "same")
    level = np.sqrt(np.maximum(power, 0))
    at = np.clip(((pts_s - clip.t0_s) * SAMPLE_RATE).astype(int), 0, len(level) - 1)
    return np.asarray(level[at] > max(0.1 * np.percentile(level[at], 95), 1e-3))


def window_starts(item: ClipMatrix, frames: int, hop: int) -> NDArray[np.int64]:
    """Windows with speech in more than half of the frames, whose candidates all exist."""
    whole = item.valid.all(1).numpy()
    starts = np.arange(0, len(item.pts_s) - frames + 1, hop)
    good = [
        whole[s : s + frames].all() and item.speech[s : s + frames].mean() > SPEECH_SHARE
        for s in starts
    ]
    return starts[np.array(good, bool)] if len(starts) else starts


@torch.no_grad()
def classified_ms(model: SyncModel, windows: Tensor, valid: Tensor) -> NDArray[np.float64]:
    """Offset of each window [N, T, K] by the classifier: heaviest 80 ms of the posterior."""
    grid = offsets_ms(windows.shape[2] // 2)
    out = []
    for part, ok in zip(torch.split(windows, 64), torch.split(valid, 64), strict=True):
        evidence, weight = model.classifier(part, ok)
        posterior = model.logits(evidence.sum(1), weight.sum(1))[:, :-1].softmax(1).numpy()
        for p in posterior:
            out.append(refined_ms(p, grid, int(mass_near(p, grid).argmax())))
    return np.array(out)


def diagonal_ms(windows: Tensor) -> NDArray[np.float64]:
    """Offset of each window [N, T, K] by the plain diagonal mean."""
    grid = offsets_ms(windows.shape[2] // 2)
    return np.array([peak_ms(curve, grid) for curve in windows.mean(1).numpy()])


def matrices(model: SyncModel, clips: Sequence[Clip]) -> list[ClipMatrix]:
    """Embed every clip that is long enough."""
    return [m for c in clips if (m := clip_matrix(model.eval(), c)) is not None]


def own_by_model(item: ClipMatrix) -> float:
    """The clip's own offset by the plain diagonal mean over all of it."""
    whole = item.matrix.sum(0) / item.valid.sum(0).clamp(min=1)
    return peak_ms(whole.numpy(), offsets_ms(item.matrix.shape[1] // 2))


def accuracy_table(
    model: SyncModel,
    items: Sequence[ClipMatrix],
    own_ms: Sequence[float],
    *,
    windows_s: Sequence[float] = WINDOWS_S,
) -> list[dict[str, float]]:
    """One row a window length: share of windows within 40 and 60 ms of the clip's own offset.

    60 ms is what the research protocol's "within one frame" of whole 25 fps frames comes to.
    """
    rows = []
    for length_s in windows_s:
        errors: dict[str, list[float]] = {"classifier": [], "diagonal": []}
        for item, own in zip(items, own_ms, strict=True):
            frames = max(1, round(length_s * item.frame_rate))
            starts = window_starts(item, frames, max(1, frames // 4, round(item.frame_rate / 5)))
            if len(starts) == 0:
                continue
            windows = torch.stack([item.matrix[s : s + frames] for s in starts])
            valid = torch.stack([item.valid[s : s + frames] for s in starts])
            errors["classifier"] += list(classified_ms(model, windows, valid) - own)
            errors["diagonal"] += list(diagonal_ms(windows) - own)
        count = float(len(errors["diagonal"]))
        row = {"window_s": length_s, "windows": count}
        for name, values in errors.items():
            row |= _row(name, np.asarray(values)) if values else {}
        rows.append(row)
    return rows


def _row(name: str, errors: NDArray[np.float64]) -> dict[str, float]:
    away = np.abs(errors)
    return {
        f"{name}_40": round(float((away <= NEAR_MS).mean()), 4),
        f"{name}_60": round(float((away <= 1.5 * NEAR_MS).mean()), 4),
        f"{name}_median_ms": round(float(np.median(away)), 2),
        f"{name}_bias_ms": round(float(np.median(errors)), 2),
    }

"""Programmes in memory: people embedded once, whose sound can then be moved in any way.

What costs most, the pictures, does not depend on the sound. Moved sound is embedded and
compared anew each time, so that the evidence is what a file with that sound would give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipsync_cli.faces.stream import FaceStats
from lipsync_cli.media.audio import SAMPLE_RATE, AudioBlock
from lipsync_cli.media.resample import Retimer
from lipsync_cli.media.silence import HOP_S, Loudness
from lipsync_cli.sync.encoders import EMBED_RATE, VISUAL_CONTEXT
from lipsync_cli.sync.evidence import LagEvidence, LagEvidenceBins
from lipsync_cli.sync.lag_matrix import STEP_S
from lipsync_cli.sync.model_file import LoadedModel
from lipsync_cli.sync.programme import Seen, TrackSpan
from lipsync_cli.sync.sound import SoundEmbeddings
from lipsync_cli.training.drift.programme import Planted
from lipsync_cli.training.sync.cache import Clip, as_float
from lipsync_cli.training.sync.evaluate import embed_pictures

Floats = NDArray[np.float64]
Sound = NDArray[np.float32]

REACH = 150
_BLOCK = 5 * SAMPLE_RATE


@dataclass(frozen=True, eq=False)
class Talker:
    """One clip in sync with itself.

    Attributes:
        time_s: [T], times of the embedded pictures since the beginning of the sound.
        visual: unit vectors [T, 256].
        sound: float32 [n] at 16 kHz.
    """

    name: str
    time_s: Floats
    visual: Tensor
    sound: Sound

    @property
    def length_s(self) -> float:
        return len(self.sound) / SAMPLE_RATE


@dataclass(frozen=True, eq=False)
class Talk:
    """Clips in turn, cut hard; the attributes are those of `Talker`, one entry a clip."""

    time_s: tuple[Floats, ...]
    visual: tuple[Tensor, ...]
    sound: Sound

    @property
    def duration_s(self) -> float:
        return len(self.sound) / SAMPLE_RATE


def talker(model: LoadedModel, clip: Clip) -> Talker:
    """Embed the pictures of a clip, and take its own offset out of its sound."""
    sound = as_float(clip.sound)
    # Early sound is played later.
    sound0_s = clip.t0_s + clip.offset_ms / 1000
    begin_s = max(float(clip.pts_s[0]), sound0_s)
    end_s = min(float(clip.pts_s[-1]), sound0_s + len(sound) / SAMPLE_RATE)
    first, end = (round((edge_s - sound0_s) * SAMPLE_RATE) for edge_s in (begin_s, end_s))
    pts_s = clip.pts_s[VISUAL_CONTEXT:-VISUAL_CONTEXT]
    shown = (pts_s >= begin_s) & (pts_s <= end_s)
    visual = embed_pictures(model.module, clip)[torch.from_numpy(shown)]
    return Talker(clip.file, pts_s[shown] - begin_s, visual, sound[first:end])


def in_turn(talkers: Sequence[Talker], duration_s: float) -> Talk:
    """Let clips follow each other, again and again, for at least so long."""
    times: list[Floats] = []
    visual: list[Tensor] = []
    sounds: list[Sound] = []
    samples = 0
    for person in cycle(talkers):
        if samples >= duration_s * SAMPLE_RATE:
            break
        times.append(person.time_s + samples / SAMPLE_RATE)
        visual.append(person.visual)
        sounds.append(person.sound)
        samples += len(person.sound)
    return Talk(tuple(times), tuple(visual), np.concatenate(sounds))


def put_off(sound: Sound, planted: Planted) -> Sound:
    """Sound [n] that was in sync, as far off as planted."""
    retimer = Retimer(planted.sound_curve(), SAMPLE_RATE, 1, 0.0, 0)
    retimer.push(sound[None].astype(np.float64))
    retimer.finish()
    # By blocks: interpolation needs a hundred times the memory of the sound.
    parts = [retimer.take(min(_BLOCK, len(sound) - k))[0] for k in range(0, len(sound), _BLOCK)]
    return np.concatenate(parts).astype(np.float32)


def loudness_of(sound: Sound) -> Loudness:
    """The same as `silence.loudness` reads from a file."""
    hop = round(HOP_S * SAMPLE_RATE)
    squares = sound[: len(sound) // hop * hop].astype(np.float64).reshape(-1, hop) ** 2
    return Loudness(0.0, squares.mean(axis=1))


def watch(model: LoadedModel, talk: Talk, sound: Sound) -> Seen:
    """What a pass over a file with these pictures and this sound would find."""
    embedded = SoundEmbeddings(model)
    for first in range(0, len(sound), _BLOCK):
        embedded.push(AudioBlock(first / SAMPLE_RATE, sound[first : first + _BLOCK]))
    embedded.close()
    pairs = enumerate(zip(talk.time_s, talk.visual, strict=True))
    tracks = {n: _evidence(model, embedded, *pair) for n, pair in pairs}
    box = np.zeros(4, np.float32)
    spans = {n: TrackSpan(float(t[0]), float(t[-1]), [box]) for n, t in enumerate(talk.time_s)}
    loud = float(np.sqrt(loudness_of(sound).power.max()))
    rate = 1 / float(np.median(np.diff(talk.time_s[0])))
    return Seen(tracks, spans, rate, talk.duration_s, FaceStats(), loud, REACH)


@torch.inference_mode()
def _evidence(
    model: LoadedModel, heard: SoundEmbeddings, time_s: Floats, visual: Tensor
) -> LagEvidence:
    margin_s = REACH * STEP_S + 0.05
    rows, known, t0_s = heard.window(time_s[0] - margin_s, time_s[-1] + margin_s)
    position = torch.from_numpy(((time_s - t0_s) * EMBED_RATE).astype(np.float32))
    inputs = (x[None] for x in (visual, rows, position, torch.from_numpy(known)))
    found = model.module.classify(*inputs, REACH)
    matrix, valid, scores, weight = (x[0].numpy() for x in found)
    bins = LagEvidenceBins(REACH)
    bins.add(time_s, scores, weight, matrix, valid)
    return bins.result()

"""Judges of drawn lips that had no part in training: an own judge's file, and SyncNet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from lipsync_cli.media.audio import SAMPLE_RATE, AudioBlock
from lipsync_cli.media.reader import read
from lipsync_cli.scoring.distance import ShiftDistances
from lipsync_cli.scoring.mfcc import mfcc
from lipsync_cli.scoring.syncnet import CEPSTRA, PICTURES, LoadedSyncNet, load_syncnet
from lipsync_cli.training.dub.judge import RATE, judged, load_judge
from lipsync_cli.training.generator.measure import Talk, judged_mouths, whole_faces

Faces = NDArray[np.uint8]
Floats = NDArray[np.float32]

_SYNCNET_SIDE = 224
_PER_PICTURE = 4  # cepstra


@dataclass
class Opinions:
    """Asks whichever judges there are; the sound comes from the original clips.

    Attributes:
        clips: folder of the clips that were packed.
        judge: Python file, as of benchmark-dub.
        syncnet: syncnet_v2.model.
    """

    clips: Path
    judge: Path | None = None
    syncnet: Path | None = None
    _sounds: dict[str, tuple[Floats, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._asked: list[Callable[[Talk, Faces, Floats, float], Mapping[str, float]]] = []
        if self.judge is not None:
            own = load_judge(self.judge)
            self._asked.append(_judging(own, own.load_net()))
        if self.syncnet is not None:
            self._asked.append(_lse(load_syncnet(self.syncnet, torch.device("cpu"))))

    def __call__(self, talk: Talk, faces: Faces) -> Mapping[str, float]:
        """Figures of faces [T, 96, 96, 3] by name."""
        sound, t0_s = self._sound(talk)
        found: dict[str, float] = {}
        for ask in self._asked:
            found |= ask(talk, faces, sound, t0_s)
        return found

    def _sound(self, talk: Talk) -> tuple[Floats, float]:
        """The voice, mono at 16 kHz, and when it begins on the pictures' clock."""
        voice = talk.voice
        if voice.file not in self._sounds:
            blocks = read(self.clips / voice.file, video=False)
            heard = [block for block in blocks if isinstance(block, AudioBlock)]
            samples = np.concatenate([b.samples for b in heard])
            self._sounds[voice.file] = samples, float(heard[0].t0_s)
        samples, t0_s = self._sounds[voice.file]
        return samples, t0_s + voice.offset_ms / 1000 - talk.voice_after_s


def _judging(judge: Any, net: Any) -> Callable[[Talk, Faces, Floats, float], Mapping[str, float]]:
    def ask(talk: Talk, faces: Faces, sound: Floats, t0_s: float) -> Mapping[str, float]:
        mouths = judged_mouths(talk, faces)
        verdict = judged(judge, net, mouths, talk.pts_s, sound, t0_s)
        follows = float((np.abs(verdict.windows) <= 1).mean()) if len(verdict.windows) else np.nan
        return {"judge_height": verdict.height(0), "judge_follows": follows}

    return ask


def _lse(syncnet: LoadedSyncNet) -> Callable[[Talk, Faces, Floats, float], Mapping[str, float]]:
    """LSE-D and LSE-C with the packed face as the whole picture, like the LRS protocol."""

    def ask(talk: Talk, faces: Faces, sound: Floats, t0_s: float) -> Mapping[str, float]:
        begin_s, end_s = talk.pts_s[0], talk.pts_s[-1]
        ticks = begin_s + np.arange(int((end_s - begin_s) * RATE + 1e-6) + 1) / RATE
        rows = np.minimum(np.searchsorted(talk.pts_s, ticks - 1e-6), len(faces) - 1)
        side = (_SYNCNET_SIDE, _SYNCNET_SIDE)
        whole = whole_faces(talk, faces)
        shown = np.stack([np.asarray(cv2.resize(whole[r], side), np.uint8) for r in rows])
        windows = _cepstra(_from(sound, begin_s - t0_s), len(shown) - PICTURES + 1)
        distances = ShiftDistances()
        distances.push(syncnet.embed_lips(shown)[: len(windows)], syncnet.embed_sound(windows))
        distances.close()
        found = distances.reading()
        return {} if found is None else {"lse_d": found.lse_d, "lse_c": found.lse_c}

    return ask


def _from(sound: Floats, start_s: float) -> Floats:
    first = round(start_s * SAMPLE_RATE)
    return np.pad(sound, (max(-first, 0), 0))[max(first, 0) :]


def _cepstra(sound: Floats, count: int) -> NDArray[np.float64]:
    """Windows [n, 13, 20] of 200 ms, one a picture; fewer where the sound ends."""
    found = mfcc(sound * 32768.0)  # [frames, 13]
    count = min(count, (len(found) - CEPSTRA) // _PER_PICTURE + 1)
    rows = np.arange(count)[:, None] * _PER_PICTURE + np.arange(CEPSTRA)
    return np.asarray(found[rows].transpose(0, 2, 1), np.float64)

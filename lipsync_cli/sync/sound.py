"""Streams sound into embeddings and keeps those that pictures may still ask for."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipsync_cli.media.audio import AudioBlock
from lipsync_cli.sync.encoders import AUDIO_FIELD, AUDIO_STRIDE, DIM, EMBED_RATE
from lipsync_cli.sync.features import BANDS, HOP, MEL_RATE, SAMPLE_RATE, WINDOW, log_mel
from lipsync_cli.sync.model_file import LoadedModel

CHUNK = 500  # mel frames embedded at once: 5 s


class SoundEmbeddings:
    """Embeddings at 50 Hz: row i is centred at `t0_s + i / 50`.

    Attributes:
        t0_s: time of row 0 of the whole programme; None until sound has come.
        end_s: time behind the last row that is ready.
    """

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self.t0_s: float | None = None
        self.ended = False
        self._samples = np.zeros(0, np.float32)
        self._mel = np.zeros((0, BANDS), np.float32)
        self._rows = torch.zeros(0, DIM)
        self._dropped = 0

    @property
    def end_s(self) -> float:
        """Time up to which rows are ready; infinite when no more will come."""
        if self.ended:
            return float("inf")
        if self.t0_s is None:
            return float("-inf")
        return self.t0_s + (self._dropped + len(self._rows)) / EMBED_RATE

    def push(self, block: AudioBlock) -> None:
        """Take the next block; blocks follow each other without gaps."""
        if self.t0_s is None:
            middle_s = (1 + WINDOW / 2) / SAMPLE_RATE + AUDIO_FIELD // 2 / MEL_RATE
            self.t0_s = block.t0_s + middle_s
        self._samples = np.concatenate([self._samples, block.samples])
        if len(self._samples) >= CHUNK * HOP:
            self._embed()

    def close(self) -> None:
        """No more sound will come."""
        if self.t0_s is not None:
            self._embed()
        self.ended = True

    def window(self, start_s: float, end_s: float) -> tuple[Tensor, NDArray[np.bool_], float]:
        """Rows that cover [start_s, end_s]: [A, 256], which of them exist, time of the first."""
        if self.t0_s is None:
            return torch.zeros(2, DIM), np.zeros(2, np.bool_), start_s
        first = int(np.floor((start_s - self.t0_s) * EMBED_RATE))
        last = int(np.ceil((end_s - self.t0_s) * EMBED_RATE)) + 1
        rows = torch.zeros(last - first, DIM)
        known = np.zeros(last - first, np.bool_)
        low = max(first, self._dropped)
        high = min(last, self._dropped + len(self._rows))
        if high > low:
            rows[low - first : high - first] = self._rows[
                low - self._dropped : high - self._dropped
            ]
            known[low - first : high - first] = True
        return rows, known, self.t0_s + first / EMBED_RATE

    def forget(self, before_s: float) -> None:
        """Drop rows that nobody will ask for any more."""
        if self.t0_s is None:
            return
        n = int((before_s - self.t0_s) * EMBED_RATE) - self._dropped
        if n > CHUNK:
            n = min(n, len(self._rows))
            self._rows, self._dropped = self._rows[n:].clone(), self._dropped + n

    def _embed(self) -> None:
        mel = log_mel(self._samples, 0.0).frames
        self._samples = self._samples[len(mel) * HOP :]
        self._mel = np.concatenate([self._mel, mel])
        if len(self._mel) < AUDIO_FIELD:
            return
        batch = torch.from_numpy(self._mel).unsqueeze(0).to(self.model.device)
        rows = self.model.module.embed_audio(batch)[0].cpu()  # [R, 256]
        self._mel = self._mel[AUDIO_STRIDE * len(rows) :]
        self._rows = torch.cat([self._rows, rows])

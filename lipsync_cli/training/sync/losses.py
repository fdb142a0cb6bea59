"""The joint loss: single pictures, short and long stretches, both directions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipsync_cli.sync.encoders import EMBED_RATE
from lipsync_cli.sync.lag_matrix import offsets
from lipsync_cli.training.sync.samples import REACH, Batch

SIGMA_S = 0.02  # what labels and ears cannot tell apart
SHORT = 5  # pictures, the research protocol's window
NEVER = -1e4


class SyncLoss(nn.Module):
    """Soft-label cross-entropies over the offset axis, plus picture choice for given sound."""

    def __init__(self) -> None:
        super().__init__()
        self.single = nn.Parameter(torch.tensor(2.0))
        self.short = nn.Parameter(torch.tensor(2.7))
        self.choice = nn.Parameter(torch.tensor(2.3))

    def forward(
        self,
        visual: Tensor,
        audio: Tensor,
        matrix: Tensor,
        valid: Tensor,
        logits: Tensor,
        batch: Batch,
    ) -> dict[str, Tensor]:
        """Embeddings, lag matrix [B, T, K] and logits [B, K + 1] of a stretch -> named terms."""
        pairs = ~torch.isnan(batch.offset_s)
        target = soft_target(batch.offset_s)  # [B, K + 1]
        at = target[pairs, :-1]
        single = self._over_offsets(matrix[pairs] * self.single.exp(), valid[pairs], at)
        pooled = F.avg_pool1d(matrix[pairs].transpose(1, 2), SHORT, 1).transpose(1, 2)
        whole = F.avg_pool1d(valid[pairs].float().transpose(1, 2), SHORT, 1).transpose(1, 2) > 0.99
        short = self._over_offsets(pooled * self.short.exp(), whole, at)
        log_p = F.log_softmax(logits, 1)
        classified = -(target * log_p).sum(1).mean()
        choice = self._over_pictures(visual, audio, batch)
        return {"single": single, "short": short, "choice": choice, "class": classified}

    def _over_offsets(self, scores: Tensor, valid: Tensor, target: Tensor) -> Tensor:
        """Which offset fits this picture? [B, T, K] against [B, K]."""
        log_p = F.log_softmax(scores.masked_fill(~valid, NEVER), 2)
        wanted = target.unsqueeze(1)
        # A picture whose true offset is not there teaches nothing.
        seen = (wanted * valid).sum(2) > 0.95
        loss = -(wanted * log_p * valid).sum(2)
        return (loss * seen).sum() / seen.sum().clamp(min=1)

    def _over_pictures(self, visual: Tensor, audio: Tensor, batch: Batch) -> Tensor:
        """Which picture fits the sound of picture t? The two neighbours are left out."""
        row = (batch.position - batch.offset_s.unsqueeze(1) * EMBED_RATE).round()  # [B, T]
        last = audio.shape[1] - 1
        inside = (row >= 0) & (row <= last)
        index = torch.nan_to_num(row).clamp(0, last).long()
        seen = inside & batch.known.gather(1, index)
        heard = audio.gather(1, index.unsqueeze(2).expand(-1, -1, audio.shape[2]))
        scores = heard @ visual.transpose(1, 2) * self.choice.exp()  # [B, T sound, T picture]
        place = torch.arange(visual.shape[1], device=visual.device)
        neighbours = (place.unsqueeze(0) - place.unsqueeze(1)).abs() == 1
        log_p = F.log_softmax(scores.masked_fill(neighbours, NEVER), 2)
        loss = -log_p.diagonal(dim1=1, dim2=2)
        return (loss * seen).sum() / seen.sum().clamp(min=1)


def soft_target(offset_s: Tensor) -> Tensor:
    """[B] true offsets (NaN: none) -> [B, K + 1] distributions, the last being "none"."""
    grid = offsets(REACH).to(offset_s)
    bump = torch.exp(-0.5 * ((grid - offset_s.unsqueeze(1)) / SIGMA_S) ** 2)
    bump = torch.nan_to_num(bump / bump.sum(1, keepdim=True).clamp(min=1e-6))
    none = torch.isnan(offset_s).float().unsqueeze(1)
    return torch.cat([bump, none], 1)

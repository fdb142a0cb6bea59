"""The lag matrix: how well each picture fits the sound at each candidate offset."""

from __future__ import annotations

import torch
from torch import Tensor

from lipsync_cli.sync.evidence import STEP_S

__all__ = ["STEP_S", "lag_matrix", "offsets"]


def offsets(reach: int) -> Tensor:
    """The grid of candidate offsets in seconds, ascending: [2 * reach + 1]."""
    return torch.arange(-reach, reach + 1) * STEP_S


def lag_matrix(
    visual: Tensor, audio: Tensor, position: Tensor, known: Tensor, reach: int
) -> tuple[Tensor, Tensor]:
    """Cosine of picture t with the sound that accompanies it if the offset were o_k.

    Args:
        visual: unit vectors [B, T, D].
        audio: unit vectors [B, A, D] on a 20 ms grid.
        position: [B, T], the (fractional) row of `audio` at each picture's own time.
        known: bool [B, A], false where a row of `audio` is only filling.
        reach: candidates on either side of 0; o_k = (k - reach) * 10 ms.

    Returns:
        matrix [B, T, 2 * reach + 1], 0 where unknown, and its validity (bool). Offset o > 0
        (audio early) pairs picture time t with sound time t - o.
    """
    similarity = visual @ audio.transpose(1, 2)  # [B, T, A]
    steps = torch.arange(reach, -reach - 1, -1, device=visual.device) * 0.5  # -o_k in rows
    place = position.unsqueeze(2) + steps  # [B, T, K]
    below = place.floor()
    fraction = (place - below).to(similarity.dtype)
    row = below.long()
    last = audio.shape[1] - 1
    low, high = row.clamp(0, last), (row + 1).clamp(0, last)
    value = similarity.gather(2, low) * (1 - fraction) + similarity.gather(2, high) * fraction
    # Between two rows lies their mean, which is shorter than either: make it a unit vector.
    apart = 1 - (audio[:, :-1] * audio[:, 1:]).sum(2)  # [B, A - 1]
    apart = apart.unsqueeze(1).expand(-1, visual.shape[1], -1).gather(2, row.clamp(0, last - 1))
    value = value * torch.rsqrt((1 - 2 * fraction * (1 - fraction) * apart).clamp(min=0.1))
    inside = (row >= 0) & (row + 1 <= last)
    table = known.unsqueeze(1).expand(-1, visual.shape[1], -1)  # [B, T, A]
    valid = inside & table.gather(2, low) & table.gather(2, high)
    return value * valid, valid

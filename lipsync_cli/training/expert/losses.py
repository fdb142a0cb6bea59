"""What makes an expert tell windows that belong together from other windows of the same clip."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

# Sounds so near to the right one are neither right nor wrong.
NEAR_S = 0.0401
_FIRST_SCALE, _MOST_SCALE = 16.0, 100.0
# Means over a stretch differ less than single windows do.
_FIRST_LAG_SCALE, _MOST_LAG_SCALE = 40.0, 300.0
# The logarithm of a cosine of 0 is infinite.
_LEAST = 1e-6


@dataclass(frozen=True)
class Choices:
    """Cosines of every picture window with every sound window of its stretch.

    Attributes:
        cosine: [B, P, S].
        right: bool [B, P, S], one in each row.
        wrong: bool [B, P, S], what the right one is compared with.
        asked: bool [B, P], rows whose right sound can be heard.
    """

    cosine: Tensor
    right: Tensor
    wrong: Tensor
    asked: Tensor


def choices(
    seen: Tensor, heard: Tensor, times_s: Tensor, known: Tensor, silent: Tensor, faint: Tensor
) -> Choices:
    """Compare embeddings [B, P, D] and [B, S, D] of stretches.

    Args:
        times_s, known: [B, S], as in `Stretches`.
        silent, faint: [B, S], as in `Pairs`. Silence is wrong, unless the right sound is
            faint itself, and never right.
    """
    pictures, reach = seen.shape[1], (heard.shape[1] - seen.shape[1]) // 2
    cosine = torch.einsum("bpd,bsd->bps", seen.float(), heard.float())
    own = slice(reach, reach + pictures)
    right = torch.zeros_like(cosine, dtype=torch.bool)
    right.diagonal(reach, 1, 2)[:] = True
    apart = (times_s[:, own, None] - times_s[:, None, :]).abs()  # [B, P, S]
    wrong = (apart > NEAR_S) & known[:, None, :]
    wrong &= ~(silent[:, None, :] & faint[:, own, None])
    return Choices(cosine, right, wrong, known[:, own] & ~silent[:, own])


class MultiwayLoss(nn.Module):
    """Cross-entropy of the right sound among the sounds of a clip, and of the right pictures.

    Multi-way matching (Chung et al. 2019, "Perfect Match") as InfoNCE with a learnt
    temperature: each window is compared with all others, where the paper draws one pair.
    To it comes the cross-entropy of the right lag among the means of whole stretches: one
    window hardly ever tells what an untrained expert could learn, twenty together do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(_FIRST_SCALE)))
        self.log_lag_scale = nn.Parameter(torch.tensor(math.log(_FIRST_LAG_SCALE)))

    def forward(self, found: Choices, generator: torch.Generator) -> Tensor:
        """Mean over all windows that are asked about, and over stretches; nothing is drawn."""
        lag_scale = self.log_lag_scale.clamp(max=math.log(_MOST_LAG_SCALE)).exp()
        return self._among_windows(found) + lag_loss(found, lag_scale)

    def _among_windows(self, found: Choices) -> Tensor:
        scale = self.log_scale.clamp(max=math.log(_MOST_SCALE)).exp()
        logits = (scale * found.cosine).masked_fill(~(found.wrong | found.right), -math.inf)
        own = logits[found.right].view(found.asked.shape)  # [B, P]
        reach = (logits.shape[2] - logits.shape[1]) // 2
        square = logits[..., reach : reach + logits.shape[1]]  # [B, P, P]
        among_sounds = torch.logsumexp(logits, 2) - own
        among_pictures = torch.logsumexp(square, 1) - own
        return ((among_sounds + among_pictures) / 2)[found.asked].mean()


def lag_loss(found: Choices, scale: Tensor) -> Tensor:
    """Cross-entropy of the right lag among the mean cosines [B, L] of all lags of a stretch."""
    pictures = found.cosine.shape[1]
    lags = found.cosine.shape[2] - pictures + 1  # L
    rows = torch.arange(pictures, device=found.cosine.device)
    columns = rows[:, None] + torch.arange(lags, device=rows.device)  # [P, L]
    columns = columns.expand(len(found.cosine), -1, -1)
    cosine = found.cosine.gather(2, columns)  # [B, P, L]
    usable = (found.wrong | found.right).gather(2, columns) & found.asked[..., None]
    count = usable.sum(1)  # [B, L]
    means = (cosine * usable).sum(1) / count.clamp(min=1)
    # What few windows tell of a lag is no mean of a stretch.
    logits = (scale * means).masked_fill(2 * count < pictures, -math.inf)
    told = logits[logits[:, lags // 2].isfinite()]  # [b, L]
    if not len(told):
        return found.cosine.new_zeros(())
    return (torch.logsumexp(told, 1) - told[:, lags // 2]).mean()


class PairLoss(nn.Module):
    """The paper's: cross-entropy of the cosine, half of the pairs from other moments."""

    def forward(self, found: Choices, generator: torch.Generator) -> Tensor:
        """Mean over as many right as wrong pairs; the latter are drawn on the CPU."""
        order = torch.rand(found.cosine.shape, generator=generator).to(found.cosine.device)
        drawn = order.masked_fill(~found.wrong, -1).argmax(2, keepdim=True)
        other = found.cosine.gather(2, drawn).squeeze(2)  # [B, P]
        own = found.cosine[found.right].view_as(other)
        usable = found.asked & found.wrong.any(2)
        pairs = torch.cat([own[usable], other[usable]]).clamp(_LEAST, 1 - _LEAST)
        wanted = torch.zeros_like(pairs)
        wanted[: len(pairs) // 2] = 1
        return functional.binary_cross_entropy(pairs, wanted)


def right_share(found: Choices) -> Tensor:
    """Share of picture windows whose right sound is the most similar one."""
    best = found.cosine.masked_fill(~(found.wrong | found.right), -1).argmax(2)
    hit = found.right.gather(2, best.unsqueeze(2)).squeeze(2)
    return hit[found.asked].float().mean()

"""Reads a lag matrix as a picture and says which offset it shows, or none.

The paper classifies a similarity matrix of fixed size. Here the offset axis is kept to
the end and time is summed, so one classifier serves any clip length, and the evidence of
blocks can simply be added.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Classifier(nn.Module):
    """Evidence per picture and candidate offset, and how much each picture counts."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, channels, (5, 9), padding=(2, 4))
        self.second = nn.Conv2d(channels, channels, (5, 5), padding=(2, 2))
        self.third = nn.Conv2d(channels, channels, (3, 5), padding=(1, 2))
        self.refine = nn.Conv2d(channels, 1, 1)
        self.gate = nn.Sequential(nn.Linear(channels * 2 + 2, 32), nn.ReLU(), nn.Linear(32, 1))
        self.scale = nn.Parameter(torch.tensor(2.0))  # log
        self.growth = nn.Parameter(torch.tensor(0.0))  # logit of the exponent
        self.null = nn.Parameter(torch.tensor(3.0))
        # Starts as the plain diagonal mean and learns what to add to it.
        nn.init.zeros_(self.refine.weight)

    def forward(self, matrix: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T, K] and its validity -> evidence [B, T, K], weight [B, T] in (0, 1).

        The evidence of a picture has zero mean over its valid candidates, so that an
        unknown candidate (0) speaks neither for nor against an offset.
        """
        centred = centre(matrix, valid)
        x = (centred * 5.0).unsqueeze(1)  # [B, 1, T, K]
        x = F.relu(self.first(x))
        x = F.relu(self.second(x)) + x
        x = F.relu(self.third(x)) + x  # [B, C, T, K]
        evidence = centred * self.scale.exp() + self.refine(x).squeeze(1)
        evidence = centre(evidence, valid)
        pooled = [x.mean(dim=3), x.amax(dim=3)]  # [B, C, T]
        summary = torch.stack([centred.amax(dim=2), centred.std(dim=2)], dim=1)  # [B, 2, T]
        features = torch.cat([pooled[0], pooled[1], summary * 5.0], dim=1).transpose(1, 2)
        weight = torch.sigmoid(self.gate(features)).squeeze(2)
        weight = weight * valid.any(dim=2)
        return evidence * weight.unsqueeze(2), weight

    def logits(self, evidence: Tensor, weight: Tensor) -> Tensor:
        """Summed evidence [B, K] and weight [B] -> logits [B, K + 1]; the last is "no offset".

        Neighbouring pictures are correlated, so evidence grows more slowly than their
        number: the exponent is learned.
        """
        exponent = torch.sigmoid(self.growth)
        scores = evidence / (weight.unsqueeze(1) + 1.0) ** exponent
        return torch.cat([scores, self.null.expand(scores.shape[0], 1)], dim=1)


def centre(matrix: Tensor, valid: Tensor) -> Tensor:
    """Subtract each row's mean over its valid cells; invalid cells become 0."""
    kept = valid.to(matrix.dtype)
    mean = (matrix * kept).sum(2, keepdim=True) / kept.sum(2, keepdim=True).clamp(min=1.0)
    return (matrix - mean) * kept

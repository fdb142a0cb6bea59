"""The terms of a generator's loss, and how they are weighed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from lipsync_cli.dubbing.generator.losses import gradient_l1, l1, mouth_l1
from lipsync_cli.training.generator.plan import LossWeights


def fooled_loss(logits: Tensor, *, hinge: bool) -> Tensor:
    """What drawn faces cost that a discriminator gives these logits."""
    return -logits.mean() if hinge else functional.softplus(-logits).mean()


def told_apart_loss(real: Tensor, drawn: Tensor, *, hinge: bool) -> Tensor:
    """What a discriminator pays for its logits of real and of drawn faces."""
    if hinge:
        return functional.relu(1 - real).mean() + functional.relu(1 + drawn).mean()
    return functional.softplus(-real).mean() + functional.softplus(drawn).mean()


def reconstruction(drawn: Tensor, real: Tensor, weights: LossWeights) -> dict[str, Tensor]:
    """The terms that compare pictures and are switched on."""
    terms = {"l1": l1, "mouth": mouth_l1, "gradient": gradient_l1}
    return {name: term(drawn, real) for name, term in terms.items() if getattr(weights, name) > 0}


def weighed(terms: Mapping[str, Tensor], weights: LossWeights) -> Tensor:
    """Add terms up; reconstruction has the share that the terms at hand leave it.

    A term that does not count yet is left out by the caller, and takes no share.
    """
    critics = ("sync", "adversarial", "contrastive")
    taken = sum(getattr(weights, name) for name in critics if name in terms)
    total = torch.zeros((), device=next(iter(terms.values())).device)
    for name, value in terms.items():
        share = 1.0 if name in critics else 1 - taken
        total = total + share * getattr(weights, name) * value
    return total

"""Everything that decides a generator's training run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeVar

from lipsync_cli.errors import UsageError

Architecture = Literal["wav2lip", "lipgan", "speech2vid"]
ARCHITECTURES: tuple[Architecture, ...] = ("wav2lip", "lipgan", "speech2vid")


@dataclass(frozen=True)
class LossWeights:
    """What counts how much; 0 switches a term off.

    The last three are shares of the whole: what they leave is that of the reconstruction,
    l1 + mouth + gradient (Prajwal et al. 2020, equation 6, has 0.03 for sync, 0.07 for
    adversarial, and 1 for l1 alone).

    Attributes:
        l1: of the whole face.
        mouth: of the mouth's box once more.
        gradient: of the differences between neighbouring pixels.
        sync: cross-entropy of the frozen expert.
        adversarial: of the visual quality discriminator.
        contrastive: of LipGAN's discriminator, which learns sync along with the generator.
    """

    l1: float = 1.0
    mouth: float = 3.0
    gradient: float = 0.5
    sync: float = 0.03
    adversarial: float = 0.0
    contrastive: float = 0.0

    @property
    def reconstruction(self) -> float:
        """Share of the whole that reconstruction has."""
        return 1 - self.sync - self.adversarial - self.contrastive


@dataclass(frozen=True)
class GeneratorPlan:
    """A training run.

    Attributes:
        encoder, audio, decoder: channels of the first and last layers, see `designs.design`;
            by default 6.7 million parameters, 13.5 MB in half precision.
        residuals: most residual layers of a block.
        size: side of the pictures that Wav2Lip's draws in px; time goes with its square.
        width: channels of the first layer of the two baselines.
        critic_width: of the discriminators.
        steps: optimiser steps in all; the learning rate falls to a hundredth over them.
        batch: windows of five pictures in a step.
        sync_below: held-out sync loss at which the sync term begins to count; at once when
            infinite.
        adversarial_from: step at which the discriminators begin to count.
        hinge: the discriminator's loss, instead of cross-entropy.
        silence: share of windows without sound, in clips that have pauses: about half.
        average: of the running average of the weights.
        bf16: compute in bfloat16 where that is safe.
    """

    architecture: Architecture = "wav2lip"
    encoder: int = 8
    audio: int = 16
    decoder: int = 14
    residuals: int = 1
    size: int = 96
    width: int = 32
    critic_width: int = 16
    steps: int = 100_000
    rate: float = 3e-4
    critic_rate: float = 1e-4
    warm_up: int = 200
    batch: int = 16
    weights: LossWeights = field(default_factory=LossWeights)
    sync_below: float = 0.75
    adversarial_from: int = 0
    hinge: bool = False
    silence: float = 0.12
    average: float = 0.999
    bf16: bool = False
    seed: int = 1

    def __post_init__(self) -> None:
        shares = (self.weights.sync, self.weights.adversarial, self.weights.contrastive)
        if min(shares) < 0 or self.weights.reconstruction <= 0:
            raise UsageError("the weights of sync and discriminators must add up to less than 1")
        if self.weights.contrastive and self.architecture != "lipgan":
            raise UsageError(
                "the contrastive discriminator hears as LipGAN does",
                hint="train --architecture lipgan, or leave its weight at 0",
            )

    def network(self) -> dict[str, Any]:
        """What the network follows from: a checkpoint fits a plan with the same."""
        own = ("encoder", "audio", "decoder", "residuals", "size")
        names = own if self.architecture == "wav2lip" else ("width",)
        values = asdict(self)
        return {name: values[name] for name in ("architecture", *names)}


def architecture_named(name: str) -> Architecture:
    """The architecture of a name.

    Raises:
        UsageError: there is none.
    """
    for each in ARCHITECTURES:
        if each == name:
            return each
    raise UsageError(f"{name!r} is no architecture", hint=f"use {', '.join(ARCHITECTURES)}")


Settings = TypeVar("Settings", LossWeights, GeneratorPlan)


def changed(settings: Settings, changes: Sequence[str]) -> Settings:
    """Change fields of weights or a plan, each as in `hinge=true` or `rate=1e-4`.

    Raises:
        UsageError: there is no such field, or no such value of it.
    """
    known = {name: v for name, v in vars(settings).items() if isinstance(v, bool | int | float)}
    values: dict[str, Any] = {}
    for change in changes:
        name, _, text = change.partition("=")
        if name not in known:
            raise UsageError(
                f"{change!r} changes nothing", hint=f"NAME=VALUE of {', '.join(known)}"
            )
        try:
            values[name] = _value(text, type(known[name]))
        except ValueError as error:
            raise UsageError(f"{text!r} is no value of {name}", hint="give a number") from error
    return replace(settings, **values)


def _value(text: str, kind: type) -> Any:
    if kind is not bool:
        return kind(text)
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"

"""Networks that learn along with a generator, to find fault with what it draws."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from lipsync_cli.dubbing.generator.discriminator import QualityDiscriminator
from lipsync_cli.dubbing.generator.lipgan import ContrastiveDiscriminator, contrastive_loss
from lipsync_cli.dubbing.generator.losses import lower_halves
from lipsync_cli.training.generator.losses import fooled_loss, told_apart_loss
from lipsync_cli.training.generator.plan import GeneratorPlan


class Critic(Protocol):
    """What training asks of a critic; windows are [B, 5, 3, 96, 96], sound [B, 5, 80, C]."""

    network: nn.Module

    def of_drawn(self, drawn: Tensor, sound: Tensor) -> Tensor:
        """The generator's loss."""
        ...

    def own(self, drawn: Tensor, real: Tensor, sound: Tensor) -> Tensor:
        """The critic's own loss."""
        ...


class QualityCritic:
    """Tells lower halves that were drawn from real ones."""

    def __init__(self, width: int, *, hinge: bool) -> None:
        self.network: nn.Module = QualityDiscriminator(width)
        self._hinge = hinge

    def of_drawn(self, drawn: Tensor, sound: Tensor) -> Tensor:
        """The generator's loss: its halves should pass for real."""
        return fooled_loss(self._logits(drawn), hinge=self._hinge)

    def own(self, drawn: Tensor, real: Tensor, sound: Tensor) -> Tensor:
        """Cross-entropy or hinge of real and drawn halves."""
        return told_apart_loss(self._logits(real), self._logits(drawn), hinge=self._hinge)

    def _logits(self, windows: Tensor) -> Tensor:
        assert isinstance(self.network, QualityDiscriminator)
        return self.network.logits(lower_halves(windows).flatten(0, 1)).float()


class ContrastiveCritic:
    """Tells faces that fit their sound from drawn ones and from those of other sound."""

    def __init__(self, width: int) -> None:
        self.network: nn.Module = ContrastiveDiscriminator(width)

    def of_drawn(self, drawn: Tensor, sound: Tensor) -> Tensor:
        """The generator's loss: its faces should fit (Prajwal et al. 2019, section 3.3)."""
        return contrastive_loss(self._distance(drawn, sound), together=True)

    def own(self, drawn: Tensor, real: Tensor, sound: Tensor) -> Tensor:
        """Real faces fit; drawn ones do not, nor do real ones with the next sample's sound."""
        loss = contrastive_loss(self._distance(real, sound), together=True)
        loss = loss + contrastive_loss(self._distance(drawn, sound), together=False)
        if len(sound) > 1:
            strange = self._distance(real, sound.roll(1, dims=0))
            loss = loss + contrastive_loss(strange, together=False)
        return loss

    def _distance(self, windows: Tensor, sound: Tensor) -> Tensor:
        distance: Tensor = self.network(sound.flatten(0, 1).unsqueeze(1), windows.flatten(0, 1))
        return distance.float()


def critics_of(plan: GeneratorPlan) -> dict[str, Critic]:
    """The critics that a plan's weights switch on, by the names of their terms."""
    critics: dict[str, Critic] = {}
    if plan.weights.adversarial:
        critics["adversarial"] = QualityCritic(plan.critic_width, hinge=plan.hinge)
    if plan.weights.contrastive:
        critics["contrastive"] = ContrastiveCritic(2 * plan.critic_width)
    return critics

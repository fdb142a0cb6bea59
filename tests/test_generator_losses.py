"""The terms of a generator's loss, against computation by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from packed_faces import DrawnMouthExpert, talking_clip
from torch import Tensor, nn

from lipsync_cli.dubbing.generator import losses
from lipsync_cli.training.generator.losses import fooled_loss, told_apart_loss, weighed
from lipsync_cli.training.generator.models import pixels
from lipsync_cli.training.generator.plan import LossWeights
from lipsync_cli.training.generator.samples import Hearing, Sampler


def test_reconstruction_terms_are_those_of_a_hand() -> None:
    real = torch.zeros(1, 1, 3, 96, 96)
    drawn = real.clone()
    drawn[..., 60, 48] = 0.5  # one pixel, of the mouth
    drawn[..., 10, 48] = 0.5  # one of the forehead
    assert float(losses.l1(drawn, real)) == pytest.approx(2 * 0.5 / 96**2)
    rows, columns = losses.mouth_box(96)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (52, 86, 19, 77)
    assert float(losses.mouth_l1(drawn, real)) == pytest.approx(0.5 / (34 * 58))
    # Each pixel stands apart from two neighbours across and from two down.
    steps = 2 * 2 * 0.5 / (96 * 95)
    assert float(losses.gradient_l1(drawn, real)) == pytest.approx(2 * steps)


def test_sync_loss_is_the_cross_entropy_of_voiced_windows() -> None:
    cosine = torch.tensor([1.0, 0.5, 0.1])
    voiced = torch.tensor([True, True, False])
    assert float(losses.sync_loss(cosine, voiced)) == pytest.approx(np.log(2) / 2)
    assert float(losses.sync_loss(cosine, torch.zeros(3, dtype=torch.bool))) == 0


def test_adversarial_losses() -> None:
    real, drawn = torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 1.0])
    assert float(fooled_loss(drawn, hinge=True)) == pytest.approx(0.5)
    assert float(told_apart_loss(real, drawn, hinge=True)) == pytest.approx(0.5 + 1.0)

    def entropy(logits: Tensor, truth: float) -> float:
        p = 1 / (1 + np.exp(-logits.numpy()))
        return float(-np.mean(truth * np.log(p) + (1 - truth) * np.log(1 - p)))

    assert float(fooled_loss(drawn, hinge=False)) == pytest.approx(entropy(drawn, 1))
    expected = entropy(real, 1) + entropy(drawn, 0)
    assert float(told_apart_loss(real, drawn, hinge=False)) == pytest.approx(expected)


def test_terms_are_weighed_as_in_the_paper() -> None:
    weights = LossWeights(mouth=0, gradient=0, sync=0.03, adversarial=0.07)
    terms = {"l1": torch.tensor(2.0), "sync": torch.tensor(5.0), "adversarial": torch.tensor(7.0)}
    assert float(weighed(terms, weights)) == pytest.approx(0.9 * 2 + 0.03 * 5 + 0.07 * 7)
    del terms["sync"]  # which does not count yet
    assert float(weighed(terms, weights)) == pytest.approx(0.93 * 2 + 0.07 * 7)


def test_the_expert_sees_five_lower_halves_in_order() -> None:
    seen: list[Tensor] = []

    class Spy(nn.Module):
        def forward(self, halves: Tensor, mel: Tensor) -> tuple[Tensor, Tensor]:
            seen.extend([halves, mel])
            return torch.ones(2, 1), torch.ones(2, 1)

    faces = torch.zeros(2, 5, 3, 96, 96)
    for frame in range(5):
        for colour in range(3):
            faces[:, frame, colour, 48:] = 10 * frame + colour
    cosine = losses.expert_cosine(Spy(), faces, torch.zeros(2, 80, 16))
    assert seen[0].shape == (2, 15, 48, 96) and seen[1].shape == (2, 1, 80, 16)
    wanted = [10 * frame + colour for frame in range(5) for colour in range(3)]
    assert seen[0][0, :, 0, 0].tolist() == wanted and cosine.tolist() == [1, 1]


def test_the_drawn_expert_knows_what_fits() -> None:
    """Or nothing that rests on it would prove anything."""
    clips = [talking_clip("a", seed=1), talking_clip("b", seed=2)]
    hearing = Hearing(-0.04, 16)
    windows = Sampler(clips, hearing, batch=16, seed=3, silence=0, augment=False).draw(0)
    expert = DrawnMouthExpert()
    with torch.no_grad():
        own = losses.expert_cosine(expert, pixels(windows.target), windows.mel)
        other = losses.expert_cosine(expert, pixels(windows.target), windows.mel.flip(0))
    assert own.mean() > 0.97 > other.mean()

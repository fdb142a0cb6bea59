"""The visual quality discriminator: the official names, sizes and arithmetic."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from state_dicts import discriminator as official_shapes
from state_dicts import expert, zeros
from torch import Tensor
from torch.nn import functional

from lipsync_cli.dubbing.generator.discriminator import QualityDiscriminator, load_discriminator
from lipsync_cli.errors import WeightsError

# Stride and padding of each convolution, as published.
GRAPH = {
    "0.0": (1, 3),
    "1.0": ((1, 2), 2),
    "1.1": (1, 2),
    "2.0": (2, 2),
    "2.1": (1, 2),
    "3.0": (2, 2),
    "3.1": (1, 2),
    "4.0": (2, 1),
    "4.1": (1, 1),
    "5.0": (2, 1),
    "5.1": (1, 1),
    "6.0": (1, 0),
    "6.1": (1, 0),
}


def written_out(state: dict[str, Tensor], halves: Tensor) -> Tensor:
    """The graph by plain calls."""
    x = halves
    for place, (stride, padding) in GRAPH.items():
        name = f"face_encoder_blocks.{place}.conv_block.0"
        x = functional.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride, padding)
        x = torch.where(x > 0, x, 0.01 * x)
    x = functional.conv2d(x, state["binary_pred.0.weight"], state["binary_pred.0.bias"])
    return 1 / (1 + torch.exp(-x.flatten()))


def random_state(network: QualityDiscriminator) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    state = {}
    for name, each in network.state_dict().items():
        fan = each[0].numel() if each.ndim == 4 else 100.0
        state[name] = torch.randn(each.shape, generator=random) * (2 / fan) ** 0.5
    return state


def test_the_official_width_has_the_official_entries() -> None:
    with torch.device("meta"):
        network = QualityDiscriminator()
    found = {name: tuple(each.shape) for name, each in network.state_dict().items()}
    assert found == official_shapes() and len(found) == 28
    assert sum(each.numel() for each in network.parameters()) == 14_113_793


def test_it_computes_what_its_layers_say() -> None:
    network = QualityDiscriminator(4)
    state = random_state(network)
    network.load_state_dict(state)
    halves = torch.rand(6, 3, 48, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found, expected = network(halves), written_out(state, halves)
    assert expected.std() > 1e-3, "constant answers would prove nothing"
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_a_file_of_any_width_is_loaded(tmp_path: Path) -> None:
    state = random_state(QualityDiscriminator(6))
    torch.save({"state_dict": state, "optimizer": {}, "global_step": 3}, tmp_path / "disc.pth")
    loaded = load_discriminator(tmp_path / "disc.pth").state_dict()
    assert all(torch.equal(loaded[name], each) for name, each in state.items())


def test_other_networks_are_refused(tmp_path: Path) -> None:
    torch.save({k: v.clone() for k, v in zeros(expert()).items()}, tmp_path / "expert.pth")
    with pytest.raises(WeightsError, match="no visual quality discriminator"):
        load_discriminator(tmp_path / "expert.pth")

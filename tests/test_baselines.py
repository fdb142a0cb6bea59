"""LipGAN and Speech2Vid: the sizes of the papers, and inputs that reach the picture."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import torch
from torch import nn

from lipsync_cli.dubbing.generator.lipgan import ContrastiveDiscriminator, LipGan, contrastive_loss
from lipsync_cli.dubbing.generator.speech2vid import Speech2Vid, cepstra


def parameters(network: nn.Module) -> int:
    return sum(each.numel() for each in network.parameters())


def mfcc_branch() -> int:
    """Parameters of the sound encoder for MFCC that LipGAN's 71.3 M count in."""

    def conv(inputs: int, outputs: int, taps: int = 9) -> int:
        return inputs * outputs * taps + 3 * outputs  # bias and batch norm

    stages = conv(1, 128) + 6 * conv(128, 128) + conv(128, 256) + 4 * conv(256, 256)
    stages += conv(256, 512) + 4 * conv(512, 512) + conv(512, 512) + 2 * conv(512, 512)
    return stages + conv(512, 512, 20) + conv(512, 512, 1)


def test_lipgan_has_the_published_size_but_for_its_sound() -> None:
    with torch.device("meta"):
        network = LipGan()
    pictures = parameters(network) - parameters(network.audio_encoder)
    assert pictures == pytest.approx(71.3e6 - mfcc_branch(), abs=0.1e6)


def moves(network: nn.Module, mel: torch.Tensor, faces: torch.Tensor) -> tuple[float, float]:
    """How far sound and faces move the picture."""
    network.train()  # batch norms of untrained nets let nothing through otherwise
    with torch.no_grad():
        drawn = network(mel, faces)
        other_sound = network(mel.roll(1, 0), faces)
        other_faces = network(mel, faces.roll(1, 0))
    assert drawn.shape == (len(mel), 3, 96, 96)
    assert float(drawn.min()) >= 0 and float(drawn.max()) <= 1
    return float((drawn - other_sound).abs().max()), float((drawn - other_faces).abs().max())


def test_lipgan_draws_after_sound_and_faces() -> None:
    torch.manual_seed(0)
    sound, faces = moves(LipGan(4), torch.randn(4, 1, 80, 27), torch.rand(4, 6, 96, 96))
    assert sound > 1e-3 and faces > 1e-3


def test_speech2vid_draws_after_sound_and_faces() -> None:
    torch.manual_seed(0)
    sound, faces = moves(Speech2Vid(8), torch.randn(4, 1, 80, 28), torch.rand(4, 15, 96, 96))
    assert sound > 1e-3 and faces > 1e-3


def test_cepstra_are_the_cosine_transform_of_the_bands() -> None:
    mel = np.random.default_rng(0).uniform(-4, 4, (2, 1, 80, 28)).astype(np.float32)
    found = cepstra(torch.from_numpy(mel)).numpy()
    expected = scipy.fft.dct(mel, axis=2, norm="ortho")[:, :, 1:13]
    assert found.shape == (2, 1, 12, 35)
    np.testing.assert_allclose(found[..., 0], expected[..., 0], atol=1e-4)
    np.testing.assert_allclose(found[..., -1], expected[..., -1], atol=1e-4)
    # The middle of 35 steps is the middle of 28 columns.
    np.testing.assert_allclose(found[..., 17], expected[..., 13:15].mean(-1), atol=1e-4)


def test_silence_has_no_cepstra() -> None:
    assert cepstra(torch.full((1, 1, 80, 28), -4.0)).abs().max() < 1e-4


def test_contrastive_distance_and_its_loss() -> None:
    torch.manual_seed(0)
    network = ContrastiveDiscriminator(4)
    with torch.no_grad():
        distance = network(torch.randn(5, 1, 80, 27), torch.rand(5, 3, 96, 96))
    assert distance.shape == (5,) and 0 <= float(distance.min()) <= float(distance.max()) <= 2
    apart = torch.tensor([0.5, 1.5])
    assert float(contrastive_loss(apart, together=True)) == pytest.approx((0.25 + 2.25) / 2)
    assert float(contrastive_loss(apart, together=False)) == pytest.approx(0.25 / 2)


def test_the_contrastive_discriminator_has_the_published_layers() -> None:
    with torch.device("meta"):
        network = ContrastiveDiscriminator()
    widths = [(3, 64, 49), (64, 128, 25), (128, 256, 9), (256, 512, 9), (512, 512, 9)]
    norms = 2 * sum(outputs for _, outputs, _ in widths)
    convs = sum(i * o * taps + o for i, o, taps in [*widths, (512, 512, 9)])
    assert parameters(network.face_encoder) == convs + norms

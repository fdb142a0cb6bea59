"""The generator as a PyTorch module, with the names of the official state dict."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lipsync_cli.dubbing.generator.topology import Conv, Topology


class Layer(nn.Module):
    """Convolution, batch normalisation, the input where it is a residual, ReLU."""

    def __init__(self, conv: Conv) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(_convolution(conv), nn.BatchNorm2d(conv.kernel.outputs))
        self.residual = conv.residual

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H', W']."""
        y = self.conv_block(x)
        return functional.relu(y + x if self.residual else y)

    def fold(self) -> None:
        """Multiply the normalisation, where there still is one, into the convolution."""
        if len(self.conv_block) > 1:
            self.conv_block = nn.Sequential(_folded(*self.conv_block))


class Generator(nn.Module):
    """Draws the lower half of a face to 200 ms of sound (Prajwal et al. 2020, section 3).

    Attributes:
        topology: its layers.
    """

    def __init__(self, topology: Topology) -> None:
        super().__init__()
        self.topology = topology
        self.face_encoder_blocks = nn.ModuleList(map(_sequence, topology.encoder))
        self.audio_encoder = _sequence(topology.sound)
        self.face_decoder_blocks = nn.ModuleList(map(_sequence, topology.decoder))
        layer, last = topology.output
        self.output_block = nn.Sequential(Layer(layer), _convolution(last), nn.Sigmoid())

    def forward(self, mel: Tensor, faces: Tensor) -> Tensor:
        """Generate pictures in [0, 1].

        Args:
            mel: [B, 1, 80, 16].
            faces: [B, 6, S, S] in [0, 1], BGR: the face with its lower half 0, then a
                whole face of the same person.

        Returns:
            [B, 3, S, S], BGR.
        """
        skips = []
        for block in self.face_encoder_blocks:
            faces = block(faces)
            skips.append(faces)  # [B, C, S / 2^i, S / 2^i], the last [B, C, 1, 1]
        x = self.audio_encoder(mel)  # [B, E, 1, 1]
        for block in self.face_decoder_blocks:
            x = torch.cat((block(x), skips.pop()), dim=1)
        picture: Tensor = self.output_block(x)
        return picture

    def fold(self) -> None:
        """Fold every normalisation away: for inference, or to learn on without it."""
        for layer in self.modules():
            if isinstance(layer, Layer):
                layer.fold()


def _sequence(layers: Iterable[Conv]) -> nn.Sequential:
    return nn.Sequential(*map(Layer, layers))


def _convolution(conv: Conv) -> nn.Conv2d | nn.ConvTranspose2d:
    inputs, outputs, side = conv.kernel
    if conv.transposed:
        return nn.ConvTranspose2d(inputs, outputs, side, conv.stride, conv.padding, conv.grow)
    return nn.Conv2d(inputs, outputs, side, conv.stride, conv.padding)


def _folded(convolution: nn.Module, norm: nn.Module) -> nn.Module:
    assert isinstance(convolution, nn.Conv2d | nn.ConvTranspose2d)
    assert isinstance(norm, nn.BatchNorm2d)
    return fuse_conv_bn_eval(convolution, norm, isinstance(convolution, nn.ConvTranspose2d))

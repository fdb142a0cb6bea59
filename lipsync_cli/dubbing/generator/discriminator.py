"""The visual quality discriminator of Wav2Lip: is the lower half of a face a real one?"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from lipsync_cli.errors import WeightsError
from lipsync_cli.weights.reading import read_state

OFFICIAL_WIDTH = 32
_FIRST = "face_encoder_blocks.0.0.conv_block.0.weight"


class _Conv(NamedTuple):
    """A convolution; widths are multiples of the first layer's."""

    times: int
    side: int
    stride: int | tuple[int, int] = 1
    padded: bool = True


# Halves of 48x96 become squares first, then are halved down to one pixel.
_BLOCKS = (
    (_Conv(1, 7),),
    (_Conv(2, 5, (1, 2)), _Conv(2, 5)),
    (_Conv(4, 5, 2), _Conv(4, 5)),
    (_Conv(8, 5, 2), _Conv(8, 5)),
    (_Conv(16, 3, 2), _Conv(16, 3)),
    (_Conv(16, 3, 2), _Conv(16, 3)),
    (_Conv(16, 3, padded=False), _Conv(16, 1)),
)


class QualityDiscriminator(nn.Module):
    """Looks at single lower halves, without normalisation (Prajwal et al. 2020, section 3.4).

    Its state dict has the names and, at the official width, the shapes of
    visual_quality_disc.pth.

    Args:
        width: channels of the first layer.
    """

    def __init__(self, width: int = OFFICIAL_WIDTH) -> None:
        super().__init__()
        blocks, inputs = [], 3
        for block in _BLOCKS:
            layers = []
            for conv in block:
                layers.append(_Layer(inputs, width * conv.times, conv))
                inputs = width * conv.times
            blocks.append(nn.Sequential(*layers))
        self.face_encoder_blocks = nn.ModuleList(blocks)
        self.binary_pred = nn.Sequential(nn.Conv2d(inputs, 1, 1), nn.Sigmoid())

    def logits(self, halves: Tensor) -> Tensor:
        """Judge halves [B, 3, 48, 96], BGR in [0, 1]: [B], > 0 for real ones."""
        x = halves
        for block in self.face_encoder_blocks:
            x = block(x)
        scores: Tensor = self.binary_pred[0](x)  # [B, 1, 1, 1]
        return scores.flatten()

    def forward(self, halves: Tensor) -> Tensor:
        """The same as probabilities."""
        return self.logits(halves).sigmoid()


class _Layer(nn.Module):
    def __init__(self, inputs: int, outputs: int, conv: _Conv) -> None:
        super().__init__()
        padding = conv.side // 2 if conv.padded else 0
        self.conv_block = nn.Sequential(
            nn.Conv2d(inputs, outputs, conv.side, conv.stride, padding), nn.LeakyReLU(0.01)
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv_block(x)
        return y


def load_discriminator(path: Path) -> QualityDiscriminator:
    """Read a discriminator of any width, on the CPU.

    Raises:
        WeightsError: the file is missing, damaged, or no such discriminator.
    """
    state = read_state(path)
    first = state.get(_FIRST)
    network = QualityDiscriminator(OFFICIAL_WIDTH if first is None else first.shape[0])
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(
            "is no visual quality discriminator of Wav2Lip",
            path=path,
            hint="give visual_quality_disc.pth, or one of an own run",
        ) from error
    return network

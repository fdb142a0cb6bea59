"""A generator in the manner of Speech2Vid (Jamaludin, Chung and Zisserman 2019).

Its idea, to compare others with: a code of 350 ms of sound and a code of five pictures of the
person are decoded into a face, with two skips from the pictures and no look at the frame that
is dubbed; the loss is L1 alone. The encoders follow the paper's VGG-M in kernels and depth;
pictures are the 96 px crops of the other generators instead of 112 px, and the network that
deblurs the paper's results is left out. Its MatConvNet files cannot be loaded.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

OFFICIAL_WIDTH = 64
IDENTITIES = 5  # pictures of the person
COLUMNS = 28  # of the spectrogram: 350 ms
START_S = -0.175  # the picture that is drawn is in the middle
CEPSTRA, STEPS = 12, 35
_CODE_TIMES = 4


def cepstra(mel: Tensor) -> Tensor:
    """Turn log-mel windows into the cepstra that the sound encoder hears.

    Coefficients 2 to 13 of every 10 ms, as in the paper, but of Wav2Lip's spectrogram: the
    orthonormal cosine transform of its bands, interpolated between its 80 columns a second.
    Silence is all 0.

    Args:
        mel: [B, 1, 80, 28].

    Returns:
        [B, 1, 12, 35].
    """
    bands = mel.shape[2]
    order = torch.arange(1, CEPSTRA + 1, device=mel.device).unsqueeze(1)
    place = torch.arange(bands, device=mel.device) + 0.5
    rows = math.sqrt(2 / bands) * torch.cos(math.pi * order * place / bands)  # [12, 80]
    found = rows.to(mel.dtype) @ mel  # [B, 1, 12, 28]
    return functional.interpolate(found, (CEPSTRA, STEPS), mode="bilinear", align_corners=True)


class Speech2Vid(nn.Module):
    """Draws a whole face from five pictures of a person, to the sound around the moment.

    Args:
        width: channels of the sound encoder's first layer; other widths are multiples of it.
    """

    def __init__(self, width: int = OFFICIAL_WIDTH) -> None:
        super().__init__()
        code = _CODE_TIMES * width
        self.audio_encoder = nn.Sequential(
            _conv(1, width),
            _conv(width, 2 * width),
            nn.MaxPool2d((1, 3), (1, 2)),  # 12x17
            _conv(2 * width, 4 * width),
            _conv(4 * width, 4 * width),
            _conv(4 * width, 8 * width),
            nn.MaxPool2d(3, 2),  # 5x8
            _conv(8 * width, 8 * width, (5, 8), padding=0),
            nn.Conv2d(8 * width, code, 1),
        )
        self.identity_encoder = nn.ModuleList(
            [
                nn.Sequential(
                    _conv(3 * IDENTITIES, 2 * width, 7, 2), _conv(2 * width, 4 * width, 5, 2)
                ),  # 24x24
                nn.Sequential(
                    _conv(4 * width, 8 * width, 3, 2), _conv(8 * width, 8 * width)
                ),  # 12x12
                nn.Sequential(
                    _conv(8 * width, 8 * width, 3, 2),  # 6x6
                    _conv(8 * width, 8 * width, 6, padding=0),
                    nn.Conv2d(8 * width, code, 1),
                ),
            ]
        )
        self.face_decoder = nn.ModuleList(
            [
                nn.Sequential(_grown(2 * code, 8 * width, 6), _grown(8 * width, 8 * width)),
                _grown(16 * width, 4 * width),
                nn.Sequential(
                    _grown(8 * width, 2 * width),
                    _grown(2 * width, width),
                    nn.Conv2d(width, 3, 3, padding=1),
                    nn.Sigmoid(),
                ),
            ]
        )

    def forward(self, mel: Tensor, identities: Tensor) -> Tensor:
        """Generate pictures in [0, 1].

        Args:
            mel: [B, 1, 80, 28].
            identities: [B, 15, 96, 96] in [0, 1], five pictures in BGR.

        Returns:
            [B, 3, 96, 96], BGR.
        """
        near, middle, deep = self.identity_encoder
        at_24 = near(identities)  # [B, 4 w, 24, 24]
        at_12 = middle(at_24)  # [B, 8 w, 12, 12]
        x = torch.cat((self.audio_encoder(cepstra(mel)), deep(at_12)), dim=1)  # [B, 8 w, 1, 1]
        x = torch.cat((self.face_decoder[0](x), at_12), dim=1)
        x = torch.cat((self.face_decoder[1](x), at_24), dim=1)
        picture: Tensor = self.face_decoder[2](x)
        return picture


def _conv(
    inputs: int,
    outputs: int,
    side: int | tuple[int, int] = 3,
    stride: int = 1,
    padding: int | None = None,
) -> nn.Sequential:
    border = padding if padding is not None else side // 2 if isinstance(side, int) else 0
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, stride, border), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def _grown(inputs: int, outputs: int, from_one: int = 0) -> nn.Sequential:
    """Twice the size; or `from_one` px out of a single one."""
    up = (
        nn.ConvTranspose2d(inputs, outputs, from_one)
        if from_one
        else nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, 1)
    )
    return nn.Sequential(up, nn.BatchNorm2d(outputs), nn.ReLU())

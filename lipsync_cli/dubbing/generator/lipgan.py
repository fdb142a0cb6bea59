"""LipGAN (Prajwal et al. 2019), the generator that Wav2Lip is compared with, and its critic.

The residual variant. The picture side has the authors' sizes; the sound is the 27 columns of
Wav2Lip's log-mel of their Python branch, in stages that lead them to one pixel. Convolutions
pad on both sides alike, where Keras pads behind: nets are trained here, their Keras files
cannot be loaded.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

OFFICIAL_WIDTH = 32
COLUMNS = 27  # of the spectrogram: 337 ms
START_S = -0.16  # four pictures of 25 a second before the one that is drawn

# Stages of the picture encoder: multiples of the width, side of the kernel, residual pairs.
_DOWN = ((1, 7, 0), (2, 5, 2), (4, 3, 3), (8, 3, 2), (16, 3, 2), (16, 3, 0))
_UP = ((16, 0), (16, 2), (8, 2), (4, 2), (2, 2), (1, 0))
# Of the sound encoder: 80x27 -> 27x9 -> 9x9 -> 3x3.
_SOUND = ((1, (1, 1), 2), (2, (3, 3), 2), (4, (3, 1), 2), (8, (3, 3), 1))
Stride = int | tuple[int, int]


class LipGan(nn.Module):
    """Draws one face to the sound around it; all of it, like Wav2Lip's generator.

    Args:
        width: channels of the first layer.
    """

    def __init__(self, width: int = OFFICIAL_WIDTH) -> None:
        super().__init__()
        deepest = 16 * width
        self.face_encoder = nn.ModuleList(_encoder(width))
        self.face_code = nn.Sequential(
            _conv(deepest, deepest, 3, padding=0), _conv(deepest, deepest, 1)
        )
        self.audio_encoder = nn.Sequential(*_sound_encoder(width))
        self.face_decoder = nn.ModuleList(_decoder(width))
        self.output = nn.Sequential(
            _conv(2 * width, width // 2),
            _conv(width // 2, width // 2),
            nn.Conv2d(width // 2, 3, 1),
            nn.Sigmoid(),
        )

    def forward(self, mel: Tensor, faces: Tensor) -> Tensor:
        """Generate pictures in [0, 1].

        Args:
            mel: [B, 1, 80, 27].
            faces: [B, 6, 96, 96] in [0, 1], BGR: a whole face of the person, then the face
                with its lower half 0; the other way round than Wav2Lip's.

        Returns:
            [B, 3, 96, 96], BGR.
        """
        skips = []
        for stage in self.face_encoder:
            faces = stage(faces)
            skips.append(faces)  # [B, C, 96 / 2^i, 96 / 2^i]
        x = torch.cat((self.face_code(faces), self.audio_encoder(mel)), dim=1)  # [B, 2 C, 1, 1]
        for stage in self.face_decoder:
            x = torch.cat((skips.pop(), stage(x)), dim=1)
        picture: Tensor = self.output(x)
        return picture


class ContrastiveDiscriminator(nn.Module):
    """How far a single face is from the sound, learnt along with the generator.

    Args:
        width: channels of the first layer; officially 64.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        deepest = 8 * width
        self.face_encoder = nn.Sequential(
            _judged(3, width, 7, 2),
            _judged(width, 2 * width, 5, 2),
            _judged(2 * width, 4 * width, 3, 2),
            _judged(4 * width, deepest, 3, 2),
            _judged(deepest, deepest, 3, 2),
            nn.Conv2d(deepest, deepest, 3),
        )
        self.audio_encoder = nn.Sequential(
            _judged(1, width, 3, 1),
            _judged(width, 2 * width, 3, 3),
            _judged(2 * width, 4 * width, 3, (3, 1)),
            _judged(4 * width, deepest, 3, 3),
            nn.Conv2d(deepest, deepest, 3),
        )

    def forward(self, mel: Tensor, faces: Tensor) -> Tensor:
        """Distances [B] in [0, 2] of faces [B, 3, 96, 96] from sounds [B, 1, 80, 27]."""
        seen = functional.normalize(self.face_encoder(faces).flatten(1), dim=1)
        heard = functional.normalize(self.audio_encoder(mel).flatten(1), dim=1)
        # The root has no slope at 0, where embeddings are equal.
        return ((seen - heard).square().sum(1) + 1e-8).sqrt()


def contrastive_loss(distance: Tensor, *, together: bool) -> Tensor:
    """Pull pairs that belong together to 0, push the others beyond 1."""
    if together:
        return distance.square().mean()
    return functional.relu(1 - distance).square().mean()


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_conv(width, width), _conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.layers(x) + x)


def _encoder(width: int) -> list[nn.Module]:
    stages: list[nn.Module] = []
    inputs = 6
    for number, (times, side, pairs) in enumerate(_DOWN):
        first = _conv(inputs, times * width, side, 1 if number == 0 else 2)
        inputs = times * width
        stages.append(nn.Sequential(first, *(_Residual(inputs) for _ in range(pairs))))
    return stages


def _decoder(width: int) -> list[nn.Module]:
    stages: list[nn.Module] = []
    inputs = 2 * 16 * width
    for number, (times, pairs) in enumerate(_UP):
        outputs = times * width
        up = _grown(inputs, outputs, first=number == 0)
        stages.append(nn.Sequential(up, *(_Residual(outputs) for _ in range(pairs))))
        inputs = outputs + _DOWN[-1 - number][0] * width
    return stages


def _sound_encoder(width: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    inputs = 1
    for times, stride, pairs in _SOUND:
        layers += [_conv(inputs, times * width, 3, stride)]
        inputs = times * width
        layers += [_Residual(inputs) for _ in range(pairs)]
    return [*layers, _conv(inputs, 16 * width, 3, padding=0), _conv(16 * width, 16 * width, 1)]


def _conv(
    inputs: int, outputs: int, side: int = 3, stride: Stride = 1, padding: int | None = None
) -> nn.Sequential:
    border = side // 2 if padding is None else padding
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, stride, border), _normed(outputs), nn.ReLU()
    )


def _grown(inputs: int, outputs: int, *, first: bool) -> nn.Sequential:
    up = (
        nn.ConvTranspose2d(inputs, outputs, 3, 3)
        if first
        else nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, 1)
    )
    return nn.Sequential(up, _normed(outputs), nn.ReLU())


def _normed(width: int) -> nn.BatchNorm2d:
    # Keras' epsilon, and the authors' momentum of 0.8 as PyTorch counts it.
    return nn.BatchNorm2d(width, eps=1e-3, momentum=0.2)


def _judged(inputs: int, outputs: int, side: int, stride: Stride) -> nn.Sequential:
    # One group: the authors normalise over all channels of an instance.
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, stride, side // 2),
        nn.GroupNorm(1, outputs),
        nn.LeakyReLU(0.2),
    )

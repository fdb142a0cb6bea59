"""Two towers: mouth crops and sound into unit vectors of one space.

No temporal convolution is padded: an embedding exists only where its whole receptive
field does. A padded one would mark the beginnings of both streams, and a model would
match these instead of lips and sound.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DIM = 256
STEM_FRAMES = 5
CROP = 64  # pixels
VISUAL_CONTEXT = 5  # frames lost at either end
AUDIO_DILATIONS = (1, 1, 2)
AUDIO_STRIDE = 2  # mel frames from one sound embedding to the next
AUDIO_FIELD = 51  # mel frames that one sound embedding sees, itself in their middle
EMBED_RATE = 50.0  # sound embeddings per second


class SpatialBlock(nn.Module):
    """Residual pair of 3x3 convolutions; `trim` drops frames instead of padding the first axis."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int], trim: int = 0) -> None:
        super().__init__()
        padding = (0, 1) if trim else (1, 1)
        self.trim = trim
        self.first = nn.Conv2d(inputs, outputs, 3, stride, padding, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, padding, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        # Averaging before the 1x1 keeps what a strided one would alias, at a quarter of the cost.
        self.pool = nn.AvgPool2d(stride)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.skip_norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        if self.trim > 0:
            x = x[:, :, self.trim : -self.trim]
        return F.relu(y + self.skip_norm(self.skip(self.pool(x))))


class TemporalBlock(nn.Module):
    """Residual convolution over time, [B, DIM, T] -> [B, DIM, T - 2 * margin]."""

    def __init__(self, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        self.margin = (kernel // 2) * dilation
        self.conv = nn.Conv1d(DIM, DIM, kernel, dilation=dilation, bias=False)
        self.norm = nn.BatchNorm1d(DIM)

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, self.margin : -self.margin] + F.relu(self.norm(self.conv(x)))


class VisualEncoder(nn.Module):
    """uint8 [B, T, 64, 64] mouth crops -> unit vectors [B, T - 10, 256]."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.stem_frames = STEM_FRAMES
        self.stem = nn.Conv2d(STEM_FRAMES, width, 5, 2, 2, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        self.trunk = nn.Sequential(
            SpatialBlock(width, width * 3 // 2, (2, 2)),
            SpatialBlock(width * 3 // 2, width * 3, (2, 2)),
            SpatialBlock(width * 3, width * 6, (2, 2)),
        )
        self.drop = nn.Dropout(0.1)
        self.project = nn.Linear(width * 6 * 16, DIM)
        self.temporal = nn.Sequential(TemporalBlock(3), TemporalBlock(3), TemporalBlock(3))
        self.out = nn.Conv1d(DIM, DIM, 1)

    def forward(self, crops: Tensor) -> Tensor:
        x = standardise(crops)  # [B, T, 64, 64]
        # A 3-D convolution over 5 frames, written as 2-D over 5 stacked channels.
        x = x.unfold(1, self.stem_frames, 1).permute(0, 1, 4, 2, 3)  # [B, T-4, 5, 64, 64]
        batch, frames = x.shape[0], x.shape[1]
        x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        x = F.relu(self.stem_norm(self.stem(x)))  # [B*(T-4), 24, 32, 32]
        x = self.trunk(x).flatten(1)  # [B*(T-4), 144*4*4]
        x = self.project(self.drop(x)).view(batch, frames, -1).transpose(1, 2)
        x = self.out(self.temporal(x))  # [B, 256, T-10]
        return F.normalize(x, dim=1).transpose(1, 2)


class AudioEncoder(nn.Module):
    """float [B, M, 80] log-mel at 100 Hz -> unit vectors [B, (M - 49) // 2, 256] at 50 Hz."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, (3, 5), (AUDIO_STRIDE, 2), (0, 2), bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        self.trunk = nn.Sequential(
            SpatialBlock(width, width * 2, (1, 2), trim=2),
            SpatialBlock(width * 2, width * 3, (1, 2), trim=2),
        )
        self.drop = nn.Dropout(0.1)
        self.project = nn.Conv1d(width * 3 * 10, DIM, 1)
        self.temporal = nn.Sequential(
            TemporalBlock(5, AUDIO_DILATIONS[0]),
            TemporalBlock(5, AUDIO_DILATIONS[1]),
            TemporalBlock(5, AUDIO_DILATIONS[2]),
        )
        self.out = nn.Conv1d(DIM, DIM, 1)

    def forward(self, mel: Tensor) -> Tensor:
        x = mel.unsqueeze(1).contiguous(memory_format=torch.channels_last)  # [B, 1, M, 80]
        x = F.relu(self.stem_norm(self.stem(x)))  # [B, 24, R+24, 40]
        x = self.trunk(x)  # [B, 72, R+16, 10]
        x = self.drop(x.permute(0, 1, 3, 2).flatten(1, 2))  # [B, 720, R+16]
        x = self.out(self.temporal(self.project(x)))  # [B, 256, R]
        return F.normalize(x, dim=1).transpose(1, 2)


def standardise(crops: Tensor) -> Tensor:
    """Zero mean and unit deviation for every single crop: blind to exposure and luma range."""
    x = crops.float()
    mean = x.mean(dim=(-2, -1), keepdim=True)
    deviation = x.std(dim=(-2, -1), keepdim=True)
    return (x - mean) / (deviation + 4.0)

"""SyncNet's evaluation written down once more, the slow and obvious way.

Everything here is windowed, in double precision and on whole arrays; nothing of the project
is used except the weights that it is asked to run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import python_speech_features
import scipy.ndimage
import torch
import torch.nn.functional as F
from torch import Tensor

State = Mapping[str, Tensor]

# Place in netcnnlip and netcnnaud, stride, padding, and the pool behind it.
_LIP_LAYERS: list[tuple[int, Any, Any, Any]] = [
    (0, (1, 2, 2), (0, 0, 0), {"kernel_size": (1, 3, 3), "stride": (1, 2, 2)}),
    (
        4,
        (1, 2, 2),
        (0, 1, 1),
        {"kernel_size": (1, 3, 3), "stride": (1, 2, 2), "padding": (0, 1, 1)},
    ),
    (8, 1, (0, 1, 1), None),
    (11, 1, (0, 1, 1), None),
    (14, 1, (0, 1, 1), {"kernel_size": (1, 3, 3), "stride": (1, 2, 2)}),
    (18, 1, 0, None),
]
_SOUND_LAYERS: list[tuple[int, Any, Any, Any]] = [
    (0, 1, 1, None),
    (4, 1, 1, {"kernel_size": 3, "stride": (1, 2)}),
    (8, 1, 1, None),
    (11, 1, 1, None),
    (14, 1, 1, {"kernel_size": 3, "stride": 2}),
    (18, 1, 0, None),
]


class Figures(NamedTuple):
    """`means`: [2 vshift + 1], mean distance from audio window i - vshift to i + vshift."""

    offset: int
    lse_d: float
    lse_c: float
    means: np.ndarray[Any, Any]


def random_syncnet(path: Path) -> State:
    """Save a SyncNet with random weights whose layers pass a signal on; return its state."""
    from lipsync_cli.scoring.syncnet import SyncNet

    torch.manual_seed(0)
    network = SyncNet()
    for name, value in network.named_parameters():
        if value.ndim > 1:
            torch.nn.init.kaiming_normal_(value)
        elif name.endswith("weight"):
            torch.nn.init.uniform_(value, 0.5, 1.5)
        else:
            torch.nn.init.normal_(value, std=0.1)
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    with torch.no_grad():
        # Blocks of 8 px: what pictures hold is not as fine as noise.
        coarse = torch.randint(0, 256, (8, 28, 28, 3), dtype=torch.uint8)
        network.lips(coarse.repeat_interleave(8, 1).repeat_interleave(8, 2))
        network.sound(8 * torch.randn(16, 13, 20))
        for head in (network.netfclip, network.netfcaud):
            head[3].weight.mul_(0.2)
    torch.save(network.state_dict(), path)
    return network.state_dict()


def evaluate(state: State, pictures: np.ndarray[Any, Any], samples: Any, vshift: int) -> Figures:
    """Pictures uint8 [N, 224, 224, 3] BGR at 25 a second, samples int16 at 16 kHz."""
    windows = min(len(pictures), len(samples) // 640) - 5
    cepstra = python_speech_features.mfcc(samples, 16000).T  # [13, 4 N - 1]
    heard = np.stack([cepstra[:, 4 * i : 4 * i + 20] for i in range(windows)])
    return compare(embed_lips(state, pictures[: windows + 4]), embed_sound(state, heard), vshift)


def embed_lips(state: State, pictures: np.ndarray[Any, Any]) -> Tensor:
    """Pictures uint8 [N, 224, 224, 3] -> [N - 4, 1024], each window on its own."""
    video = torch.from_numpy(pictures).permute(3, 0, 1, 2).double()  # [3, N, 224, 224]
    windows = [video[None, :, i : i + 5] for i in range(len(pictures) - 4)]
    return torch.cat([_embed(state, "lip", window) for window in windows])


def embed_sound(state: State, windows: np.ndarray[Any, Any]) -> Tensor:
    """MFCC [N, 13, 20] -> [N, 1024]."""
    return _embed(state, "aud", torch.from_numpy(windows).double()[:, None])


def compare(lips: Tensor, sound: Tensor, vshift: int) -> Figures:
    """Embeddings [windows, 1024] to figures, zeros beyond the ends."""
    padded = F.pad(sound, (0, 0, vshift, vshift))
    shifts = 2 * vshift + 1
    rows = [
        F.pairwise_distance(lips[i].repeat(shifts, 1), padded[i : i + shifts], eps=1e-6)
        for i in range(len(lips))
    ]
    means = torch.stack(rows).mean(0)
    least, place = means.min(0)
    confidence = torch.median(means) - least
    return Figures(vshift - int(place), float(least), float(confidence), means.numpy())


def overlap(a: Any, b: Any) -> float:
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return float(wide * high / (areas - wide * high))


def median_13(values: Any) -> Any:
    """As scipy.signal.medfilt, which warns of short input: zeros beyond the ends."""
    return np.asarray(scipy.ndimage.median_filter(values, 13, mode="constant"))


def _embed(state: State, branch: str, x: Tensor) -> Tensor:
    """Windows through one branch -> [N, 1024]."""
    layers = _LIP_LAYERS if branch == "lip" else _SOUND_LAYERS
    convolve: Any = F.conv3d if branch == "lip" else F.conv2d
    pool: Any = F.max_pool3d if branch == "lip" else F.max_pool2d
    for place, stride, padding, pooling in layers:
        weight, bias = (state[f"netcnn{branch}.{place}.{k}"].double() for k in ("weight", "bias"))
        x = convolve(x, weight, bias, stride=stride, padding=padding)
        x = F.relu(_normalised(state, f"netcnn{branch}.{place + 1}", x))
        x = x if pooling is None else pool(x, **pooling)
    return _head(state, f"netfc{branch}", x.flatten(1))


def _head(state: State, name: str, x: Tensor) -> Tensor:
    x = F.linear(x, state[f"{name}.0.weight"].double(), state[f"{name}.0.bias"].double())
    x = F.relu(_normalised(state, f"{name}.1", x))
    return F.linear(x, state[f"{name}.3.weight"].double(), state[f"{name}.3.bias"].double())


def _normalised(state: State, name: str, x: Tensor) -> Tensor:
    names = ("running_mean", "running_var", "weight", "bias")
    mean, variance, weight, bias = (state[f"{name}.{key}"].double() for key in names)
    return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=1e-5)

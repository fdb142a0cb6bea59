"""The official sync expert written down layer by layer, and run by plain calls of PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from wav2lip_graph import C, R, State

PICTURES = [
    C(15, 32, 7, 1, 3),
    *[C(32, 64, 5, (1, 2), 1), R(64), R(64)],
    *[C(64, 128, 3, 2, 1), R(128), R(128), R(128)],
    *[C(128, 256, 3, 2, 1), R(256), R(256)],
    *[C(256, 512, 3, 2, 1), R(512), R(512)],
    *[C(512, 512, 3, 2, 1), C(512, 512, 3), C(512, 512, 1)],
]
SOUND = [
    *[C(1, 32, 3, 1, 1), R(32), R(32)],
    *[C(32, 64, 3, (3, 1), 1), R(64), R(64)],
    *[C(64, 128, 3, 3, 1), R(128), R(128)],
    *[C(128, 256, 3, (3, 2), 1), R(256), R(256)],
    *[C(256, 512, 3), C(512, 512, 1)],
]


def random_state(seed: int = 0) -> State:
    """Weights with the names of `lipsync_expert.pth`; the signal neither fades nor grows."""
    random = torch.Generator().manual_seed(seed)
    state: State = {}
    for part, layers in (("face_encoder", PICTURES), ("audio_encoder", SOUND)):
        for number, conv in enumerate(layers):
            name = f"{part}.{number}.conv_block"
            shape = conv.outputs, conv.inputs, conv.kernel, conv.kernel
            gain = 0.5 if conv.residual else 1.4
            scale = gain / (conv.inputs * conv.kernel**2) ** 0.5
            state[f"{name}.0.weight"] = torch.randn(shape, generator=random) * scale
            state[f"{name}.0.bias"] = 0.1 * torch.randn(conv.outputs, generator=random)
            for each in ("1.weight", "1.running_var"):
                state[f"{name}.{each}"] = 0.5 + torch.rand(conv.outputs, generator=random)
            for each in ("1.bias", "1.running_mean"):
                state[f"{name}.{each}"] = 0.1 * torch.randn(conv.outputs, generator=random)
            state[f"{name}.1.num_batches_tracked"] = torch.tensor(3)
    return state


def embed(state: State, part: str, x: Tensor) -> Tensor:
    """Run "face_encoder" or "audio_encoder": [B, ...] -> unit vectors [B, 512]."""
    for number, conv in enumerate(PICTURES if part == "face_encoder" else SOUND):
        name = f"{part}.{number}.conv_block"
        weight, bias = state[f"{name}.0.weight"], state[f"{name}.0.bias"]
        y = functional.conv2d(x, weight, bias, conv.stride, conv.padding)
        mean, var = state[f"{name}.1.running_mean"], state[f"{name}.1.running_var"]
        shift, scale = state[f"{name}.1.bias"], state[f"{name}.1.weight"]
        y = (y - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
        y = y * scale[:, None, None] + shift[:, None, None]
        x = torch.relu(y + x if conv.residual else y)
    flat = x.flatten(1)
    norm: Tensor = flat.norm(dim=1, keepdim=True)
    return flat / norm

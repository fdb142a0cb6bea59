"""Wav2Lip generators written down layer by layer, and run by plain calls of PyTorch.

Tables: a part of the net is a list of blocks, a block a list of layers. The sound encoder
and the output are one block each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

State = dict[str, Tensor]


class C(NamedTuple):
    """Convolution; transposed where it says how far the output is padded."""

    inputs: int
    outputs: int
    kernel: int
    stride: int | tuple[int, int] = 1
    padding: int = 0
    residual: bool = False
    grow: int | None = None


def R(width: int) -> C:
    return C(width, width, 3, 1, 1, residual=True)


def T(inputs: int, outputs: int, grow: int = 1) -> C:
    return C(inputs, outputs, 3, 2, 1, grow=grow)


Blocks = list[list[C]]


class Table(NamedTuple):
    size: int
    encoder: Blocks
    sound: list[C]
    decoder: Blocks
    output: list[C]


_SOUND = [
    *[C(1, 32, 3, 1, 1), R(32), R(32)],
    *[C(32, 64, 3, (3, 1), 1), R(64), R(64)],
    *[C(64, 128, 3, 3, 1), R(128), R(128)],
    *[C(128, 256, 3, (3, 2), 1), R(256)],
    *[C(256, 512, 3), C(512, 512, 1)],
]
_OUTPUT = [C(80, 32, 3, 1, 1), C(32, 3, 1)]
_LAST_FOUR_UP = [
    [T(768, 384), R(384), R(384)],
    [T(512, 256), R(256), R(256)],
    [T(320, 128), R(128), R(128)],
    [T(160, 64), R(64), R(64)],
]

OFFICIAL = Table(
    96,
    [
        [C(6, 16, 7, 1, 3)],
        [C(16, 32, 3, 2, 1), R(32), R(32)],
        [C(32, 64, 3, 2, 1), R(64), R(64), R(64)],
        [C(64, 128, 3, 2, 1), R(128), R(128)],
        [C(128, 256, 3, 2, 1), R(256), R(256)],
        [C(256, 512, 3, 2, 1), R(512)],
        [C(512, 512, 3), C(512, 512, 1)],
    ],
    _SOUND,
    [
        [C(512, 512, 1)],
        [C(1024, 512, 3, grow=0), R(512)],
        [T(1024, 512), R(512), R(512)],
        *_LAST_FOUR_UP,
    ],
    _OUTPUT,
)

# One more halving, and a last kernel of 4x4.
LARGE_256 = Table(
    256,
    [
        *OFFICIAL.encoder[:6],
        [C(512, 512, 3, 2, 1), R(512)],
        [C(512, 512, 4), C(512, 512, 1)],
    ],
    _SOUND,
    [
        [C(512, 512, 1)],
        [C(1024, 512, 4, grow=0), R(512)],
        [T(1024, 512), R(512)],
        [T(1024, 512), R(512), R(512)],
        *_LAST_FOUR_UP,
    ],
    _OUTPUT,
)

# A kernel of 5x5, sides that are odd, and two blocks without padding.
LARGE_288 = Table(
    288,
    [
        [C(6, 16, 7, 1, 3)],
        [C(16, 32, 5, 2, 2), R(32)],
        [C(32, 32, 3, 2, 1), R(32), R(32)],
        [C(32, 64, 3, 2, 1), R(64), R(64), R(64)],
        [C(64, 128, 3, 2, 1), R(128), R(128)],
        [C(128, 256, 3, 2, 1), R(256), R(256)],
        [C(256, 512, 3, 2, 1), R(512)],
        [C(512, 512, 3), C(512, 512, 1)],
        [C(512, 512, 3), C(512, 512, 1)],
    ],
    _SOUND,
    [
        [C(512, 512, 1)],
        [C(1024, 512, 3, grow=0), R(512)],
        [T(1024, 512, 0), R(512), R(512)],
        [T(1024, 512, 0), R(512), R(512)],
        *_LAST_FOUR_UP,
        [T(96, 64), R(64), R(64)],
    ],
    _OUTPUT,
)

# Narrow, without residual layers, a last kernel of 4x4.
NARROW_128 = Table(
    128,
    [
        [C(6, 4, 7, 1, 3)],
        *[[C(4 << i, 8 << i, 3, 2, 1)] for i in range(5)],
        [C(128, 128, 4), C(128, 128, 1)],
    ],
    [
        C(1, 8, 3, 1, 1),
        C(8, 16, 3, (3, 1), 1),
        C(16, 32, 3, 3, 1),
        C(32, 64, 3, (3, 2), 1),
        C(64, 128, 3),
        C(128, 128, 1),
    ],
    [
        [C(128, 128, 1)],
        [C(256, 128, 4, grow=0)],
        *[[T(256, 128)], [T(192, 96)], [T(128, 64)], [T(80, 32)], [T(40, 16)]],
    ],
    [C(20, 8, 3, 1, 1), C(8, 3, 1)],
)


def thin(table: Table, factor: int) -> Table:
    """Divide all widths but those of the pictures and the sound."""

    def layer(conv: C) -> C:
        inputs, outputs = (w if w in (1, 3, 6) else w // factor for w in conv[:2])
        return conv._replace(inputs=inputs, outputs=outputs)

    def blocks(part: Blocks) -> Blocks:
        return [[layer(conv) for conv in block] for block in part]

    sound, output = blocks([table.sound, table.output])
    return Table(table.size, blocks(table.encoder), sound, blocks(table.decoder), output)


def shapes(table: Table) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the state dict."""
    entries: dict[str, tuple[int, ...]] = {}
    for name, conv in _named(table):
        widths = (conv.outputs, conv.inputs) if conv.grow is None else (conv.inputs, conv.outputs)
        entries[f"{name}.weight"] = (*widths, conv.kernel, conv.kernel)
        entries[f"{name}.bias"] = (conv.outputs,)
        if name.endswith("conv_block.0"):
            for each in ("weight", "bias", "running_mean", "running_var"):
                entries[f"{name[:-1]}1.{each}"] = (conv.outputs,)
            entries[f"{name[:-1]}1.num_batches_tracked"] = ()
    return entries


def random_state(table: Table, seed: int = 0) -> State:
    """Weights of a net whose signal neither fades nor grows on its way."""
    random = torch.Generator().manual_seed(seed)
    residual = {name[:-1] + "1.weight" for name, conv in _named(table) if conv.residual}
    state: State = {}
    for name, shape in shapes(table).items():
        if len(shape) == 4:
            fan = shape[0 if "blocks" in name and shape[0] > 2 * shape[1] else 1]
            state[name] = torch.randn(shape, generator=random) * (2 / fan / shape[2] ** 2) ** 0.5
        elif name.endswith(("1.weight", "running_var")):
            state[name] = 0.5 + torch.rand(shape, generator=random)
        else:
            state[name] = 0.1 * torch.randn(shape, generator=random)
        if name in residual:
            state[name] *= 0.2
        if not shape:
            state[name] = torch.tensor(7)
    return state


@torch.no_grad()
def run(table: Table, state: State, mel: Tensor, faces: Tensor) -> Tensor:
    """Generate [B, 3, S, S] from mel [B, 1, 80, 16] and faces [B, 6, S, S]."""
    skips = []
    for b, block in enumerate(table.encoder):
        for i, conv in enumerate(block):
            faces = _layer(state, f"face_encoder_blocks.{b}.{i}", conv, faces)
        skips.append(faces)
    x = mel
    for i, conv in enumerate(table.sound):
        x = _layer(state, f"audio_encoder.{i}", conv, x)
    for b, block in enumerate(table.decoder):
        for i, conv in enumerate(block):
            x = _layer(state, f"face_decoder_blocks.{b}.{i}", conv, x)
        x = torch.cat([x, skips[-1 - b]], dim=1)
    x = _layer(state, "output_block.0", table.output[0], x)
    x = functional.conv2d(x, state["output_block.1.weight"], state["output_block.1.bias"])
    return torch.sigmoid(x)


def _layer(state: State, name: str, conv: C, x: Tensor) -> Tensor:
    weight, bias = state[f"{name}.conv_block.0.weight"], state[f"{name}.conv_block.0.bias"]
    if conv.grow is None:
        y = functional.conv2d(x, weight, bias, conv.stride, conv.padding)
    else:
        y = functional.conv_transpose2d(
            x, weight, bias, conv.stride, conv.padding, output_padding=conv.grow
        )
    norm = f"{name}.conv_block.1"
    y = functional.batch_norm(
        y,
        state[f"{norm}.running_mean"],
        state[f"{norm}.running_var"],
        state[f"{norm}.weight"],
        state[f"{norm}.bias"],
    )
    return functional.relu(y + x if conv.residual else y)


def _named(table: Table) -> Iterator[tuple[str, C]]:
    for part, blocks in (("encoder", table.encoder), ("decoder", table.decoder)):
        for b, block in enumerate(blocks):
            for i, conv in enumerate(block):
                yield f"face_{part}_blocks.{b}.{i}.conv_block.0", conv
    for i, conv in enumerate(table.sound):
        yield f"audio_encoder.{i}.conv_block.0", conv
    yield "output_block.0.conv_block.0", table.output[0]
    yield "output_block.1", table.output[1]

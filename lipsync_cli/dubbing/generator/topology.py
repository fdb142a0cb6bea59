"""The graph of a Wav2Lip generator, read from the sizes of its tensors.

Public generators differ in width, depth, kernels and picture size, and none of their files
says which it is. What the sizes do not tell (strides, padding, skips) follows one pattern:

- picture encoder: the first block keeps the size, the next halve it, the last ends in a
  kernel without padding and a 1x1; larger nets have two such ends;
- sound encoder: five stages whose strides are always the same;
- decoder: one block per encoder block, each followed by that block's output;
- inputs are added to outputs (a residual) where a padded kernel keeps width and size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from lipsync_cli.errors import WeightsError

Shapes = Mapping[str, tuple[int, ...]]

HINT = "give wav2lip.pth, wav2lip_gan.pth, or a variant of them with the same layers"

_PICTURE_CHANNELS, _COLOURS = 6, 3
# Nets deeper than that use activations which leave no trace in the file.
_MOST_BLOCKS = 9
# Halving rounds up, so several sizes may fit one net: the public one is meant.
_PUBLIC_SIZES = (96, 128, 192, 256, 288, 384)
_SOUND_STRIDES = ((1, 1), (3, 1), (3, 3), (3, 2), (1, 1))
COUNTER = "num_batches_tracked"


class Kernel(NamedTuple):
    """Widths and side of a square convolution: all that a tensor tells."""

    inputs: int
    outputs: int
    side: int


@dataclass(frozen=True)
class Conv:
    """A convolution, as in `torch.nn.Conv2d` or `ConvTranspose2d`, and what is around it.

    Attributes:
        grow: the output padding of a transposed one.
        residual: the input is added before the activation.
    """

    kernel: Kernel
    stride: tuple[int, int] = (1, 1)
    padding: int = 0
    transposed: bool = False
    grow: int = 0
    residual: bool = False


Block = tuple[Conv, ...]


@dataclass(frozen=True)
class Topology:
    """A generator's layers in the order of the official file.

    Attributes:
        size: side of the pictures in px.
        encoder: blocks of the picture encoder.
        sound: layers of the sound encoder.
        decoder: blocks of the decoder.
        output: a layer and a bare 1x1 convolution.
    """

    size: int
    encoder: tuple[Block, ...]
    sound: Block
    decoder: tuple[Block, ...]
    output: Block

    def entries(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the state dict."""
        shapes: dict[str, tuple[int, ...]] = {}
        for name, conv in self._named():
            shapes.update(_layer_entries(f"{name}.conv_block", conv))
        inputs, outputs, side = self.output[1].kernel
        shapes["output_block.1.weight"] = (outputs, inputs, side, side)
        shapes["output_block.1.bias"] = (outputs,)
        return shapes

    def _named(self) -> Iterator[tuple[str, Conv]]:
        for part, blocks in (("encoder", self.encoder), ("decoder", self.decoder)):
            for b, block in enumerate(blocks):
                yield from ((f"face_{part}_blocks.{b}.{i}", conv) for i, conv in enumerate(block))
        yield from ((f"audio_encoder.{i}", conv) for i, conv in enumerate(self.sound))
        yield "output_block.0", self.output[0]


def complete(
    encoder: Sequence[Sequence[Kernel]],
    sound: Sequence[Kernel],
    decoder: Sequence[Sequence[Kernel]],
    output: Sequence[Kernel],
) -> Topology:
    """Add to the kernels what follows from the pattern.

    Raises:
        WeightsError: they do not form a generator.
    """
    _check_widths(encoder, sound, decoder, output)
    last = len(encoder) - 1
    pictures = tuple(_encoder_block(b, block, b == last) for b, block in enumerate(encoder))
    size = _size(pictures)
    sides = _sides(pictures, size)
    return Topology(
        size,
        pictures,
        _sound_encoder(sound),
        _decoder(decoder, sides[::-1]),
        (_padded(output[0]), Conv(output[1])),
    )


def _layer_entries(name: str, conv: Conv) -> dict[str, tuple[int, ...]]:
    inputs, outputs, side = conv.kernel
    widths = (inputs, outputs) if conv.transposed else (outputs, inputs)
    norm = ("weight", "bias", "running_mean", "running_var")
    return {
        f"{name}.0.weight": (*widths, side, side),
        f"{name}.0.bias": (outputs,),
        **{f"{name}.1.{each}": (outputs,) for each in norm},
        f"{name}.1.{COUNTER}": (),
    }


def _padded(kernel: Kernel, stride: int = 1, *, residual: bool = False) -> Conv:
    return Conv(kernel, (stride, stride), (kernel.side - 1) // 2, residual=residual)


def _further(kernel: Kernel) -> Conv:
    """A layer after the first of its block."""
    return _padded(kernel, residual=kernel.inputs == kernel.outputs and kernel.side > 1)


def _encoder_block(number: int, kernels: Sequence[Kernel], last: bool) -> Block:
    if last or (number > 0 and kernels[-1].side == 1):
        first = Conv(kernels[0])
    else:
        first = _padded(kernels[0], 1 if number == 0 else 2)
    return first, *map(_further, kernels[1:])


def _sound_encoder(kernels: Sequence[Kernel]) -> Block:
    """Stages begin where the width changes; the last one has no padding."""
    stage, layers = -1, []
    for kernel in kernels:
        begins = kernel.inputs != kernel.outputs
        stage += begins
        if stage >= len(_SOUND_STRIDES) or kernel.side not in (1, 3):
            break
        final = stage == len(_SOUND_STRIDES) - 1
        stride = _SOUND_STRIDES[stage] if begins else (1, 1)
        padding = 0 if final else (kernel.side - 1) // 2
        layers.append(Conv(kernel, stride, padding, residual=not begins and not final))
    ends = [layer.kernel.side for layer in layers if layer.padding == 0]
    if len(layers) != len(kernels) or stage != len(_SOUND_STRIDES) - 1 or ends != [3, 1]:
        raise WeightsError("its sound encoder is not that of a Wav2Lip generator", hint=HINT)
    return tuple(layers)


def _decoder(blocks: Sequence[Sequence[Kernel]], sides: Sequence[int]) -> tuple[Block, ...]:
    """Sides are those of the encoder's outputs, the deepest first: each block must meet one."""
    made: list[Block] = []
    before = 1
    for number, (kernels, side) in enumerate(zip(blocks, sides, strict=True)):
        first = _enlarging(kernels[0], number)
        grow = side - _enlarged(first, before)
        if grow not in (0, first.stride[0] - 1):
            raise misfit(f"a decoder block makes {side - grow} px of {before}, not {side}")
        made.append((replace(first, grow=grow), *map(_further, kernels[1:])))
        before = side
    return tuple(made)


def _enlarging(kernel: Kernel, number: int) -> Conv:
    if number == 0:
        return _padded(kernel)
    if number == 1:
        return Conv(kernel, transposed=True)
    return Conv(kernel, (2, 2), (kernel.side - 1) // 2, transposed=True)


def _enlarged(conv: Conv, side: int) -> int:
    if not conv.transposed:
        return side
    return (side - 1) * conv.stride[0] - 2 * conv.padding + conv.kernel.side


def _size(encoder: Sequence[Block]) -> int:
    for size in _PUBLIC_SIZES:
        if _sides(encoder, size)[-1] == 1:
            return size
    # The largest that the encoder makes one pixel of.
    size = 1
    for conv in (conv for block in reversed(encoder) for conv in reversed(block)):
        size = size * conv.stride[0] - 1 + conv.kernel.side - 2 * conv.padding
    return size


def _sides(encoder: Sequence[Block], size: int) -> list[int]:
    """Side of every block's output, for pictures of `size` px."""
    sides = []
    for block in encoder:
        for conv in block:
            size = (size + 2 * conv.padding - conv.kernel.side) // conv.stride[0] + 1
        sides.append(size)
    return sides


def _check_widths(
    encoder: Sequence[Sequence[Kernel]],
    sound: Sequence[Kernel],
    decoder: Sequence[Sequence[Kernel]],
    output: Sequence[Kernel],
) -> None:
    """See that every layer takes what the one before gives."""
    if not 3 <= len(encoder) <= _MOST_BLOCKS or len(decoder) != len(encoder):
        raise misfit(f"{len(encoder)} blocks lead down and {len(decoder)} up")
    if not sound or len(output) != 2 or output[1].side != 1:
        raise misfit("its sound encoder or its output is missing")
    _chain([kernel for block in encoder for kernel in block], _PICTURE_CHANNELS)
    width = _chain(sound, 1)
    for block, skip in zip(decoder, reversed(encoder), strict=True):
        width = _chain(block, width) + skip[-1].outputs
    if _chain(output, width) != _COLOURS:
        raise misfit(f"it makes {output[1].outputs} colours")


def _chain(kernels: Sequence[Kernel], width: int) -> int:
    for kernel in kernels:
        if kernel.inputs != width:
            raise misfit(f"a layer for {kernel.inputs} channels gets {width}")
        width = kernel.outputs
    return width


def misfit(what: str) -> WeightsError:
    return WeightsError(f"its layers do not form a Wav2Lip generator: {what}", hint=HINT)

"""Generators of the official proportions in any width, to train or to test with."""

from __future__ import annotations

from lipsync_cli.dubbing.generator.topology import Kernel, Topology, complete

Blocks = list[list[Kernel]]

# Kernels that turn the smallest picture of the encoder into one pixel.
_SMALLEST = (3, 4)
_SOUND_RESIDUALS = (2, 2, 2, 1)


def design(
    encoder: int = 16,
    audio: int = 32,
    decoder: int = 32,
    *,
    size: int = 96,
    residuals: int | None = None,
) -> Topology:
    """Make the topology of the given widths; by default the official one.

    Args:
        encoder: channels of the first layer of the picture encoder (official 16).
        audio: channels of the first layer of the sound encoder (32).
        decoder: channels of the layer before the output (32).
        size: side of the pictures in px: 3 or 4 times a power of two, at least 48.
        residuals: most residual layers of a block; as in the official net when None.

    Raises:
        ValueError: no generator has such pictures.
    """
    halvings = (size // _SMALLEST[0]).bit_length() - 1
    smallest = size >> halvings
    if halvings < 4 or smallest not in _SMALLEST or smallest << halvings != size:
        raise ValueError(f"no generator makes pictures of {size} px")
    most = 3 if residuals is None else residuals
    down = _encoder(encoder, halvings, smallest, most)
    up = _decoder(down, 16 * audio, decoder, smallest, most)
    width = up[-1][-1].outputs + encoder
    return complete(
        down,
        _sound(audio, most),
        up,
        [Kernel(width, decoder, 3), Kernel(decoder, 3, 1)],
    )


def _block(inputs: int, outputs: int, side: int, residuals: int) -> list[Kernel]:
    return [Kernel(inputs, outputs, side), *[Kernel(outputs, outputs, 3)] * residuals]


def _encoder(base: int, halvings: int, smallest: int, most: int) -> Blocks:
    blocks = [_block(6, base, 7, 0)]
    for number in range(1, halvings + 1):
        width = base << min(number, 5)
        official = 3 if number == 2 else 1 if number >= 5 else 2
        blocks.append(_block(blocks[-1][-1].outputs, width, 3, min(official, most)))
    width = blocks[-1][-1].outputs
    return [*blocks, [Kernel(width, width, smallest), Kernel(width, width, 1)]]


def _decoder(encoder: Blocks, sound: int, base: int, smallest: int, most: int) -> Blocks:
    blocks = [_block(sound, sound, 1, 0)]
    for number in range(1, len(encoder)):
        # Widths halve towards the picture, but for one step of three quarters.
        to_go = len(encoder) - number
        width = base * (12 if to_go == 4 else 1 << min(to_go, 4))
        skip = encoder[-number][-1].outputs
        side = smallest if number == 1 else 3
        official = 1 if to_go > 5 else 2
        blocks.append(_block(blocks[-1][-1].outputs + skip, width, side, min(official, most)))
    return blocks


def _sound(base: int, most: int) -> list[Kernel]:
    layers: list[Kernel] = []
    width = 1
    for stage, official in enumerate(_SOUND_RESIDUALS):
        layers += _block(width, base << stage, 3, min(official, most))
        width = base << stage
    return [*layers, Kernel(width, 2 * width, 3), Kernel(2 * width, 2 * width, 1)]

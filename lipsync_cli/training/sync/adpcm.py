"""16-bit sound in 4 bits a sample, in the manner of IMA ADPCM, with NumPy alone.

Packed training sound must open where nothing but NumPy is installed. Blocks are independent,
so all of them are worked on at once, sample by sample.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 1024  # samples
_HEADER = 3  # bytes: first sample, step index
BLOCK_BYTES = _HEADER + BLOCK // 2

# Each step is a tenth larger than the one before, as in the recommendation's table.
_STEPS = np.unique(np.round(7 * 1.1 ** np.arange(89))).astype(np.int32)
_STEPS[-1] = 32767
_INDEX_CHANGE = np.array([-1, -1, -1, -1, 2, 4, 6, 8], np.int32)

Blocks = NDArray[np.int32]


def encode(sound: NDArray[np.int16]) -> NDArray[np.uint8]:
    """int16 [n] -> uint8 [blocks * BLOCK_BYTES]; the last block is filled up with silence."""
    count = -(-len(sound) // BLOCK)
    padded = np.zeros(count * BLOCK, np.int32)
    padded[: len(sound)] = sound
    samples = padded.reshape(count, BLOCK).T.copy()  # [BLOCK, blocks]
    value, index = samples[0].copy(), _first_index(samples)
    out = np.zeros((count, BLOCK_BYTES), np.uint8)
    out[:, :2] = value.astype("<i2").view(np.uint8).reshape(count, 2)
    out[:, 2] = index
    codes = np.zeros((BLOCK, count), np.uint8)
    for at in range(BLOCK):
        step = _STEPS[index]
        change = samples[at] - value
        size = np.minimum(np.abs(change) * 4 // step, 7)
        codes[at] = size | ((change < 0) << 3)
        value, index = _next(value, index, codes[at])
    out[:, _HEADER:] = (codes[0::2] | (codes[1::2] << 4)).T
    return out.reshape(-1)


def decode(data: NDArray[np.uint8], samples: int) -> NDArray[np.int16]:
    """The inverse of `encode`: int16 [samples]."""
    blocks = data.reshape(-1, BLOCK_BYTES)
    value = blocks[:, :2].copy().view("<i2")[:, 0].astype(np.int32)
    index = blocks[:, 2].astype(np.int32)
    pairs = blocks[:, _HEADER:].T  # [BLOCK / 2, blocks]
    out = np.empty((BLOCK, len(blocks)), np.int16)
    for at in range(BLOCK):
        code = pairs[at // 2] >> 4 if at % 2 else pairs[at // 2] & 15
        value, index = _next(value, index, code)
        out[at] = value
    return out.T.reshape(-1)[:samples]


def _first_index(samples: Blocks) -> Blocks:
    """The step that fits the beginning of each block."""
    change = np.abs(np.diff(samples[:16], axis=0)).max(0)
    index = np.minimum(np.searchsorted(_STEPS, change // 2), len(_STEPS) - 1)
    return np.asarray(index, np.int32)


def _next(value: Blocks, index: Blocks, code: NDArray[np.uint8]) -> tuple[Blocks, Blocks]:
    """What the decoder makes of one code of every block."""
    size = (code & 7).astype(np.int32)
    change = (2 * size + 1) * _STEPS[index] // 8
    value = np.clip(np.where(code & 8, value - change, value + change), -32768, 32767)
    index = np.clip(index + _INDEX_CHANGE[size], 0, len(_STEPS) - 1)
    return value.astype(np.int32), index.astype(np.int32)

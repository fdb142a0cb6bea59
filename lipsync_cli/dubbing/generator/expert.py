"""The sync expert: do these five pictures of a mouth belong to these 200 ms of sound?

The network of "A Lip Sync Expert Is All You Need For Speech to Lip Generation In the Wild"
(Prajwal et al. 2020, section 3.2) with the names of its official state dict, in any width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from lipsync_cli.dubbing.generator.network import Layer
from lipsync_cli.dubbing.generator.topology import COUNTER, Conv, Kernel, Shapes
from lipsync_cli.errors import WeightsError
from lipsync_cli.weights.reading import read_state

FRAMES = 5
OFFICIAL_WIDTH = 32
_COLOURS = 3
# Stride and further layers of each stage of the pictures, whose width doubles up to 16 times.
_PICTURE_STAGES = ((2, 3), (2, 2), (2, 2))
_SOUND_STAGES = (((1, 1), 2), ((3, 1), 2), ((3, 3), 2), ((3, 2), 2))
_HINT = "give lipsync_expert.pth, or what export-expert has written"


class SyncExpert(nn.Module):
    """Embeds five lower halves of a face and the sound that starts with them.

    Args:
        width: channels of the first layers, 32 in the official net (16.4 million parameters,
            a quarter of that at half the width).
    """

    def __init__(self, width: int = OFFICIAL_WIDTH) -> None:
        super().__init__()
        self.width = width
        self.face_encoder = nn.Sequential(*map(Layer, _picture_layers(width)))
        self.audio_encoder = nn.Sequential(*map(Layer, _sound_layers(width)))

    def forward(self, halves: Tensor, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Embed pairs; the sum of products of the two answers is their cosine, 0 to 1.

        Args:
            halves: [B, 15, 48, 96] in [0, 1], BGR of five pictures, 40 ms apart, one after the
                other.
            mel: [B, 1, 80, 16], the window of sound that starts with the first of them.

        Returns:
            Pictures and sound, [B, 16 * width] each, unit vectors without negative values.
        """
        return self.embed_pictures(halves), self.embed_sound(mel)

    def embed_pictures(self, halves: Tensor) -> Tensor:
        """[B, 15, 48, 96] -> [B, 16 * width]."""
        return functional.normalize(self.face_encoder(halves).flatten(1), dim=1)

    def embed_sound(self, mel: Tensor) -> Tensor:
        """[B, 1, 80, 16] -> [B, 16 * width]."""
        return functional.normalize(self.audio_encoder(mel).flatten(1), dim=1)


def load_expert(path: Path, device: torch.device | str = "cpu") -> SyncExpert:
    """Read an expert of any width, official or our own, ready to judge.

    Raises:
        WeightsError: the file is missing, damaged or no expert.
    """
    state = read_state(path)
    try:
        expert = SyncExpert(expert_width({name: tuple(t.shape) for name, t in state.items()}))
    except WeightsError as error:
        raise WeightsError(error.message, path=path, hint=error.hint) from None
    # Old files lack the counters of the normalisation, on which nothing depends here.
    expert.load_state_dict(state, strict=False)
    return expert.float().to(device).eval()


def expert_width(shapes: Shapes) -> int:
    """The width of the expert that a state dict of these shapes belongs to.

    Raises:
        WeightsError: it belongs to none.
    """
    first = shapes.get("face_encoder.0.conv_block.0.weight", ())
    if len(first) != 4:
        raise WeightsError("is no sync expert", hint=_HINT)
    expected = _entries(first[0])
    if {n: s for n, s in shapes.items() if not n.endswith(COUNTER)} != expected:
        wrong = sorted(n for n in expected if shapes.get(n) != expected[n]) or ["an extra layer"]
        raise WeightsError(f"is no sync expert that is known here: {wrong[0]} differs", hint=_HINT)
    return first[0]


def _entries(width: int) -> Mapping[str, tuple[int, ...]]:
    with torch.device("meta"):
        state = SyncExpert(width).state_dict()
    return {name: tuple(t.shape) for name, t in state.items() if not name.endswith(COUNTER)}


def _picture_layers(width: int) -> Iterator[Conv]:
    """From 15 channels of 48x96 to 16 * width of 1x1."""
    yield _padded(FRAMES * _COLOURS, width, side=7)
    channels = 2 * width
    # Makes pictures that are nearly square, 46x47.
    yield Conv(Kernel(width, channels, 5), (1, 2), 1)
    yield from _residuals(channels, 2)
    for stride, further in _PICTURE_STAGES:
        yield _padded(channels, 2 * channels, (stride, stride))
        channels *= 2
        yield from _residuals(channels, further)
    yield _padded(channels, channels, (2, 2))
    yield from _ends(channels, channels)


def _sound_layers(width: int) -> Iterator[Conv]:
    """From 1 channel of 80x16 to 16 * width of 1x1."""
    inputs, channels = 1, width
    for stride, further in _SOUND_STAGES:
        yield _padded(inputs, channels, stride)
        yield from _residuals(channels, further)
        inputs, channels = channels, 2 * channels
    yield from _ends(inputs, channels)


def _padded(inputs: int, outputs: int, stride: tuple[int, int] = (1, 1), side: int = 3) -> Conv:
    return Conv(Kernel(inputs, outputs, side), stride, side // 2)


def _residuals(channels: int, count: int) -> Iterator[Conv]:
    for _ in range(count):
        yield Conv(Kernel(channels, channels, 3), padding=1, residual=True)


def _ends(inputs: int, outputs: int) -> Iterator[Conv]:
    """3x3 pixels become one."""
    yield Conv(Kernel(inputs, outputs, 3))
    yield Conv(Kernel(outputs, outputs, 1))

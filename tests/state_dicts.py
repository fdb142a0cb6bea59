"""State dicts with the names and shapes of the public checkpoints, written down from the papers.

Nothing is taken from the package, so that both can be compared. Values take no memory: they are
zeros of one storage, or on the meta device.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

Shapes = dict[str, tuple[int, ...]]


def conv_block(name: str, inputs: int, outputs: int, side: int, *, up: bool = False) -> Shapes:
    """Convolution and batch norm as Wav2Lip names them."""
    widths = (inputs, outputs) if up else (outputs, inputs)
    conv = {f"{name}.conv_block.0.weight": (*widths, side, side)}
    conv[f"{name}.conv_block.0.bias"] = (outputs,)
    norm = ("weight", "bias", "running_mean", "running_var")
    conv |= {f"{name}.conv_block.1.{each}": (outputs,) for each in norm}
    return conv | {f"{name}.conv_block.1.num_batches_tracked": ()}


def wav2lip(size_px: int = 96, width: int = 16) -> Shapes:
    """A generator with an encoder of `width`, 2 * `width`, ... channels; officially 16."""
    stages = {96: 5, 128: 5, 192: 6, 256: 6, 288: 6}[size_px]
    ends = 2 if size_px == 288 else 1
    last = 3 if size_px in (96, 192, 288) else 4
    most = 32 * width
    outputs = [width * 2**stage for stage in range(stages)] + [most] * (1 + ends)
    outputs[1:stages] = [min(2 * before, most) for before in outputs[: stages - 1]]
    shapes: Shapes = {}
    inputs = 6
    for number, out in enumerate(outputs):
        final = number > stages
        side = 7 if number == 0 else last if final else 3
        block = f"face_encoder_blocks.{number}"
        shapes |= conv_block(f"{block}.0", inputs, out, side)
        if number:
            shapes |= conv_block(f"{block}.1", out, out, 1 if final else 3)
        inputs = out
    sound = (1, *(2 * width * 2**k for k in range(5)))
    layers = [(sound[k], sound[k + 1], 3) for k in range(5)] + [(sound[5], sound[5], 1)]
    for index, layer in enumerate(layers):
        shapes |= conv_block(f"audio_encoder.{index}", *layer)
    return shapes | _decoder(outputs, sound[5], width, last)


def _decoder(encoder: list[int], sound: int, width: int, last: int) -> Shapes:
    shapes = conv_block("face_decoder_blocks.0.0", sound, sound, 1)
    before = sound
    for number, skip in enumerate(encoder[:0:-1], 1):
        out = max(4 * width, sound >> (number - 1))
        block = f"face_decoder_blocks.{number}"
        shapes |= conv_block(f"{block}.0", before + skip, out, last if number == 1 else 3, up=True)
        shapes |= conv_block(f"{block}.1", out, out, 3)
        before = out
    shapes |= conv_block("output_block.0", before + encoder[0], 2 * width, 3)
    return shapes | {"output_block.1.weight": (3, 2 * width, 1, 1), "output_block.1.bias": (3,)}


def syncnet() -> Shapes:
    """SyncNet v2 (Chung and Zisserman, 2016), as its file names the layers."""
    sound = {0: (64, 1, 3, 3), 4: (192, 64, 3, 3), 8: (384, 192, 3, 3), 11: (256, 384, 3, 3)}
    sound |= {14: (256, 256, 3, 3), 18: (512, 256, 5, 4)}
    lips = {0: (96, 3, 5, 7, 7), 4: (256, 96, 1, 5, 5), 8: (256, 256, 1, 3, 3)}
    lips |= {11: (256, 256, 1, 3, 3), 14: (256, 256, 1, 3, 3), 18: (512, 256, 1, 6, 6)}
    shapes: Shapes = {}
    for branch, convs in (("netcnnaud", sound), ("netcnnlip", lips)):
        for place, shape in convs.items():
            shapes |= {f"{branch}.{place}.weight": shape, f"{branch}.{place}.bias": shape[:1]}
            shapes |= dict(_norm(f"{branch}.{place + 1}", shape[0]))
    for head in ("netfcaud", "netfclip"):
        shapes |= {f"{head}.0.weight": (512, 512), f"{head}.0.bias": (512,)}
        shapes |= dict(_norm(f"{head}.1", 512))
        shapes |= {f"{head}.3.weight": (1024, 512), f"{head}.3.bias": (1024,)}
    return shapes


def expert() -> Shapes:
    """The lip-sync expert of Wav2Lip (Prajwal et al., 2020)."""
    face = [32, 64, 64, 64, 128, 128, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    sides = [7, 5, *[3] * 14, 1]
    sound = [32, 32, 32, 64, 64, 64, 128, 128, 128, 256, 256, 256, 512, 512]
    shapes: Shapes = {}
    for place, (inputs, outputs, side) in enumerate(zip([15, *face], face, sides, strict=False)):
        shapes |= conv_block(f"face_encoder.{place}", inputs, outputs, side)
    for place, (inputs, outputs) in enumerate(zip([1, *sound], sound, strict=False)):
        shapes |= conv_block(f"audio_encoder.{place}", inputs, outputs, 1 if place == 13 else 3)
    return shapes


def discriminator() -> Shapes:
    """The visual quality discriminator of Wav2Lip."""
    widths = [3, 32, 64, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512]
    sides = [7, 5, 5, 5, 5, 5, 5, 3, 3, 3, 3, 3, 1]
    places = [(0, 0), *((block, index) for block in range(1, 7) for index in (0, 1))]
    shapes: Shapes = {"binary_pred.0.weight": (1, 512, 1, 1), "binary_pred.0.bias": (1,)}
    for (block, index), inputs, outputs, side in zip(
        places, widths, widths[1:], sides, strict=False
    ):
        name = f"face_encoder_blocks.{block}.{index}.conv_block.0"
        shapes |= {f"{name}.weight": (outputs, inputs, side, side), f"{name}.bias": (outputs,)}
    return shapes


def zeros(shapes: Shapes) -> dict[str, Tensor]:
    """Tensors of these shapes that share one value each."""
    return {
        name: torch.zeros((), dtype=torch.int64 if "num_batches" in name else torch.float32).expand(
            shape
        )
        for name, shape in shapes.items()
    }


class Tree(nn.Module):
    """Modules nested as the names of a state dict say, to be made into TorchScript."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        for name in dict.fromkeys(key.partition(".")[0] for key in state):
            if name in state:
                self.register_buffer(name, state[name].clone())
            else:
                inner = {
                    k[len(name) + 1 :]: v for k, v in state.items() if k.startswith(f"{name}.")
                }
                self.add_module(name, Tree(inner))

    def forward(self, x: Tensor) -> Tensor:
        return x


def _norm(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (width,)

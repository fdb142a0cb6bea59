"""Names and shapes of the tensors of networks that lipsync takes from other libraries, or trains.

Written down from the published architectures: the expert and the quality discriminator of Wav2Lip
(Prajwal et al., 2020), S3FD (Zhang et al., 2017) and FAN (Bulat and Tzimiropoulos, 2017). Counters
of batches are left out everywhere: old files lack them.
"""

from __future__ import annotations

from collections.abc import Mapping

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


def expert() -> dict[str, Shape]:
    """The lip-sync expert of Wav2Lip, 16,435,072 parameters."""
    face = [(32, 15, 7), (64, 32, 5), *_kept(64, 2), (128, 64, 3), *_kept(128, 3)]
    face += [(256, 128, 3), *_kept(256, 2), (512, 256, 3), *_kept(512, 2)]
    face += [(512, 512, 3), (512, 512, 3), (512, 512, 1)]
    audio = [(32, 1, 3), *_kept(32, 2), (64, 32, 3), *_kept(64, 2), (128, 64, 3), *_kept(128, 2)]
    audio += [(256, 128, 3), *_kept(256, 2), (512, 256, 3), (512, 512, 1)]
    found: dict[str, Shape] = {}
    for branch, layers in (("face_encoder", face), ("audio_encoder", audio)):
        for index, (out, into, side) in enumerate(layers):
            block = f"{branch}.{index}.conv_block"
            found |= _layer(f"{block}.0", out, into, side, side) | _norm(f"{block}.1", out)
    return found


def discriminator() -> dict[str, Shape]:
    """The visual quality discriminator of Wav2Lip, 14,113,793 parameters."""
    blocks = [[(32, 3, 7)], [(64, 32, 5), (64, 64, 5)], [(128, 64, 5), (128, 128, 5)]]
    blocks += [[(256, 128, 5), (256, 256, 5)], [(512, 256, 3), (512, 512, 3)]]
    blocks += [[(512, 512, 3), (512, 512, 3)], [(512, 512, 3), (512, 512, 1)]]
    found = _layer("binary_pred.0", 1, 512, 1, 1)
    for number, block in enumerate(blocks):
        for index, (out, into, side) in enumerate(block):
            name = f"face_encoder_blocks.{number}.{index}.conv_block.0"
            found |= _layer(name, out, into, side, side)
    return found


def s3fd() -> dict[str, Shape]:
    """The face detector S3FD as face-alignment names its layers, 22,459,110 parameters."""
    found: dict[str, Shape] = {}
    into = 3
    for stage, (width, depth) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1):
        for index in range(1, depth + 1):
            found |= _layer(f"conv{stage}_{index}", width, into, 3, 3)
            into = width
    found |= _layer("fc6", 1024, 512, 3, 3) | _layer("fc7", 1024, 1024, 1, 1)
    found |= _layer("conv6_1", 256, 1024, 1, 1) | _layer("conv6_2", 512, 256, 3, 3)
    found |= _layer("conv7_1", 128, 512, 1, 1) | _layer("conv7_2", 256, 128, 3, 3)
    heads = {"conv3_3_norm": 256, "conv4_3_norm": 512, "conv5_3_norm": 512}
    found |= {f"{name}.weight": (width,) for name, width in heads.items()}
    for name, width in {**heads, "fc7": 1024, "conv6_2": 512, "conv7_2": 256}.items():
        # The first head has three scores for the background, of which the largest counts.
        found |= _layer(f"{name}_mbox_conf", 4 if name == "conv3_3_norm" else 2, width, 3, 3)
        found |= _layer(f"{name}_mbox_loc", 4, width, 3, 3)
    return found


def fan(stacks: int = 4) -> dict[str, Shape]:
    """FAN with four stacked hourglasses and 68 landmarks; 2-D and 3-D ones do not differ."""
    found = _layer("conv1", 64, 3, 7, 7) | _norm("bn1", 64)
    found |= _fan_block("conv2", 64, 128) | _fan_block("conv3", 128, 128)
    found |= _fan_block("conv4", 128, 256)
    levels = [f"{part}_{level}" for level in (1, 2, 3, 4) for part in ("b1", "b2", "b3")]
    for stack in range(stacks):
        for part in (*levels, "b2_plus_1"):
            found |= _fan_block(f"m{stack}.{part}", 256, 256)
        found |= _fan_block(f"top_m_{stack}", 256, 256) | _norm(f"bn_end{stack}", 256)
        found |= _layer(f"conv_last{stack}", 256, 256, 1, 1) | _layer(f"l{stack}", 68, 256, 1, 1)
        if stack < stacks - 1:
            found |= _layer(f"bl{stack}", 256, 256, 1, 1) | _layer(f"al{stack}", 256, 68, 1, 1)
    return found


def _layer(name: str, out: int, into: int, *kernel: int, bias: bool = True) -> dict[str, Shape]:
    weight: dict[str, Shape] = {f"{name}.weight": (out, into, *kernel)}
    return weight | {f"{name}.bias": (out,)} if bias else weight


def _norm(name: str, width: int) -> dict[str, Shape]:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (width,) for part in parts}


def _kept(width: int, count: int) -> list[tuple[int, int, int]]:
    return [(width, width, 3)] * count


def _fan_block(name: str, into: int, out: int) -> dict[str, Shape]:
    found: dict[str, Shape] = {}
    widths = (into, out // 2, out // 4, out // 4)
    for index in (1, 2, 3):
        before, after = widths[index - 1], widths[index]
        found |= _norm(f"{name}.bn{index}", before)
        found |= _layer(f"{name}.conv{index}", after, before, 3, 3, bias=False)
    if into != out:
        found |= _norm(f"{name}.downsample.0", into)
        found |= _layer(f"{name}.downsample.2", out, into, 1, 1, bias=False)
    return found

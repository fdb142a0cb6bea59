"""Recognise a generator, or what was given in its place, by the names in its file."""

from __future__ import annotations

from lipsync_cli.dubbing.generator.topology import (
    COUNTER,
    HINT,
    Kernel,
    Shapes,
    Topology,
    complete,
    misfit,
)
from lipsync_cli.errors import WeightsError

# What else is called Wav2Lip: a part of a name in the file, and what the file is.
_OTHERS = (
    ("binary_pred.", "is Wav2Lip's visual quality discriminator, which makes no pictures"),
    ("face_encoder.", "is Wav2Lip's sync expert, which makes no pictures"),
    ("netcnnaud.", "is SyncNet, which makes no pictures"),
    ("sam.", "is a generator with spatial attention, which is not supported"),
    ("attention", "is a generator with attention, which is not supported"),
    ("audio_refine.", "is a generator with a refined sound encoder, which is not supported"),
    (".act.", "is a generator with PReLU activations, which is not supported"),
)


def infer_topology(shapes: Shapes) -> Topology:
    """Find the graph whose state dict has these names and shapes.

    Raises:
        WeightsError: there is none; the message says what the file is instead, if known.
    """
    _refuse_others(shapes)
    topology = complete(
        _blocks(shapes, "face_encoder_blocks"),
        _layers(shapes, "audio_encoder"),
        _blocks(shapes, "face_decoder_blocks", transposed=True),
        [*_layers(shapes, "output_block"), *_kernel(shapes, "output_block.1")],
    )
    _compare(topology.entries(), shapes)
    return topology


def _blocks(shapes: Shapes, part: str, *, transposed: bool = False) -> list[list[Kernel]]:
    blocks: list[list[Kernel]] = []
    while layers := _layers(shapes, f"{part}.{len(blocks)}", transposed and bool(blocks)):
        blocks.append(layers)
    return blocks


def _layers(shapes: Shapes, name: str, first_transposed: bool = False) -> list[Kernel]:
    layers: list[Kernel] = []
    while found := _kernel(
        shapes, f"{name}.{len(layers)}.conv_block.0", first_transposed and not layers
    ):
        layers += found
    return layers


def _kernel(shapes: Shapes, name: str, transposed: bool = False) -> list[Kernel]:
    shape = shapes.get(f"{name}.weight", ())
    if len(shape) != 4:
        return []
    inputs, outputs = shape[:2] if transposed else (shape[1], shape[0])
    return [Kernel(inputs, outputs, shape[2])]


def _refuse_others(shapes: Shapes) -> None:
    for part, what in _OTHERS:
        if any(part in name for name in shapes):
            raise WeightsError(what, hint=HINT)
    if not any(name.startswith("face_decoder_blocks.") for name in shapes):
        raise WeightsError("is no Wav2Lip generator", hint=HINT)


def _compare(expected: Shapes, found: Shapes) -> None:
    unknown = sorted(set(found) - set(expected))
    missing = sorted(k for k in set(expected) - set(found) if not k.endswith(COUNTER))
    wrong = sorted(k for k in set(expected) & set(found) if tuple(found[k]) != expected[k])
    for names, what in ((unknown, "unknown"), (missing, "missing"), (wrong, "of another shape")):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise misfit(f"{names[0]}{more} {'are' if more else 'is'} {what}")

"""Public checkpoints are told apart by the names and shapes of their tensors."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import state_dicts
import torch
from state_dicts import Shapes
from torch import nn

from lipsync_cli.checkpoints.architectures import recognise
from lipsync_cli.errors import WeightsError


def shapes_of(make: Callable[[], nn.Module]) -> Shapes:
    with torch.device("meta"):
        state = make().state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def s3fd() -> Shapes:
    from face_alignment.detection.sfd.net_s3fd import s3fd as network

    return shapes_of(network)


def fan() -> Shapes:
    from face_alignment.models import FAN

    return shapes_of(lambda: FAN(4))


def inception() -> Shapes:
    from lipsync_cli.scoring.inception import FidInception

    return shapes_of(FidInception)


@pytest.mark.parametrize(
    ("make", "architecture", "parameters", "entries"),
    [
        (state_dicts.syncnet, "syncnet", 13_631_616, None),
        (state_dicts.expert, "expert", 16_435_072, 217),
        (state_dicts.discriminator, "discriminator", 14_113_793, 28),
        (s3fd, "s3fd", 22_459_110, None),
        (fan, "fan", 23_820_176, None),
        (inception, "inception", None, None),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_recognises_the_published_networks(
    make: Callable[[], Shapes], architecture: str, parameters: int | None, entries: int | None
) -> None:
    shapes = make()
    found = recognise(shapes)
    assert found.architecture == architecture
    assert parameters in (None, found.parameters)
    assert entries in (None, len(shapes))


@pytest.mark.parametrize("size_px", [96, 128, 192, 256, 288])
def test_recognises_generators_of_every_size(size_px: int) -> None:
    found = recognise(state_dicts.wav2lip(size_px, width=4))
    assert (found.architecture, found.size_px) == ("wav2lip", size_px)
    assert f"{size_px} px" in found.title


def test_counters_of_batches_may_be_missing() -> None:
    shapes = state_dicts.expert()
    older = {key: shape for key, shape in shapes.items() if "num_batches" not in key}
    assert len(older) < len(shapes)
    assert recognise(older).architecture == "expert"


def test_names_what_is_missing_or_different() -> None:
    shapes = state_dicts.syncnet()
    del shapes["netfclip.3.bias"]
    with pytest.raises(WeightsError, match=r"it lacks netfclip\.3\.bias"):
        recognise(shapes)
    shapes = state_dicts.syncnet() | {"netfcaud.3.weight": (256, 512)}
    with pytest.raises(WeightsError, match=r"netfcaud\.3\.weight is 256x512 instead of 1024x512"):
        recognise(shapes)
    with pytest.raises(WeightsError, match=r"it has netcnnaud\.30\.weight"):
        recognise(state_dicts.syncnet() | {"netcnnaud.30.weight": (1,)})


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"vgg.0.weight": (1,), "extras.0.weight": (1,), "loc.0.weight": (1,), "conf.0.x": (1,)},
         "layout of syncnet_python"),
        ({"face_encoder.0.x": (1,), "audio_encoder.0.x": (1,), "face_decoder.0.x": (1,)},
         "relative of Wav2Lip"),
        ({"unet.0.weight": (1,), "vae.0.weight": (1,)}, r"does not use \(it holds unet, vae\)"),
        ({}, "does not use"),
        (state_dicts.wav2lip(width=4) | {"sam.0.weight": (1,)}, "attention"),
        ({"face_encoder_blocks.0.0.conv_block.0.weight": (), "audio_encoder.0.x": (),
          "face_decoder_blocks.0.x": (), "output_block.1.weight": ()}, "Wav2Lip"),
    ],
    ids=["S3FD of syncnet_python", "relative", "stranger", "nothing", "attention", "scalars"],
)  # fmt: skip
def test_refuses_other_networks(shapes: Shapes, words: str) -> None:
    with pytest.raises(WeightsError, match=words) as caught:
        recognise(shapes)
    assert caught.value.hint


def test_counts_what_training_sets() -> None:
    shapes = state_dicts.wav2lip(width=4)
    trained = {k: v for k, v in shapes.items() if not k.endswith(("_mean", "_var", "_tracked"))}
    assert recognise(shapes).parameters == sum(math.prod(shape) for shape in trained.values())

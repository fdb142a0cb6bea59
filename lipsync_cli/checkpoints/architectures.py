"""Which network a checkpoint holds, told from the names and shapes of its tensors alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lipsync_cli.checkpoints import shapes as tables
from lipsync_cli.checkpoints.shapes import Shape, Shapes
from lipsync_cli.errors import WeightsError

if TYPE_CHECKING:
    from torch import nn

_LIST = "lipsync weights list names the checkpoints that can be used"
# Old files lack the counters of the batch norms, and no result depends on them.
_COUNTER = ".num_batches_tracked"
_BUFFERS = (".running_mean", ".running_var")


@dataclass(frozen=True)
class Recognised:
    """What a checkpoint turned out to be.

    Attributes:
        architecture: as in `weights.Public.architecture`.
        title: the same in words.
        parameters: how many values training sets.
        size_px: side of a generator's pictures.
    """

    architecture: str
    title: str
    parameters: int
    size_px: int | None = None


@dataclass(frozen=True)
class _Architecture:
    """A network, the first parts of names that give it away, and what proves it.

    The proof raises WeightsError, and returns the side of the pictures of a generator.
    """

    name: str
    title: str
    signs: frozenset[str]
    prove: Callable[[Shapes], int | None]


def recognise(shapes: Shapes) -> Recognised:
    """Name the network that these tensors belong to.

    Args:
        shapes: of all tensors, by their names in the state dict, prefixes removed.

    Raises:
        WeightsError: they belong to no network that lipsync uses or to an unknown variant of
            one, or some are missing.
    """
    found = {key: shape for key, shape in shapes.items() if not key.endswith(_COUNTER)}
    tops = {key.partition(".")[0] for key in found}
    for each in _ARCHITECTURES:
        if each.signs <= tops:
            size_px = each.prove(found)
            title = f"{each.title}, {size_px} px" if size_px else each.title
            return Recognised(each.name, title, _parameters(found), size_px)
    names = ", ".join(sorted(tops)[:4]) + (", ..." if len(tops) > 4 else "")
    raise WeightsError(f"is a network that lipsync does not use (it holds {names})", hint=_LIST)


def _parameters(found: Shapes) -> int:
    return sum(math.prod(shape) for key, shape in found.items() if not key.endswith(_BUFFERS))


def _exactly(table: Callable[[], Shapes]) -> Callable[[Shapes], None]:
    def prove(found: Shapes) -> None:
        wanted = table()
        missing = sorted(wanted.keys() - found.keys())
        if missing:
            raise _other(f"it lacks {_some(missing)}")
        for key, shape in wanted.items():
            if found[key] != shape:
                raise _other(f"{key} is {_times(found[key])} instead of {_times(shape)}")
        extra = sorted(found.keys() - wanted.keys())
        if extra:
            raise _other(f"it has {_some(extra)}")

    return prove


def _refusing(what: str, hint: str) -> Callable[[Shapes], None]:
    def prove(found: Shapes) -> None:
        raise WeightsError(f"is {what}", hint=hint)

    return prove


def _other(why: str) -> WeightsError:
    return WeightsError(f"is incomplete or of another architecture: {why}", hint=_LIST)


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _times(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "a single number"


def _generator(found: Shapes) -> int:
    from lipsync_cli.dubbing.generator.infer import infer_topology

    return infer_topology(found).size


def _syncnet() -> Shapes:
    from lipsync_cli.scoring.syncnet import SyncNet

    return _of(SyncNet)


def _inception() -> Shapes:
    from lipsync_cli.scoring.inception import FidInception

    return _of(FidInception)


def _of(network: Callable[[], nn.Module]) -> Mapping[str, Shape]:
    import torch

    with torch.device("meta"):
        state = network().state_dict()
    return {key: tuple(each.shape) for key, each in state.items() if not key.endswith(_COUNTER)}


# In this order: what comes first is a special case of what follows.
_ARCHITECTURES = (
    _Architecture(
        "syncnet",
        "SyncNet v2",
        frozenset({"netcnnaud", "netcnnlip", "netfcaud", "netfclip"}),
        _exactly(_syncnet),
    ),
    _Architecture(
        "wav2lip",
        "Wav2Lip generator",
        frozenset({"face_encoder_blocks", "audio_encoder", "face_decoder_blocks", "output_block"}),
        _generator,
    ),
    _Architecture(
        "discriminator",
        "visual quality discriminator of Wav2Lip",
        frozenset({"face_encoder_blocks", "binary_pred"}),
        _exactly(tables.discriminator),
    ),
    _Architecture(
        "",
        "",
        frozenset({"face_encoder", "audio_encoder", "face_decoder"}),
        _refusing("a relative of Wav2Lip that lipsync cannot run", _LIST),
    ),
    _Architecture(
        "expert",
        "lip-sync expert of Wav2Lip",
        frozenset({"face_encoder", "audio_encoder"}),
        _exactly(tables.expert),
    ),
    _Architecture("s3fd", "S3FD", frozenset({"conv1_1", "fc7"}), _exactly(tables.s3fd)),
    _Architecture(
        "",
        "",
        frozenset({"vgg", "extras", "loc", "conf"}),
        _refusing(
            "S3FD in the layout of syncnet_python; the one of face-alignment is needed",
            "lipsync weights fetch s3fd",
        ),
    ),
    _Architecture("fan", "FAN", frozenset({"conv1", "m0", "top_m_0"}), _exactly(tables.fan)),
    _Architecture(
        "inception",
        "Inception of pytorch-fid",
        frozenset({"Conv2d_1a_3x3", "Mixed_7c"}),
        _exactly(_inception),
    ),
)

"""The tensors of a checkpoint file by name, whatever they are wrapped in; none of it is run."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipsync_cli.errors import WeightsError
from lipsync_cli.weights.sniff import form_of, root_of

if TYPE_CHECKING:
    from torch import Tensor

# Where training scripts keep the state dict among other things, and what their wrappers of
# modules put before the names.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "generator", "net")
_PREFIXES = ("module.", "_orig_mod.", "__S__.")

# A tensor may claim any size above a storage of one value; the largest generator takes 0.3 GB.
_MAX_STATE_BYTES = 1 << 30

_AGAIN = "download it again from its authors' page"
_SAVE_TENSORS = "where you trust it: load it, and torch.save its state_dict() to a new file"


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict: from a plain one, a training checkpoint or a TorchScript archive.

    Optimizers and counters are left out, as are the prefixes of wrapped modules. Ordinary
    checkpoints go through torch.load with weights_only, TorchScript through an even stricter
    unpickler.

    Raises:
        WeightsError: the file is no checkpoint, damaged, or holds more than tensors.
    """
    form = form_of(path)
    try:
        content = _torchscript(path) if form == "torchscript" else _torch_load(path)
        return _checked(_unwrapped(content))
    except WeightsError as error:
        error.path = str(path)
        raise
    # Unpickling raises errors of every kind.
    except Exception as error:
        what, hint = _diagnosis(error)
        raise WeightsError(what, path=path, hint=hint) from error


def _torch_load(path: Path) -> Any:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _torchscript(path: Path) -> dict[str, Tensor]:
    from lipsync_cli.weights.torchscript import read_torchscript

    with zipfile.ZipFile(path) as archive:
        return read_torchscript(archive, root_of(archive) or "")


def _unwrapped(content: Any) -> dict[str, Tensor]:
    from torch import Tensor

    if not isinstance(content, Mapping):
        raise WeightsError(f"holds a {type(content).__name__}, no weights", hint=_SAVE_TENSORS)
    for wrapper in _WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    tensors = {str(key): part for key, part in content.items() if isinstance(part, Tensor)}
    if not tensors and ({"param_groups", "optimizer"} & content.keys()):
        raise WeightsError(
            "holds the state of an optimizer only", hint="import the checkpoint of the model"
        )
    if not tensors:
        raise WeightsError("holds no weights", hint="import the checkpoint of the model")
    return _without_prefixes(tensors)


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in tensors):
            return _without_prefixes({key[len(prefix) :]: tensors[key] for key in tensors})
    return tensors


def _checked(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    import torch

    for key, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
            raise WeightsError(f"holds {key} in a form that is not used", hint=_SAVE_TENSORS)
    if sum(each.numel() * each.element_size() for each in tensors.values()) > _MAX_STATE_BYTES:
        raise WeightsError("would unfold to more than it holds", hint="do not use this file")
    for key, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise WeightsError(f"is damaged: {key} is not finite", hint=_AGAIN)
    return tensors


def _diagnosis(error: Exception) -> tuple[str, str]:
    text = str(error)
    code = re.search(r"GLOBAL\s+(\S+)", text)
    if code:
        return f"holds more than tensors ({code[1]}); nothing of it was run", _SAVE_TENSORS
    if isinstance(error, MemoryError) or "allocate memory" in text:
        return "declares more data than fits into memory", "do not use this file"
    if isinstance(error, EOFError | IndexError) or re.search("EOF|truncated|central dir", text):
        return "is cut short", _AGAIN
    if "wrong byte size" in text or "corrupt" in text:
        return "is damaged", _AGAIN
    return "is no checkpoint that PyTorch can read safely", _SAVE_TENSORS

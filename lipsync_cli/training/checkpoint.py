"""Checkpoints of training runs: written in one step, read without trust, shipped in halves."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lipsync_cli.errors import WeightsError


def read_checkpoint(path: Path, parts: AbstractSet[str], of: str) -> dict[str, Any]:
    """Read a checkpoint that has to hold `parts`.

    Args:
        of: what is trained, "expert" or "generator".

    Raises:
        WeightsError: there is none, or it is damaged.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        if not parts <= saved.keys():
            raise KeyError("parts are missing")
    except FileNotFoundError as error:
        raise WeightsError(
            "there is no checkpoint", path=path, hint=f"train with train-{of} first"
        ) from error
    # Unpickling raises errors of every kind.
    except Exception as error:
        raise WeightsError(
            f"is no checkpoint of train-{of}",
            path=path,
            hint="delete it to begin anew, or train in another folder",
        ) from error
    return dict(saved)


def write_checkpoint(content: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint; a reader sees the one before or all of it."""
    partial = path.with_suffix(".partial")
    torch.save(dict(content), partial)
    partial.replace(path)


def half_precision(network: nn.Module, run: Path) -> dict[str, Tensor]:
    """The weights of a network as they ship.

    Raises:
        WeightsError: a weight of `run` is too large for half precision.
    """
    state = {name: _halved(each) for name, each in network.state_dict().items()}
    broken = [name for name, each in state.items() if not bool(torch.isfinite(each).all())]
    if broken:
        raise WeightsError(
            f"cannot be exported: {broken[0]} does not fit into half precision", path=run
        )
    return state


def _halved(tensor: Tensor) -> Tensor:
    # Contiguous: the channels-last layout of training is none of the file's business.
    halved = tensor.half() if tensor.dtype.is_floating_point else tensor
    return halved.clone(memory_format=torch.contiguous_format)

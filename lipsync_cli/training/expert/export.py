"""From a training run to a file that generators are trained with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lipsync_cli.dubbing.generator.expert import load_expert
from lipsync_cli.errors import WeightsError
from lipsync_cli.media.output import atomic
from lipsync_cli.training.expert.state import trained_expert
from lipsync_cli.weights import register


def export_expert(
    folder: Path,
    target: Path,
    *,
    listed: bool = False,
    trained_on: str = "",
    figures: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the averaged expert of a run in half precision.

    Args:
        folder: of the run.
        target: the file; replaced where it exists.
        listed: enter it into the manifest beside it.
        figures: what it measured.

    Returns:
        Steps, width, loss and `figures`, as the manifest has them.

    Raises:
        WeightsError: the folder holds no run, or its weights do not fit into half precision.
        OutputError: the file cannot be written.
    """
    expert, plan, steps = trained_expert(folder)
    state = {name: _halved(each) for name, each in expert.state_dict().items()}
    broken = [name for name, each in state.items() if not bool(torch.isfinite(each).all())]
    if broken:
        raise WeightsError(
            f"cannot be exported: {broken[0]} does not fit into half precision", path=folder
        )
    with atomic(target, overwrite=True) as temporary:
        torch.save(state, temporary)
        load_expert(temporary)
    about = {"steps": steps, "width": plan.width, "loss": plan.loss, **(figures or {})}
    if listed:
        register(target, name="expert", kind="state_dict", trained_on=trained_on, figures=about)
    return about


def _halved(tensor: torch.Tensor) -> torch.Tensor:
    # Contiguous: the channels-last layout of training is none of the file's business.
    halved = tensor.half() if tensor.dtype.is_floating_point else tensor
    return halved.clone(memory_format=torch.contiguous_format)

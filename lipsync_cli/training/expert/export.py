"""From a training run to a file that generators are trained with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lipsync_cli.dubbing.generator.expert import load_expert
from lipsync_cli.media.output import atomic
from lipsync_cli.training.checkpoint import half_precision
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
    state = half_precision(expert, folder)
    with atomic(target, overwrite=True) as temporary:
        torch.save(state, temporary)
        load_expert(temporary)
    about = {"steps": steps, "width": plan.width, "loss": plan.loss, **(figures or {})}
    if listed:
        register(target, name="expert", kind="state_dict", trained_on=trained_on, figures=about)
    return about

"""From a training run to a file that `dub` draws with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lipsync_cli.dubbing.generator.loading import load_generator
from lipsync_cli.errors import UsageError
from lipsync_cli.media.output import atomic
from lipsync_cli.training.checkpoint import half_precision
from lipsync_cli.training.generator.state import trained_generator
from lipsync_cli.weights import Weight, register

NAME = "generator"


def export_generator(
    folder: Path,
    target: Path,
    *,
    trained_on: str = "",
    figures: Mapping[str, Any] | None = None,
) -> Weight:
    """Write the averaged generator of a run in half precision and enter it into the manifest.

    Args:
        folder: of the run.
        target: the file, beside the manifest it is entered into; replaced where it exists.
        figures: what it measured; the steps, the losses and the widths are added.

    Raises:
        WeightsError: the folder holds no run, or its weights do not fit into half precision.
        UsageError: it is a run of another architecture than Wav2Lip's: `dub` has no use for it.
        OutputError: the file cannot be written.
    """
    model, plan, steps = trained_generator(folder)
    if plan.architecture != "wav2lip":
        raise UsageError(
            f"dub cannot draw with {plan.architecture}",
            hint="export a run of train-generator --architecture wav2lip",
        )
    state = half_precision(model.network, folder)
    with atomic(target, overwrite=True) as temporary:
        torch.save(state, temporary)
        load_generator(temporary, torch.device("cpu"))
    widths = "/".join(str(v) for k, v in plan.network().items() if k != "architecture")
    losses = {name: weight for name, weight in vars(plan.weights).items() if weight}
    about = {"steps": steps, "widths": widths, "losses": losses, **(figures or {})}
    return register(target, name=NAME, kind="state_dict", trained_on=trained_on, figures=about)

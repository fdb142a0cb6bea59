"""From a checkpoint to the shipped model file, with its calibration and its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lipsync_cli.sync.model import SyncModel
from lipsync_cli.sync.model_file import save_model
from lipsync_cli.training.sync.cache import Clip
from lipsync_cli.training.sync.calibrate import fit, trials
from lipsync_cli.training.sync.evaluate import see
from lipsync_cli.weights import register

STRANGERS = 4.0  # other people's sounds under each clip: they cost little and say much


def load_checkpoint(*folders: Path) -> SyncModel:
    """The running average of the weights of a training run; of several, the mean of theirs.

    A run and the one that went on from it lie in one basin, whose middle does better than
    either on people that both never saw (weight averaging).
    """
    runs = [
        torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)["averaged"]
        for folder in folders
    ]
    model = SyncModel()
    mean = {name: torch.stack([run[name].double() for run in runs]).mean(0) for name in runs[0]}
    model.load_state_dict({name: value.to(runs[0][name].dtype) for name, value in mean.items()})
    return model.eval()


def export(
    folders: Sequence[Path],
    held_out: Sequence[Clip],
    target: Path,
    *,
    trained_on: str = "",
    figures: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Calibrate on `held_out` speakers, write `target` and enter it into the manifest.

    Returns:
        The calibration.
    """
    model = load_checkpoint(*folders)
    people = [seen for clip in held_out if (seen := see(model, clip)) is not None]
    calibration = fit(trials(model, people, strangers=STRANGERS))
    save_model(model, calibration, target)
    about = {"calibration": calibration, **(figures or {})}
    register(target, name="sync", kind="torchscript", trained_on=trained_on, figures=about)
    return calibration

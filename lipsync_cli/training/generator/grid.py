"""Pictures of what a generator draws, to look at while it trains."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from lipsync_cli.errors import OutputError
from lipsync_cli.training.generator.models import TrainedGenerator
from lipsync_cli.training.generator.samples import Windows, silent

_SCALE = 2
COLUMNS = ("what is seen", "reference", "own sound", "other sound", "no sound", "real")


@torch.no_grad()
def sample_grid(model: TrainedGenerator, windows: Windows) -> NDArray[np.uint8]:
    """Lay out the middle pictures of windows, a row each, in the columns of `COLUMNS`.

    Returns:
        uint8 [B * 192, 6 * 192, 3] BGR.
    """
    model.eval()
    device = next(model.parameters()).device
    given = windows.to(device)
    middle = given.target.shape[1] // 2
    target, own = (each[:, middle : middle + 1] for each in (given.target, given.sound))
    none = torch.from_numpy(silent(model.hearing, 1)).to(device).expand_as(own)
    drawn = []
    for sound in (own, own.roll(1, dims=0), none):
        faces = model(target, given.reference, sound)[:, 0]  # [B, 3, 96, 96]
        drawn.append((faces * 255).round().byte().permute(0, 2, 3, 1))
    real = target[:, 0]
    masked = real.clone()
    masked[:, real.shape[1] // 2 :] = 0
    columns = torch.stack([masked, given.reference[:, 0], *drawn, real], dim=1)
    rows = torch.cat(columns.unbind(1), dim=2)  # [B, 96, 6 * 96, 3]
    picture = rows.flatten(0, 1).cpu().numpy()
    return np.asarray(picture.repeat(_SCALE, 0).repeat(_SCALE, 1), np.uint8)


def write_grid(path: Path, model: TrainedGenerator, windows: Windows) -> None:
    """Write a grid as PNG.

    Raises:
        OutputError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), sample_grid(model, windows)):
        raise OutputError("cannot be written", path=path)

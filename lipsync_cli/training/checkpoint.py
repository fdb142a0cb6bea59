"""Checkpoints of training runs, read without trust."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import torch

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

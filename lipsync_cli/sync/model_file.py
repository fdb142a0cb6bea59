"""Loads the shipped sync model: TorchScript in half precision, run in single."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lipsync_cli.errors import WeightsError
from lipsync_cli.sync.calibration import Calibration

_EXTRA = "calibration.json"


@dataclass(frozen=True)
class LoadedModel:
    """A frozen TorchScript `SyncModel` on its device, and how to read its answers."""

    module: torch.jit.ScriptModule
    calibration: Calibration
    device: torch.device

    def logits(
        self, scores: NDArray[np.float32], weight: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Summed evidence [B, K] and weight [B] -> [B, K + 1]; the last is "no offset"."""
        inputs = (torch.from_numpy(np.asarray(x, np.float32)) for x in (scores, weight))
        with torch.inference_mode():
            answer = self.module.logits(*(x.to(self.device) for x in inputs))
        return np.asarray(answer.cpu().numpy(), np.float32)


def load_model(path: Path, device: torch.device) -> LoadedModel:
    """Read the model at `path` (its hash already checked).

    Raises:
        WeightsError: the file is no sync model.
    """
    extra: dict[str, Any] = {_EXTRA: ""}
    try:
        with warnings.catch_warnings():
            # torch.jit announces its retirement; the pinned version still has it.
            warnings.simplefilter("ignore")
            module = torch.jit.load(  # type: ignore[no-untyped-call]
                str(path), map_location=device, _extra_files=extra
            )
            module = torch.jit.freeze(
                module.float().eval(),
                preserved_attrs=["embed_visual", "embed_audio", "classify", "logits"],
            )
        calibration = Calibration(**json.loads(extra[_EXTRA]))
    except (RuntimeError, ValueError, TypeError) as error:
        raise WeightsError("is no sync model", path=path, hint="reinstall lipsync") from error
    return LoadedModel(module, calibration, device)


def save_model(model: torch.nn.Module, calibration: Mapping[str, float], path: Path) -> None:
    """Compile `model` and write it in half precision, with its calibration inside."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(model.half().eval())
        torch.jit.save(scripted, str(path), _extra_files={_EXTRA: json.dumps(dict(calibration))})


def shipped_weights(path: Path, device: str = "cpu") -> dict[str, torch.Tensor]:
    """The weights inside a model file, in single precision, to train on from."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
    state: dict[str, torch.Tensor] = module.float().state_dict()
    return state

"""Face-alignment's detectors, for those who have their files; nothing is ever downloaded."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lipsync_cli.errors import DependencyError, WeightsError
from lipsync_cli.faces._cv2 import load_cv2
from lipsync_cli.faces.detect import (
    FaceDetection,
    FaceDetector,
    Floats,
    Luma,
    YuNetDetector,
)
from lipsync_cli.weights import find, locate

# Pictures are shrunk to this longer side first: these networks are slow.
_LOOK = 640
_SCORE_THRESHOLD = 0.5
# The own detector finds the landmarks inside a box enlarged by this factor.
_SURROUNDINGS = 2.0
# Right eye, left eye, nose, mouth corners in a face box of side 1: means of upright faces.
_USUAL_LANDMARKS = np.array(
    [(0.30, 0.40), (0.70, 0.40), (0.50, 0.60), (0.34, 0.78), (0.66, 0.78)], np.float32
)


@dataclass(frozen=True)
class _Backend:
    """A detector of face-alignment: its module, its files (the network first), their source.

    `imported` is the name that the network has among the user's imported weights.
    """

    module: str
    files: tuple[str, ...]
    source: str
    options: tuple[tuple[str, Any], ...] = ()
    imported: str | None = None


_FAN = "https://www.adrianbulat.com/downloads/python-fan"
_BLAZE = "https://github.com/hollance/BlazeFace-PyTorch/raw/master"
_ZOO = "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet"

_BACKENDS = {
    "sfd": _Backend("sfd", ("s3fd-619a316812.pth",), _FAN, imported="s3fd"),
    "blazeface": _Backend("blazeface", ("blazeface.pth", "anchors.npy"), _BLAZE),
    "blazeface-back": _Backend(
        "blazeface", ("blazefaceback.pth", "anchorsback.npy"), _BLAZE, (("back_model", True),)
    ),
    "retinaface": _Backend("retinaface", ("retinaface_mobilenet0.25.pth",), _FAN),
    "yunet": _Backend("yunet", ("face_detection_yunet_2023mar.onnx",), _ZOO),
}
NAMES = tuple(_BACKENDS)


def create(name: str, weights: Path | None = None) -> FaceDetector:
    """Make one of `NAMES`.

    Args:
        weights: the network's file, further files beside it; when None, the user's imported
            weights, then PyTorch's hub folder, where face-alignment itself keeps them.

    Raises:
        WeightsError: a file is missing or does not fit.
        DependencyError: face-alignment or a library that it needs is missing.
    """
    backend = _BACKENDS[name]
    paths = _files(name, backend, weights)
    if name == "yunet":
        # Through the project's own call, which keeps the landmarks.
        return YuNetDetector(paths[0])
    own = YuNetDetector(locate("face_detector"))
    return _FaceAlignmentDetector(_loaded(name, backend, paths), own)


def _files(name: str, backend: _Backend, weights: Path | None) -> list[Path]:
    first = weights or _imported(backend) or _hub_folder() / backend.files[0]
    paths = [first, *(first.parent / file for file in backend.files[1:])]
    for path in paths:
        if not path.is_file():
            raise WeightsError(
                f"the face detector {name!r} needs this file",
                path=path,
                hint=f"{_remedy(backend, path)}, or use the detector 'own'",
            )
    return paths


def _imported(backend: _Backend) -> Path | None:
    return find(backend.imported) if backend.imported else None


def _remedy(backend: _Backend, path: Path) -> str:
    by_hand = f"download {backend.source}/{path.name} to it"
    return (
        f"lipsync weights fetch {backend.imported}, or {by_hand}" if backend.imported else by_hand
    )


def _hub_folder() -> Path:
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def _loaded(name: str, backend: _Backend, paths: list[Path]) -> Any:
    anchors = {"path_to_anchor": str(paths[1])} if len(paths) > 1 else {}
    options = {**dict(backend.options), **anchors}
    try:
        with torchvision_or_stand_in():
            module = importlib.import_module(f"face_alignment.detection.{backend.module}")
    except ImportError as error:
        raise DependencyError(
            f"the face detector {name!r} cannot be loaded: {error}",
            hint="pip install face-alignment",
        ) from error
    try:
        return module.FaceDetector("cpu", path_to_detector=str(paths[0]), **options)
    except Exception as error:
        # Unpickling, missing keys and wrong shapes all raise errors of their own.
        raise WeightsError(
            f"is no network of the face detector {name!r}",
            path=paths[0],
            hint=f"download it again from {backend.source}/{backend.files[0]}",
        ) from error


class _FaceAlignmentDetector:
    """Boxes by a detector of face-alignment, landmarks by the own one inside them."""

    def __init__(self, network: Any, own: FaceDetector) -> None:
        self._cv2: Any = load_cv2()
        self._network = network
        self._own = own

    def detect(self, luma: Luma) -> list[FaceDetection]:
        scale = min(1.0, _LOOK / max(luma.shape))
        size = [max(1, round(side * scale)) for side in luma.shape[::-1]]
        small = self._cv2.resize(luma, size, interpolation=self._cv2.INTER_AREA)
        rows = self._network.detect_from_image(np.repeat(small[..., None], 3, axis=2))
        found = [np.asarray(row, np.float32) for row in rows if len(row) >= 5]
        return [
            self._with_landmarks(luma, row[:4] / scale, float(row[-1]))
            for row in found
            if row[-1] >= _SCORE_THRESHOLD
        ]

    def _with_landmarks(self, luma: Luma, box: Floats, score: float) -> FaceDetection:
        extent = np.maximum(box[2:] - box[:2], 1.0)
        centre, reach = (box[:2] + box[2:]) / 2, extent * _SURROUNDINGS / 2
        low = np.clip(centre - reach, 0, None).astype(int)
        high = np.ceil(centre + reach).astype(int)
        faces = self._own.detect(np.ascontiguousarray(luma[low[1] : high[1], low[0] : high[0]]))
        for face in faces:
            middle = (face.box[:2] + face.box[2:]) / 2 + low
            if np.all(np.abs(middle - centre) < extent / 3):
                return FaceDetection(box, score, (face.landmarks + low).astype(np.float32))
        usual = (box[:2] + _USUAL_LANDMARKS * extent).astype(np.float32)
        return FaceDetection(box, score, usual)


@contextmanager
def torchvision_or_stand_in() -> Iterator[None]:
    """Let face-alignment's RetinaFace be imported without torchvision.

    It uses one small class of torchvision, which face-alignment does not require.
    """
    names = ("torchvision", "torchvision.models", "torchvision.models._utils")
    try:
        importlib.import_module(names[-1])
    except (ImportError, RuntimeError):
        modules = {name: types.ModuleType(name) for name in names}
        modules[names[2]].__dict__["IntermediateLayerGetter"] = _layer_getter()
        modules[names[1]].__dict__["_utils"] = modules[names[2]]
        sys.modules.update(modules)
        try:
            yield
        finally:
            for name in names:
                del sys.modules[name]
    else:
        yield


def _layer_getter() -> Callable[..., Any]:
    from torch import Tensor, nn

    class LayerGetter(nn.ModuleDict):
        """Run a model's children in order and return the outputs of the named ones."""

        def __init__(self, model: nn.Module, return_layers: dict[str, int]) -> None:
            children = list(model.named_children())
            last = max(number for number, (name, _) in enumerate(children) if name in return_layers)
            super().__init__(dict(children[: last + 1]))
            self.return_layers = return_layers

        def forward(self, x: Tensor) -> dict[int, Tensor]:
            outputs = {}
            for name, layer in self.items():
                x = layer(x)
                if name in self.return_layers:
                    outputs[self.return_layers[name]] = x
            return outputs

    return LayerGetter

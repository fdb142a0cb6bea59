"""The face detector's network: YuNet-s (Wu, Peng and Yu, 2023), written for luma pictures.

Strides 8, 16 and 32; per cell (col, row) of stride s it answers class, objectness, box and
five landmarks, where cx = (col + dx) s, cy = (row + dy) s, w = exp(dw) s, h = exp(dh) s and
a landmark is ((col + lx) s, (row + ly) s); score = sqrt(class x objectness).
"""

from __future__ import annotations

import math
import warnings
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDES = (8, 16, 32)
WIDTHS = (16, 32, 64, 64, 64, 64)
OUTPUTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
POOL_AFTER = (0, 2, 3, 4)

# Log of the usual face size over the stride: training starts from plausible boxes.
_SIZE_PRIOR = 1.3
_SCORE_PRIOR = 0.02

Outputs = dict[str, Tensor]


class Unit(nn.Sequential):
    """1x1 convolution, then 3x3 depthwise; normalised and rectified unless it is an output."""

    def __init__(self, inputs: int, outputs: int, *, activated: bool = True) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, 1),
            nn.Conv2d(outputs, outputs, 3, padding=1, groups=outputs),
        ]
        if activated:
            layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class YuNet(nn.Module):
    """Luma [B, C, H, W] in 0-255 (H, W multiples of 32) -> 12 named maps [B, HW, channels].

    `channels` is 1 while training; `for_colour_input` makes the three-channel form that
    OpenCV's FaceDetectorYN feeds.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS, channels: int = 1) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], 3, stride=2, padding=1),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        stages: list[nn.Module] = [Unit(widths[0], widths[0])]
        for before, after in pairwise(widths):
            stages.append(nn.Sequential(Unit(before, before), Unit(before, after)))
        self.stages = nn.ModuleList(stages)
        self.laterals = nn.ModuleList(Unit(widths[-1], widths[-1]) for _ in STRIDES)
        self.heads = nn.ModuleDict(
            {
                name: nn.ModuleList(Unit(widths[-1], size, activated=False) for _ in STRIDES)
                for name, size in OUTPUTS.items()
            }
        )
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.zeros_(module.bias)
        # Pixels arrive as 0-255, as OpenCV feeds them.
        self.stem[0].weight.data.div_(64.0)  # type: ignore[operator]
        for name in ("cls", "obj"):
            for head in self._heads(name):
                nn.init.constant_(_bias(head), math.log(_SCORE_PRIOR / (1 - _SCORE_PRIOR)))
        for head in self._heads("bbox"):
            _bias(head).data[2:] = _SIZE_PRIOR

    def _heads(self, name: str) -> list[Unit]:
        heads = self.heads[name]
        assert isinstance(heads, nn.ModuleList)
        return [head for head in heads if isinstance(head, Unit)]

    def forward(self, picture: Tensor) -> Outputs:
        features = self._neck(self._backbone(picture))
        outputs: Outputs = {}
        for name, size in OUTPUTS.items():
            for stride, feature, head in zip(STRIDES, features, self._heads(name), strict=True):
                flat = head(feature).permute(0, 2, 3, 1).flatten(1, 2)  # [B, HW, size]
                assert flat.shape[-1] == size
                outputs[f"{name}_{stride}"] = flat
        return outputs

    def _backbone(self, picture: Tensor) -> list[Tensor]:
        x, features = self.stem(picture), []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number >= 3:
                features.append(x)
            if number in POOL_AFTER:
                x = F.max_pool2d(x, 2)
        return features

    def _neck(self, features: list[Tensor]) -> list[Tensor]:
        x = self.laterals[2](features[2])
        merged = [x]
        for level in (1, 0):
            x = features[level] + F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = self.laterals[level](x)
            merged.insert(0, x)
        return merged


def _bias(head: Unit) -> nn.Parameter:
    bias = head[-1].bias
    assert isinstance(bias, nn.Parameter)
    return bias


class _Exported(nn.Module):
    """The network as FaceDetectorYN expects it: sigmoid scores, outputs in a fixed order."""

    def __init__(self, network: YuNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        outputs = self.network(picture)
        for name in outputs:
            if name.startswith(("cls", "obj")):
                outputs[name] = outputs[name].sigmoid()
        return tuple(outputs[name] for name in output_names())


def output_names() -> list[str]:
    return [f"{name}_{stride}" for name in OUTPUTS for stride in STRIDES]


def for_colour_input(network: YuNet) -> YuNet:
    """Copy a luma network so that a grey picture repeated over three channels gives the same."""
    wide = YuNet(channels=3)
    state = dict(network.state_dict())
    state["stem.0.weight"] = state["stem.0.weight"].repeat(1, 3, 1, 1) / 3.0
    wide.load_state_dict(state)
    return wide


def export_onnx(network: YuNet, path: Path) -> None:
    """Write the network as ONNX (opset 13) for cv2.FaceDetectorYN, any input size."""
    model = _Exported(for_colour_input(network)).eval()
    axes = {"input": {2: "height", 3: "width"}} | {name: {1: "cells"} for name in output_names()}
    with warnings.catch_warnings():
        # The tracing exporter is deprecated, but OpenCV reads its graphs.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (torch.zeros(1, 3, 320, 320),),
            str(path),
            input_names=["input"],
            output_names=output_names(),
            dynamic_axes=axes,
            opset_version=13,
            dynamo=False,
        )

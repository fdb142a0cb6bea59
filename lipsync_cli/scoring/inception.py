"""The Inception-v3 network behind FID, for the file that pytorch-fid distributes.

Names and shapes are those of torchvision's `Inception3` with 1008 classes and without its
auxiliary classifier, so that pt_inception-2015-12-05 loads strictly. That network comes
from TensorFlow and differs from torchvision's in what its pooling branches do: averages
leave the padding out, and the last one takes the maximum (mseitzer/pytorch-fid, README).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lipsync_cli.errors import WeightsError
from lipsync_cli.weights.reading import read_state

FEATURES = 2048
SIDE = 299
_CLASSES = 1008
_BN_EPS = 1e-3
HINT = "give pytorch-fid's file: lipsync weights fetch inception"

Kernel = int | tuple[int, int]


def load_inception(path: Path, device: torch.device | str = "cpu") -> FidInception:
    """Load pytorch-fid's file, ready to run.

    Raises:
        WeightsError: the file is missing, damaged, holds code, or is of another network.
    """
    state = read_state(path)
    # No memory and no random numbers are spent on values that are replaced at once.
    with torch.device("meta"):
        network = FidInception()
    try:
        network.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        what = f"is not the Inception network of FID: {_first_difference(error)}"
        raise WeightsError(what, path=path, hint=HINT) from error
    return network.to(device, torch.float32).eval().requires_grad_(False)


def network_input(picture: npt.NDArray[np.uint8]) -> Tensor:
    """Turn an RGB picture uint8 [H, W, 3] into float32 [3, 299, 299] from -1 to 1.

    Resized as by pytorch-fid: bilinear between pixel centres, without any low-pass.
    """
    rgb = torch.from_numpy(np.ascontiguousarray(picture))
    image = rgb.permute(2, 0, 1)[None].to(torch.float32) / 255  # [1, 3, H, W]
    image = F.interpolate(image, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return 2 * image[0] - 1


class FidInception(nn.Module):
    """Inception v3 (Szegedy et al. 2015, arXiv 1512.00567) up to its last pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvUnit(3, 32, 3, stride=2, padded=False)
        self.Conv2d_2a_3x3 = ConvUnit(32, 32, 3, padded=False)
        self.Conv2d_2b_3x3 = ConvUnit(32, 64, 3)
        self.Conv2d_3b_1x1 = ConvUnit(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvUnit(80, 192, 3, padded=False)
        self.Mixed_5b = Mixed35(192, pooled=32)
        self.Mixed_5c = Mixed35(256, pooled=64)
        self.Mixed_5d = Mixed35(288, pooled=64)
        self.Mixed_6a = Reduction17(288)
        self.Mixed_6b = Mixed17(768, inner=128)
        self.Mixed_6c = Mixed17(768, inner=160)
        self.Mixed_6d = Mixed17(768, inner=160)
        self.Mixed_6e = Mixed17(768, inner=192)
        self.Mixed_7a = Reduction8(768)
        self.Mixed_7b = Mixed8(1280)
        self.Mixed_7c = Mixed8(2048, maximum=True)
        # Held for its place in the file; FID looks at what goes into it.
        self.fc = nn.Linear(FEATURES, _CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, 299, 299] from -1 to 1 -> features [B, 2048]."""
        x = _chain(images, self.Conv2d_1a_3x3, self.Conv2d_2a_3x3, self.Conv2d_2b_3x3)
        x = F.max_pool2d(x, 3, stride=2)  # [B, 64, 73, 73]
        x = _chain(x, self.Conv2d_3b_1x1, self.Conv2d_4a_3x3)
        x = F.max_pool2d(x, 3, stride=2)  # [B, 192, 35, 35]
        x = _chain(x, self.Mixed_5b, self.Mixed_5c, self.Mixed_5d, self.Mixed_6a)
        x = _chain(x, self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e)
        x = _chain(x, self.Mixed_7a, self.Mixed_7b, self.Mixed_7c)  # [B, 2048, 8, 8]
        return x.mean(dim=(2, 3))


class ConvUnit(nn.Module):
    """Convolution without bias, normalisation, ReLU; `padded` keeps the size at stride 1."""

    def __init__(
        self, channels: int, out: int, kernel: Kernel, *, stride: int = 1, padded: bool = True
    ) -> None:
        super().__init__()
        rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (rows // 2, columns // 2) if padded else 0
        self.conv = nn.Conv2d(channels, out, (rows, columns), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=_BN_EPS)

    def forward(self, x: Tensor) -> Tensor:
        normalised: Tensor = self.bn(self.conv(x))
        return normalised.relu_()


class Mixed35(nn.Module):
    """Block at 35 x 35: 224 channels and the `pooled` ones."""

    def __init__(self, channels: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = ConvUnit(channels, 64, 1)
        self.branch5x5_1 = ConvUnit(channels, 48, 1)
        self.branch5x5_2 = ConvUnit(48, 64, 5)
        self.branch3x3dbl_1 = ConvUnit(channels, 64, 1)
        self.branch3x3dbl_2 = ConvUnit(64, 96, 3)
        self.branch3x3dbl_3 = ConvUnit(96, 96, 3)
        self.branch_pool = ConvUnit(channels, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        wide = _chain(x, self.branch5x5_1, self.branch5x5_2)
        double = _chain(x, self.branch3x3dbl_1, self.branch3x3dbl_2, self.branch3x3dbl_3)
        return torch.cat((self.branch1x1(x), wide, double, self.branch_pool(_average(x))), 1)


class Reduction17(nn.Module):
    """Block from 35 x 35 to 17 x 17."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3 = ConvUnit(channels, 384, 3, stride=2, padded=False)
        self.branch3x3dbl_1 = ConvUnit(channels, 64, 1)
        self.branch3x3dbl_2 = ConvUnit(64, 96, 3)
        self.branch3x3dbl_3 = ConvUnit(96, 96, 3, stride=2, padded=False)

    def forward(self, x: Tensor) -> Tensor:
        double = _chain(x, self.branch3x3dbl_1, self.branch3x3dbl_2, self.branch3x3dbl_3)
        return torch.cat((self.branch3x3(x), double, F.max_pool2d(x, 3, stride=2)), 1)


class Mixed17(nn.Module):
    """Block at 17 x 17 with 7 x 7 kernels taken apart: 768 channels."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.branch1x1 = ConvUnit(channels, 192, 1)
        self.branch7x7_1 = ConvUnit(channels, inner, 1)
        self.branch7x7_2 = ConvUnit(inner, inner, (1, 7))
        self.branch7x7_3 = ConvUnit(inner, 192, (7, 1))
        self.branch7x7dbl_1 = ConvUnit(channels, inner, 1)
        self.branch7x7dbl_2 = ConvUnit(inner, inner, (7, 1))
        self.branch7x7dbl_3 = ConvUnit(inner, inner, (1, 7))
        self.branch7x7dbl_4 = ConvUnit(inner, inner, (7, 1))
        self.branch7x7dbl_5 = ConvUnit(inner, 192, (1, 7))
        self.branch_pool = ConvUnit(channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = _chain(x, self.branch7x7_1, self.branch7x7_2, self.branch7x7_3)
        double = _chain(x, self.branch7x7dbl_1, self.branch7x7dbl_2, self.branch7x7dbl_3)
        double = _chain(double, self.branch7x7dbl_4, self.branch7x7dbl_5)
        return torch.cat((self.branch1x1(x), single, double, self.branch_pool(_average(x))), 1)


class Reduction8(nn.Module):
    """Block from 17 x 17 to 8 x 8."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3_1 = ConvUnit(channels, 192, 1)
        self.branch3x3_2 = ConvUnit(192, 320, 3, stride=2, padded=False)
        self.branch7x7x3_1 = ConvUnit(channels, 192, 1)
        self.branch7x7x3_2 = ConvUnit(192, 192, (1, 7))
        self.branch7x7x3_3 = ConvUnit(192, 192, (7, 1))
        self.branch7x7x3_4 = ConvUnit(192, 192, 3, stride=2, padded=False)

    def forward(self, x: Tensor) -> Tensor:
        plain = _chain(x, self.branch3x3_1, self.branch3x3_2)
        mixed = _chain(x, self.branch7x7x3_1, self.branch7x7x3_2)
        mixed = _chain(mixed, self.branch7x7x3_3, self.branch7x7x3_4)
        return torch.cat((plain, mixed, F.max_pool2d(x, 3, stride=2)), 1)


class Mixed8(nn.Module):
    """Block at 8 x 8: 2048 channels; one of the two pools by `maximum` (see the module)."""

    def __init__(self, channels: int, *, maximum: bool = False) -> None:
        super().__init__()
        self._maximum = maximum
        self.branch1x1 = ConvUnit(channels, 320, 1)
        self.branch3x3_1 = ConvUnit(channels, 384, 1)
        self.branch3x3_2a = ConvUnit(384, 384, (1, 3))
        self.branch3x3_2b = ConvUnit(384, 384, (3, 1))
        self.branch3x3dbl_1 = ConvUnit(channels, 448, 1)
        self.branch3x3dbl_2 = ConvUnit(448, 384, 3)
        self.branch3x3dbl_3a = ConvUnit(384, 384, (1, 3))
        self.branch3x3dbl_3b = ConvUnit(384, 384, (3, 1))
        self.branch_pool = ConvUnit(channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch3x3_1(x)
        double = _chain(x, self.branch3x3dbl_1, self.branch3x3dbl_2)
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self._maximum else _average(x)
        branches = (
            self.branch1x1(x),
            self.branch3x3_2a(single),
            self.branch3x3_2b(single),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
            self.branch_pool(pooled),
        )
        return torch.cat(branches, 1)


def _average(x: Tensor) -> Tensor:
    """Means of 3 x 3 neighbours, at the edge of those inside the picture."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _chain(x: Tensor, *modules: nn.Module) -> Tensor:
    for module in modules:
        x = module(x)
    return x


def _first_difference(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return (lines[1] if len(lines) > 1 else lines[0])[:120]

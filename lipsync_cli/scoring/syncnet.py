"""SyncNet v2: the network of the published LSE figures, for the file that its authors published.

Chung and Zisserman, "Out of time: automated lip sync in the wild" (2016); names and shapes are
those of the public file, so that it loads as it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lipsync_cli.device import halve_on_oom
from lipsync_cli.errors import WeightsError
from lipsync_cli.scoring.mfcc import COEFFICIENTS
from lipsync_cli.weights.reading import read_state

SIDE = 224  # pixels of a picture
PICTURES = 5  # pictures of a window
CEPSTRA = 20  # MFCC frames of a window
DIM = 1024

_FOREIGN = "give the public syncnet_v2.model: lipsync weights fetch syncnet_v2"
# Counters that files of PyTorch before 0.4.1 do not have, and inference does not need.
_COUNTER = "num_batches_tracked"


class SyncNet(nn.Module):
    """Two branches that put five pictures of a face and 0.2 s of sound into one space."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = _sound_cnn()
        self.netfcaud = _head()
        self.netfclip = _head()
        self.netcnnlip = _lip_cnn()

    @torch.jit.export
    def lips(self, pictures: Tensor) -> Tensor:
        """Embed every five consecutive pictures.

        Only the first layer looks at more than one picture, so one pass over all of them
        equals the reference's windows without computing each picture five times.

        Args:
            pictures: uint8 [T, 224, 224, 3], BGR.

        Returns:
            [T - 4, 1024], not normalised.
        """
        video = pictures.permute(3, 0, 1, 2).unsqueeze(0).float()  # [1, 3, T, 224, 224]
        features = self.netcnnlip(video).flatten(2)[0]  # [512, T - 4]
        embeddings: Tensor = self.netfclip(features.t())
        return embeddings

    @torch.jit.export
    def sound(self, cepstra: Tensor) -> Tensor:
        """Embed windows of MFCC: [N, 13, 20] -> [N, 1024], not normalised."""
        features = self.netcnnaud(cepstra.unsqueeze(1)).flatten(1)  # [N, 512]
        embeddings: Tensor = self.netfcaud(features)
        return embeddings


def _lip_cnn() -> nn.Sequential:
    return nn.Sequential(
        *_conv3d(3, 96, (5, 7, 7), stride=2),  # [96, T - 4, 109, 109]
        nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2)),
        *_conv3d(96, 256, (1, 5, 5), stride=2, padding=1),  # [256, T - 4, 26, 26]
        nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
        *_conv3d(256, 256, (1, 3, 3), padding=1),  # [256, T - 4, 13, 13]
        *_conv3d(256, 256, (1, 3, 3), padding=1),
        *_conv3d(256, 256, (1, 3, 3), padding=1),
        nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2)),
        *_conv3d(256, 512, (1, 6, 6)),  # [512, T - 4, 1, 1]
    )


def _sound_cnn() -> nn.Sequential:
    return nn.Sequential(
        *_conv2d(1, 64, (3, 3), padding=1),  # [64, 13, 20]
        # Does nothing, but its place in the sequence is in the names of the weights.
        nn.MaxPool2d(1, stride=1),
        *_conv2d(64, 192, (3, 3), padding=1),
        nn.MaxPool2d(3, stride=(1, 2)),  # [192, 11, 9]
        *_conv2d(192, 384, (3, 3), padding=1),
        *_conv2d(384, 256, (3, 3), padding=1),
        *_conv2d(256, 256, (3, 3), padding=1),
        nn.MaxPool2d(3, stride=(2, 2)),  # [256, 5, 4]
        *_conv2d(256, 512, (5, 4)),  # [512, 1, 1]
    )


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, DIM))


def _conv3d(
    inputs: int, outputs: int, kernel: tuple[int, int, int], *, stride: int = 1, padding: int = 0
) -> Iterator[nn.Module]:
    step, border = (1, stride, stride), (0, padding, padding)
    yield nn.Conv3d(inputs, outputs, kernel, step, border)
    yield nn.BatchNorm3d(outputs)
    yield nn.ReLU(inplace=True)


def _conv2d(
    inputs: int, outputs: int, kernel: tuple[int, int], *, padding: int = 0
) -> Iterator[nn.Module]:
    yield nn.Conv2d(inputs, outputs, kernel, padding=padding)
    yield nn.BatchNorm2d(outputs)
    yield nn.ReLU(inplace=True)


@dataclass(frozen=True)
class LoadedSyncNet:
    """A compiled `SyncNet` on its device, run in single precision everywhere."""

    module: torch.jit.ScriptModule
    device: torch.device

    def embed_lips(self, pictures: NDArray[np.uint8], *, batch: int = 20) -> NDArray[np.float32]:
        """Embed every five consecutive pictures.

        Args:
            pictures: uint8 [T, 224, 224, 3], BGR; T >= 5.
            batch: windows computed at once; fewer where memory is short.

        Returns:
            float32 [T - 4, 1024].
        """

        def run(size: int) -> list[Tensor]:
            starts = range(0, len(pictures) - PICTURES + 1, size)
            cuts = (pictures[i : i + size + PICTURES - 1] for i in starts)
            return [self.module.lips(self._given(cut)).cpu() for cut in cuts]

        return self._run(run, batch)

    def embed_sound(self, cepstra: NDArray[np.float64], *, batch: int = 20) -> NDArray[np.float32]:
        """Embed windows of MFCC: [N, 13, 20] -> float32 [N, 1024]."""
        if cepstra.shape[1:] != (COEFFICIENTS, CEPSTRA):
            raise ValueError(f"windows of MFCC have the shape {cepstra.shape[1:]}")
        windows = np.asarray(cepstra, np.float32)

        def run(size: int) -> list[Tensor]:
            cuts = (windows[i : i + size] for i in range(0, len(windows), size))
            return [self.module.sound(self._given(cut)).cpu() for cut in cuts]

        return self._run(run, batch)

    def _given(self, values: NDArray[np.uint8] | NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def _run(self, run: Callable[[int], list[Tensor]], batch: int) -> NDArray[np.float32]:
        # TensorFloat-32, cuDNN's default, is good for three digits only.
        exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        with torch.inference_mode(), exact:
            parts, _ = halve_on_oom(run, batch)
        return np.asarray(torch.cat(parts).numpy(), np.float32)


def load_syncnet(path: str | Path, device: torch.device) -> LoadedSyncNet:
    """Load the public syncnet_v2.model, or weights of the same architecture.

    Raises:
        WeightsError: the file is missing, damaged, a zip bomb, holds code, or is of another
            architecture.
    """
    path = Path(path)
    state = read_state(path)
    network = SyncNet()
    _check_architecture(network, state, path)
    # Not strict about the counters only: everything else was compared.
    network.load_state_dict(state, strict=False)
    # Pooling is four times as fast in this order of memory on a CPU.
    network.netcnnlip.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    with warnings.catch_warnings():
        # torch.jit announces its retirement; the pinned version still has it.
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(network.float().eval().to(device))
        frozen = torch.jit.freeze(scripted, preserved_attrs=["lips", "sound"])
    return LoadedSyncNet(frozen, device)


def _check_architecture(network: SyncNet, state: Mapping[str, Tensor], path: Path) -> None:
    expected = {name: tuple(value.shape) for name, value in _weights(network.state_dict())}
    found = {name: tuple(value.shape) for name, value in _weights(state)}
    differing = sorted(expected.items() ^ found.items())
    if differing:
        name = differing[0][0]
        raise WeightsError(
            f"is no SyncNet v2: {name} has the shape {found.get(name)} instead of"
            f" {expected.get(name)}",
            path=path,
            hint=_FOREIGN,
        )


def _weights(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    return ((name, value) for name, value in state.items() if not name.endswith(_COUNTER))

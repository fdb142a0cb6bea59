"""Load a Wav2Lip generator, whichever size and width it has, and run it in batches."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lipsync_cli.device import halve_on_oom
from lipsync_cli.dubbing.generator.infer import infer_topology
from lipsync_cli.dubbing.generator.mel import BANDS, WINDOW_COLUMNS
from lipsync_cli.dubbing.generator.network import Generator
from lipsync_cli.dubbing.generator.topology import Topology
from lipsync_cli.errors import WeightsError
from lipsync_cli.weights.reading import read_state

Pictures = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Frames given to the network at once, unless they do not fit.
_MOST = 64


class LoadedGenerator:
    """A generator on its device, ready to draw.

    Attributes:
        topology: its layers.
        device: where it runs.
    """

    def __init__(self, network: Generator, topology: Topology, device: torch.device) -> None:
        self.topology = topology
        self.device = device
        self._dtype = torch.float16 if device.type == "cuda" else torch.float32
        self._module = _compiled(network, topology.size, device, self._dtype)
        self._most = _MOST

    @property
    def size(self) -> int:
        """Side of the pictures in px."""
        return self.topology.size

    def generate(self, target: Pictures, reference: Pictures, mel: Floats) -> Pictures:
        """Draw the lower half of faces anew, to the sound that belongs to them.

        The network gets what the reference implementation gives it: the target without its
        lower half first, then the reference; BGR over 255. Its answer is rounded, where the
        reference implementation truncates.

        Args:
            target: uint8 [B, S, S, 3] BGR, the faces to speak; their lower half is not seen.
            reference: uint8 [B, S, S, 3] BGR, how the person's lower half looks.
            mel: float32 [B, 80, 16], windows of `dubbing.mel.windows_at`.

        Returns:
            uint8 [B, S, S, 3] BGR, the upper half being drawn anew as well.

        Raises:
            LipsyncError: not even one face fits into the device's memory.
        """
        drawn = np.empty_like(target)
        first = 0
        while first < len(target):
            asked = min(self._most, len(target) - first)

            def run(count: int, first: int = first) -> Pictures:
                part = slice(first, first + count)
                return self._run(target[part], reference[part], mel[part])

            made, fitted = halve_on_oom(run, asked)
            self._most = fitted if fitted < asked else self._most
            drawn[first : first + len(made)] = made
            first += len(made)
        return drawn

    def _run(self, target: Pictures, reference: Pictures, mel: Floats) -> Pictures:
        faces = network_input(target, reference)  # [B, S, S, 6]
        with torch.inference_mode():
            # Channels stay last in memory.
            pixels = faces.to(self.device).permute(0, 3, 1, 2).to(self._dtype) / 255
            sound = torch.from_numpy(mel).unsqueeze(1).to(self.device, self._dtype)
            drawn = self._module(sound, pixels)  # [B, 3, S, S]
            levels = (drawn.float() * 255).round().to(torch.uint8)
        return np.asarray(levels.permute(0, 2, 3, 1).cpu().numpy(), np.uint8)


def load_generator(path: Path, device: torch.device) -> LoadedGenerator:
    """Read a generator of any public form and size, and make it ready to run.

    In half precision on a graphics card.

    Raises:
        WeightsError: as `read_network`.
    """
    network = read_network(path)
    return LoadedGenerator(network, network.topology, device)


def read_network(path: Path) -> Generator:
    """Read a generator of any public form and size, in single precision.

    Raises:
        WeightsError: the file is missing, damaged, or no generator that is supported; the
            message says what it is instead, if known.
    """
    state = read_state(path)
    try:
        topology = infer_topology({name: tuple(each.shape) for name, each in state.items()})
    except WeightsError as error:
        raise WeightsError(error.message, path=path, hint=error.hint) from None
    network = Generator(topology)
    network.load_state_dict(state)
    return network


def network_input(target: Pictures, reference: Pictures) -> torch.Tensor:
    """Put faces [B, S, S, 3] and how the person looks, likewise, together for a network.

    Returns:
        uint8 [B, S, S, 6], the lower half of the first three channels being 0.
    """
    masked = target.copy()
    masked[:, target.shape[1] // 2 :] = 0
    return torch.from_numpy(np.concatenate((masked, reference), axis=3))


def _compiled(
    network: Generator, size: int, device: torch.device, dtype: torch.dtype
) -> torch.jit.ScriptModule:
    """Fold, trace and freeze a network."""
    network.eval()
    network.fold()
    network.to(device, dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sound = torch.zeros(2, 1, BANDS, WINDOW_COLUMNS, device=device, dtype=dtype)
    faces = torch.zeros(2, 6, size, size, device=device, dtype=dtype)
    faces = faces.contiguous(memory_format=torch.channels_last)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            network, (sound, faces), check_trace=False
        )
        module: torch.jit.ScriptModule = torch.jit.freeze(traced)
    return module

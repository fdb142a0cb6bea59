"""Generators that can be trained, and what each of them is shown and hears."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lipsync_cli.dubbing.generator import lipgan, speech2vid
from lipsync_cli.dubbing.generator.designs import design
from lipsync_cli.dubbing.generator.mel import REFERENCE_LEAD_S, WINDOW_COLUMNS
from lipsync_cli.dubbing.generator.network import Generator
from lipsync_cli.training.faces.pack import CROP
from lipsync_cli.training.generator.plan import Architecture, GeneratorPlan
from lipsync_cli.training.generator.samples import Hearing

HEARING: dict[Architecture, Hearing] = {
    "wav2lip": Hearing(-REFERENCE_LEAD_S, WINDOW_COLUMNS),
    "lipgan": Hearing(lipgan.START_S, lipgan.COLUMNS),
    "speech2vid": Hearing(speech2vid.START_S, speech2vid.COLUMNS),
}


class TrainedGenerator(nn.Module):
    """A generator of any architecture, as training sees it: windows in, windows out.

    Attributes:
        architecture: which one.
        size: side of the pictures it draws itself.
        network: the generator itself.
    """

    def __init__(self, plan: GeneratorPlan) -> None:
        super().__init__()
        self.architecture = plan.architecture
        self.size = plan.size if plan.architecture == "wav2lip" else CROP
        self.network = _built(plan)

    @property
    def hearing(self) -> Hearing:
        """What it hears of a picture."""
        return HEARING[self.architecture]

    def forward(self, target: Tensor, reference: Tensor, sound: Tensor) -> Tensor:
        """Draw windows; pictures of another size are reduced before and enlarged after it.

        Args:
            target: uint8 [B, T, 96, 96, 3] BGR, whose lower half is not seen.
            reference: uint8 [B, 5, 96, 96, 3] BGR, the same person at other times.
            sound: [B, T, 80, C].

        Returns:
            [B, T, 3, 96, 96] in [0, 1].
        """
        windows, frames = target.shape[:2]
        given = (resized(pixels(each), self.size) for each in (target, reference))
        faces = self._shown(*given)  # [B, T, 6 or 15, S, S]
        drawn: Tensor = self.network(sound.flatten(0, 1).unsqueeze(1), faces.flatten(0, 1))
        drawn = drawn.float().reshape(windows, frames, *drawn.shape[1:])  # [B, T, 3, S, S]
        return resized(drawn, target.shape[-2])

    def _shown(self, target: Tensor, reference: Tensor) -> Tensor:
        windows, frames = target.shape[:2]
        if self.architecture == "speech2vid":
            together = reference.flatten(1, 2).unsqueeze(1)  # [B, 1, 15, 96, 96]
            return together.expand(windows, frames, *together.shape[2:])
        masked = target.clone()
        masked[..., target.shape[-2] // 2 :, :] = 0
        other = reference[:, :1].expand_as(target)
        order = (other, masked) if self.architecture == "lipgan" else (masked, other)
        return torch.cat(order, dim=2)


@torch.no_grad()
def draw_clip(
    model: TrainedGenerator,
    crops: NDArray[np.uint8],
    references: NDArray[np.int64],
    sound: NDArray[np.float32],
    *,
    together: int = 32,
) -> NDArray[np.uint8]:
    """Draw all pictures of a clip to their sounds.

    Args:
        crops: uint8 [T, 96, 96, 3] BGR.
        references: [T, 5], which of them each picture is drawn after.
        sound: [T, 80, C].

    Returns:
        uint8 [T, 96, 96, 3] BGR.
    """
    device = next(model.parameters()).device
    model.eval()
    made = []
    for first in range(0, len(crops), together):
        part = slice(first, first + together)
        given = (crops[part, None], crops[references[part]], sound[part, None])
        drawn = model(*(torch.from_numpy(each).to(device) for each in given))[:, 0]  # [n, 3, ...]
        made.append((drawn * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(made)


def pixels(faces: Tensor) -> Tensor:
    """uint8 [..., H, W, 3] -> float [..., 3, H, W] in [0, 1]."""
    return faces.movedim(-1, -3).float() / 255


def resized(faces: Tensor, side: int) -> Tensor:
    """Resample pictures [..., 3, S, S] to another side, without aliasing."""
    if faces.shape[-1] == side:
        return faces
    flat = faces.flatten(0, -4)
    made = functional.interpolate(flat, (side, side), mode="bilinear", antialias=True)
    return made.reshape(*faces.shape[:-2], side, side)


def _built(plan: GeneratorPlan) -> nn.Module:
    if plan.architecture == "lipgan":
        return lipgan.LipGan(plan.width)
    if plan.architecture == "speech2vid":
        return speech2vid.Speech2Vid(plan.width)
    widths = plan.encoder, plan.audio, plan.decoder
    return Generator(design(*widths, size=plan.size, residuals=plan.residuals))

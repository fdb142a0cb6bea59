"""From packed stretches to what an expert sees and hears, varied on the device.

All that is random is drawn on the CPU, so that a run is the same wherever it is made.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lipsync_cli.training.expert.samples import COLUMNS, FRAMES, Stretches
from lipsync_cli.training.faces.pack import CROP, SIDE, SILENCE

# Px, shares and radians that keep the crop inside of the packed picture.
_SHIFT, _ZOOM, _TURN = 4.0, 0.05, 0.05
_GAMMA, _GAIN, _HUE = 0.25, 0.15, 0.08
_BLURRED = 0.3
_MEL_PER_DB, _GAIN_DB = 0.08, 6.0
_PITCH_MASK, _TIME_MASK, _MASKED = 12, 8, 0.5
# A window whose own sound is fainter on average may well be silent.
_FAINT = -2.5


@dataclass(frozen=True)
class Pairs:
    """What an expert is given of stretches.

    Attributes:
        halves: [B * P, 15, 48, 96] in [0, 1].
        mel: [B * S, 1, 80, 16].
        silent: bool [B, S], the sound was taken away.
        faint: bool [B, S], it is no louder than silence anyway.
    """

    halves: Tensor
    mel: Tensor
    silent: Tensor
    faint: Tensor


def plain_pairs(stretches: Stretches) -> Pairs:
    """The windows as they are."""
    look = _crop(torch.zeros(4, len(stretches)), torch.ones(len(stretches)))
    halves = _windows(_lower_halves(stretches.faces, look))
    mel = _sounds(stretches.mel, stretches.starts)
    return _pairs(halves, mel, torch.zeros_like(stretches.known))


def varied_pairs(stretches: Stretches, silence: float, generator: torch.Generator) -> Pairs:
    """The windows of each stretch in one random look and loudness.

    Args:
        silence: share of sounds that are taken away.
        generator: of the CPU.
    """
    count, device = len(stretches), stretches.faces.device
    look = _crop(_uniform(4, count, generator), _signs(count, generator))
    faces = _lower_halves(stretches.faces, look)
    faces = _blurred(_coloured(faces, generator), generator)
    mel = _masked(_louder(stretches.mel, generator), generator)
    silent = torch.rand(stretches.known.shape, generator=generator).to(device) < silence
    return _pairs(_windows(faces), _sounds(mel, stretches.starts), silent)


def _pairs(halves: Tensor, mel: Tensor, silent: Tensor) -> Pairs:
    faint = mel.mean((2, 3)) < _FAINT  # [B, S]
    mel = mel.masked_fill(silent[..., None, None], SILENCE)
    return Pairs(halves.flatten(0, 1), mel.flatten(0, 1).unsqueeze(1), silent, faint)


def _crop(change: Tensor, sign: Tensor) -> Tensor:
    """Maps packed picture <- lower half, both -1 to 1: [B, 2, 3].

    Args:
        change: [4, B] in -1 to 1: right, down, zoom and turn.
        sign: [B], -1 to exchange left and right.
    """
    zoom, turn = 1 + _ZOOM * change[2], _TURN * change[3]
    across, along = zoom * CROP / SIDE, zoom * CROP / 2 / SIDE  # half the size of the half
    cos, sin = torch.cos(turn), torch.sin(turn)
    middle = _SHIFT * change[:2] + torch.tensor([[0.0], [CROP / 4]])
    x, y = middle * 2 / SIDE
    rows = ((sign * across * cos, -along * sin, x), (sign * across * sin, along * cos, y))
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def _lower_halves(faces: Tensor, look: Tensor) -> Tensor:
    """uint8 [B, T, 112, 112, 3] -> [B, T, 3, 48, 96] in [0, 1]."""
    planes = faces.permute(0, 1, 4, 2, 3).flatten(1, 2).float() / 255  # [B, T * 3, 112, 112]
    size = [len(faces), planes.shape[1], CROP // 2, CROP]
    grid = functional.affine_grid(look.to(faces.device), size, align_corners=False)
    halves = functional.grid_sample(planes, grid, padding_mode="border", align_corners=False)
    return halves.view(len(faces), -1, 3, *halves.shape[2:])


def _windows(halves: Tensor) -> Tensor:
    """[B, P + 4, 3, 48, 96] -> [B, P, 15, 48, 96]."""
    count = halves.shape[1] - FRAMES + 1
    return torch.cat([halves[:, i : i + count] for i in range(FRAMES)], dim=2)


def _sounds(mel: Tensor, starts: Tensor) -> Tensor:
    """[B, 80, L] and first columns [B, S] -> [B, S, 80, 16]."""
    columns = starts[..., None] + torch.arange(COLUMNS, device=mel.device)  # [B, S, 16]
    clips = torch.arange(len(mel), device=mel.device)[:, None, None]
    return mel.transpose(1, 2)[clips, columns].transpose(2, 3)


def _coloured(faces: Tensor, generator: torch.Generator) -> Tensor:
    """Another gamma, gain of each colour, and mixture of them."""
    count = len(faces)
    gamma = 1 + _GAMMA * _uniform(1, count, generator)[0]
    gain = 1 + _GAIN * _uniform(3, count, generator).T  # [B, 3]
    mixture = torch.eye(3) + _HUE * _uniform(9, count, generator).T.reshape(-1, 3, 3)
    # Grey stays grey but for the gains.
    mixture = gain[..., None] * mixture / mixture.sum(2, keepdim=True)
    curved = faces.clamp(1e-4, 1) ** gamma.to(faces.device)[:, None, None, None, None]
    mixed = torch.einsum("bij,btjhw->btihw", mixture.to(faces.device), curved)
    return mixed.clamp(0, 1)


def _blurred(faces: Tensor, generator: torch.Generator) -> Tensor:
    chosen = torch.rand(len(faces), generator=generator) < _BLURRED
    amount = (torch.rand(len(faces), generator=generator) * chosen).to(faces.device)
    soft = functional.avg_pool2d(
        faces.flatten(0, 2).unsqueeze(1), 3, stride=1, padding=1, count_include_pad=False
    )
    return torch.lerp(faces, soft.view_as(faces), amount[:, None, None, None, None])


def _louder(mel: Tensor, generator: torch.Generator) -> Tensor:
    """Another gain; what is silent stays so."""
    gain = _MEL_PER_DB * _GAIN_DB * _uniform(1, len(mel), generator)[0]
    moved = mel + gain.to(mel.device)[:, None, None]
    return torch.where(mel > SILENCE, moved.clamp(SILENCE, -SILENCE), mel)


def _masked(mel: Tensor, generator: torch.Generator) -> Tensor:
    """Silence a band of pitches and a moment, the same for all windows that hear them."""
    for dim, most in ((1, _PITCH_MASK), (2, _TIME_MASK)):
        size = mel.shape[dim]
        share = torch.rand(3, len(mel), generator=generator)
        length = (share[0] * (most + 1)).floor() * (share[1] < _MASKED)
        begin = (share[2] * (size - length)).floor()
        place = torch.arange(size)
        inside = (place >= begin[:, None]) & (place < (begin + length)[:, None])  # [B, size]
        mel = mel.masked_fill(inside.to(mel.device).unsqueeze(3 - dim), SILENCE)
    return mel


def _uniform(rows: int, count: int, generator: torch.Generator) -> Tensor:
    """Values in -1 to 1: [rows, count]."""
    return 2 * torch.rand(rows, count, generator=generator) - 1


def _signs(count: int, generator: torch.Generator) -> Tensor:
    """1, or -1 for left and right exchanged: [count]."""
    return 1 - 2 * torch.randint(2, (count,), generator=generator).float()

"""What a generator is worth to one person: near the true mouth, and moved by the sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lipsync_cli.device import halve_on_oom
from lipsync_cli.dubbing.compositing.warp import Affine, chain, inverse
from lipsync_cli.dubbing.generator.adapt_material import Floats, Material, Pictures, Rows
from lipsync_cli.dubbing.generator.loading import network_input
from lipsync_cli.dubbing.generator.losses import mouth_box
from lipsync_cli.dubbing.generator.network import Generator
from lipsync_cli.dubbing.generator.wav2lip import CropGeometry
from lipsync_cli.faces._cv2 import load_cv2
from lipsync_cli.faces.crop import CROP_SIDE, mouth_geometry
from lipsync_cli.sync.encoders import VISUAL_CONTEXT
from lipsync_cli.sync.model_file import LoadedModel

_TOGETHER = 32
_SEED = 7
# Lags of the curve whose height at 0 is asked for.
_REACH, _LAG_S = 15, 0.04


@dataclass(frozen=True)
class Figures:
    """How a generator draws some stretches.

    Attributes:
        error: mean absolute difference to the true mouths, in grey levels of 255.
        response: mean absolute difference of mouths drawn to their own sound and to that of
            another moment, likewise.
        height: mean cosine of lips and sound by the sync model at no lag, over the median of
            all lags within 0.6 s; None where no stretch is long enough.
    """

    error: float
    response: float
    height: float | None = None


@dataclass(frozen=True)
class Needed:
    """What must have come of learning, in stretches that were held out.

    Attributes:
        error: share by which the mouth's error must have fallen.
        response: share of how much the sound moves the lips that must be left.
        height, least_height: share, and cosine, by which the sync model's height may have
            fallen; whichever is more.
    """

    error: float = 0.03
    response: float = 0.75
    height: float = 0.1
    least_height: float = 0.03

    def reason_against(self, before: Figures, after: Figures) -> str | None:
        """Say why what was learnt is not kept; None where it is."""
        levels = f"{before.error:.1f} to {after.error:.1f} grey levels"
        if after.error > (1 - self.error) * before.error:
            return f"on held-out seconds its error in the mouth went from {levels}"
        if not self.keeps_response(before, after):
            moved = f"{before.response:.2f} to {after.response:.2f} grey levels"
            return f"on held-out seconds the sound moved its lips less: {moved}"
        if before.height is None or after.height is None:
            return "no held-out second was long enough to ask whether its lips follow"
        if after.height < before.height - max(self.least_height, self.height * before.height):
            fit = f"{before.height:.3f} to {after.height:.3f}"
            return f"on held-out seconds its lips followed the sound less: cosine {fit}"
        return None

    def keeps_response(self, before: Figures, after: Figures) -> bool:
        """Whether the sound still moves the lips."""
        return after.response >= self.response * before.response


def draw_with(network: Generator, target: Pictures, reference: Pictures, mel: Floats) -> Tensor:
    """Draw faces [n, S, S, 3] to sounds [n, 80, 16]: float [n, 3, S, S] in [0, 1]."""
    first = next(network.parameters())
    faces = network_input(target, reference).to(first.device).permute(0, 3, 1, 2)
    # Channels stay last in memory.
    sound = torch.from_numpy(np.ascontiguousarray(mel)).unsqueeze(1).to(first.device)
    drawn: Tensor = network(sound, faces.to(first.dtype) / 255)
    return drawn


def figures(
    network: Generator,
    material: Material,
    stretches: Sequence[Rows],
    model: LoadedModel | None = None,
) -> Figures:
    """Measure a network in stretches of frames that it has not learnt from.

    The looks that it is shown are from elsewhere, and always the same.

    Args:
        model: asked for the height, which costs more than the rest.
    """
    rows = np.concatenate(stretches)
    # Another moment of the same speech, as far away as there is one.
    strange = np.roll(rows, len(rows) // 2)
    references = material.references(rows, np.random.default_rng(_SEED))
    parts, together, first = [], _TOGETHER, 0
    while first < len(rows):

        def run(count: int, first: int = first) -> _Part:
            part = slice(first, first + count)
            return _measured(network, material, rows[part], strange[part], references[part])

        made, together = halve_on_oom(run, min(together, len(rows) - first))
        parts.append(made)
        first += len(made.error)
    error, response = (np.concatenate([getattr(p, n) for p in parts]) for n in _SUMS)
    mouths = np.concatenate([part.mouths for part in parts])
    height = None if model is None else sync_height(mouths, material, stretches, model)
    return Figures(float(error.mean()), float(response.mean()), height)


_SUMS = ("error", "response")


@dataclass(frozen=True, eq=False)
class _Part:
    error: Floats
    response: Floats
    mouths: Pictures


@torch.no_grad()
def _measured(
    network: Generator, material: Material, rows: Rows, strange: Rows, references: Rows
) -> _Part:
    target, look = material.crops[rows], material.crops[references]
    own = draw_with(network, target, look, material.mel[rows]).cpu()
    other = draw_with(network, target, look, material.mel[strange]).cpu()
    real = torch.from_numpy(target).permute(0, 3, 1, 2) / 255
    box = (..., *mouth_box(target.shape[1]))
    error, response = (
        np.asarray(255 * (own[box] - each[box]).abs().mean((1, 2, 3)).numpy())
        for each in (real, other)
    )
    drawn = (own * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    landmarks = material.frames.landmarks[rows]
    mouths = [seen_mouth(*each) for each in zip(drawn, landmarks, strict=True)]
    return _Part(error, response, np.stack(mouths))


def seen_mouth(crop: Pictures, landmarks: npt.ArrayLike) -> Pictures:
    """Cut out of a crop [S, S, 3] what the sync model sees of it: uint8 [64, 64], grey.

    Args:
        landmarks: [5, 2] of the face that the crop was placed on, in px of the source.
    """
    cv2: Any = load_cv2()
    geometry = mouth_geometry(landmarks)
    zoom = CROP_SIDE / geometry.side
    cos, sin = zoom * np.cos(geometry.angle), zoom * np.sin(geometry.angle)
    level: Affine = np.array([[cos, sin, 0.0], [-sin, cos, 0.0]])
    level[:, 2] = CROP_SIDE / 2 - level[:, :2] @ geometry.centre
    matrix = chain(level, inverse(CropGeometry(len(crop)).matrix(landmarks)))
    size = (CROP_SIDE, CROP_SIDE)
    mouth = cv2.warpAffine(
        crop, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(cv2.cvtColor(mouth, cv2.COLOR_BGR2GRAY), np.uint8)


def sync_height(
    mouths: Pictures, material: Material, stretches: Sequence[Rows], model: LoadedModel
) -> float | None:
    """How much better mouths fit their sound at no lag than at others; see `Figures`.

    Args:
        mouths: uint8 [n, 64, 64], of all frames of the stretches, in their order.
    """
    ends = np.cumsum([len(rows) for rows in stretches])
    curves = []
    for rows, end in zip(stretches, ends.tolist(), strict=True):
        if len(rows) > 2 * VISUAL_CONTEXT:
            pts_s = material.frames.pts_s[rows][VISUAL_CONTEXT:-VISUAL_CONTEXT]
            curves.append(_curves(mouths[end - len(rows) : end], pts_s, material, model))
    if not curves:
        return None
    curve = np.concatenate(curves).mean(0)  # [31]
    return float(curve[_REACH] - np.median(curve))


@torch.inference_mode()
def _curves(
    mouths: Pictures, pts_s: npt.NDArray[np.float64], material: Material, model: LoadedModel
) -> Floats:
    """Cosine of each picture with the sound at each lag: [n - 10, 31]."""
    batch = torch.from_numpy(mouths).unsqueeze(0).to(model.device)
    seen = model.module.embed_visual(batch)[0].float().cpu().numpy()  # [n - 10, 256]
    lags_s = np.arange(-_REACH, _REACH + 1) * _LAG_S
    heard, _ = material.sound.speech.at((pts_s[:, None] + lags_s).ravel())
    return np.asarray(np.einsum("nd,nkd->nk", seen, heard.reshape(*seen.shape[:1], -1, 256)))

"""How far drawn faces are from real ones, and how well they fit their sound."""

from __future__ import annotations

from torch import Tensor, nn

# The mouth and the chin's way of the crop, as shares of its height and width.
MOUTH_ROWS, MOUTH_COLUMNS = (0.54, 0.90), (0.20, 0.80)
# The logarithm of a cosine of 0 is infinite.
_LEAST_COSINE = 1e-6


def mouth_box(side: int) -> tuple[slice, slice]:
    """Rows and columns of the mouth in a crop of this side."""
    rows, columns = (
        slice(*(round(share * side) for share in part)) for part in (MOUTH_ROWS, MOUTH_COLUMNS)
    )
    return rows, columns


def l1(drawn: Tensor, real: Tensor) -> Tensor:
    """Mean absolute difference of pictures [..., 3, S, S]."""
    mean: Tensor = (drawn - real).abs().mean()
    return mean


def mouth_l1(drawn: Tensor, real: Tensor) -> Tensor:
    """The same of the mouth's box."""
    rows, columns = mouth_box(drawn.shape[-1])
    return l1(drawn[..., rows, columns], real[..., rows, columns])


def gradient_l1(drawn: Tensor, real: Tensor) -> Tensor:
    """Mean absolute difference of the steps between neighbours, down and across."""
    apart = drawn - real
    mean: Tensor = apart.diff(dim=-1).abs().mean() + apart.diff(dim=-2).abs().mean()
    return mean


def lower_halves(faces: Tensor) -> Tensor:
    """Windows [B, T, 3, S, S] -> [B, T, 3, S / 2, S]."""
    return faces[..., faces.shape[-2] // 2 :, :]


def expert_cosine(expert: nn.Module, faces: Tensor, mel: Tensor) -> Tensor:
    """How well windows [B, 5, 3, 96, 96] fit sounds [B, 80, 16] to an expert: [B] in [0, 1]."""
    # The five pictures one after the other, the colours of each together.
    seen, heard = expert(lower_halves(faces).flatten(1, 2), mel.unsqueeze(1))
    cosine: Tensor = (seen.float() * heard.float()).sum(1)
    return cosine


def sync_loss(cosine: Tensor, voiced: Tensor) -> Tensor:
    """Cross-entropy of cosines [B] with 1 (Prajwal et al. 2020, equation 4).

    Windows whose sound was taken away do not count: an expert has not learnt silence.
    """
    lost = -cosine.clamp(_LEAST_COSINE, 1).log()
    return (lost * voiced).sum() / voiced.sum().clamp(min=1)

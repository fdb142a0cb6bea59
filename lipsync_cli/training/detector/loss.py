"""Targets and losses of the face detector.

A face belongs to the cells within 1.5 strides of its centre, on the levels that suit its
size. Objectness is taught as a yes or no, class as the overlap that the predicted box reaches
(quality focal loss, Li et al. 2020); boxes by EIoU (Zhang et al. 2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from lipsync_cli.training.detector.augment import box_sizes
from lipsync_cli.training.detector.labels import Floats, Labels
from lipsync_cli.training.detector.model import STRIDES, Outputs

# Face sizes (pixels) taught on each level, and the wider range that is not punished there.
TAUGHT = ((0.0, 40.0), (28.0, 100.0), (72.0, np.inf))
TOLERATED = ((0.0, 60.0), (20.0, 140.0), (48.0, np.inf))
BOX_WEIGHT, LANDMARK_WEIGHT = 2.0, 6.0
NEAR_WEIGHT = 0.3


@dataclass(frozen=True)
class Targets:
    """What each cell of each picture should answer; shapes [..., cells, *]."""

    positive: Tensor  # bool
    weight: Tensor  # of the scores' losses
    boxes: Tensor  # [..., 4] x0, y0, x1, y1
    landmarks: Tensor  # [..., 10], NaN unknown


def cell_grid(height: int, width: int) -> tuple[Floats, Floats]:
    """Origins [cells, 2] (x, y) and strides [cells] of all cells of a padded picture."""
    origins, strides = [], []
    for stride in STRIDES:
        rows, columns = np.mgrid[0 : height // stride, 0 : width // stride]
        origins.append(np.stack([columns, rows], axis=-1).reshape(-1, 2) * stride)
        strides.append(np.full(rows.size, stride))
    return np.concatenate(origins).astype(np.float32), np.concatenate(strides).astype(np.float32)


def assign(labels: Labels, side: int) -> Targets:
    """Share out the faces of one square picture among the cells."""
    origins, strides = cell_grid(side, side)
    centres = (origins + strides[:, None] / 2).astype(np.float32)
    weight = np.ones(len(centres), np.float32)
    weight[_inside(centres, labels.boxes[labels.ignored], 1.15).any(axis=1)] = 0.0
    boxes = labels.boxes[~labels.ignored]
    landmarks = labels.landmarks[~labels.ignored].reshape(-1, 10)
    if not len(boxes):
        empty = np.zeros((len(centres), 14), np.float32)
        return _targets(np.zeros(len(centres), dtype=bool), weight, empty[:, :4], empty[:, 4:])
    sizes = box_sizes(boxes)
    distance = np.abs(centres[:, None] - (boxes[:, :2] + boxes[:, 2:]) / 2).max(axis=-1)
    radius = np.clip(0.5 * sizes[None], 0.5 * strides[:, None], 1.5 * strides[:, None])
    near = distance <= radius
    taught = near & _suits(sizes, strides, TAUGHT)
    positive = taught.any(axis=1)
    weight[~positive & (near & _suits(sizes, strides, TOLERATED)).any(axis=1)] = 0.0
    ring = (distance <= 1.7 * radius) & _suits(sizes, strides, TOLERATED)
    weight[~positive & ring.any(axis=1)] *= NEAR_WEIGHT
    weight[positive] = 1.0
    owner = np.where(taught, distance / sizes, np.inf).argmin(axis=1)
    return _targets(positive, weight, boxes[owner], landmarks[owner])


def _targets(
    positive: npt.NDArray[np.bool_], weight: Floats, boxes: Floats, landmarks: Floats
) -> Targets:
    return Targets(
        torch.from_numpy(positive),
        torch.from_numpy(weight),
        torch.from_numpy(boxes.astype(np.float32)),
        torch.from_numpy(landmarks.astype(np.float32)),
    )


def _inside(points: Floats, boxes: Floats, enlarged: float) -> npt.NDArray[np.bool_]:
    centres, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    return np.asarray((np.abs(points[:, None] - centres) <= half * enlarged + 2.0).all(axis=-1))


def _suits(
    sizes: Floats, strides: Floats, ranges: tuple[tuple[float, float], ...]
) -> npt.NDArray[np.bool_]:
    result = np.zeros((len(strides), len(sizes)), dtype=bool)
    for stride, (low, high) in zip(STRIDES, ranges, strict=True):
        result[strides == stride] = (sizes >= low) & (sizes < high)
    return result


def stack(targets: list[Targets]) -> Targets:
    return Targets(
        torch.stack([t.positive for t in targets]),
        torch.stack([t.weight for t in targets]),
        torch.stack([t.boxes for t in targets]),
        torch.stack([t.landmarks for t in targets]),
    )


def decode(outputs: Outputs, side: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Class and objectness logits [B, cells], boxes [B, cells, 4], landmarks [B, cells, 10]."""
    cls, obj, bbox, kps = (
        torch.cat([outputs[f"{name}_{stride}"] for stride in STRIDES], dim=1)
        for name in ("cls", "obj", "bbox", "kps")
    )
    origins, strides = (torch.from_numpy(values) for values in cell_grid(side, side))
    step = strides[:, None]
    centre = origins + bbox[..., :2] * step
    half = bbox[..., 2:].clamp(-4.0, 6.0).exp() * step / 2
    landmarks = origins.repeat(1, 5) + kps * step
    return cls[..., 0], obj[..., 0], torch.cat([centre - half, centre + half], -1), landmarks


def detector_loss(outputs: Outputs, targets: Targets, side: int) -> dict[str, Tensor]:
    """Weighted parts of the loss; their sum is what is minimised."""
    cls, obj, boxes, landmarks = decode(outputs, side)
    positive = targets.positive
    count = positive.sum().clamp(min=1)
    wanted = targets.boxes[positive]
    overlap, distance = _eiou(boxes[positive], wanted)
    quality = torch.zeros_like(cls).masked_scatter(positive, overlap.detach().clamp(0, 1))
    extent = (wanted[:, 2:] - wanted[:, :2]).prod(-1).sqrt()[:, None]
    error = (landmarks[positive] - targets.landmarks[positive]) / extent
    known = error.isfinite()
    error = F.smooth_l1_loss(
        error[known], torch.zeros_like(error[known]), beta=0.02, reduction="sum"
    )
    return {
        "obj": _focal(obj, positive.float(), targets.weight) / count,
        "cls": _focal(cls, quality, targets.weight) / count,
        "box": BOX_WEIGHT * distance.sum() / count,
        "landmarks": LANDMARK_WEIGHT * error / known.sum().clamp(min=1),
    }


def _focal(logits: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    cross_entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return ((logits.sigmoid() - wanted).square() * cross_entropy * weight).sum() * 2.0


def _eiou(boxes: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Overlap and EIoU distance of box pairs [n, 4]."""
    low = torch.maximum(boxes[:, :2], wanted[:, :2])
    high = torch.minimum(boxes[:, 2:], wanted[:, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    extent, wanted_extent = boxes[:, 2:] - boxes[:, :2], wanted[:, 2:] - wanted[:, :2]
    overlap = shared / (extent.prod(-1) + wanted_extent.prod(-1) - shared).clamp(min=1e-6)
    hull = torch.maximum(boxes[:, 2:], wanted[:, 2:]) - torch.minimum(boxes[:, :2], wanted[:, :2])
    apart = (boxes[:, :2] + boxes[:, 2:] - wanted[:, :2] - wanted[:, 2:]) / 2
    off_centre = apart.square().sum(-1) / hull.square().sum(-1).clamp(min=1e-6)
    off_size = ((extent - wanted_extent).square() / hull.square().clamp(min=1e-6)).sum(-1)
    return overlap, 1.0 - overlap + off_centre + off_size

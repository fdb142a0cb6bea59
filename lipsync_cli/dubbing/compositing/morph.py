"""Bend one face towards another by dense optical flow, so that nothing is seen twice."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.canvas import REACH, Canvas
from lipsync_cli.dubbing.compositing.warp import blur, resize, resized
from lipsync_cli.faces._cv2 import load_cv2

Floats = npt.NDArray[np.float32]

# Flow is sought at this size; it is smooth, and its cost is that of the area.
_SIDE = 128
# Lips move no further from one run to the other; what does was not found again.
_FARTHEST = 0.2
# In distances of eyes and mouth: smoothness of the flow, and the finest light that cross-fades.
_SMOOTH, _COARSE = 0.05, 0.1
# Part of a square's rows and columns, see `bent`.
_SEEN = (0.28, 0.96), (0.12, 0.88)
# Contrast of a face in which flow is sought, in grey levels.
_CONTRAST = 45.0


def morph(first: Canvas, second: Canvas, share: float) -> Canvas:
    """Show `first` with part of the shape and the light of `second`, both squares of one size.

    Both are bent along the flow between them until they meet. Only what is coarse is then
    mixed: two pictures of one skin average out to a smooth one, so detail is all `first`'s.

    Args:
        share: of the second, 0 to 1.
    """
    flow = dense_flow(first.planes[0], second.planes[0])  # [128, 128, 2]
    near, far = (resized(face.planes, _SIDE) for face in (first, second))
    light = bent(far, (1 - share) * flow) - bent(near, -share * flow)
    sigma = _COARSE / REACH * _SIDE
    coarse = np.stack([np.float32(share) * blur(plane, sigma) for plane in light])
    planes = bent(first.planes, -share * flow)
    return first.with_planes(planes + resized(coarse, first.side))


def dense_flow(first: Floats, second: Floats) -> Floats:
    """Where each place of a plane lies in another: [128, 128, 2], x and y as shares of a side.

    Dense inverse search (Kroeger et al. 2016) on planes of equal light and contrast.
    """
    small = [_levelled(resize(plane, (_SIDE, _SIDE))) for plane in (first, second)]
    flow = blur(_finder().calc(*small, None), _SMOOTH / REACH * _SIDE)
    length = np.linalg.norm(flow, axis=-1, keepdims=True)
    most = np.float32(_FARTHEST / REACH * _SIDE)
    return np.asarray(flow * (most / np.maximum(length, most)) / _SIDE, np.float32)


def bent(planes: Floats, flow: Floats) -> Floats:
    """Take each pixel of planes [n, side, side] from where a flow of any size points to.

    Only where a mask and the ring round it can lie; the rest of a square is never shown.

    Args:
        planes: the first is bent with all of its detail.
        flow: [m, m, 2], x and y as shares of a side.
    """
    cv2: Any = load_cv2()
    side = planes.shape[-1]
    rows, columns = (slice(*(round(share * side) for share in part)) for part in _SEEN)
    away = resize(flow, (side, side))[rows, columns] * np.float32(side)
    x = np.arange(side, dtype=np.float32)[columns] + away[..., 0]
    y = np.arange(side, dtype=np.float32)[rows, None] + away[..., 1]
    moved, methods = planes.copy(), (cv2.INTER_CUBIC, cv2.INTER_LINEAR)
    for number, plane in enumerate(planes):
        bend = cv2.remap(plane, x, y, methods[min(number, 1)], borderMode=cv2.BORDER_REPLICATE)
        moved[number, rows, columns] = bend
    return moved


def _levelled(plane: Floats) -> npt.NDArray[np.uint8]:
    middle, spread = float(plane.mean()), max(float(plane.std()), 1e-3)
    levelled = 128 + _CONTRAST / spread * (plane - middle)
    return np.asarray(np.clip(levelled, 0, 255), np.uint8)


@lru_cache(maxsize=1)
def _finder() -> Any:
    cv2: Any = load_cv2()
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

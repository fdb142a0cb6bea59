"""Bend one face towards another by dense optical flow, so that nothing is seen twice."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.bending import SMALL, Bent
from lipsync_cli.dubbing.compositing.canvas import REACH
from lipsync_cli.dubbing.compositing.warp import blur, resize
from lipsync_cli.faces._cv2 import load_cv2

Floats = npt.NDArray[np.float32]

# Lips move no further from one run to the other; what does was not found again.
_FARTHEST = 0.2
# In distances of eyes and mouth: smoothness of the flow, and the finest light that cross-fades.
_SMOOTH, _COARSE = 0.05, 0.1
# Contrast of a face in which flow is sought, in grey levels.
_CONTRAST = 45.0


def morph(first: Bent, second: Bent, share: float) -> Bent:
    """Show `first` with part of the shape and the light of `second`.

    Both are bent along the flow between them until they meet. Only what is coarse is then
    mixed: two pictures of one skin average out to a smooth one, so detail is all `first`'s.

    Args:
        share: of the second, 0 to 1.
    """
    flow = dense_flow(first.small()[0], second.small()[0])  # [128, 128, 2]
    near, far = first.by(-share * flow), second.by((1 - share) * flow)
    sigma = _COARSE / REACH * SMALL
    coarse = [np.float32(share) * blur(plane, sigma) for plane in far.small() - near.small()]
    return near.lit(np.stack(coarse))


def dense_flow(first: Floats, second: Floats) -> Floats:
    """Where each place of a plane lies in another: [128, 128, 2], x and y as shares of a side.

    Dense inverse search (Kroeger et al. 2016) on planes of equal light and contrast.
    """
    small = [_levelled(resize(plane, (SMALL, SMALL))) for plane in (first, second)]
    flow = blur(_finder().calc(*small, None), _SMOOTH / REACH * SMALL)
    length = np.linalg.norm(flow, axis=-1, keepdims=True)
    most = np.float32(_FARTHEST / REACH * SMALL)
    return np.asarray(flow * (most / np.maximum(length, most)) / SMALL, np.float32)


def _levelled(plane: Floats) -> npt.NDArray[np.uint8]:
    middle, spread = float(plane.mean()), max(float(plane.std()), 1e-3)
    levelled = 128 + _CONTRAST / spread * (plane - middle)
    return np.asarray(np.clip(levelled, 0, 255), np.uint8)


@lru_cache(maxsize=1)
def _finder() -> Any:
    cv2: Any = load_cv2()
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

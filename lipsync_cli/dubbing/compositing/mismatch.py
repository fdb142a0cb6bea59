"""How much of a fitted face would be seen not to belong: a second nose, a finger, a microphone."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.warp import resize

Floats = npt.NDArray[np.float32]

# Finer differences are pores and beards, which nobody sees to be others.
_SIDE = 64
# Contrast, in luma, of faces in haze or fog: less makes no difference more visible.
_LEAST_CONTRAST = 0.08
_EMPTY = 1e-6


def mismatch(original: Floats, fitted: Floats, mask: Floats) -> float:
    """Measure how two faces differ where one fades into the other.

    Inside of the mask only one of them is seen and outside only the other; between, a
    difference shows as a seam or as both at once. The mouths themselves lie inside.

    Args:
        original, fitted: luma of the same square in the same light, float32 [side, side].
        mask: float32 [side, side] of any side, the share of `fitted`.

    Returns:
        Root mean square difference of luma over the contrast of `original`, both weighed by
        the gradient of the mask: 0 for equal faces, mostly below 0.7 for those that fit, and
        above 0.9 for many a second nose, finger or microphone.
    """
    old, new, share = (resize(plane, (_SIDE, _SIDE)) for plane in (original, fitted, mask))
    steep = np.hypot(*np.gradient(share))  # [64, 64]
    total = float(steep.sum())
    if total < _EMPTY:
        return 0.0
    mean = float((steep * old).sum()) / total
    contrast, difference = (
        math.sqrt(float((steep * plane**2).sum()) / total) for plane in (old - mean, old - new)
    )
    return difference / max(contrast, _LEAST_CONTRAST)

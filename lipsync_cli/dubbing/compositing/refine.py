"""Let cheeks and chin of a borrowed face meet those of the picture: dense flow along its edge."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.bending import Bent
from lipsync_cli.dubbing.compositing.canvas import REACH
from lipsync_cli.dubbing.compositing.morph import dense_flow
from lipsync_cli.dubbing.compositing.ring import spread
from lipsync_cli.dubbing.compositing.settling import Settling
from lipsync_cli.dubbing.compositing.warp import resize

Floats = npt.NDArray[np.float32]

_SIDE = 64
# In distances of eyes and mouth: skin slides by less than this, and less than that is noise.
_FARTHEST = 0.06


class Meeting:
    """Bends new faces of one shot; what they are bent by does not flicker.

    Five landmarks place a face to within some hundredths of its size, and a jaw that drops
    takes the cheeks along. Flow is read only near the edge of the mask and continued smoothly
    inwards: lips are shifted with what surrounds them, and keep their shape.

    Args:
        settling_s: time in which the bending follows.
    """

    def __init__(self, settling_s: float = 0.1) -> None:
        self._settling_s = settling_s
        self._flow: Settling[Floats] = Settling()

    def reset(self) -> None:
        """Forget what was before; for the first frame of a shot or of a track."""
        self._flow.reset()

    def bend(self, original: Floats, new: Bent, ring: Floats, pts_s: float) -> Bent:
        """Bend `new` until it meets `original` in the ring.

        Args:
            original: float32 [128, 128], luma.
            ring: float32 [m, m], where both should show the same.
            pts_s: presentation time.
        """
        found = resize(dense_flow(original, new.small()[0]), (_SIDE, _SIDE))
        length = np.linalg.norm(found, axis=-1)  # [64, 64], shares of a side
        most = _FARTHEST / REACH
        near = resize(ring, (_SIDE, _SIDE)) * (length < 2 * most)
        found *= np.minimum(1, most / np.maximum(length, 1e-6))[..., None]
        flow = self._flow.follow(spread(found, near), pts_s, self._settling_s)
        return new.by(flow)

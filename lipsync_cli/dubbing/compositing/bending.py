"""A face of another moment that is bent in the small; its detail is sampled once, at the end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.colour import Colour
from lipsync_cli.dubbing.compositing.cutout import Cutout
from lipsync_cli.dubbing.compositing.warp import resize
from lipsync_cli.faces._cv2 import load_cv2

Floats = npt.NDArray[np.float32]

# Side at which faces are compared and bent: flow, light and place are all smooth.
SMALL = 128


@dataclass(frozen=True, eq=False)
class Bent:
    """A face, where its places go, and light that is added to it.

    Attributes:
        cutout: the samples.
        plain: float32 [3, 128, 128], the square of the cutout, not bent.
        away: float32 [128, 128, 2], from each place to the one of the cutout that is shown
            there, x and y as shares of a side.
        light: float32 [3, 128, 128], added to the samples.
    """

    cutout: Cutout
    plain: Floats
    away: Floats
    light: Floats

    @classmethod
    def of(cls, cutout: Cutout, colour: Colour) -> Bent:
        """A face as it is, in samples of the kind that another picture has."""
        cutout = cutout.recoloured(colour)
        plain = cutout.square(SMALL)
        nowhere = np.zeros((SMALL, SMALL, 2), np.float32)
        return cls(cutout, plain, nowhere, np.zeros_like(plain))

    def small(self) -> Floats:
        """What it looks like: float32 [3, 128, 128]."""
        return _moved(self.plain, self.away) + self.light

    def by(self, flow: Floats) -> Bent:
        """Take each place from where a flow of any size [m, m, 2] points to, shares of a side."""
        flow = resize(flow, (SMALL, SMALL))
        before = np.ascontiguousarray(np.moveaxis(self.away, -1, 0))
        away = flow + np.moveaxis(_moved(before, flow, smooth=False), 0, -1)
        return replace(self, away=away, light=_moved(self.light, flow, smooth=False))

    def lit(self, light: Floats) -> Bent:
        """The same with more light, [3, 128, 128]."""
        return replace(self, light=self.light + light)


def _moved(planes: Floats, flow: Floats, *, smooth: bool = True) -> Floats:
    """Take each pixel of planes [n, 128, 128] from where a flow points to."""
    cv2: Any = load_cv2()
    where = _places() + flow * np.float32(SMALL)
    method = cv2.INTER_CUBIC if smooth else cv2.INTER_LINEAR
    bend = (cv2.remap(p, where, None, method, borderMode=cv2.BORDER_REPLICATE) for p in planes)
    return np.asarray(np.stack(list(bend)), np.float32)


@lru_cache(maxsize=1)
def _places() -> Floats:
    """x and y of each pixel, [128, 128, 2]."""
    y, x = np.mgrid[:SMALL, :SMALL].astype(np.float32)
    return np.stack([x, y], axis=-1)

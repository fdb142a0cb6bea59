"""The neighbourhood of a face, kept until it is decided where exactly its mouth is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lipsync_cli.faces._cv2 import load_cv2
from lipsync_cli.faces.crop import CROP_SIDE, MouthGeometry, cut_mouth, mouth_geometry

Luma = npt.NDArray[np.uint8]

# Half the side of the patch over the face's size: the crop and room for the face to move.
_REACH = 1.5
# Faces are kept at this size or up to twice it: the crop needs no more.
_ENOUGH_PX = 160


@dataclass(frozen=True)
class Patch:
    """A copy of a part of a picture.

    Attributes:
        pixels: uint8 [h, w].
        corner: x, y of its first pixel in luma px.
        shrink: luma px per pixel of the patch.
    """

    pixels: Luma
    corner: tuple[int, int]
    shrink: int

    def mouth(self, landmarks: npt.ArrayLike, side: int = CROP_SIDE) -> Luma:
        """Cut the aligned mouth out, by landmarks [5, 2] in luma px; more px show more around."""
        geometry = mouth_geometry(landmarks)
        local = MouthGeometry(
            (geometry.centre - np.array(self.corner)) / self.shrink,
            geometry.side / self.shrink * side / CROP_SIDE,
            geometry.angle,
        )
        return cut_mouth(self.pixels, local, side=side)


def keep_patch(luma: Luma, box: npt.ArrayLike) -> Patch:
    """Copy the surroundings of a face box [4] in luma px; large faces are shrunk."""
    corners = np.asarray(box, np.float64).reshape(2, 2)
    centre = corners.mean(axis=0)
    size = float(np.sqrt(np.prod(np.maximum(corners[1] - corners[0], 1.0))))
    limits = np.array(luma.shape[::-1])
    low = np.clip(np.floor(centre - _REACH * size), 0, limits - 1).astype(int)
    high = np.clip(np.ceil(centre + _REACH * size), low + 1, limits).astype(int)
    shrink = max(1, min(int(size / _ENOUGH_PX), *(high - low).tolist()))
    width, height = ((high - low) // shrink).tolist()
    x, y = low.tolist()
    cut = luma[y : y + height * shrink, x : x + width * shrink]
    if shrink == 1:
        return Patch(cut.copy(), (x, y), 1)
    cv2: Any = load_cv2()
    small = cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA)
    return Patch(np.asarray(small, np.uint8), (x, y), shrink)

"""A place in the picture by which a person is named: "x,y,w,h" or "x,y,w,h@seconds"."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipsync_cli.errors import UsageError

Floats = npt.NDArray[np.float32]

# Boxes that share less of the smaller one only touch.
_SHARED = 0.2


@dataclass(frozen=True)
class FacePlace:
    """Where a face is.

    Attributes:
        box: x0, y0, x1, y1 in px of the upright picture.
        time_s: when, on the container's own clock; None for any time.
    """

    box: tuple[float, float, float, float]
    time_s: float | None = None

    def overlap(self, boxes: Floats) -> Floats:
        """Intersection over union with boxes [n, 4], 0 where they only touch: [n]."""
        x0, y0, x1, y1 = self.box
        wide = np.minimum(boxes[:, 2], x1) - np.maximum(boxes[:, 0], x0)
        high = np.minimum(boxes[:, 3], y1) - np.maximum(boxes[:, 1], y0)
        shared = np.maximum(wide, 0) * np.maximum(high, 0)
        theirs = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        own = (x1 - x0) * (y1 - y0)
        counts = shared >= _SHARED * np.minimum(theirs, own)
        return np.asarray(np.where(counts, shared / (theirs + own - shared), 0), np.float32)


def parse_place(text: str) -> FacePlace | None:
    """Read "x,y,w,h" with or without "@seconds"; None for any other word without a comma.

    Raises:
        UsageError: it has a comma and is no such place.
    """
    if "," not in text:
        return None
    where, _, when = text.partition("@")
    try:
        x, y, width, height = (float(each) for each in where.split(","))
        time_s = float(when) if "@" in text else None
    except ValueError:
        raise _no_place(text) from None
    if not (width > 0 and height > 0 and all(map(math.isfinite, (x, y, width, height)))):
        raise _no_place(text)
    return FacePlace((x, y, x + width, y + height), time_s)


def _no_place(text: str) -> UsageError:
    return UsageError(
        f"{text!r} is no place in a picture",
        hint="give left, top, width and height in pixels, as in 300,80,120,160 or with a time "
        "in seconds, as in 300,80,120,160@12.5",
    )

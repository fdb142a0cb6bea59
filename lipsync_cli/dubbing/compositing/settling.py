"""Values that follow what each frame asks for, but do not flicker."""

from __future__ import annotations

import math
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T", float, npt.NDArray[np.float32], npt.NDArray[np.float64])


class Settling(Generic[T]):
    """A number or an array that settles exponentially, by the times of the frames.

    Attributes:
        value: as it was at the last frame; None before the first.
    """

    def __init__(self) -> None:
        self.value: T | None = None
        self._last_s = 0.0

    def reset(self) -> None:
        """Forget what was before; for the first frame of a shot or of a track."""
        self.value = None

    def follow(self, wanted: T, pts_s: float, settling_s: float) -> T:
        """Return the value for a frame; after `settling_s` a third of a change is left.

        The first frame, and one that lies before the last, gets what it wants.
        """
        before: Any = self.value
        elapsed_s = pts_s - self._last_s
        self._last_s = pts_s
        if before is None or elapsed_s < 0:
            self.value = wanted
        else:
            self.value = wanted + math.exp(-elapsed_s / settling_s) * (before - wanted)
        return self.value

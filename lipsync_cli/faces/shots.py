"""Find the cuts between shots, and let single bright flashes pass."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from lipsync_cli.faces._cv2 import load_cv2
from lipsync_cli.media.video import VideoFrame

Floats = npt.NDArray[np.float32]

# Pictures are compared as thumbnails: histograms of a grid of blocks, and the layout.
_THUMBNAIL = 64
_BLOCKS = 2
_BINS = 32
_LAYOUT = 16
# Grey levels of contrast under which a layout tells nothing.
_FAINT = 4.0
# Change that is a cut, and the factor over the usual change that it must also reach.
# On real clips: cuts 0.26 to 1.1; waving, zooming, fading in up to 0.22; quiet below 0.03.
_THRESHOLD = 0.25
_OVER_USUAL = 3.0
# Frames after which the picture must still differ from the one before a suspected cut.
_PATIENCE = 2


@dataclass(frozen=True)
class _Look:
    """What is compared of a picture.

    Attributes:
        histograms: [blocks, bins].
        layout: [16 * 16], zero mean.
        contrast: Euclidean norm of the layout.
    """

    histograms: Floats
    layout: Floats
    contrast: float

    def change(self, other: _Look) -> float:
        """Share of pixels that changed brightness, plus half of what the layouts lack in common.

        From 0 to 2; layouts are compared by correlation.
        """
        moved = float(np.abs(self.histograms - other.histograms).sum()) / (2 * _BLOCKS**2)
        faint = _LAYOUT**2 * _FAINT**2
        shared = float(self.layout @ other.layout) + faint
        energy = self.contrast * other.contrast + faint
        return moved + 0.5 * (1.0 - shared / energy)


class ShotSplitter:
    """Passes frames on, each with whether a new shot begins with it.

    A suspected cut is held back for two frames: when the picture is then again like the one
    before, it was a flash and no cut.
    """

    def __init__(self) -> None:
        self._cv2: Any = load_cv2()
        self._held: deque[tuple[VideoFrame, _Look]] = deque()
        self._before: _Look | None = None
        self._usual = 0.0

    def push(self, frame: VideoFrame) -> list[tuple[VideoFrame, bool]]:
        """Return the frames that are decided now, in order."""
        look = self._look(frame)
        if self._before is None:
            self._before = look
            return [(frame, True)]
        self._held.append((frame, look))
        if 1 < len(self._held) <= _PATIENCE:
            return []
        change = self._before.change(look)
        differs = change > max(_THRESHOLD, _OVER_USUAL * self._usual)
        if len(self._held) == 1:
            if differs:
                return []
            self._usual += 0.1 * (change - self._usual)
        return self._release(cut=differs)

    def close(self) -> list[tuple[VideoFrame, bool]]:
        """Return what is still held back; a change in the very last frames counts as a cut."""
        return self._release(cut=True) if self._held else []

    def _release(self, *, cut: bool) -> list[tuple[VideoFrame, bool]]:
        decided = [(frame, cut and not number) for number, (frame, _) in enumerate(self._held)]
        self._before = self._held[-1][1]
        self._held.clear()
        return decided

    def _look(self, frame: VideoFrame) -> _Look:
        area = self._cv2.INTER_AREA
        # Every so manyth pixel is enough here, and much cheaper than averaging them all.
        step = max(1, min(frame.luma.shape) // (2 * _THUMBNAIL))
        sparse = np.ascontiguousarray(frame.luma[::step, ::step])
        small = self._cv2.resize(sparse, (_THUMBNAIL, _THUMBNAIL), interpolation=area)
        grey = self._cv2.resize(small, (_LAYOUT, _LAYOUT), interpolation=area).ravel()
        layout = grey.astype(np.float32) - np.float32(grey.mean())
        return _Look(_histograms(small), layout, math.sqrt(float(layout @ layout)))


def _histograms(thumbnail: npt.NDArray[np.uint8]) -> Floats:
    """Histograms of the blocks, softened so that slow fades do not leap between bins."""
    bins = (thumbnail >> 3) + _first_bins()
    counts = np.bincount(bins.ravel(), minlength=_BLOCKS**2 * _BINS).reshape(-1, _BINS)
    shares = counts.astype(np.float32) / (_THUMBNAIL // _BLOCKS) ** 2
    soft = 0.5 * shares
    soft[:, 1:] += 0.25 * shares[:, :-1]
    soft[:, :-1] += 0.25 * shares[:, 1:]
    # Beyond the first and the last bin lies more of the same.
    soft[:, [0, -1]] += 0.25 * shares[:, [0, -1]]
    return np.asarray(soft, np.float32)


@cache
def _first_bins() -> npt.NDArray[np.intp]:
    """Number of the first bin of the block that each pixel is in: [64, 64]."""
    block = np.arange(_THUMBNAIL) // (_THUMBNAIL // _BLOCKS)
    return (block[:, None] * _BLOCKS + block) * _BINS

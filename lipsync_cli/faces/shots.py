"""Find the cuts between shots, and let single bright flashes pass."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from lipsync_cli.faces._cv2 import load_cv2
from lipsync_cli.media.video import VideoFrame

Floats = npt.NDArray[np.float32]

# Pictures are compared as histograms of a grid of blocks of a thumbnail.
_THUMBNAIL = (64, 64)
_BLOCKS = 2
_BINS = 32
# Share of pixels that must change their bin, and the factor over the usual change.
_THRESHOLD = 0.42
_OVER_USUAL = 2.5
# Frames after which the picture must still differ from the one before a suspected cut.
_PATIENCE = 2


class ShotSplitter:
    """Passes frames on, each with whether a new shot begins with it.

    A suspected cut is held back for two frames: when the picture is then again like the one
    before, it was a flash and no cut.
    """

    def __init__(self) -> None:
        self._cv2: Any = load_cv2()
        self._held: deque[tuple[VideoFrame, Floats]] = deque()
        self._before: Floats | None = None
        self._usual = 0.0

    def push(self, frame: VideoFrame) -> list[tuple[VideoFrame, bool]]:
        """Return the frames that are decided now, in order."""
        look = self._look(frame)
        if self._before is None:
            self._before = look
            return [(frame, True)]
        self._held.append((frame, look))
        if len(self._held) == 1 and not self._differs(self._before, look):
            return self._release(cut=False)
        if len(self._held) <= _PATIENCE:
            return []
        return self._release(cut=self._differs(self._before, look))

    def close(self) -> list[tuple[VideoFrame, bool]]:
        """Return what is still held back; a change in the very last frames counts as a cut."""
        return self._release(cut=True) if self._held else []

    def _release(self, *, cut: bool) -> list[tuple[VideoFrame, bool]]:
        decided = [(frame, cut and not number) for number, (frame, _) in enumerate(self._held)]
        assert self._before is not None
        newest = self._held[-1][1]
        if len(self._held) == 1:
            self._usual += 0.1 * (_change(self._before, newest) - self._usual)
        self._before = newest
        self._held.clear()
        return decided

    def _differs(self, first: Floats, second: Floats) -> bool:
        return _change(first, second) > max(_THRESHOLD, _OVER_USUAL * self._usual)

    def _look(self, frame: VideoFrame) -> Floats:
        """Histograms [blocks, bins], softened so that slow fades do not leap between bins."""
        cv2 = self._cv2
        small = cv2.resize(frame.luma, _THUMBNAIL, interpolation=cv2.INTER_AREA)
        width, height = _THUMBNAIL[0] // _BLOCKS, _THUMBNAIL[1] // _BLOCKS
        blocks = small.reshape(_BLOCKS, height, _BLOCKS, width).swapaxes(1, 2)
        counts = [
            np.bincount(block.ravel() >> 3, minlength=_BINS)
            for block in blocks.reshape(-1, height, width)
        ]
        histogram = np.array(counts, np.float32) / (width * height)
        padded = np.pad(histogram, ((0, 0), (1, 1)), mode="edge")
        soft = 0.25 * padded[:, :-2] + 0.5 * histogram + 0.25 * padded[:, 2:]
        return np.asarray(soft, np.float32)


def _change(first: Floats, second: Floats) -> float:
    """Share of pixels, 0 to 1, that changed their brightness class."""
    return float(np.abs(first - second).sum() / (2 * len(first)))

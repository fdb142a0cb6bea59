"""Find the cuts between shots, and let single bright flashes pass."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
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
    """What is compared of a picture: histograms [blocks, bins], layout [16 * 16], zero mean."""

    histograms: Floats
    layout: Floats

    def change(self, other: _Look) -> float:
        """Share of pixels that changed brightness, plus half of what the layouts lack in common.

        From 0 to 2; layouts are compared by correlation.
        """
        moved = float(np.abs(self.histograms - other.histograms).sum()) / (2 * _BLOCKS**2)
        faint = _LAYOUT**2 * _FAINT**2
        shared = float(self.layout @ other.layout) + faint
        energy = np.linalg.norm(self.layout) * np.linalg.norm(other.layout) + faint
        return moved + 0.5 * (1.0 - shared / float(energy))


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
            self._usual += 0.1 * (self._before.change(newest) - self._usual)
        self._before = newest
        self._held.clear()
        return decided

    def _differs(self, first: _Look, second: _Look) -> bool:
        return first.change(second) > max(_THRESHOLD, _OVER_USUAL * self._usual)

    def _look(self, frame: VideoFrame) -> _Look:
        area = self._cv2.INTER_AREA
        # Every so manyth pixel is enough here, and much cheaper than averaging them all.
        step = max(1, min(frame.luma.shape) // (2 * _THUMBNAIL))
        sparse = np.ascontiguousarray(frame.luma[::step, ::step])
        small = self._cv2.resize(sparse, (_THUMBNAIL, _THUMBNAIL), interpolation=area)
        layout = self._cv2.resize(small, (_LAYOUT, _LAYOUT), interpolation=area).ravel()
        return _Look(_histograms(small), layout.astype(np.float32) - np.float32(layout.mean()))


def _histograms(thumbnail: npt.NDArray[np.uint8]) -> Floats:
    """Histograms of the blocks, softened so that slow fades do not leap between bins."""
    side = _THUMBNAIL // _BLOCKS
    blocks = thumbnail.reshape(_BLOCKS, side, _BLOCKS, side).swapaxes(1, 2)
    counts = [
        np.bincount(block.ravel() >> 3, minlength=_BINS) for block in blocks.reshape(-1, side, side)
    ]
    padded = np.pad(np.array(counts, np.float32) / side**2, ((0, 0), (1, 1)), mode="edge")
    return np.asarray(
        0.25 * padded[:, :-2] + 0.5 * padded[:, 1:-1] + 0.25 * padded[:, 2:], np.float32
    )

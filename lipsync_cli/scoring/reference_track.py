"""Follow faces as SyncNet's run_pipeline does, frame by frame instead of after the fact.

The reference finishes one track before it looks for the next among the detections that are
left. Offering each frame's detections to the tracks in the order in which they began gives
the same tracks, because a later track only ever gets what an earlier one did not take.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MIN_IOU = 0.5
_TAPS = 13

Box = NDArray[np.float64]


class Place(NamedTuple):
    """Where a face is in one frame: centre and half the longer side of its box, smoothed, px."""

    tick: int
    x: float
    y: float
    half: float


class ReferenceTrack:
    """One face, seen in some frames and interpolated in those between.

    Attributes:
        first, last: ticks of the first and the latest detection.
        detections: how often it was seen.
    """

    def __init__(self, tick: int, box: Box) -> None:
        self.first = self.last = tick
        self.detections = 1
        self._box = box
        self._sum = np.zeros(4)
        self._smoother = _Smoother()
        self._settled = count(tick)
        self._places: list[Place] = []
        self._interpolated(box)

    @property
    def frames(self) -> int:
        """Frames from the first to the latest detection."""
        return self.last - self.first + 1

    @property
    def mean_box(self) -> Box:
        """Mean of the boxes: x0, y0, x1, y1 [4]."""
        return np.asarray(self._sum / self.frames)

    @property
    def face_px(self) -> float:
        """The longer of mean width and mean height, as the reference measures a track."""
        return float((self.mean_box[2:] - self.mean_box[:2]).max())

    def overlap(self, box: Box) -> float:
        """Intersection over union with the box that was seen last."""
        return _iou(self._box, box)

    def see(self, tick: int, box: Box) -> None:
        """Take the face's box in a later frame; frames between get boxes on the line to it."""
        slope = (box - self._box) / (tick - self.last)
        for step in range(1, tick - self.last + 1):
            self._interpolated(slope * step + self._box)
        self.last, self._box = tick, box
        self.detections += 1

    def take(self) -> list[Place]:
        """Hand out the places that no later detection can change."""
        places, self._places = self._places, []
        return places

    def end(self) -> list[Place]:
        """Hand out the last places; nothing may be seen after this."""
        self._settle(self._smoother.close())
        return self.take()

    @property
    def unsettled(self) -> int:
        """The first tick of which the place has not been handed out."""
        return self.last + 1 - self._smoother.waiting - len(self._places)

    def _interpolated(self, box: Box) -> None:
        self._sum += box
        width, height = box[2:] - box[:2]
        x, y = (box[:2] + box[2:]) / 2
        self._settle(self._smoother.push(np.array([x, y, max(width, height) / 2])))

    def _settle(self, values: Sequence[Box]) -> None:
        for x, y, half in values:
            self._places.append(Place(next(self._settled), float(x), float(y), float(half)))


class _Smoother:
    """Running median over 13 values with zeros around them, as scipy.signal.medfilt has it."""

    def __init__(self) -> None:
        self._window = deque([np.zeros(3)] * (_TAPS // 2), maxlen=_TAPS)
        self.waiting = 0

    def push(self, value: Box) -> list[Box]:
        """Take the next value; return what is settled by it."""
        self.waiting += 1
        return self._slide(value)

    def close(self) -> list[Box]:
        """Return all values that are left."""
        return [value for _ in range(_TAPS // 2) for value in self._slide(np.zeros(3))]

    def _slide(self, value: Box) -> list[Box]:
        self._window.append(value)
        if len(self._window) < _TAPS:
            return []
        self.waiting -= 1
        return [np.asarray(np.median(self._window, axis=0), np.float64)]


class ReferenceTracker:
    """Shares out the detections of consecutive frames among tracks.

    Args:
        max_failed: a face that was not seen for longer, in frames, begins a new track.

    Attributes:
        tracks: those that can still grow, in the order in which they began.
    """

    def __init__(self, max_failed: int) -> None:
        self._max_failed = max_failed
        self.tracks: list[ReferenceTrack] = []

    def expire(self, tick: int) -> list[ReferenceTrack]:
        """Take out the tracks that nothing seen at `tick` can belong to."""
        ended = [track for track in self.tracks if tick - track.last > self._max_failed]
        self.tracks = [track for track in self.tracks if track not in ended]
        return ended

    def end(self) -> list[ReferenceTrack]:
        """Take out all tracks, at a cut or at the end."""
        ended, self.tracks = self.tracks, []
        return ended

    def push(self, tick: int, boxes: Sequence[Box]) -> None:
        """Take the boxes of the next frame, in the detector's order."""
        free = list(boxes)
        for track in self.tracks:
            for place, box in enumerate(free):
                if track.overlap(box) > MIN_IOU:
                    track.see(tick, free.pop(place))
                    break
        self.tracks += [ReferenceTrack(tick, box) for box in free]


def _iou(first: Box, second: Box) -> float:
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    shared = float(np.prod(np.maximum(sides, 0.0)))
    areas = float(np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2]))
    return shared / max(areas - shared, 1e-9)

"""Picture and sound on the clock of SyncNet: 25 pictures and 16000 samples a second."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.errors import UnreadableMedia
from lipsync_cli.media.audio import SAMPLE_RATE, AudioBlock
from lipsync_cli.media.video import VideoFrame
from lipsync_cli.scoring.mfcc import HOP, WINDOW, mfcc
from lipsync_cli.scoring.syncnet import CEPSTRA

RATE = 25
SAMPLES = SAMPLE_RATE // RATE  # of one tick
_CEPSTRA_PER_TICK = SAMPLES // HOP
# A picture that is shown for longer is a damaged timestamp.
_LONGEST_S = 600.0
# The last picture is not held for longer.
_LAST_S = 1.0
_SLACK_S = 1e-6
_INT16 = np.iinfo(np.int16)


class PictureGrid:
    """Chooses what is shown at each tick: the picture whose own time is nearest.

    The reference leaves this to `ffmpeg -r 25`, which shows the pictures of a 30 Hz file 67 ms
    late on average, those of 50 Hz 60 ms and of 60 Hz 50 ms (ffmpeg 9.0, measured): that makes
    the offset of such a file seem one or two frames earlier than it is. The nearest picture
    is late by 0 on average. Files at 25 Hz come out the same either way.
    """

    def __init__(self) -> None:
        self.start_s: float | None = None
        self._ticks = 0
        self._shown: VideoFrame | None = None
        self._period_s = 1.0 / RATE

    def push(self, frame: VideoFrame) -> list[VideoFrame]:
        """Take the next picture; return what the ticks up to about its time show.

        Raises:
            UnreadableMedia: the time since the last picture cannot be true.
        """
        before, self._shown = self._shown, frame
        if before is None:
            self.start_s = frame.pts_s
            return []
        self._period_s = frame.pts_s - before.pts_s
        if self._period_s > _LONGEST_S:
            raise UnreadableMedia(
                f"there is no picture for {self._period_s:.0f} s after {before.pts_s:.0f} s",
                hint="cut the part without pictures out first",
            )
        return self._until(before, before.pts_s + self._period_s / 2)

    def close(self) -> list[VideoFrame]:
        """Return what the last ticks show; the last picture lasts as long as the one before."""
        if self._shown is None:
            return []
        lasts_s = min(self._period_s, _LAST_S)
        return self._until(self._shown, self._shown.pts_s + lasts_s / 2)

    def time_s(self, tick: int) -> float:
        """Time of a tick on the container's clock."""
        return (self.start_s or 0.0) + tick / RATE

    def _until(self, frame: VideoFrame, end_s: float) -> list[VideoFrame]:
        first = self._ticks
        while self.time_s(self._ticks) <= end_s + _SLACK_S:
            self._ticks += 1
        return [frame] * (self._ticks - first)


class GridSound:
    """The sound from the first tick on as 16-bit samples; forgets what is no longer needed."""

    def __init__(self) -> None:
        self._early: list[AudioBlock] = []
        self._blocks: deque[NDArray[np.int16]] = deque()
        self.start_s: float | None = None
        self._first = 0  # sample number of the first one in memory
        self._end = 0
        self.closed = False

    @property
    def ticks(self) -> int:
        """Whole ticks whose sound has been read."""
        return max(0, self._end // SAMPLES)

    def start(self, start_s: float) -> None:
        """Tell the time of tick 0; sound from before it is dropped."""
        self.start_s = start_s
        early, self._early = self._early, []
        for block in early:
            self.push(block)

    def push(self, block: AudioBlock) -> None:
        """Take the next block; blocks follow each other without a gap."""
        if self.start_s is None:
            self._early.append(block)
            return
        if not self._blocks and not self._end:
            self._first = self._end = round((block.t0_s - self.start_s) * SAMPLE_RATE)
        scaled = np.rint(block.samples * -float(_INT16.min))
        self._blocks.append(np.clip(scaled, _INT16.min, _INT16.max).astype(np.int16))
        self._end += len(block.samples)

    def forget(self, tick: int) -> None:
        """Drop the sound before a tick, except for the sample in front of it."""
        while self._blocks and self._first + len(self._blocks[0]) < tick * SAMPLES:
            self._first += len(self._blocks.popleft())

    def windows(self, tick: int, count: int, *, begins: bool) -> NDArray[np.float64]:
        """MFCC windows of consecutive ticks: float64 [count, 13, 20].

        Args:
            begins: the sound begins with the first tick, as if nothing had been before.
        """
        hops = _CEPSTRA_PER_TICK * (count - 1) + CEPSTRA - 1
        first = tick * SAMPLES
        samples = self._between(first - 1, first + hops * HOP + WINDOW)
        cepstra = mfcc(samples[1:], before=None if begins else samples[0])  # [hops + 1, 13]
        windows = np.lib.stride_tricks.sliding_window_view(cepstra, CEPSTRA, axis=0)
        return windows[::_CEPSTRA_PER_TICK]

    def _between(self, first: int, end: int) -> NDArray[np.float64]:
        """Samples of a stretch; silent where the sound has not begun yet."""
        out = np.zeros(end - first)
        place = self._first
        for block in self._blocks:
            if place >= end:
                break
            low, high = max(place, first), min(place + len(block), end)
            if high > low:
                out[low - first : high - first] = block[low - place : high - place]
            place += len(block)
        return out

"""Decoded sound as one gap-free stream of 16 kHz mono, placed by its timestamps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.audio.resampler import AudioResampler

SAMPLE_RATE = 16000

Samples = npt.NDArray[np.float32]

_BLOCK = SAMPLE_RATE // 4
# Containers round timestamps to a millisecond: smaller steps are no holes.
_JITTER_S = 0.002
# A step of this part of a decoded frame means that data is missing or doubled.
_HOLE_FRAMES = 0.6
# Smaller steps count once this many frames in a row agree on them.
_AGREEING = 16
# Timestamps that leap further than this are wrong; the sound goes on.
_MAX_HOLE_S = 6 * 3600.0


@dataclass(frozen=True, eq=False)
class AudioBlock:
    """Consecutive sound.

    Attributes:
        t0_s: presentation time of the first sample, in seconds on the container's own
            clock. Each block starts exactly where the one before it ended.
        samples: float32 [n], mono, 16 kHz, in [-1, 1].
    """

    t0_s: float
    samples: Samples


class AudioReader:
    """Turns the decoded sound of one stream into blocks.

    Inside a run of frames whose timestamps follow each other the time is counted in
    samples, so rounded timestamps leave no trace; a hole or an overlap starts a new run.

    Args:
        time_base: unit of the frames' timestamps, in seconds.
    """

    def __init__(self, time_base: Fraction) -> None:
        self._time_base = time_base
        self._run: _Run | None = None
        self._line = _Line()
        self._off_s: deque[float] = deque(maxlen=_AGREEING)

    @property
    def samples(self) -> int:
        """Samples at 16 kHz handed out so far, silence included."""
        return self._line.handed_out

    @property
    def holes_s(self) -> float:
        """Seconds of holes that were filled."""
        return self._line.filled / SAMPLE_RATE

    def push(self, frame: av.AudioFrame) -> Iterator[AudioBlock]:
        """Take one decoded frame and yield the blocks that are complete."""
        if not frame.samples or not frame.sample_rate:
            return
        start_s = self._start_s(frame)
        if self._run is not None and self._run.takes(frame):
            start_s = self._settled_s(start_s, self._run.end_s, frame)
        if self._run is None or not self._run.takes(frame) or start_s != self._run.end_s:
            yield from self._end_run()
            self._run = _Run(frame, start_s)
        yield from self._place(self._run.push(frame))
        if self._run.broken:
            self._run = None

    def flush(self) -> Iterator[AudioBlock]:
        """Yield what is left; the reader may go on afterwards."""
        yield from self._end_run()
        yield from self._line.flush()

    def _start_s(self, frame: av.AudioFrame) -> float:
        expected_s = 0.0 if self._run is None else self._run.end_s
        if frame.pts is None:
            return expected_s
        start_s = frame.pts * self._time_base.numerator / self._time_base.denominator
        lost = self._run is not None and abs(start_s - expected_s) > _MAX_HOLE_S
        return expected_s if lost else start_s

    def _settled_s(self, start_s: float, expected_s: float, frame: av.AudioFrame) -> float:
        """Where the frame starts: `expected_s` unless its timestamp is a real step."""
        off_s = start_s - expected_s
        if abs(off_s) >= max(_JITTER_S, _HOLE_FRAMES * frame.samples / frame.sample_rate):
            return start_s
        if abs(off_s) <= _JITTER_S:
            self._off_s.clear()
            return expected_s
        self._off_s.append(off_s)
        agree = abs(np.sign(self._off_s).sum()) == _AGREEING
        return expected_s + float(np.mean(self._off_s)) if agree else expected_s

    def _end_run(self) -> Iterator[AudioBlock]:
        self._off_s.clear()
        if self._run is not None:
            yield from self._place(self._run.flush())
            self._run = None

    def _place(self, pieces: Iterator[tuple[float, Samples]]) -> Iterator[AudioBlock]:
        for start_s, samples in pieces:
            yield from self._line.place(start_s, samples)


class _Run:
    """Frames of one format that follow each other, resampled without a break."""

    def __init__(self, frame: av.AudioFrame, start_s: float) -> None:
        self._start_s = start_s
        self._rate = frame.sample_rate
        self._format = (frame.format.name, frame.layout.name, frame.sample_rate)
        self._taken = 0
        self._given = 0
        self._resampler = AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
        self.broken = False

    @property
    def end_s(self) -> float:
        """Time at which the next frame should start."""
        return self._start_s + self._taken / self._rate

    def takes(self, frame: av.AudioFrame) -> bool:
        return self._format == (frame.format.name, frame.layout.name, frame.sample_rate)

    def push(self, frame: av.AudioFrame) -> Iterator[tuple[float, Samples]]:
        self._taken += frame.samples
        # Timestamps are ours to judge; the resampler must not see them.
        frame.pts = None
        return self._resampled(frame)

    def flush(self) -> Iterator[tuple[float, Samples]]:
        return self._resampled(None)

    def _resampled(self, frame: av.AudioFrame | None) -> Iterator[tuple[float, Samples]]:
        try:
            # Without anything to convert, flushing passes the None on.
            parts: list[av.AudioFrame | None] = [*self._resampler.resample(frame)]
        except av.error.FFmpegError:
            # Damaged headers announce rates and layouts that nothing can convert.
            self.broken, parts = True, []
        for part in filter(None, parts):
            samples = part.to_ndarray().reshape(-1).astype(np.float32, copy=False)
            start_s = self._start_s + self._given / SAMPLE_RATE
            self._given += len(samples)
            yield start_s, samples


class _Line:
    """The 16 kHz grid from the first sample on: fills holes, trims overlaps."""

    def __init__(self) -> None:
        self._t0_s: float | None = None
        self._pending: list[Samples] = []
        self._waiting = 0
        self.handed_out = 0
        self.filled = 0

    def place(self, start_s: float, samples: Samples) -> Iterator[AudioBlock]:
        """Put samples at their time; what was put there before stays."""
        if self._t0_s is None:
            self._t0_s = start_s
        gap = round((start_s - self._t0_s) * SAMPLE_RATE) - self.handed_out - self._waiting
        for first in range(0, gap, _BLOCK):
            yield from self._append(np.zeros(min(_BLOCK, gap - first), np.float32))
        self.filled += max(gap, 0)
        yield from self._append(samples[max(-gap, 0) :])

    def flush(self) -> Iterator[AudioBlock]:
        if self._waiting:
            assert self._t0_s is not None
            # Damaged floating-point sound may hold anything.
            samples = np.nan_to_num(np.concatenate(self._pending))
            start_s = self._t0_s + self.handed_out / SAMPLE_RATE
            self.handed_out += self._waiting
            self._pending, self._waiting = [], 0
            yield AudioBlock(start_s, np.clip(samples, -1.0, 1.0, out=samples))

    def _append(self, samples: Samples) -> Iterator[AudioBlock]:
        self._pending.append(samples)
        self._waiting += len(samples)
        if self._waiting >= _BLOCK:
            yield from self.flush()

"""Find in the finished file what was written: the sound to the sample, copies byte by byte."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from av.stream import Discard

from lipsync_cli.errors import OutputError
from lipsync_cli.media.probe import open_media
from lipsync_cli.media.remux_check import (
    ByteProgress,
    Tally,
    expect_move,
    measure_move,
    read_back,
)
from lipsync_cli.media.samples import Samples, TrackReader

Mono = npt.NDArray[np.float32]

WINDOW_S = 0.25
_REACH_S = 0.05
# Below -80 dB there is nothing to recognise.
_SILENT = 1e-4
# A sound and what coding leaves of it differ by less than half of its energy.
_ALIKE = 0.5


@dataclass(frozen=True)
class Fingerprint:
    """A stretch of one channel as it was written, and the time of its first sample."""

    time_s: float
    channel: int
    samples: Mono


@dataclass
class Fingerprints:
    """Keeps the loudest quarter second of every stretch of what is written.

    Args:
        rate: samples per second.
        every_s: length of a stretch.
    """

    rate: int
    every_s: float
    kept: list[Fingerprint] = field(default_factory=list)
    _best: tuple[float, Fingerprint] | None = None
    _stretch: int = -1
    _pending: Samples | None = None

    def add(self, samples: Samples, time_s: float) -> None:
        """Take the next samples [channels, n], the first of them at `time_s`."""
        joined = samples if self._pending is None else np.hstack([self._pending, samples])
        start_s = time_s - (joined.shape[1] - samples.shape[1]) / self.rate
        size = round(WINDOW_S * self.rate)
        whole = joined.shape[1] // size
        for k in range(whole):
            self._judge(joined[:, k * size : (k + 1) * size], start_s + k * size / self.rate)
        self._pending = joined[:, whole * size :]

    def result(self) -> list[Fingerprint]:
        """All of them, in order of time."""
        if self._best is not None:
            self.kept.append(self._best[1])
            self._best = None
        return self.kept

    def _judge(self, window: Samples, time_s: float) -> None:
        stretch = int(time_s // self.every_s)
        if stretch != self._stretch:
            self.result()
            self._stretch = stretch
        energy = (window**2).mean(axis=1)
        channel = int(energy.argmax())
        level = float(np.sqrt(energy[channel]))
        if level > max(_SILENT, self._best[0] if self._best else 0.0):
            sound = window[channel].astype(np.float32)
            self._best = level, Fingerprint(time_s, channel, sound)


@dataclass
class Finder:
    """Looks for fingerprints in decoded sound; `late_ms` holds how late each was found."""

    wanted: Sequence[Fingerprint]
    reader: TrackReader
    lifted_s: float = 0.0
    late_ms: list[float] = field(default_factory=list)
    _rate: int = 0
    _held: Samples | None = None
    _first: int = 0
    _next: int = 0

    def push(self, frame: Any) -> None:
        """Take the next decoded frame of the track."""
        self._rate = frame.sample_rate
        for samples in self.reader.push(frame):
            joined = samples if self._held is None else np.hstack([self._held, samples])
            self._held = self._search(joined)

    def _search(self, held: Samples) -> Samples:
        """Look for what lies within; returns what later ones may need."""
        start_s, reach = (self.reader.start_s or 0.0) - self.lifted_s, round(_REACH_S * self._rate)
        while self._next < len(self.wanted):
            print_ = self.wanted[self._next]
            place = round((print_.time_s - start_s) * self._rate) - reach - self._first
            stop = place + len(print_.samples) + 2 * reach
            if stop > held.shape[1]:
                done = min(max(0, place), held.shape[1])
                self._first += done
                return held[:, done:]
            if place >= 0:
                off_s = print_.time_s - start_s - (place + reach + self._first) / self._rate
                late = lateness(held[print_.channel, place:stop], print_.samples)
                if late is not None:
                    self.late_ms.append((late - reach) / self._rate * 1000 - off_s * 1000)
            self._next += 1
        self._first += held.shape[1]
        return held[:, :0]


def lateness(heard: Samples, wanted: Mono) -> float | None:
    """Sample of `heard` at which `wanted` begins, None where it is not in it."""
    n = len(heard) - len(wanted) + 1
    size = 1 << (len(heard) + len(wanted)).bit_length()
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(wanted, size))
    product = np.fft.irfft(spectrum, size)[:n]
    running = np.concatenate([[0.0], np.cumsum(heard**2)])
    energy = running[len(wanted) :] - running[:n]
    # Share of the sound that a difference at this place would leave: a part of it that
    # happens to be alike is not enough.
    alike = (2 * product - energy) / max(float(wanted @ wanted), 1e-20)
    best = int(alike.argmax())
    if alike[best] < _ALIKE:
        return None
    if not 0 < best < n - 1:
        return float(best)
    left, top, right = alike[best - 1 : best + 2]
    bend = left - 2 * top + right
    return best + (0.5 * (left - right) / bend if bend < 0 else 0.0)


def find(
    path: Path,
    prints: Mapping[int, Sequence[Fingerprint]],
    lifted_s: float = 0.0,
    progress: Callable[[float], None] | None = None,
) -> dict[int, list[float]]:
    """Decode the sound of a written file; says in ms how late each fingerprint is in it.

    Args:
        prints: by number among the audio tracks.
        lifted_s: by which all streams are later than they were given out.
    """
    with open_media(path) as container:
        tracks = list(container.streams.audio)
        if container.format.name == "mpeg":
            # Found in the order of their packets; their ids tell the one they were written in.
            tracks.sort(key=lambda stream: stream.id)
        finders = {
            tracks[n].index: (n, Finder(w, TrackReader(path), lifted_s)) for n, w in prints.items()
        }
        for stream in container.streams:
            if stream.index not in finders:
                stream.discard = Discard.all
        bar = ByteProgress(container.size, progress)
        for packet in container.demux(*(container.streams[index] for index in finders)):
            for frame in packet.decode():
                finders[packet.stream_index][1].push(frame)
            bar.reached(packet.pos)
        return dict((n, finder.late_ms) for n, finder in finders.values())


@dataclass(frozen=True)
class Copies:
    """What was found of the packets.

    Attributes:
        lifted_ms: by how much the picture moved on the file's own clock.
        bit_exact: every copied payload is the one of the source.
        unhidden: pictures that an edit list hid in the source, and nothing hides any more.
        left_out: packets so far outside an edit list that they could not be read at all.
    """

    lifted_ms: float
    bit_exact: bool
    unhidden: int
    left_out: int


def check_copies(
    given: Mapping[int, Tally],
    coded: Collection[int],
    path: Path,
    grid_ms: float,
    progress: Callable[[float], None] | None,
) -> Copies:
    """Compare all packets with those that were given to the muxer.

    Args:
        given: by index; those in `coded` are no copies, and may be wrapped differently.

    Raises:
        OutputError: packets are missing, or streams have moved against each other.
    """
    pairs, whole = read_back(given, path, progress)
    moves = {i: measure_move(before, after) for i, (before, after) in pairs.items()}
    pictures = [i for i, (before, _) in pairs.items() if before.kind == "video"]
    lifted_ms = moves[pictures[0]].mean_ms
    for index, move in moves.items():
        tick_ms = 1000 * max(tally.tick_s for tally in pairs[index])
        if pairs[index][0].kind != "subtitle":
            expect_move(move, lifted_ms, max(grid_ms, tick_ms), path, index)
    exact = all(b.same_payload(a) for i, (b, a) in whole.items() if i not in coded)
    unhidden = sum(max(0, pairs[i][0].hidden - pairs[i][1].hidden) for i in pictures)
    left_out = sum(max(0, tally.announced - len(tally.sizes)) for tally in given.values())
    return Copies(round(lifted_ms, 3), exact, unhidden, left_out)


def not_as_asked(path: Path, what: str) -> OutputError:
    """What is raised where the written file is not what it should be."""
    return OutputError(
        f"the container did not store what was asked for: {what}; nothing was kept",
        path=path,
        hint="write another container, such as .mkv",
    )

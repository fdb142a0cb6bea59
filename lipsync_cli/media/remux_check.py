"""Reopen a written file and find out what was really stored in it."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from lipsync_cli.errors import OutputError

_NO_PTS = int(np.iinfo(np.int64).min)
_ISO = "mov,mp4,m4a,3gp,3g2,mj2"
_KINDS = ("video", "audio", "subtitle")
# What MP4 puts between subtitles, as many as the muxer likes.
_EMPTY_TEXT = b"\x00\x00"
# Rounding from one clock to another.
_SLACK_MS = 0.05


@dataclass
class Tally:
    """What has gone through one stream, packet by packet.

    Attributes:
        tick_s: unit of `pts`, in seconds.
        end: latest end of a packet, in ticks.
        checksum: CRC-32 of all payloads in a row, however they were cut.
        hidden: packets that an edit list keeps from being shown.
        announced: packets that the index of the file knows of, 0 where it does not say.
    """

    kind: str
    tick_s: float
    pts: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("L"))
    end: int = _NO_PTS
    checksum: int = 0
    hidden: int = 0
    announced: int = 0

    def add(self, packet: Packet[Stream]) -> None:
        """Count one packet, whose times are those of its file."""
        if self.kind == "subtitle" and bytes(packet) == _EMPTY_TEXT:
            return
        pts = packet.pts
        self.sizes.append(packet.size)
        self.checksum = zlib.crc32(packet, self.checksum)
        self.hidden += packet.is_discard
        if pts is None:
            self.pts.append(_NO_PTS)
        else:
            self.pts.append(pts)
            self.end = max(self.end, pts + (packet.duration or 0))

    def times_ms(self) -> npt.NDArray[np.float64]:
        """Presentation times [packets] in ms, NaN where there is none."""
        ticks = np.frombuffer(self.pts, np.int64)
        return np.where(ticks == _NO_PTS, np.nan, ticks * self.tick_s * 1000)

    @property
    def end_ms(self) -> float:
        return self.end * self.tick_s * 1000

    def same_payload(self, other: Tally) -> bool:
        return (sum(self.sizes), self.checksum) == (sum(other.sizes), other.checksum)

    def is_whole_in(self, other: Tally) -> bool:
        """Whether nothing is missing; headers inside packets may differ between containers."""
        return len(self.sizes) == len(other.sizes) or sum(self.sizes) == sum(other.sizes)


Pairs = Mapping[int, tuple[Tally, Tally]]


@dataclass(frozen=True)
class Move:
    """How far a stream has moved in time: mean and largest departure from it, in ms."""

    mean_ms: float
    spread_ms: float


@dataclass(frozen=True)
class Checked:
    """What was found in the written file.

    Attributes:
        applied_ms: change of the audio against the picture, of the first shifted track.
        lifted_ms: by how much the picture moved on the file's own clock.
        bit_exact: every payload is the one that went in.
        unhidden: pictures that an edit list hid in the source, and nothing hides any more.
        left_out: packets so far outside an edit list that they could not be read at all.
    """

    applied_ms: float
    lifted_ms: float
    bit_exact: bool
    unhidden: int
    left_out: int


class ByteProgress:
    """Reports the share of a file that has been read, at most in steps of a percent."""

    def __init__(self, size: int, progress: Callable[[float], None] | None) -> None:
        self._step = max(size, 1) / 100
        self._next = 0.0 if progress else float("inf")
        self._progress = progress

    def reached(self, position: int | None) -> None:
        """Report that the packet at this byte was read; some containers do not know it."""
        if position is not None and position >= self._next and self._progress is not None:
            self._progress(min(position / self._step / 100, 1.0))
            self._next = position + self._step


def new_tally(stream: Stream) -> Tally:
    """An empty tally for the packets of one stream."""
    is_cover = stream.disposition & Disposition.attached_pic
    tally = Tally("cover" if is_cover else stream.type, float(stream.time_base or 0))
    # PCM is indexed by samples, not by packets; other containers guess, or do not say.
    if stream.container.format.name == _ISO and tally.kind in ("video", "audio"):
        name = stream.codec_context.name if stream.codec_context else ""
        tally.announced = 0 if name.startswith("pcm_") else stream.frames
    return tally


def check(
    written: Mapping[int, Tally],
    shifted: Sequence[int],
    path: Path,
    offset_ms: float,
    grid_ms: float,
    progress: Callable[[float], None] | None = None,
) -> Checked:
    """Compare a written file, packet by packet, with what went into it.

    Args:
        written: tallies of the source's packets by source index, with their old times.
        shifted: source indices of the shifted audio streams.
        grid_ms: step of the coarsest clock on the way.

    Raises:
        OutputError: a packet is missing, or a stream is not where it should be.
    """
    shifted = [index for index in shifted if written[index].pts]
    pairs, whole = read_back(written, path, progress)
    moves = {i: measure_move(before, after) for i, (before, after) in pairs.items()}
    lifted_ms = _reference(moves, pairs, shifted)
    for index, move in moves.items():
        wanted_ms = lifted_ms + (offset_ms if index in shifted else 0.0)
        expect_move(move, wanted_ms, grid_ms, path, index)
    exact = all(before.same_payload(after) for before, after in whole.values())
    applied_ms = moves[shifted[0]].mean_ms - lifted_ms
    pictures = [pair for pair in pairs.values() if pair[0].kind == "video"]
    unhidden = sum(max(0, before.hidden - after.hidden) for before, after in pictures)
    left_out = sum(max(0, tally.announced - len(tally.sizes)) for tally in written.values())
    return Checked(round(applied_ms, 3), round(lifted_ms, 3), exact, unhidden, left_out)


def read_back(
    written: Mapping[int, Tally], path: Path, progress: Callable[[float], None] | None = None
) -> tuple[Pairs, Pairs]:
    """Pair what went into a file with what readers find, and with all that is in it.

    Raises:
        OutputError: a packet is missing.
    """
    pairs = _pair(written, _read(path, progress))
    whole = pairs
    if not all(before.is_whole_in(after) for before, after in pairs.values()):
        # Readers leave out what an edit list hides; it is still in the file.
        whole = _pair(written, _read(path, options={"ignore_editlist": "1"}))
    _expect_whole(written, whole, path)
    return pairs, whole


def measure_move(before: Tally, after: Tally) -> Move:
    """Measure by how much the same packets are presented later, in ms.

    Packets at the front may be hidden from readers by an edit list, and PCM may come in
    other portions: packets then correspond from the end, or only first or last times do.
    """
    old, new = before.times_ms(), after.times_ms()
    n = min(len(old), len(new))
    if n and before.sizes[-n:] == after.sizes[-n:]:
        moved = new[-n:] - old[-n:]
    elif before.same_payload(after):
        moved = new[:1] - old[:1]
    elif len(old) == len(new):
        moved = new - old
    else:
        moved = np.array([after.end_ms - before.end_ms])
    moved = moved[np.isfinite(moved)]
    if not len(moved):
        return Move(float("nan"), 0.0)
    mean_ms = float(moved.mean())
    return Move(mean_ms, float(np.abs(moved - mean_ms).max()))


def _read(
    path: Path,
    progress: Callable[[float], None] | None = None,
    options: dict[str, str] | None = None,
) -> list[Tally]:
    """Tallies of all streams, in the order in which they were written."""
    with av.open(f"file:{path}", options=options) as container:
        tallies = {stream.index: new_tally(stream) for stream in container.streams}
        bar = ByteProgress(container.size, progress)
        for packet in container.demux():
            if packet.size:
                tallies[packet.stream_index].add(packet)
                bar.reached(packet.pos)
        return [tallies[stream.index] for stream in _as_written(container)]


def _as_written(container: InputContainer) -> Iterable[Stream]:
    """Streams of program streams are found in the order of their packets; ids tell the real one."""
    if container.format.name == "mpeg":
        return sorted(container.streams, key=lambda stream: stream.id)
    return container.streams


def _pair(written: Mapping[int, Tally], found: Sequence[Tally]) -> Pairs:
    """Pair what was written with what was found, kind by kind, in order."""
    pairs: dict[int, tuple[Tally, Tally]] = {}
    for kind in _KINDS:
        before = [i for i, tally in sorted(written.items()) if tally.kind == kind and tally.pts]
        after = [tally for tally in found if tally.kind == kind and tally.pts]
        pairs.update((i, (written[i], t)) for i, t in zip(before, after, strict=False))
    return pairs


def _expect_whole(written: Mapping[int, Tally], pairs: Pairs, path: Path) -> None:
    for index, before in written.items():
        if before.kind not in _KINDS or not before.pts:
            continue
        if index not in pairs:
            raise _not_as_asked(path, f"{before.kind} stream {index} is missing")
        after = pairs[index][1]
        if not before.is_whole_in(after):
            raise _not_as_asked(
                path,
                f"{before.kind} stream {index} has {len(after.pts)} packets "
                f"instead of {len(before.pts)}",
            )


def _reference(moves: Mapping[int, Move], pairs: Pairs, shifted: Sequence[int]) -> float:
    """Move of the picture, or else of anything that should have stayed."""
    still = [i for i in moves if i not in shifted and np.isfinite(moves[i].mean_ms)]
    still.sort(key=lambda i: pairs[i][0].kind != "video")
    return moves[still[0]].mean_ms if still else 0.0


def expect_move(move: Move, wanted_ms: float, grid_ms: float, path: Path, index: int) -> None:
    """Raise OutputError unless all packets of a stream moved alike, and as far as wanted."""
    allowed_ms = grid_ms + _SLACK_MS
    if not abs(move.mean_ms - wanted_ms) <= allowed_ms or move.spread_ms > 2 * allowed_ms:
        raise _not_as_asked(
            path,
            f"stream {index} moved by {move.mean_ms:.2f} ms (+-{move.spread_ms:.2f} ms) "
            f"instead of {wanted_ms:.2f} ms",
        )


def _not_as_asked(path: Path, what: str) -> OutputError:
    return OutputError(
        f"the container did not store what was asked for: {what}; nothing was kept",
        path=path,
        hint="write another container, such as .mkv",
    )

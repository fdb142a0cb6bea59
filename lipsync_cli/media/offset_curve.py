"""The offset of a programme as a function of time, and which sound belongs to which moment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Piece:
    """From `start_s` on, picture time t has the offset `offset_s + slope * t` (seconds)."""

    start_s: float
    offset_s: float
    slope: float = 0.0

    def at(self, time_s: float) -> float:
        """Offset in seconds at a picture time; > 0 audio early."""
        return self.offset_s + self.slope * time_s


@dataclass(frozen=True)
class OffsetCurve:
    """Pieces in order of time; the first one also holds before its start.

    The sound that belongs to picture time t lies at sound time t - offset(t).
    """

    pieces: tuple[Piece, ...]

    def __post_init__(self) -> None:
        if not self.pieces:
            raise ValueError("a curve needs a piece")
        if any(a.start_s >= b.start_s for a, b in pairwise(self.pieces)):
            raise ValueError("pieces must follow each other")
        if not all(math.isfinite(p.offset_s) and abs(p.slope) < 0.5 for p in self.pieces):
            raise ValueError("an offset must be finite, a slope below a half")

    @classmethod
    def constant(cls, offset_ms: float) -> OffsetCurve:
        """One offset from beginning to end."""
        return cls((Piece(0.0, offset_ms / 1000),))

    @property
    def is_constant(self) -> bool:
        return len(self.pieces) == 1 and self.pieces[0].slope == 0.0

    @property
    def drifts(self) -> bool:
        return any(piece.slope for piece in self.pieces)

    @property
    def steps_s(self) -> tuple[float, ...]:
        """Times at which one piece gives way to the next."""
        return tuple(piece.start_s for piece in self.pieces[1:])

    def piece_at(self, time_s: float) -> Piece:
        return next((p for p in reversed(self.pieces) if p.start_s <= time_s), self.pieces[0])

    def offset_s(self, time_s: float) -> float:
        """Offset in seconds at a picture time; > 0 audio early."""
        return self.piece_at(time_s).at(time_s)

    def picture_s(self, sound_s: float) -> float:
        """Latest picture time that is given the sound of this time."""
        starts, ends = (-math.inf, *self.steps_s), (*self.steps_s, math.inf)
        times = [(sound_s + p.offset_s) / (1 - p.slope) for p in self.pieces]
        shown = zip(times, starts, ends, strict=True)
        return max((min(t, end) for t, start, end in shown if t >= start), default=times[0])

"""How early and how late sound may be: the limits of published standards, or one's own.

The limits are not symmetric: sound that comes before its picture never happens in nature
and is noticed sooner, so all standards allow less of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lipsync_cli.errors import UsageError


@dataclass(frozen=True)
class Tolerance:
    """Limits on an offset, both in milliseconds and both >= 0.

    Attributes:
        early_ms: how far the audio may lead the picture (offset_ms > 0).
        late_ms: how far it may lag behind (offset_ms < 0).
        name: what to call the limits in a report.
    """

    early_ms: float
    late_ms: float
    name: str = "custom"

    def allows(self, offset_ms: float) -> bool:
        """Tell whether an offset lies inside the limits; the limits themselves do."""
        return -self.late_ms <= offset_ms <= self.early_ms


STANDARDS = {
    # EBU R37: what feeds the transmitter, and what each stage before it may use up.
    "ebu": Tolerance(40.0, 60.0, "ebu"),
    "ebu-production": Tolerance(5.0, 15.0, "ebu-production"),
    "ebu-exchange": Tolerance(20.0, 40.0, "ebu-exchange"),
    "ebu-distribution": Tolerance(40.0, 60.0, "ebu-distribution"),
    # ITU-R BT.1359: what viewers accept, and what they begin to notice.
    "itu": Tolerance(90.0, 185.0, "itu"),
    "itu-detect": Tolerance(45.0, 125.0, "itu-detect"),
    # ATSC IS-191: the input of the encoder.
    "atsc": Tolerance(15.0, 45.0, "atsc"),
}

# Deliveries that are judged in frames of their own rate, either way.
FRAME_STANDARDS = {"netflix": 1.0}

_CHOICES = ", ".join([*STANDARDS, *FRAME_STANDARDS])


def parse_tolerance(text: str, frame_rate: float | None) -> Tolerance:
    """Read the name of a standard, "netflix", or "E,L" in milliseconds.

    Args:
        frame_rate: of the file that is judged, in Hz; only limits in frames need it.

    Raises:
        UsageError: neither a known name nor two numbers >= 0, or limits in frames for a
            file without a frame rate.
    """
    name = text.strip().lower()
    if name in STANDARDS:
        return STANDARDS[name]
    if name in FRAME_STANDARDS:
        return _frames(name, frame_rate)
    return _numbers(text)


def _frames(name: str, frame_rate: float | None) -> Tolerance:
    if not frame_rate:
        raise UsageError(
            f"the limits of {name!r} are in frames and the file has no frame rate",
            hint="give the limits in milliseconds, as in --tolerance 40,60",
        )
    limit_ms = FRAME_STANDARDS[name] * 1000.0 / frame_rate
    return Tolerance(limit_ms, limit_ms, name)


def _numbers(text: str) -> Tolerance:
    try:
        early_ms, late_ms = (float(part) for part in text.split(","))
    except ValueError:
        raise _not_a_tolerance(text) from None
    if not (0 <= early_ms < math.inf and 0 <= late_ms < math.inf):
        raise _not_a_tolerance(text)
    return Tolerance(early_ms, late_ms)


def _not_a_tolerance(text: str) -> UsageError:
    return UsageError(
        f"{text!r} is no tolerance",
        hint=f"use one of {_CHOICES}, or EARLY,LATE in milliseconds, as in 40,60",
    )

"""Programme time as editors write it: HH:MM:SS:FF at the file's own frame rate."""

from __future__ import annotations

# SMPTE 12M: these rates drop frame numbers (not frames) to keep up with the clock.
_DROP_RATES = {30: 2, 60: 4}


def timecode(time_s: float, frame_rate: float | None) -> str:
    """HH:MM:SS:FF from the start of the file.

    `;` before the frames marks drop-frame counting (29.97 and 59.94 Hz). Where the rate is
    unknown, or too low to count by, the clock has milliseconds behind a `.` instead.
    """
    if not frame_rate or frame_rate < 2:
        whole_ms = round(max(time_s, 0.0) * 1000)
        return f"{_clock(whole_ms // 1000)}.{whole_ms % 1000:03d}"
    base = round(frame_rate)
    number = round(max(time_s, 0.0) * frame_rate)
    dropping = is_drop_frame(frame_rate)
    if dropping:
        number = _with_dropped_numbers(number, base)
    mark = ";" if dropping else ":"
    return f"{_clock(number // base)}{mark}{number % base:02d}"


def is_drop_frame(frame_rate: float) -> bool:
    """Whether a rate is 30000/1001 or 60000/1001 Hz."""
    base = round(frame_rate)
    return base in _DROP_RATES and abs(frame_rate * 1.001 - base) < 1e-3


def _with_dropped_numbers(number: int, base: int) -> int:
    """Frame count -> frame number of drop-frame timecode (SMPTE 12M)."""
    drop = _DROP_RATES[base]
    per_minute = base * 60 - drop
    tens, rest = divmod(number, per_minute * 10 + drop)
    minutes = 0 if rest < base * 60 else 1 + (rest - base * 60) // per_minute
    return number + drop * (9 * tens + minutes)


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"

"""Which windows of a long programme are read when not all of it has to be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from lipsync_cli.media.probe import MediaInfo
from lipsync_cli.results import OffsetResult

# A window begins at a key frame up to a few seconds before its place, and is never shorter.
WINDOW_S = 12.0
# Windows of the first round; each further round doubles them.
FIRST_WINDOWS = 6
# Windows stop when the 95 % interval is no wider, a frame of 25 fps either way.
TARGET_MS = 80.0
# With more of the programme than this still to be read, reading on from end to end is cheaper.
_MOST_SHARE = 0.5

Span = tuple[float, float]


@dataclass(frozen=True)
class SampledResult(OffsetResult):
    """An answer from a part of the programme.

    Attributes:
        sampled_s: seconds of it that were read, evenly spread; `segments` are these windows.
    """

    sampled_s: float = 0.0


def sampling_rounds(info: MediaInfo) -> Iterator[list[Span]]:
    """Yield the windows of each round, (start, end) in seconds, in order of time.

    No window is yielded twice, and all rounds together are evenly spread. Nothing is yielded
    where the programme is short, or its duration unknown.
    """
    start_s = (info.video.start_s if info.video else None) or 0.0
    duration_s = info.duration_s or 0.0
    spacing_s = duration_s / FIRST_WINDOWS
    places, count = [0.5], FIRST_WINDOWS
    while count * WINDOW_S <= _MOST_SHARE * duration_s:
        first_s = [(i + place) * spacing_s for i in range(FIRST_WINDOWS) for place in places]
        last_s = duration_s - WINDOW_S
        yield [(start_s + min(t, last_s), start_s + min(t, last_s) + WINDOW_S) for t in first_s]
        # Halfway between all that are there already.
        places = [0.0] if places == [0.5] else _between(places)
        count += FIRST_WINDOWS * len(places)


def is_enough(result: OffsetResult) -> bool:
    """Whether an answer is as narrow as it has to be."""
    if result.offset_ms is None or result.interval_ms is None:
        return False
    low, high = result.interval_ms
    return high - low <= TARGET_MS


def as_sampled(result: OffsetResult, spans: Sequence[Span]) -> SampledResult:
    """Say in a result, and in its warnings, that it rests on these windows only."""
    sampled_s = round(sum(end - start for start, end in spans), 3)
    warning = (
        f"sampled: {sampled_s:.0f} of {result.duration_s or 0:.0f} s were read;"
        " what happens between the windows is not seen"
    )
    known = {field.name: getattr(result, field.name) for field in fields(OffsetResult)}
    known["warnings"] = (*result.warnings, warning)
    return SampledResult(**known, sampled_s=sampled_s)


def _between(places: list[float]) -> list[float]:
    """The places of the next round: odd multiples of half the distance so far."""
    if places == [0.0]:
        return [0.25, 0.75]
    step = places[0] / 2
    return [step * (2 * i + 1) for i in range(2 * len(places))]

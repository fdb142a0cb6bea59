"""Shares of one progress bar for the steps of a job."""

from __future__ import annotations

from collections.abc import Callable

# Told the share that is done, 0 to 1.
Progress = Callable[[float], None]


def part_of(progress: Progress | None, start: float, stop: float) -> Progress | None:
    """The part of a progress bar from `start` to `stop`, as a bar of its own."""
    if progress is None:
        return None
    return lambda done: progress(start + (stop - start) * done)


def with_room(
    progress: Progress | None, at: float, share: float
) -> tuple[Progress | None, Progress | None]:
    """Make room for a further step at a place of a progress bar.

    Args:
        share: of the bar that the step takes.

    Returns:
        The bar for all the others, which was given before, and one for the step alone.
    """
    if progress is None:
        return None, None
    begin, before = at * (1 - share), [0.0]

    def others(done: float) -> None:
        progress(done * (1 - share) + before[0])

    def step(done: float) -> None:
        before[0] = share
        progress(begin + share * done)

    return others, step


def tell_time(progress: Progress | None, time_s: float, duration_s: float | None) -> None:
    """Tell how much of a programme is done; nothing where its duration is not known."""
    if progress is not None and duration_s:
        progress(min(1.0, max(0.0, time_s / duration_s)))

"""Pictures for a sound that goes on after the last one: hold it, or show others again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import av

from lipsync_cli.media.pictures import read_pictures

How = Literal["freeze", "loop", "pingpong"]
# (last picture, time at which it ends) -> pictures that follow.
Extra = Callable[[av.VideoFrame, float], Iterator[av.VideoFrame]]

# Decoded pictures that running backwards may hold at a time.
_MAX_HELD_BYTES = 1 << 28


def extension(path: str | Path, how: How, until_s: float) -> Extra:
    """Return what `rewrite` takes as `extra` to show pictures up to a time, in seconds.

    Pictures that are shown again keep their source's time in `picture.time`. Memory does not
    grow with the duration; running backwards decodes the programme several times.

    Args:
        path: the programme that is extended.
        how: "freeze" holds the last picture, "loop" begins anew, "pingpong" runs backwards
            and forwards in turn.
    """

    def extra(last: av.VideoFrame, end_s: float) -> Iterator[av.VideoFrame]:
        pictures = {"freeze": _frozen, "loop": _looped, "pingpong": _mirrored}[how](
            Path(path), last
        )
        frame_s = _duration_s(last)
        while end_s < until_s:
            picture = next(pictures)
            end_s += _duration_s(picture) or frame_s
            yield picture

    return extra


def _frozen(path: Path, last: av.VideoFrame) -> Iterator[av.VideoFrame]:
    while True:
        yield last


def _looped(path: Path, last: av.VideoFrame) -> Iterator[av.VideoFrame]:
    while True:
        yield from read_pictures(path)


def _mirrored(path: Path, last: av.VideoFrame) -> Iterator[av.VideoFrame]:
    # Neither turning point is shown twice.
    while True:
        yield from _backwards(path, last)
        forwards = read_pictures(path)
        next(forwards, None)
        yield from forwards


def _backwards(path: Path, last: av.VideoFrame) -> Iterator[av.VideoFrame]:
    """The pictures before `last`, the latest first, in as few passes as memory allows."""
    held = max(1, _MAX_HELD_BYTES // max(1, sum(p.buffer_size for p in last.planes)))
    end = last.pts
    while True:
        window: deque[av.VideoFrame] = deque(maxlen=held)
        for picture in read_pictures(path):
            if end is not None and picture.pts is not None and picture.pts >= end:
                break
            window.append(picture)
        if not window:
            return
        end = window[0].pts
        yield from reversed(window)


def _duration_s(picture: av.VideoFrame) -> float:
    return float(picture.duration * picture.time_base) if picture.time_base else 0.0

"""All pictures of a file at full size, alone or beside those of another file."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from lipsync_cli.media.ahead import ahead
from lipsync_cli.media.reader import ReadStats, read
from lipsync_cli.media.video import VideoFrame

# Higher than any picture: none is shrunk.
_ANY_HEIGHT = 1 << 20
# Large pictures, so few of them are decoded in advance.
_DEPTH = 4
# Pictures further apart in time than half a frame at 25/s do not show the same moment.
MAX_APART_S = 0.02


def full_frames(path: str | Path, stats: ReadStats) -> Generator[VideoFrame, None, None]:
    """Yield every picture of a file in order of presentation; close it when done.

    Args:
        stats: filled while reading.

    Raises:
        MediaNotFound, UnreadableMedia, MissingStream: the file has no pictures.
    """
    frames = read(path, audio=False, max_rate=math.inf, max_height=_ANY_HEIGHT, stats=stats)
    return ahead(cast("Iterator[VideoFrame]", frames), _DEPTH)


def share_read(pts_s: float, stats: ReadStats) -> float:
    """Share of a file that is read when the picture of this time is, 0 to 1."""
    if not stats.video_duration_s:
        return 0.0
    return min(1.0, max(0.0, (pts_s - (stats.video_start_s or 0.0)) / stats.video_duration_s))


class Side:
    """Pictures of one file: the present one, and the next one in view."""

    def __init__(self, path: str | Path) -> None:
        self.stats = ReadStats()
        self._frames = full_frames(path, self.stats)
        self.alone = 0
        self.now = next(self._frames, None)
        self.then = next(self._frames, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._frames.close()

    def step(self, *, alone: bool = False) -> None:
        """Go on to the next picture; `alone` when the present one found no counterpart."""
        self.alone += alone
        self.now, self.then = self.then, next(self._frames, None)

    def warnings(self, name: str, compared_s: tuple[float, float]) -> Iterator[str]:
        """What a user should know about this side when the comparison has ended."""
        if self.alone:
            yield f"{self.alone} pictures of the {name} have none of the other at their time"
        if self.now is not None:
            span = "{:.2f} to {:.2f} s".format(*compared_s)
            yield f"the {name} goes on after the other has ended: compared is {span}"
        else:
            yield from (f"{name}: {warning}" for warning in self.stats.warnings)


def simultaneous(generated: Side, real: Side) -> Iterator[tuple[VideoFrame, VideoFrame]]:
    """Yield pairs of pictures of which each is the nearest to the other in time.

    Pairs that are more than `MAX_APART_S` apart are left out.
    """
    while (picture := generated.now) is not None and (original := real.now) is not None:
        apart_s = abs(picture.pts_s - original.pts_s)
        if _is_nearer(generated.then, original, apart_s):
            generated.step(alone=True)
        elif _is_nearer(real.then, picture, apart_s):
            real.step(alone=True)
        else:
            together = apart_s <= MAX_APART_S
            if together:
                yield picture, original
            generated.step(alone=not together)
            real.step(alone=not together)


def _is_nearer(frame: VideoFrame | None, other: VideoFrame, apart_s: float) -> bool:
    return frame is not None and abs(frame.pts_s - other.pts_s) < apart_s

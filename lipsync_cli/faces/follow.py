"""Faces instead of pictures, for a thread beside the models."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass

from lipsync_cli.faces.stream import FaceStream, TrackChunk
from lipsync_cli.media.audio import AudioBlock
from lipsync_cli.media.video import VideoFrame

# Seconds of pictures between two words on how far they have come.
_TOLD_EVERY_S = 0.2


@dataclass(frozen=True)
class Reached:
    """Pictures up to this time have been looked at."""

    pts_s: float


def follow(
    items: Generator[VideoFrame | AudioBlock, None, None],
    faces: FaceStream,
    watch: Callable[[VideoFrame, TrackChunk], None] | None = None,
) -> Generator[TrackChunk | AudioBlock | Reached, None, None]:
    """Follow the faces in the pictures of `items`, which are closed at the end; pass sound on.

    Args:
        watch: shown every chunk with the picture that completed it, before it is handed out.
    """
    told_s = float("-inf")
    with closing(items):
        for item in items:
            if isinstance(item, AudioBlock):
                yield item
                continue
            for chunk in faces.push(item):
                if watch is not None:
                    watch(item, chunk)
                yield chunk
            if abs(item.pts_s - told_s) >= _TOLD_EVERY_S:
                told_s = item.pts_s
                yield Reached(told_s)
    yield from faces.close()

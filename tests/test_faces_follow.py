"""Faces instead of pictures: order, how far it is, an early end."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import pytest
from faces_media import ScriptedDetector, background, face_at, frame, numbered

from lipsync_cli.errors import UnreadableMedia
from lipsync_cli.faces.follow import Reached, follow
from lipsync_cli.faces.stream import FaceStream, TrackChunk
from lipsync_cli.media.audio import AudioBlock
from lipsync_cli.media.video import VideoFrame

FACE = [face_at((300.0, 180.0), 90)]


def programme(
    frames: int, closed: list[bool], error: Exception | None = None
) -> Generator[VideoFrame | AudioBlock, None, None]:
    """25 pictures a second of one face, and sound after every fifth."""
    try:
        for number in range(frames):
            yield frame(numbered(number, background((360, 640))), number)
            if number % 5 == 4:
                yield AudioBlock((number - 4) / 25, np.zeros(3200, np.float32))
        if error is not None:
            raise error
    finally:
        closed.append(True)


def stream(frames: int) -> FaceStream:
    return FaceStream(ScriptedDetector([FACE] * frames))


def test_chunks_are_those_of_the_stream_and_sound_passes() -> None:
    closed: list[bool] = []
    items = list(follow(programme(60, closed), stream(60)))
    chunks = [item for item in items if isinstance(item, TrackChunk)]
    sound_s = [item.t0_s for item in items if isinstance(item, AudioBlock)]
    pts_s = np.concatenate([chunk.pts_s for chunk in chunks])
    # The last look is at picture 57; what follows it was not seen.
    np.testing.assert_allclose(pts_s, np.arange(58) / 25)
    assert [chunk.last for chunk in chunks][-1]
    np.testing.assert_allclose(sound_s, np.arange(12) / 5)
    assert closed == [True]


def test_tells_how_far_it_is() -> None:
    items = list(follow(programme(60, []), stream(60)))
    reached_s = [item.pts_s for item in items if isinstance(item, Reached)]
    assert reached_s[0] == 0
    assert 59 / 25 - reached_s[-1] < 0.2
    assert all(0.19 < gap < 0.25 for gap in np.diff(reached_s))


def test_watcher_sees_each_chunk_with_the_picture_that_completed_it() -> None:
    seen: list[tuple[float, float]] = []
    items = follow(programme(60, []), stream(60), lambda f, c: seen.append((f.pts_s, c.pts_s[-1])))
    assert next(i for i in items if isinstance(i, TrackChunk)).pts_s[-1] == seen[0][1]
    assert len(seen) == 1
    assert seen[0][1] < seen[0][0] <= seen[0][1] + 0.3


def test_an_early_end_closes_the_source() -> None:
    closed: list[bool] = []
    items = follow(programme(60, closed), stream(60))
    next(items)
    items.close()
    assert closed == [True]


def test_errors_of_the_source_pass() -> None:
    damaged = UnreadableMedia("damaged", path="a.mp4")
    with pytest.raises(UnreadableMedia, match="damaged"):
        list(follow(programme(3, [], damaged), stream(3)))

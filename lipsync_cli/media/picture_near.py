"""One picture out of a file, by its time."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import av
import av.error

from lipsync_cli.errors import UnreadableMedia
from lipsync_cli.media.pictures import is_still, picture_stream
from lipsync_cli.media.probe import open_media

# A picture that is looked for is this near; decoding begins earlier, for streams whose times
# are those of decoding.
_NEAR_S, _RUN_UP_S = 0.025, 0.5


def picture_near(path: str | Path, time_s: float) -> av.VideoFrame:
    """Decode the picture of a file whose time is nearest to `time_s`.

    Raises:
        MediaNotFound, UnreadableMedia, MissingStream: it cannot be read there.
    """
    best = None
    for start_s in (time_s - _RUN_UP_S, None):
        with closing(_pictures_from(path, start_s)) as pictures:
            for picture in pictures:
                if best is None or _away_s(picture, time_s) < _away_s(best, time_s):
                    best = picture
                elif float(picture.time or 0.0) > time_s:
                    break
        # Where seeking went astray, the file is read from its start.
        if best is not None and _away_s(best, time_s) <= _NEAR_S:
            return best
    if best is None:
        raise UnreadableMedia("none of its pictures could be decoded", path=path)
    return best


def _pictures_from(path: str | Path, start_s: float | None) -> Generator[av.VideoFrame, None, None]:
    with open_media(path) as container:
        stream = picture_stream(container, path)
        if start_s is not None and not is_still(container.format.name):
            try:
                container.seek(round(start_s * av.time_base), backward=True)
            except av.error.FFmpegError:
                return
        yield from container.decode(stream)


def _away_s(picture: av.VideoFrame, time_s: float) -> float:
    return abs(float(picture.time or 0.0) - time_s)

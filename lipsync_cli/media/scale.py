"""Smaller pictures of the same shape, colours and direction."""

from __future__ import annotations

from dataclasses import dataclass, field

import av
from av.video.reformatter import Interpolation, VideoReformatter

from lipsync_cli.errors import UsageError
from lipsync_cli.media.planes import copy_tags
from lipsync_cli.media.probe import Orientation

# Smaller pictures show nothing, and encoders refuse them.
_LEAST = 32


@dataclass(frozen=True)
class Scaling:
    """Scales pictures down.

    Attributes:
        before, after: width and height in px, as coded.
    """

    before: tuple[int, int]
    after: tuple[int, int]
    _reformatter: VideoReformatter = field(default_factory=VideoReformatter, repr=False)

    def __call__(self, picture: av.VideoFrame) -> av.VideoFrame:
        """Return a smaller picture with the same time and colour tags."""
        width, height = self.after
        small = self._reformatter.reformat(
            picture,
            width=width,
            height=height,
            interpolation=Interpolation.LANCZOS,
            threads=1,
        )
        copy_tags(picture, small)
        return small

    @property
    def in_words(self) -> str:
        """Both sizes, as coded."""
        return "{}x{} instead of {}x{}".format(*self.after, *self.before)


def plan_scaling(
    picture: av.VideoFrame, orientation: Orientation, max_height: int | None
) -> Scaling | None:
    """Plan to show a picture in at most so many upright rows; None where it fits already.

    Both sides get even; the pixel aspect stays, as the shape is off by less than a row.

    Raises:
        UsageError: so few rows would show nothing.
    """
    if max_height is None:
        return None
    if max_height < _LEAST:
        raise UsageError(f"cannot scale to {max_height} rows", hint=f"give {_LEAST} or more")
    rows = picture.width if orientation.transpose else picture.height
    if rows <= max_height:
        return None
    share = (max_height - max_height % 2) / rows
    width, height = (
        max(2, 2 * round(side * share / 2)) for side in (picture.width, picture.height)
    )
    return Scaling((picture.width, picture.height), (width, height))

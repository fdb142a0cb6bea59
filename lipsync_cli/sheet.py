"""The evidence of a dub as one picture, drawn from the two files: before, after, what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from lipsync_cli.dubbing.compositing.canvas import Place, face_scale
from lipsync_cli.dubbing.compositing.cutout import cut_canvas
from lipsync_cli.dubbing.compositing.kept import Moment
from lipsync_cli.errors import NotTrustworthy, UsageError
from lipsync_cli.media.convert import editable
from lipsync_cli.media.output import atomic, check_target
from lipsync_cli.media.picture_near import picture_near
from lipsync_cli.media.upright import Upright, read_upright

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

COLUMNS = 4
TILE = 320  # px
# Side of what is shown over the distance of eyes and mouth: the face and some of its surroundings.
_REACH = 4.6
# An encoder alone changes less than this, of 255; differences are shown so many times enlarged.
_CHANGED, _GAIN = 6, 8
_MARGIN, _GAP, _HEAD, LABEL_PX = 28, 8, 112, 34
_INK, _QUIET, _PAPER = (33, 41, 52), (104, 114, 128), (252, 252, 250)
_ROWS = (
    "source",
    "dub",
    f"changed by more than {_CHANGED} of 255",
    f"difference, {_GAIN} times",
)
_SAME_S = 0.005
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


@dataclass(frozen=True, eq=False)
class Pair:
    """One moment of both files, cut out alike.

    Attributes:
        source_s, dub_s: its time in either file.
        before, after: uint8 [TILE, TILE, 3], RGB.
    """

    source_s: float
    dub_s: float
    before: Bytes
    after: Bytes

    @property
    def caption(self) -> str:
        """When it is, in both files where they differ."""
        if abs(self.source_s - self.dub_s) < _SAME_S:
            return f"{self.dub_s:.2f} s"
        return f"{self.dub_s:.2f} s (source: {self.source_s:.2f} s)"


def check_sheet(path: Path, *, overwrite: bool = False) -> None:
    """Say beforehand why no sheet can be written there.

    Raises:
        UsageError: it is neither PNG nor JPEG by its name.
        OutputError: it exists or its folder is missing.
    """
    if path.suffix.lower() not in _FORMATS:
        raise UsageError(f"'{path.name}' is no picture file", hint="name it .png or .jpg")
    check_target(path, overwrite=overwrite)


def save_sheet(
    source: Path, dubbed: Path, moments: Sequence[Moment], path: Path, *, overwrite: bool = False
) -> None:
    """Draw a source and its dub beside each other at moments when the lips were changed.

    Four of the moments, evenly spaced: the middle of each quarter of them. Both files are decoded
    again, so that the sheet shows what is really in them. A row each: source, dub, where the
    pictures differ by more than an encoder alone makes them, and the difference enlarged,
    grey where there is none.

    Args:
        moments: `pts_s` of each is its time in `dubbed`.
        path: PNG or JPEG, by its name.

    Raises:
        NotTrustworthy: no picture was changed.
        OutputError: the sheet exists or cannot be written.
    """
    check_sheet(path, overwrite=overwrite)
    if not moments:
        raise NotTrustworthy("no picture was changed: there is nothing to show", path=dubbed)
    pairs = read_pairs(source, dubbed, spread(moments))
    picture = draw_sheet(pairs, source.name, dubbed.name)
    with atomic(path, overwrite=overwrite) as temporary:
        picture.save(temporary, format=_FORMATS[path.suffix.lower()], quality=92)


def spread(moments: Sequence[Moment], count: int = COLUMNS) -> list[Moment]:
    """The middles of as many parts of equal length, or all where there are few."""
    count = min(count, len(moments))
    return [moments[(2 * i + 1) * len(moments) // (2 * count)] for i in range(count)]


def read_pairs(source: Path, dubbed: Path, moments: Sequence[Moment]) -> list[Pair]:
    """Decode both files at each moment and cut the same part of the upright picture out."""
    uprights = read_upright(source), read_upright(dubbed)
    shrunk = uprights[1].size[1] / uprights[0].size[1]
    pairs = []
    for each in moments:
        pictures = picture_near(source, each.source_s), picture_near(dubbed, each.pts_s)
        cuts = [
            _cut(picture, each.landmarks * scale, upright)
            for picture, upright, scale in zip(pictures, uprights, (1.0, shrunk), strict=True)
        ]
        pairs.append(Pair(each.source_s, each.pts_s, *cuts))
    return pairs


def draw_sheet(pairs: Sequence[Pair], source: str, dubbed: str) -> Image.Image:
    """Draw the picture that `save_sheet` writes."""
    columns = max(len(pairs), 2)
    width = 2 * _MARGIN + columns * TILE + (columns - 1) * _GAP
    height = _HEAD + len(_ROWS) * (LABEL_PX + TILE) + _MARGIN
    picture = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(picture)
    for y, text in ((40, f"source: {source}"), (70, f"dub: {dubbed}")):
        pen.text((_MARGIN, y), _fitted(text, width - 2 * _MARGIN), _INK, _font(20), anchor="ls")
    for column, pair in enumerate(pairs):
        x = _MARGIN + column * (TILE + _GAP)
        pen.text((x, 104), pair.caption, _QUIET, _font(18), anchor="ls")
        for row, tile in enumerate(_tiles(pair)):
            y = _HEAD + row * (LABEL_PX + TILE) + LABEL_PX
            picture.paste(Image.fromarray(tile), (x, y))
    for row, name in enumerate(_ROWS):
        y = _HEAD + row * (LABEL_PX + TILE) + LABEL_PX - 10
        pen.text((_MARGIN, y), name, _INK, _font(18), anchor="ls")
    return picture


def _tiles(pair: Pair) -> list[Bytes]:
    difference = pair.after.astype(np.int16) - pair.before
    changed = np.abs(difference).max(axis=2) > _CHANGED  # [TILE, TILE]
    mask = np.where(changed[..., None], 255, pair.before // 4).astype(np.uint8)
    enlarged = np.clip(128 + _GAIN * difference, 0, 255).astype(np.uint8)
    return [pair.before, pair.after, mask, enlarged]


def _cut(picture: av.VideoFrame, landmarks: Floats, upright: Upright) -> Bytes:
    """The upright surroundings of a face: uint8 [TILE, TILE, 3] RGB."""
    points = np.asarray(landmarks, np.float64)
    zoom = TILE / (_REACH * face_scale(points)[0])
    centre = (points[:2].mean(0) + 2 * points[3:].mean(0)) / 3
    shift = (TILE - 1) / 2 - zoom * centre
    matrix = np.array([[zoom, 0.0, shift[0]], [0.0, zoom, shift[1]]])
    canvas = cut_canvas(editable(picture), Place(TILE, matrix, upright))
    tile = np.ascontiguousarray(canvas.to_bgr()[..., ::-1])
    for axis, extent in enumerate(upright.size):
        beyond = (np.arange(TILE) - shift[axis]) / zoom
        beyond = (beyond < -0.5) | (beyond > extent - 0.5)
        tile[(slice(None), beyond) if axis == 0 else beyond] = _PAPER
    return tile


@cache
def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def _fitted(text: str, width: float) -> str:
    """Shorten from the middle until it fits."""
    kept = text
    while _font(20).getlength(kept) > width and len(kept) > 8:
        half = (len(kept) - 2) // 2
        kept = f"{kept[:half]}…{kept[-half:]}"
    return kept

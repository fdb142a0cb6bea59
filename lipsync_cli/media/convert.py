"""Convert pictures once, before any edit, where they or their encoder ask for it."""

from __future__ import annotations

from collections.abc import Callable

import av
from av.codec import find_best_pix_fmt_of_list
from av.video.reformatter import Colorspace, VideoReformatter

from lipsync_cli.media.encoders import EncoderPlan, has_alpha, plain_format
from lipsync_cli.media.planes import copy_planes, copy_tags, duplicate, sample_layout

Convert = Callable[[av.VideoFrame], av.VideoFrame]

_LIMITED, _FULL = 1, 2
# What RGB, palettes, packed and big-endian samples become, so that they can be edited.
_EDITABLE = (
    *("gray", "yuv420p", "yuv422p", "yuv444p", "yuva420p", "yuva444p"),
    *("gray10le", "yuv420p10le", "yuv422p10le", "yuv444p10le", "yuv444p12le", "yuva444p10le"),
)
_STILL = "yuv420p"


def converter(plan: EncoderPlan, layout: av.VideoFormat) -> Convert | None:
    """What turns pictures of a format into what the encoder takes; None where nothing has to.

    Formats that differ in nothing but the name of their range keep their samples.
    """
    if layout.name == plan.pix_fmt:
        return None
    if plain_format(layout.name) == plan.pix_fmt:
        return lambda picture: _renamed(picture, plan.pix_fmt)
    reformatter = VideoReformatter()
    return lambda picture: _converted(picture, plan.pix_fmt, reformatter)


def editable(picture: av.VideoFrame) -> av.VideoFrame:
    """The picture itself, or its nearest equivalent of Y, U and V samples."""
    name = picture.format.name
    if sample_layout(name) is not None:
        return picture
    best, _ = find_best_pix_fmt_of_list(list(_EDITABLE), name, has_alpha(picture.format))
    return _converted(picture, best.name if best else "yuv444p", VideoReformatter())


def still_picture(picture: av.VideoFrame) -> av.VideoFrame:
    """Turn a photograph into what every player shows, of even size."""
    width, height = picture.width - picture.width % 2, picture.height - picture.height % 2
    cut = av.VideoFrame(width, height, picture.format.name)
    copy_planes(picture, cut)
    copy_tags(picture, cut)
    return _to_hd(cut, _STILL, VideoReformatter())


def _converted(
    picture: av.VideoFrame, pix_fmt: str, reformatter: VideoReformatter
) -> av.VideoFrame:
    if picture.format.is_rgb or picture.format.has_palette:
        return _to_hd(picture, pix_fmt, reformatter)
    return reformatter.reformat(picture, format=pix_fmt, threads=1)


def _to_hd(picture: av.VideoFrame, pix_fmt: str, reformatter: VideoReformatter) -> av.VideoFrame:
    """Convert by the matrix of HD and to the limited range of video."""
    converted = reformatter.reformat(
        picture,
        format=pix_fmt,
        dst_colorspace=Colorspace.ITU709,
        dst_color_range="MPEG",
        threads=1,
    )
    copy_tags(picture, converted)
    converted.color_range, converted.colorspace = _LIMITED, Colorspace.ITU709
    return converted


def _renamed(picture: av.VideoFrame, pix_fmt: str) -> av.VideoFrame:
    copy = duplicate(picture, pix_fmt)
    copy.color_range = _FULL
    return copy

"""What an independent reader finds in a file, and edits that nobody can miss."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import numpy.typing as npt
from ruler import payloads

from lipsync_cli.media.encoders import EncoderOptions
from lipsync_cli.media.planes import duplicate, samples

LOSSLESS = EncoderOptions(lossless=True, threads=1)
FAST = EncoderOptions(preset="ultrafast", threads=1)
SMALL = {"duration_s": 0.6, "size": (64, 48), "events_s": (0.2,)}
Picture = npt.NDArray[np.uint8]


class Stills(NamedTuple):
    """What an independent reader finds: times, samples of all planes, colour tags."""

    times: list[Fraction]
    planes: list[list[Picture]]
    colours: list[tuple[int, ...]]


def grain(number: int, size: tuple[int, int]) -> Picture:
    """Another noise in every picture, so that none can be taken for its neighbour."""
    random = np.random.default_rng(number)
    return random.integers(0, 256, size[::-1], dtype=np.uint8)


def stills(path: Path) -> Stills:
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams.video if not s.disposition & 0x400)
        assert stream.time_base is not None
        frames = list(container.decode(stream))
        return Stills(
            [frame.pts * stream.time_base for frame in frames if frame.pts is not None],
            [[view.copy() for view in samples(frame)] for frame in frames],
            [(f.color_primaries, f.color_trc, f.colorspace) for f in frames],
        )


source_stills, source_payloads = cache(stills), cache(payloads)


def same(first: list[Picture], second: list[Picture]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def inverted(picture: av.VideoFrame, pts_s: float) -> av.VideoFrame:
    """An edit that nobody can miss: the left half of the luma, upside down in brightness."""
    copy = duplicate(picture)
    luma = samples(copy)[0]
    half = luma[:, : luma.shape[1] // 2]
    half[:] = (1 << max(8, copy.format.components[0].bits)) - 1 - half
    return copy


def tagged(path: Path, colours: tuple[int, int, int, int], **more: Any) -> Path:
    """A clip of anamorphic pixels with colour tags, as FFmpeg numbers them."""
    options = {"preset": "ultrafast"} | more.pop("options", {})
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        context = stream.codec_context
        context.sample_aspect_ratio = Fraction(4, 3)
        context.color_range, context.color_primaries = colours[:2]
        context.color_trc, context.colorspace = colours[2:]
        for number in range(3):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for view in samples(frame):
                view[:] = 100
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path

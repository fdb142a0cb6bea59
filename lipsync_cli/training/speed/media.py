"""Talking heads of any size, codec and length, to measure speed on; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.container import OutputContainer

from lipsync_cli.render.clip import render_frames
from lipsync_cli.render.speech import speak
from lipsync_cli.render.voice import SAMPLE_RATE, synthesise

Picture = npt.NDArray[np.uint8]

RATE = 25
# Rendered and encoded once, then repeated: 5.12 s hold a whole number of AAC frames.
LOOP_FRAMES = 128
LOOP_S = LOOP_FRAMES / RATE
_AAC_FRAME = 1024
_FACE = 480  # px rendered; scaled to the picture
_GRAINS = 4
_GRAIN = 3.0  # grey levels, so that decoding costs what it costs for real pictures
_BITS_PER_PIXEL = 0.16

# Container, pixel format and options of the encoder.
_CODECS: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "h264": ("libx264", ".mp4", "yuv420p", {"preset": "veryfast"}),
    "hevc": ("libx265", ".mp4", "yuv420p", {"preset": "ultrafast", "x265-params": "log-level=0"}),
    "prores": ("prores_ks", ".mov", "yuv422p10le", {"profile": "standard"}),
}
CODECS = tuple(_CODECS)


@dataclass(frozen=True)
class Material:
    """One file to measure on: 16:9 at 25 fps.

    Attributes:
        height: of the picture in px.
        codec: one of `CODECS`.
        faces: talking heads side by side, 0 to 3.
        duration_s: at least; a whole number of loops.
    """

    height: int = 1080
    codec: str = "h264"
    faces: int = 1
    duration_s: float = 20.0

    @property
    def name(self) -> str:
        """As in "1080p h264"."""
        return f"{self.height}p {self.codec}"

    @property
    def loops(self) -> int:
        """How often the loop is repeated."""
        return max(1, round(self.duration_s / LOOP_S))

    @property
    def frames(self) -> int:
        """Pictures in the file."""
        return self.loops * LOOP_FRAMES


def can_encode(codec: str) -> bool:
    """Whether this build of FFmpeg has the encoder."""
    try:
        av.codec.Codec(_CODECS[codec][0], "w")
    except ValueError:
        return False
    return True


def synthesise_media(material: Material, folder: Path) -> Path:
    """Write the file, unless the folder holds it already, and return its path."""
    encoder, suffix, pix_fmt, options = _CODECS[material.codec]
    stem = f"{material.height}p-{material.codec}-{material.faces}-{material.loops}"
    path = folder / f"{stem}{suffix}"
    if path.exists():
        return path
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream(encoder, rate=RATE, options=options)
        video.width, video.height = _size(material.height)
        video.pix_fmt = pix_fmt
        video.bit_rate = round(video.width * video.height * RATE * _BITS_PER_PIXEL)
        sound: Any = out.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        pictures = _encoded_pictures(video, material)
        _repeat(out, [(video, pictures, LOOP_FRAMES), _looped_sound(sound)], material.loops)
    return path


class _Coded(NamedTuple):
    data: bytes
    pts: int
    dts: int
    time_base: Fraction
    is_key: bool


def _size(height: int) -> tuple[int, int]:
    return round(height * 16 / 9 / 2) * 2, height


def _encoded_pictures(stream: Any, material: Material) -> list[_Coded]:
    packets = []
    for number, picture in enumerate(_pictures(material.height, material.faces)):
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts, frame.time_base = number, Fraction(1, RATE)
        packets += stream.encode(frame)
    return _copied([*packets, *stream.encode(None)])


def _looped_sound(stream: Any) -> tuple[Any, list[_Coded], int]:
    samples = synthesise(speak(LOOP_S, 0))
    count = len(samples) // _AAC_FRAME * _AAC_FRAME
    packets = []
    for first in range(0, count, _AAC_FRAME):
        block = samples[None, first : first + _AAC_FRAME]
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, first
        packets += stream.encode(frame)
    # What the encoder begins with belongs to no repetition.
    return stream, _copied([*packets, *stream.encode(None)])[1:], count


def _copied(packets: Iterable[Any]) -> list[_Coded]:
    return [_Coded(bytes(p), p.pts, p.dts, p.time_base, p.is_keyframe) for p in packets]


def _repeat(out: OutputContainer, streams: list[tuple[Any, list[_Coded], int]], loops: int) -> None:
    """Write coded packets again and again, each time later by the length of their loop."""
    for loop in range(loops):
        for stream, packets, length in streams:
            for each in packets:
                packet = av.Packet(each.data)
                ticks = round(loop * _loop_s(stream, length) / each.time_base)
                packet.pts, packet.dts = each.pts + ticks, each.dts + ticks
                packet.time_base, packet.is_keyframe = each.time_base, each.is_key
                packet.stream = stream
                out.mux_one(packet)


def _loop_s(stream: Any, length: int) -> Fraction:
    return Fraction(length, RATE if stream.type == "video" else SAMPLE_RATE)


def _pictures(height: int, faces: int) -> Iterator[Picture]:
    """BGR pictures of a loop, with grain."""
    width, _ = _size(height)
    random = np.random.default_rng(0)
    coarse = random.integers(60, 150, (9, 16, 3), np.uint8)
    room = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    grains = [
        random.normal(0, _GRAIN, (height, width, 1)).round().astype(np.int8) for _ in range(_GRAINS)
    ]
    side = round(height * 0.55 / 2) * 2
    for number in range(LOOP_FRAMES):
        picture = room.copy()
        for face in range(faces):
            # Each person is somewhere else in the same speech.
            shown = _faces()[(number + 37 * face) % LOOP_FRAMES]
            left = round((face + 0.5) * width / faces) - side // 2
            top = height - side
            picture[top:, left : left + side] = cv2.resize(shown, (side, side))
        grain = grains[number % _GRAINS]
        yield np.clip(picture.astype(np.int16) + grain, 0, 255).astype(np.uint8)


@lru_cache(maxsize=1)
def _faces() -> list[Picture]:
    frames = render_frames(speak(LOOP_S + 0.2, 0), fps=RATE, size=_FACE)
    found = [np.ascontiguousarray(picture[..., ::-1]) for picture in frames]
    return found[:LOOP_FRAMES]

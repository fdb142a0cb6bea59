"""Small files in every container that can be written, and what goes wrong with files."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

Mutation = Callable[[bytes, random.Random], bytes]

_RATE, _SIZE, _SAMPLES = 25, (96, 64), 48_000
_DURATION_S = 1
_HEADER = 4096  # bytes in which most of the structure of a small file lies
# Suffix, picture and sound encoder, pixel format.
_CONTAINERS = (
    (".mp4", "libx264", "aac", "yuv420p"),
    (".mov", "prores_ks", "pcm_s16le", "yuv422p10le"),
    (".3gp", "libx264", "aac", "yuv420p"),
    (".mkv", "libx265", "flac", "yuv420p"),
    (".webm", "libvpx-vp9", "libopus", "yuv420p"),
    (".ts", "libx264", "ac3", "yuv420p"),
    (".m2ts", "libx264", "aac", "yuv420p"),
    (".mpg", "mpeg2video", "mp2", "yuv420p"),
    (".flv", "libx264", "aac", "yuv420p"),
    (".avi", "mpeg4", "pcm_s16le", "yuv420p"),
    (".mxf", "mpeg2video", "pcm_s16le", "yuv420p"),
    (".wmv", "wmv2", "wmav2", "yuv420p"),
)
_FORMATS = {".m2ts": "mpegts", ".wmv": "asf"}
_QUIET = {"libx265": {"x265-params": "log-level=0:pools=none"}, "libvpx-vp9": {"cpu-used": "8"}}


def seed_media(folder: Path) -> list[Path]:
    """Write one small file in each container; those that this FFmpeg cannot write are left out."""
    made = []
    for number, (suffix, *how) in enumerate(_CONTAINERS):
        path = folder / f"seed{number}{suffix}"
        try:
            _write(path, *how)
        except (av.error.FFmpegError, ValueError):
            path.unlink(missing_ok=True)
            continue
        made.append(path)
    return made


def mutate(data: bytes, seed: int) -> tuple[str, bytes]:
    """Damage a file in one way, chosen by the seed; also the name of that way."""
    chance = random.Random(seed)
    name = chance.choice(sorted(_MUTATIONS))
    return name, _MUTATIONS[name](data, chance)


def _write(path: Path, vcodec: str, acodec: str, pix_fmt: str) -> None:
    with av.open(str(path), "w", format=_FORMATS.get(path.suffix)) as out:
        video: Any = out.add_stream(vcodec, rate=_RATE, options=_QUIET.get(vcodec, {}))
        video.width, video.height = _SIZE
        video.pix_fmt = pix_fmt
        video.codec_context.thread_count = 1
        sound: Any = out.add_stream(acodec, rate=_SAMPLES, layout="stereo")
        out.metadata["title"] = "a title"
        block = _SAMPLES // _RATE
        for number, picture in enumerate(_pictures(pix_fmt)):
            out.mux(video.encode(picture))
            out.mux(sound.encode(_tone(number * block, block, sound.format.name)))
        out.mux(video.encode(None))
        out.mux(sound.encode(None))


def _pictures(pix_fmt: str) -> Iterator[av.VideoFrame]:
    noise = np.random.default_rng(0).integers(0, 255, (*_SIZE[::-1], 3), np.uint8)
    for number in range(_RATE * _DURATION_S):
        rolled = np.ascontiguousarray(np.roll(noise, 2 * number, axis=1))
        frame = av.VideoFrame.from_ndarray(rolled, format="rgb24").reformat(format=pix_fmt)
        frame.pts, frame.time_base = number, Fraction(1, _RATE)
        yield frame


def _tone(first: int, count: int, sample_format: str) -> av.AudioFrame:
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(first, first + count) / _SAMPLES)
    both = np.tile(wave.astype(np.float32), (2, 1))
    frame = av.AudioFrame.from_ndarray(both, format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = _SAMPLES, first, Fraction(1, _SAMPLES)
    resampler = av.AudioResampler(format=sample_format, layout="stereo", rate=_SAMPLES)
    return resampler.resample(frame)[0]


def _truncated(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def _flipped(data: bytes, chance: random.Random, end: int | None = None) -> bytes:
    damaged = bytearray(data)
    for _ in range(chance.choice((1, 4, 16, 64))):
        damaged[chance.randrange(min(end or len(data), len(data)))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def _flipped_header(data: bytes, chance: random.Random) -> bytes:
    return _flipped(data, chance, _HEADER)


def _sizes(data: bytes, chance: random.Random) -> bytes:
    """Numbers of four bytes become extreme: sizes, counts, rates."""
    damaged = bytearray(data)
    extremes = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE, 0x10000, 0x00FFFFFF)
    for _ in range(chance.choice((1, 2, 4))):
        place = chance.randrange(max(1, min(_HEADER, len(data)) - 4))
        damaged[place : place + 4] = chance.choice(extremes).to_bytes(4, chance.choice(_ORDERS))
    return bytes(damaged)


def _zeroed(data: bytes, chance: random.Random) -> bytes:
    first, count = _stretch(data, chance)
    return data[:first] + bytes(count) + data[first + count :]


def _cut(data: bytes, chance: random.Random) -> bytes:
    first, count = _stretch(data, chance)
    return data[:first] + data[first + count :]


def _repeated(data: bytes, chance: random.Random) -> bytes:
    first, count = _stretch(data, chance)
    return data[: first + count] + data[first:]


def _noise(data: bytes, chance: random.Random) -> bytes:
    first, count = _stretch(data, chance)
    return data[:first] + chance.randbytes(count) + data[first + count :]


def _stretch(data: bytes, chance: random.Random) -> tuple[int, int]:
    first = chance.randrange(len(data))
    return first, min(chance.choice((1, 16, 512, 4096, 20_000)), len(data) - first)


_ORDERS: tuple[Any, ...] = ("big", "little")
_MUTATIONS: dict[str, Mutation] = {
    "truncated": _truncated,
    "bits flipped": _flipped,
    "header flipped": _flipped_header,
    "extreme numbers": _sizes,
    "zeros": _zeroed,
    "stretch missing": _cut,
    "stretch repeated": _repeated,
    "noise": _noise,
}

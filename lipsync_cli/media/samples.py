"""Sound at its own rate and in all its channels: decoded in place, and encoded like the source."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet

from lipsync_cli.errors import OutputError, UnreadableMedia
from lipsync_cli.media.probe import open_media

Samples = npt.NDArray[np.float64]

# FFmpeg's encoders for what it decodes; Vorbis has no good one, Opus is its successor.
_ENCODERS = {
    "aac": "aac",
    "mp3": "libmp3lame",
    "mp2": "mp2",
    "ac3": "ac3",
    "eac3": "eac3",
    "opus": "libopus",
    "vorbis": "libopus",
    "flac": "flac",
    "alac": "alac",
    "wmav2": "wmav2",
}
_LOSSLESS = ("flac", "alac")
# PCM that is nothing but samples; the disc formats wrap it in packets of their own.
_PLAIN_PCM = re.compile(r"pcm_([suf]\d+(le|be)?|alaw|mulaw)")
_UNNAMED_LAYOUT = re.compile(r"(\d+) channels")
# Below this, per channel, a second coding is heard. Files also state the mean over silences,
# and efficient AAC needs less than the plain one it becomes.
_LEAST_BITS = {"aac": 64_000, "libopus": 32_000}
_PCM_PACKETS_HZ = 25
_SAMPLED_PACKETS = 500
# The same judgement of timestamps as for the sound that is measured (media/audio.py).
_JITTER_S, _HOLE_FRAMES, _AGREEING, _MAX_HOLE_S = 0.002, 0.6, 16, 6 * 3600.0


@dataclass(frozen=True)
class Coding:
    """How a track is written again.

    Attributes:
        source, encoder: names of the coding format and of FFmpeg's encoder for it.
        pcm: samples as they are; a move by whole samples loses nothing.
        lossless: PCM, or compressed without loss.
        bit_rate: in bits per second, None where it follows from the rest.
        sample_format: FFmpeg's name of what the encoder takes.
        layout: channel layout.
    """

    source: str
    encoder: str
    pcm: bool
    lossless: bool
    bit_rate: int | None
    sample_format: str
    layout: str
    rate: int


def choose_coding(stream: AudioStream, path: Path) -> Coding:
    """Choose how to encode the sound of `stream` again, as close to the source as possible.

    Raises:
        OutputError: there is no encoder for its format.
    """
    context = stream.codec_context
    name = context.codec.canonical_name
    pcm = _PLAIN_PCM.fullmatch(name) is not None
    encoder = _ENCODERS.get(name, name)
    try:
        formats = [f.name for f in av.Codec(encoder, "w").audio_formats or ()]
    except ValueError as error:
        raise _no_encoder(name, stream, path) from error
    lossless = encoder.startswith("pcm_") or encoder in _LOSSLESS
    bit_rate = None if lossless else _bit_rate(stream, encoder, path)
    wanted = _format_like(context.format.name if context.format else "", formats, lossless)
    layout = _named_layout(context.layout.name)
    return Coding(name, encoder, pcm, lossless, bit_rate, wanted, layout, stream.rate)


def configure(context: AudioCodecContext, coding: Coding) -> None:
    """Set an encoder up, before it is opened."""
    context.sample_rate = coding.rate
    context.layout = coding.layout
    context.format = coding.sample_format
    context.time_base = Fraction(1, coding.rate)
    if coding.bit_rate:
        context.bit_rate = coding.bit_rate


def priming(coding: Coding) -> int:
    """Samples that a decoder puts out before the first one that was encoded."""
    if coding.lossless:
        return 0
    with av.open(os.devnull, "w", format="null") as nowhere:
        stream: Any = nowhere.add_stream(coding.encoder, rate=coding.rate)
        configure(stream.codec_context, coding)
        writer = TrackWriter(stream.codec_context, coding, 0)
        silence = np.zeros((stream.codec_context.layout.nb_channels, writer.block))
        packets = [*writer.write(silence), *writer.close()]
    return max(0, -min((p.pts for p in packets if p.pts is not None), default=0))


class TrackReader:
    """Turns decoded frames of one track into one line of samples without holes.

    Time is counted in samples inside a run of frames that follow each other; missing sound
    becomes silence and doubled sound is left out.

    Attributes:
        start_s: time of the first sample, None before it came.
    """

    def __init__(self, path: Path) -> None:
        self.start_s: float | None = None
        self._path = path
        self._rate = self._count = 0
        self._format: tuple[str, int] | None = None
        self._off_s: deque[float] = deque(maxlen=_AGREEING)

    def push(self, frame: AudioFrame) -> Iterator[Samples]:
        """Take a decoded frame; yields what comes next as [channels, n]."""
        self._check_format(frame)
        samples = to_float(frame)
        gap = self._gap(frame)
        for first in range(0, gap, self._rate):
            yield self._counted(np.zeros((len(samples), min(self._rate, gap - first))))
        if -gap < samples.shape[1]:
            yield self._counted(samples[:, max(-gap, 0) :])

    def _counted(self, samples: Samples) -> Samples:
        self._count += samples.shape[1]
        return samples

    def _check_format(self, frame: AudioFrame) -> None:
        found = frame.layout.name, frame.sample_rate
        self._format, self._rate = self._format or found, frame.sample_rate
        if found != self._format:
            raise UnreadableMedia(
                f"its sound changes from {self._format} to {found} on the way",
                path=self._path,
                hint="shift its timestamps instead (--method timestamps), or convert it first",
            )

    def _gap(self, frame: AudioFrame) -> int:
        """Samples missing before the frame; negative where it repeats some."""
        if self.start_s is None:
            self.start_s = frame.time or 0.0
        if frame.time is None:
            return 0
        off_s = frame.time - self.start_s - self._count / self._rate
        if abs(off_s) > _MAX_HOLE_S:
            return 0
        if abs(off_s) < max(_JITTER_S, _HOLE_FRAMES * frame.samples / self._rate):
            off_s = self._settled_s(off_s)
        else:
            self._off_s.clear()
        return round(off_s * self._rate)

    def _settled_s(self, off_s: float) -> float:
        """Rounded timestamps mean nothing, unless many in a row say the same."""
        if abs(off_s) <= _JITTER_S:
            self._off_s.clear()
            return 0.0
        self._off_s.append(off_s)
        if abs(np.sign(self._off_s).sum()) < _AGREEING:
            return 0.0
        mean_s = float(np.mean(self._off_s))
        self._off_s.clear()
        return mean_s


class TrackWriter:
    """Encodes samples into packets whose times count from `first`.

    Args:
        first: time of the first sample, in samples.
    """

    def __init__(self, context: AudioCodecContext, coding: Coding, first: int) -> None:
        self._context, self._coding, self._next = context, coding, first
        if not context.is_open:
            context.open()
        self.block = context.frame_size or max(1, coding.rate // _PCM_PACKETS_HZ)

    def write(self, samples: Samples) -> list[Packet[Any]]:
        """Encode samples [channels, n]; n is `block`, save for the last ones."""
        frame = to_frame(samples, self._coding)
        frame.pts, frame.time_base = self._next, Fraction(1, self._coding.rate)
        self._next += samples.shape[1]
        return self._timed(self._context.encode(frame))

    def close(self) -> list[Packet[Any]]:
        """Put out what the encoder still holds."""
        return self._timed(self._context.encode(None))

    def _timed(self, packets: list[Packet[Any]]) -> list[Packet[Any]]:
        for packet in packets:
            packet.time_base = Fraction(1, self._coding.rate)
        return packets


def to_float(frame: AudioFrame) -> Samples:
    """Samples [channels, n]; integer formats are scaled to [-1, 1) without any loss."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, len(frame.layout.channels)).T
    if values.dtype == np.uint8:
        return (values.astype(np.float64) - 128) / 128
    scale = float(1 << (8 * values.dtype.itemsize - 1)) if values.dtype.kind == "i" else 1.0
    return values.astype(np.float64) / scale


def to_frame(samples: Samples, coding: Coding) -> AudioFrame:
    """The inverse of `to_float`, in the encoder's format."""
    kind = coding.sample_format.removesuffix("p")
    if kind in ("flt", "dbl"):
        values = samples.astype(np.float32 if kind == "flt" else np.float64)
    else:
        values = _integers(samples, kind)
    if not coding.sample_format.endswith("p"):
        values = values.T.reshape(1, -1)
    frame = AudioFrame.from_ndarray(
        np.ascontiguousarray(values), format=coding.sample_format, layout=coding.layout
    )
    frame.sample_rate = coding.rate
    return frame


def _integers(samples: Samples, kind: str) -> npt.NDArray[Any]:
    bits = {"u8": 8, "s16": 16, "s32": 32, "s64": 64}[kind]
    limit = float(1 << (bits - 1))
    # The largest double below 2^63 is that far away.
    highest = np.nextafter(limit, 0) if bits == 64 else limit - 1
    values = np.clip(np.rint(np.nan_to_num(samples) * limit), -limit, highest)
    if kind == "u8":
        return (values + 128).astype(np.uint8)
    return values.astype(f"int{bits}")


def _format_like(source: str, formats: list[str], lossless: bool) -> str:
    """The encoder's sample format nearest to the decoder's."""
    kind = source.removesuffix("p")
    preferred = [kind] if lossless else ["flt", "s16"]
    same = [f for want in preferred for f in formats if f.removesuffix("p") == want]
    return next(iter(same or formats), source)


def _named_layout(name: str) -> str:
    unnamed = _UNNAMED_LAYOUT.fullmatch(name)
    return {"1": "mono", "2": "stereo"}.get(unnamed[1], name) if unnamed else name


def _bit_rate(stream: AudioStream, encoder: str, path: Path) -> int:
    """Bits per second of the source, counted where the container does not say."""
    stated = stream.codec_context.bit_rate or _counted_bit_rate(path, stream.index)
    return max(stated, _LEAST_BITS.get(encoder, 0) * stream.channels)


def _counted_bit_rate(path: Path, index: int) -> int:
    size, duration = 0, Fraction(0)
    with open_media(path) as container:
        for number, packet in enumerate(container.demux(container.streams[index])):
            if not packet.size or number >= _SAMPLED_PACKETS:
                break
            size += packet.size
            duration += (packet.duration or 0) * packet.time_base
    return round(size * 8 / duration) if duration else 0


def _no_encoder(name: str, stream: AudioStream, path: Path) -> OutputError:
    return OutputError(
        f"its sound (stream {stream.index}, {name}) cannot be encoded again here",
        path=path,
        hint="shift its timestamps in a container that stores them: --method timestamps -o OUT.mkv",
    )

"""Sound decoded and encoded again, gap-free and placed by its timestamps to the sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from typing import Any, cast

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

Samples = npt.NDArray[np.float32]

_LOSSLESS = frozenset(("flac", "alac", "wavpack", "tta", "ape", "truehd", "mlp"))
_ENCODERS = {"webm": "libopus", "mpeg": "mp2", "vob": "mp2", "matroska": "flac"}
_RATES = {
    "aac": (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000),
    "mp2": (48000, 44100, 32000),
    "libopus": (48000,),
}
_BITS_PER_CHANNEL = {"aac": 128_000, "libopus": 128_000, "mp2": 192_000}
# AAC holds 6144 bits in a frame of 1024 samples of a channel.
_AAC_BITS_PER_SAMPLE = 6
_MOST_CHANNELS = {"mp2": 2}
_FEW = {1: "mono", 2: "stereo"}
# A step of the timestamps by this part of a frame means that sound is missing or doubled.
_HOLE_FRAMES, _JITTER_S = 0.6, 0.002
_MAX_HOLE_S = 6 * 3600
_BLOCK = 1 << 16


def is_lossless(codec: str) -> bool:
    """Whether a format keeps every sample."""
    return codec in _LOSSLESS or codec.startswith("pcm_")


class SoundEncoder:
    """Encodes one audio stream anew.

    Attributes:
        codec: name of the encoder.
        rate: samples per second.
    """

    def __init__(self, source: AudioStream, muxer: str) -> None:
        self._source = source
        name = source.codec_context.codec.canonical_name
        alac = muxer == "mov" and is_lossless(name)
        self.codec = "alac" if alac else _ENCODERS.get(muxer, "aac")
        rates = _RATES.get(self.codec, (source.rate,))
        self.rate = source.rate if source.rate in rates else rates[0]
        self._layout = _layout(source, _MOST_CHANNELS.get(self.codec, 8))
        self._deep = is_lossless(name) and not _is_16_bit(source)
        self._stream: AudioStream | None = None

    def add_to(self, out: OutputContainer) -> AudioStream:
        """Add the encoded stream to an output."""
        stream: Any = out.add_stream(self.codec, rate=self.rate, layout=self._layout)
        channels = len(stream.layout.channels)
        if self.codec in _BITS_PER_CHANNEL:
            most = _AAC_BITS_PER_SAMPLE * self.rate if self.codec == "aac" else 1 << 20
            stream.bit_rate = min(_BITS_PER_CHANNEL[self.codec], most) * channels
        elif self._deep:
            stream.format = "s32p" if self.codec == "alac" else "s32"
        stream.time_base = Fraction(1, self.rate)
        self._stream = cast(AudioStream, stream)
        return self._stream

    def run(self, packets: Iterable[Packet[Any]], begin: int, cut: int) -> Iterator[Packet[Any]]:
        """Decode packets and yield encoded ones.

        Args:
            begin: time of the first sample, in samples of the output.
            cut: samples before this time are left out.
        """
        assert self._stream is not None
        at, line = begin, _Line(self.rate, self._layout)
        blocks = chain.from_iterable(line.push(frame) for frame in self._decoded(packets))
        for block in chain(blocks, line.flush()):
            kept = block[:, max(cut - at, 0) :]
            at += block.shape[1]
            if kept.shape[1]:
                yield from self._encode(kept, at - kept.shape[1])
        yield from self._stream.encode(None)

    def _encode(self, samples: Samples, pts: int) -> Iterator[Packet[Any]]:
        assert self._stream is not None
        # Damaged floating-point sound may hold anything.
        clean = np.clip(np.nan_to_num(samples), -1.0, 1.0)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(clean), format="fltp", layout=self._layout
        )
        frame.sample_rate, frame.pts, frame.time_base = self.rate, pts, Fraction(1, self.rate)
        yield from self._stream.encode(frame)

    def _decoded(self, packets: Iterable[Packet[Any]]) -> Iterator[av.AudioFrame]:
        for packet in chain(packets, [None]):
            try:
                yield from self._source.decode(packet)
            except av.error.FFmpegError:
                continue


class _Line:
    """One format for frames of any, with silence where some are missing and no doubles.

    Blocks are float32 [channels, n]; the first sample of all is that of the first frame.
    """

    def __init__(self, rate: int, layout: str) -> None:
        self._rate, self._layout = rate, layout
        self._resampler: AudioResampler | None = None
        self._kind: tuple[str, str, int] | None = None
        self._channels = av.AudioLayout(layout).nb_channels
        self._first_s: float | None = None
        self._expected_s = 0.0
        self._given = self._skip = 0

    def push(self, frame: av.AudioFrame) -> Iterator[Samples]:
        """Take one decoded frame and yield what it adds."""
        if not frame.samples or not frame.sample_rate:
            return
        kind = frame.format.name, frame.layout.name, frame.sample_rate
        start_s = self._start_s(frame)
        if kind != self._kind or start_s != self._expected_s:
            yield from self._begin_run(start_s)
            self._kind = kind
        self._expected_s = start_s + frame.samples / frame.sample_rate
        # Timestamps are ours to judge; the resampler must not see them.
        frame.pts = None
        yield from self._resampled(frame)

    def flush(self) -> Iterator[Samples]:
        """Yield what the resampler still holds."""
        if self._resampler is not None:
            yield from self._resampled(None)
            self._resampler = None

    def _start_s(self, frame: av.AudioFrame) -> float:
        if frame.pts is None or frame.time_base is None:
            return self._expected_s
        start_s = float(frame.pts * frame.time_base)
        off_s = abs(start_s - self._expected_s)
        hole_s = max(_JITTER_S, _HOLE_FRAMES * frame.samples / frame.sample_rate)
        is_hole = self._first_s is None or hole_s <= off_s <= _MAX_HOLE_S
        return start_s if is_hole else self._expected_s

    def _begin_run(self, start_s: float) -> Iterator[Samples]:
        yield from self.flush()
        self._first_s = start_s if self._first_s is None else self._first_s
        gap = round((start_s - self._first_s) * self._rate) - self._given
        for first in range(0, gap, _BLOCK):
            yield self._counted(np.zeros((self._channels, min(_BLOCK, gap - first)), np.float32))
        self._skip = max(-gap, 0)
        self._resampler = AudioResampler(format="fltp", layout=self._layout, rate=self._rate)

    def _resampled(self, frame: av.AudioFrame | None) -> Iterator[Samples]:
        assert self._resampler is not None
        # Without anything to convert, flushing passes the None on.
        parts: list[av.AudioFrame | None] = [*self._resampler.resample(frame)]
        for part in filter(None, parts):
            block = part.to_ndarray().astype(np.float32, copy=False)
            dropped = min(self._skip, block.shape[1])
            self._skip -= dropped
            yield self._counted(block[:, dropped:])

    def _counted(self, block: Samples) -> Samples:
        self._given += block.shape[1]
        return block


def _layout(source: AudioStream, most: int) -> str:
    count = source.channels
    if count > most:
        return _FEW[2]
    return _FEW.get(count, source.layout.name)


def _is_16_bit(source: AudioStream) -> bool:
    layout = source.codec_context.format
    return layout is not None and layout.bits <= 16

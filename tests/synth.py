"""Beep-and-flash clips, made with PyAV alone.

At every event one frame is white and a beep of 40 ms starts exactly at that frame's
presentation time (plus `audio_delay_s`), so both streams carry their own truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

BEEP_S = 0.04
BEEP_HZ = 1000.0
TRACK_STEP_HZ = 500.0
DARK, WHITE = 24, 235

# Gaps all different, so that no wrong shift can match the pattern.
EVENTS_S = (0.4, 0.96, 1.2, 1.88, 2.24, 3.08, 3.52)

Picture = npt.NDArray[np.uint8]
Painter = Callable[[int, tuple[int, int]], Picture]

_CODECS: Mapping[str, tuple[str, str]] = {
    ".webm": ("libvpx-vp9", "libopus"),
    ".mpg": ("mpeg2video", "mp2"),
    ".avi": ("mpeg4", "pcm_s16le"),
    ".mxf": ("mpeg2video", "pcm_s16le"),
}
_FORMATS: Mapping[str, str] = {".m4v": "mp4", ".m2ts": "mpegts"}
_REORDERING = ("libx264", "libx265", "mpeg2video", "mpeg4")
_FAST: Mapping[str, dict[str, str]] = {
    "libx264": {"preset": "veryfast"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=none"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a clip is made of.

    Attributes:
        vcodec, acodec: encoder names; "auto" takes what suits the container, None leaves
            the stream out.
        channel: the only channel of `layout` that sounds; None for all of them.
        events_s: wished event times; they move to the nearest frame time.
        audio_delay_s: time by which the beeps come after the flashes.
        audio_start_s, video_start_s: presentation time of the first sample and frame.
        bframes: None for 2 where codec and container can order them.
        rotation: clockwise degrees a player has to turn the picture by; `flip` may hold
            "h" or "v" for mirrored display matrices.
        options, container_options: of the video encoder and of the muxer.
        pts_s: explicit frame times, for variable frame rates.
        audio_hole_s: sound packets that lie inside this span are left out.
        audio_tracks: track k beeps at 1000 + 500 k Hz.
        interleaved: False puts all sound behind all pictures (mkv).
        paint: (frame number, (width, height)) -> grey or RGB picture, instead of the flashes.
    """

    duration_s: float = 4.0
    fps: Fraction | int = Fraction(25)
    size: tuple[int, int] = (160, 120)
    vcodec: str | None = "auto"
    acodec: str | None = "auto"
    sample_rate: int = 48000
    layout: str = "mono"
    channel: int | None = None
    events_s: Sequence[float] = EVENTS_S
    audio_delay_s: float = 0.0
    audio_start_s: float = 0.0
    video_start_s: float = 0.0
    bframes: int | None = None
    gop: int = 25
    pix_fmt: str = "yuv420p"
    rotation: int = 0
    flip: str = ""
    options: Mapping[str, str] | None = None
    container_options: Mapping[str, str] | None = None
    pts_s: Sequence[float] | None = None
    audio_hole_s: tuple[float, float] | None = None
    audio_tracks: int = 1
    interleaved: bool = True
    paint: Painter | None = None

    def frame_times_s(self) -> list[float]:
        """Presentation time of every frame, in seconds."""
        if self.pts_s is not None:
            return list(self.pts_s)
        frames = round(self.duration_s * self.fps)
        return [self.video_start_s + float(i / self.fps) for i in range(frames)]

    def flashes_s(self) -> tuple[float, ...]:
        """Times of the white frames, in seconds."""
        times_s = np.asarray(self.frame_times_s())
        inside = [t for t in self.events_s if times_s[0] <= t <= times_s[-1]]
        return tuple(float(times_s[np.abs(times_s - t).argmin()]) for t in inside)

    def beeps_s(self) -> tuple[float, ...]:
        """Onsets of the beeps, in seconds."""
        return tuple(t + self.audio_delay_s for t in self.flashes_s())


def make_clip(path: str | Path, **fields: Any) -> Path:
    """Write a beep-and-flash clip and return its path.

    The suffix names the container; `fields` are those of `Recipe`.
    """
    path, recipe = Path(path), Recipe(**fields)
    auto_v, auto_a = _CODECS.get(path.suffix, ("libx264", "aac"))
    vcodec = auto_v if recipe.vcodec == "auto" else recipe.vcodec
    acodec = auto_a if recipe.acodec == "auto" else recipe.acodec
    muxing = dict(recipe.container_options or {})
    if not recipe.interleaved:
        muxing["max_interleave_delta"] = "1"
    with av.open(str(path), "w", format=_FORMATS.get(path.suffix), options=muxing) as out:
        writers: list[Iterator[float]] = []
        if vcodec is not None:
            # AVI has no presentation times, so pictures out of order lose theirs.
            ordered = path.suffix == ".avi" or vcodec not in _REORDERING
            video = _add_video(out, vcodec, recipe, 0 if ordered else 2)
            writers.append(_write_video(out, video, recipe))
        for track in range(recipe.audio_tracks if acodec is not None else 0):
            audio: Any = out.add_stream(str(acodec), rate=recipe.sample_rate, layout=recipe.layout)
            writers.append(_write_audio(out, audio, recipe, BEEP_HZ + track * TRACK_STEP_HZ))
        _run(writers, recipe.interleaved)
    return path


def _run(writers: Sequence[Iterator[float]], interleaved: bool) -> None:
    """Drive the writers: always the one furthest behind, or one after the other."""
    clocks = dict.fromkeys(range(len(writers)), -1e9)
    while clocks:
        behind = min(clocks, key=lambda i: clocks[i] if interleaved else i)
        now_s = next(writers[behind], None)
        if now_s is None:
            del clocks[behind]
        else:
            clocks[behind] = now_s


def _add_video(out: OutputContainer, codec: str, recipe: Recipe, bframes: int) -> VideoStream:
    options = {**_FAST.get(codec, {}), **(recipe.options or {})}
    stream: Any = out.add_stream(codec, rate=Fraction(recipe.fps), options=options)
    stream.width, stream.height = recipe.size
    stream.pix_fmt = recipe.pix_fmt
    context = stream.codec_context
    context.thread_count = 1
    context.max_b_frames = bframes if recipe.bframes is None else recipe.bframes
    context.gop_size = recipe.gop
    regular = recipe.pts_s is None and not recipe.video_start_s
    context.time_base = 1 / Fraction(recipe.fps) if regular else Fraction(1, 90000)
    if recipe.rotation or recipe.flip:
        stream.set_display_rotation(
            -recipe.rotation, hflip="h" in recipe.flip, vflip="v" in recipe.flip
        )
    assert isinstance(stream, VideoStream)
    return stream


def _write_video(out: OutputContainer, stream: VideoStream, recipe: Recipe) -> Iterator[float]:
    """Encode and mux frame by frame, yielding the time reached."""
    flashes_s, flat = recipe.flashes_s(), dict[int, VideoFrame]()
    tick = stream.codec_context.time_base
    for i, time_s in enumerate(recipe.frame_times_s()):
        if recipe.paint is not None:
            frame = _frame(recipe.paint(i, recipe.size), recipe.pix_fmt)
        else:
            level = WHITE if time_s in flashes_s else DARK
            if level not in flat:
                picture = np.full(recipe.size[::-1], level, np.uint8)
                flat[level] = _frame(picture, recipe.pix_fmt)
            frame = flat[level]
        frame.pts, frame.time_base = round(time_s / tick), tick
        out.mux(stream.encode(frame))
        yield time_s
    out.mux(stream.encode(None))


def _frame(picture: Picture, pix_fmt: str) -> VideoFrame:
    picture = np.ascontiguousarray(picture)
    if picture.ndim == 3:
        return VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pix_fmt, threads=1)
    # Full range on both sides keeps the grey levels as they were painted.
    return VideoFrame.from_ndarray(picture, format="gray").reformat(
        format=pix_fmt, src_color_range="JPEG", dst_color_range="JPEG", threads=1
    )


def _write_audio(
    out: OutputContainer, stream: AudioStream, recipe: Recipe, tone_hz: float
) -> Iterator[float]:
    """Encode and mux blocks of 20 ms, yielding the time reached."""
    rate, block = recipe.sample_rate, recipe.sample_rate // 50
    end_s = max(recipe.duration_s, recipe.frame_times_s()[-1])
    for first in range(round(recipe.audio_start_s * rate), round(end_s * rate), block):
        samples = np.tile(
            beeping(np.arange(first, first + block) / rate, recipe.beeps_s(), tone_hz),
            (len(stream.layout.channels), 1),
        )
        if recipe.channel is not None:
            samples[np.arange(len(samples)) != recipe.channel] = 0
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=stream.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
        out.mux(_outside(stream.encode(frame), recipe.audio_hole_s))
        yield (first + block) / rate
    out.mux(_outside(stream.encode(None), recipe.audio_hole_s))


def beeping(
    times_s: npt.NDArray[np.float64], beeps_s: Sequence[float], tone_hz: float = BEEP_HZ
) -> npt.NDArray[np.float32]:
    """The sound at any set of times: sine bursts of 40 ms that start at phase 0."""
    out = np.zeros(times_s.shape, np.float32)
    for onset_s in beeps_s:
        since_s = times_s - onset_s
        inside = (since_s >= 0) & (since_s < BEEP_S)
        out[inside] = 0.5 * np.sin(2 * np.pi * tone_hz * since_s[inside])
    return out


def _outside(packets: Sequence[Packet[Any]], hole_s: tuple[float, float] | None) -> list[Any]:
    if hole_s is None:
        return list(packets)
    return [p for p in packets if not _covers(hole_s, p)]


def _covers(span_s: tuple[float, float], packet: Packet[Any]) -> bool:
    start_s = float((packet.pts or 0) * packet.time_base)
    end_s = start_s + float((packet.duration or 0) * packet.time_base)
    return span_s[0] <= start_s and end_s <= span_s[1]

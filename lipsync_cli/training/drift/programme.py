"""A long programme of real people, as a file, whose sound drifts and steps by known amounts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate, cycle
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from numpy.typing import NDArray

from lipsync_cli.faces._cv2 import load_cv2
from lipsync_cli.media.audio import SAMPLE_RATE, AudioBlock
from lipsync_cli.media.offset_curve import OffsetCurve, Piece
from lipsync_cli.media.reader import read
from lipsync_cli.media.resample import Retimer
from lipsync_cli.media.video import VideoFrame
from lipsync_cli.training.sync.labels import TABLE_ZERO_MS, table_delay_ms

WIDTH, HEIGHT = 640, 360
# Nobody speaks for longer at a time; long clips may be cut together with steps of their own.
MOST_S = 20.0

_TICK = Fraction(1, 90000)
# One set of headers serves all clips: nothing in them may depend on the clip.
_RATE = 30
_ENCODER = {"preset": "ultrafast", "crf": "26", "x264-params": "bframes=0:stitchable=1"}
_SOUND_BITS = 96_000
# Samples that are moved at once.
_BLOCK = SAMPLE_RATE // 2


@dataclass(frozen=True)
class Planted:
    """How the sound of a programme is off.

    Attributes:
        offset_ms: at the beginning, > 0 audio early.
        drift_ppm: by which it becomes earlier.
        steps: (time in s, size in ms) in order of time.
    """

    offset_ms: float = 0.0
    drift_ppm: float = 0.0
    steps: tuple[tuple[float, float], ...] = ()

    def pieces(self) -> list[Piece]:
        """The offset over picture time."""
        starts = [0.0, *(time_s for time_s, _ in self.steps)]
        levels = accumulate((size for _, size in self.steps), initial=self.offset_ms)
        slope = self.drift_ppm * 1e-6
        return [Piece(s, level / 1000, slope) for s, level in zip(starts, levels, strict=True)]

    def offset_at(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Offset in ms at picture times [n]."""
        curve = OffsetCurve(tuple(self.pieces()))
        return np.array([1000 * curve.offset_s(float(t)) for t in time_s])

    def sound_curve(self) -> OffsetCurve:
        """What moves sound that is in sync so that it has these offsets.

        A repair gives picture time t the sound of t - offset(t). Here the sound of picture
        time t goes to t - offset(t), which is the opposite line; two pieces meet half way.
        """
        pieces, moved = self.pieces(), []
        for k, piece in enumerate(pieces):
            speed = 1 - piece.slope
            before = pieces[max(0, k - 1)]
            middle_s = (before.at(piece.start_s) + piece.at(piece.start_s)) / 2
            start_s = piece.start_s - middle_s if k else 0.0
            moved.append(Piece(start_s, -piece.offset_s / speed, -piece.slope / speed))
        return OffsetCurve(tuple(moved))


@dataclass(frozen=True)
class Person:
    """One clip, ready to be repeated.

    Attributes:
        packets: (ticks since the first, is a key frame, payload) of the pictures.
        length_s: from the first picture to the end of the last one.
        sound: float32 at 16 kHz, in sync with the pictures and as long.
    """

    name: str
    packets: tuple[tuple[int, bool, bytes], ...]
    length_s: float
    sound: NDArray[np.float32]
    headers: bytes = field(repr=False)


def read_person(path: Path, lag_ms: float) -> Person:
    """Encode the first 20 s of a clip, and take its own offset out of its sound.

    Args:
        lag_ms: that of the table of own offsets, > 0 sound late.
    """
    blocks: list[AudioBlock] = []
    times_s: list[float] = []
    with io.BytesIO() as memory, av.open(memory, "w", format="mp4") as nowhere:
        stream = _picture_stream(nowhere)
        packets: list[Packet[Any]] = []
        for item in read(path, max_height=HEIGHT):
            if isinstance(item, AudioBlock):
                blocks.append(item)
                continue
            if times_s and item.pts_s > times_s[0] + MOST_S:
                continue
            times_s.append(item.pts_s)
            packets += stream.encode(_fitted(item, item.pts_s - times_s[0]))
        packets += stream.encode(None)
        headers = bytes(stream.codec_context.extradata or b"")
    pts_s = np.array(times_s)
    length_s = float(pts_s[-1] - pts_s[0] + np.median(np.diff(pts_s)))
    own_ms = table_delay_ms(pts_s) - TABLE_ZERO_MS - lag_ms
    sound = np.concatenate([block.samples for block in blocks])
    first = round((pts_s[0] - blocks[0].t0_s - own_ms / 1000) * SAMPLE_RATE)
    cut = _cut(sound, first, round(length_s * SAMPLE_RATE))
    coded = tuple((p.pts or 0, p.is_keyframe, bytes(p)) for p in packets)
    return Person(path.name, coded, length_s, cut, headers)


def write_programme(
    people: Sequence[Person], duration_s: float, planted: Planted, path: Path
) -> float:
    """Write people in turn, cut hard, as H.264 and AAC; returns the duration in seconds."""
    if len({person.headers for person in people}) != 1:
        raise ValueError("the clips were not encoded alike")
    with av.open(str(path), "w") as out:
        video = _picture_stream(out)
        video.codec_context.extradata = people[0].headers
        audio: Any = out.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        audio.bit_rate = _SOUND_BITS
        retimer = Retimer(planted.sound_curve(), SAMPLE_RATE, 1, 0.0, 0)
        at_s = 0.0
        for person in cycle(people):
            if at_s >= duration_s:
                break
            for packet in _shown(person, at_s, video):
                out.mux_one(packet)
            # Samples are counted from the beginning, so that no rounding adds up.
            count = round((at_s + person.length_s) * SAMPLE_RATE) - retimer.length
            retimer.push(_cut(person.sound, 0, count)[None].astype(np.float64))
            _write_sound(out, audio, retimer)
            at_s += person.length_s
        retimer.finish()
        _write_sound(out, audio, retimer)
        out.mux(audio.encode(None))
    return at_s


def lags_ms(clips: Path) -> dict[str, float]:
    """Own offsets of clips by file name in the table, > 0 sound late."""
    with (clips / "lags.csv").open(newline="") as file:
        return {row["file"]: float(row["lag_ms"]) for row in csv.DictReader(file)}


def _write_sound(out: OutputContainer, audio: Any, retimer: Retimer) -> None:
    """Encode whole blocks of what is at hand; up to half a second at the end stays away."""
    while retimer.next + _BLOCK <= retimer.length and retimer.ready(_BLOCK):
        samples = retimer.take(_BLOCK).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, retimer.next - _BLOCK
        frame.time_base = Fraction(1, SAMPLE_RATE)
        out.mux(audio.encode(frame))


def _shown(person: Person, at_s: float, video: Any) -> Iterator[Packet[Any]]:
    begin = round(at_s / _TICK)
    for ticks, is_key, payload in person.packets:
        packet: Packet[Any] = Packet(payload)
        packet.pts = packet.dts = begin + ticks
        packet.time_base, packet.stream, packet.is_keyframe = _TICK, video, is_key
        yield packet


def _picture_stream(out: OutputContainer) -> Any:
    stream: Any = out.add_stream("libx264", rate=_RATE, options=_ENCODER)
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    stream.codec_context.time_base = _TICK
    stream.codec_context.thread_count = 1
    return stream


def _fitted(shown: VideoFrame, since_s: float) -> av.VideoFrame:
    """The whole picture in the middle of a black one of the programme's size."""
    cv2: Any = load_cv2()
    picture = shown.bgr(0, 0, shown.luma.shape[1], shown.luma.shape[0])
    scale = min(WIDTH / picture.shape[1], HEIGHT / picture.shape[0])
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    canvas = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    top, left = (HEIGHT - size[1]) // 2, (WIDTH - size[0]) // 2
    canvas[top : top + size[1], left : left + size[0]] = cv2.resize(picture, size)
    frame = av.VideoFrame.from_ndarray(canvas, format="bgr24")
    frame = frame.reformat(format="yuv420p", threads=1)
    frame.pts, frame.time_base = round(since_s / _TICK), _TICK
    return frame


def _cut(sound: NDArray[np.float32], first: int, count: int) -> NDArray[np.float32]:
    """Samples [first, first + count), silence where there are none."""
    padded = np.zeros(count, np.float32)
    inside = sound[max(0, first) : max(0, first + count)]
    padded[max(0, -first) : max(0, -first) + len(inside)] = inside
    return padded

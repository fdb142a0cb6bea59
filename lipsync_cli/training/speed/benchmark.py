"""What each stage of measuring and repairing costs, beside the least that it could cost."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lipsync_cli.detect import measure
from lipsync_cli.faces.crop import cut_mouth, mouth_geometry
from lipsync_cli.faces.detect import LOOKS, FaceDetection, Luma, create_detector
from lipsync_cli.faces.stream import FaceStream, TrackChunk
from lipsync_cli.media.audio import AudioBlock
from lipsync_cli.media.reader import read
from lipsync_cli.media.video import VideoFrame
from lipsync_cli.sync.encoders import AUDIO_FIELD, AUDIO_STRIDE, EMBED_RATE, VISUAL_CONTEXT
from lipsync_cli.sync.features import BANDS, FFT, HOP, WINDOW, log_mel
from lipsync_cli.sync.model import SyncModel
from lipsync_cli.sync.model_file import LoadedModel
from lipsync_cli.sync.stream import CLASSIFY, EMBED
from lipsync_cli.training.speed.media import RATE, Material
from lipsync_cli.training.speed.raw import (
    copy_packets,
    decode_only,
    demux_only,
    matmul_flops_per_s,
    read_bytes,
)

REACH = 150  # candidate offsets on either side, as by default
_EVERY = 3  # pictures from one look for faces to the next
# Pictures held decoded: enough to average over, few enough for 4K.
_HELD = 48


@dataclass(frozen=True)
class Cost:
    """Time of a piece of work, in seconds; `cpu_s` is of all threads together."""

    cpu_s: float
    wall_s: float


@dataclass(frozen=True)
class Stage:
    """What a stage costs per picture of the programme.

    Attributes:
        limit: what the limit is, in words; None where there is none to compare with.
        limit_cpu_ms, limit_wall_ms: the same for the limit, measured in the same run.
    """

    name: str
    cpu_ms: float
    wall_ms: float
    limit: str | None = None
    limit_cpu_ms: float | None = None
    limit_wall_ms: float | None = None


def timed(work: Callable[[], object]) -> Cost:
    """What a piece of work costs; what lies about of earlier work is cleared away first."""
    gc.collect()
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    work()
    return Cost(time.process_time() - cpu_s, time.perf_counter() - wall_s)


def stage(
    name: str, cost: Cost, frames: float, limit: str | None = None, least: Cost | None = None
) -> Stage:
    """A stage from what so many pictures of the programme cost."""
    per = 1000 / frames
    bound = (None, None) if least is None else (least.cpu_s * per, least.wall_s * per)
    return Stage(name, cost.cpu_s * per, cost.wall_s * per, limit, *bound)


def detect_stages(path: Path, material: Material, model: LoadedModel) -> Iterator[Stage]:
    """The stages of detect-offset, then all of it, in the order of the work."""
    frames = material.frames
    demux, decode = timed(lambda: demux_only(path)), timed(lambda: decode_only(path))
    yield stage("demux", demux, frames, "reading the bytes", timed(lambda: read_bytes(path)))
    yield stage("decode", decode, frames)
    both = timed(lambda: decode_only(path, sound=True))
    yield stage("decode, luma, sound", timed(lambda: _read(path)), frames, "decoding only", both)
    yield from _picture_stages(path)
    yield from _sound_stages(path, frames)
    yield from _model_stages(model)
    whole = timed(lambda: measure(path))
    yield stage("detect-offset", whole, frames, "decoding the picture only", decode)


def fix_stages(path: Path, material: Material, folder: Path) -> Iterator[Stage]:
    """fix-sync with a known offset, beside a bare copy of all packets."""
    from lipsync_cli.fix import fix_sync

    target = folder / f"fixed{path.suffix}"
    fix = timed(lambda: fix_sync(path, output=target, offset_ms=120, overwrite=True))
    copy = timed(lambda: copy_packets(path, target))
    target.unlink()
    yield stage("fix-sync --offset", fix, material.frames, "copying the packets", copy)


def _read(path: Path) -> None:
    with closing(read(path)) as items:
        for _ in items:
            pass


def _picture_stages(path: Path) -> Iterator[Stage]:
    with closing(read(path, audio=False)) as items:
        kept = [item for _, item in zip(range(_HELD), items, strict=False)]
    pictures = [item for item in kept if isinstance(item, VideoFrame)]
    held = [VideoFrame(p.index, p.pts_s, p.luma.copy(), p.scale) for p in pictures]
    looks = held[::_EVERY]
    detector = create_detector()
    found: dict[int, list[FaceDetection]] = {}

    def look() -> None:
        found.update({frame.index: detector.detect(frame.luma) for frame in looks})

    cost, least = timed(look), _network_alone(looks)
    yield stage("detection", cost, len(held), "its network alone", least)
    chunks: list[TrackChunk] = []
    following = timed(lambda: chunks.extend(_followed(held, found)))
    yield stage("tracking, crops", following, len(held), "warping alone", _warping(held, found))


def _network_alone(looks: list[VideoFrame]) -> Cost:
    """The first look at pictures that have its size already."""
    import cv2

    detector = create_detector()
    scale = LOOKS[0].side / max(looks[0].luma.shape)
    small = [cv2.resize(f.luma, None, fx=scale, fy=scale) for f in looks]
    return timed(lambda: [detector.detect(np.asarray(luma, np.uint8)) for luma in small])


class _Replay:
    """A detector that knows its answers."""

    def __init__(self, answers: Iterator[list[FaceDetection]]) -> None:
        self._answers = answers

    def detect(self, luma: Luma) -> list[FaceDetection]:
        return next(self._answers, [])


def _followed(
    frames: list[VideoFrame], found: dict[int, list[FaceDetection]]
) -> Iterator[TrackChunk]:
    stream = FaceStream(_Replay(iter(found.values())), every=_EVERY)
    for frame in frames:
        yield from stream.push(frame)
    yield from stream.close()


def _warping(frames: list[VideoFrame], found: dict[int, list[FaceDetection]]) -> Cost:
    """Nothing but the crops, one of every face in every picture."""
    places = [
        (frame.luma, mouth_geometry(face.landmarks))
        for frame in frames
        for face in found.get(frame.index - frame.index % _EVERY, [])
    ]
    return timed(lambda: [cut_mouth(*place) for place in places])


def _sound_stages(path: Path, frames: int) -> Iterator[Stage]:
    with closing(read(path, video=False)) as items:
        blocks = [item.samples for item in items if isinstance(item, AudioBlock)]
    samples = np.concatenate(blocks)
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    cost = timed(lambda: log_mel(samples, 0.0))
    least = timed(lambda: np.fft.rfft(windows, FFT))
    yield stage("mel", cost, frames, "its Fourier transforms", least)


def _model_stages(model: LoadedModel) -> Iterator[Stage]:
    """The networks, in the batches in which they run; one face, at 25 pictures a second."""
    random = torch.Generator().manual_seed(0)
    crops = torch.randint(
        0, 255, (1, EMBED + 2 * VISUAL_CONTEXT, 64, 64), dtype=torch.uint8, generator=random
    )
    rows = round(EMBED * EMBED_RATE / RATE)
    mel = torch.randn(1, AUDIO_FIELD + AUDIO_STRIDE * (rows - 1), BANDS, generator=random)
    eager = SyncModel().eval()
    yield _network("lip encoder", model.module.embed_visual, eager.embed_visual, (crops,), EMBED)
    yield _network("sound encoder", model.module.embed_audio, eager.embed_audio, (mel,), EMBED)
    yield _network(
        "lag matrix", model.module.classify, eager.classify, _matrix_inputs(random), CLASSIFY
    )


def _matrix_inputs(random: torch.Generator) -> tuple[Any, ...]:
    rows = round(CLASSIFY * EMBED_RATE / RATE) + 2 * REACH // 2 + 2
    seen = torch.nn.functional.normalize(torch.randn(1, CLASSIFY, 256, generator=random), dim=2)
    heard = torch.nn.functional.normalize(torch.randn(1, rows, 256, generator=random), dim=2)
    position = REACH / 2 + torch.arange(CLASSIFY)[None] * (EMBED_RATE / RATE)
    return seen, heard, position.float(), torch.ones(1, rows, dtype=torch.bool), REACH


def _network(
    name: str,
    run: Callable[..., Any],
    same: Callable[..., Any],
    inputs: tuple[Any, ...],
    count: int,
) -> Stage:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.inference_mode():
        with FlopCounterMode(display=False) as counted:
            same(*inputs)
        # Compiled on the first two runs.
        for _ in range(3):
            run(*inputs)
        times = [timed(lambda: run(*inputs)) for _ in range(5)]
    least_s = counted.get_total_flops() / matmul_flops_per_s()
    cost = min(times, key=lambda each: each.cpu_s)
    return stage(name, cost, count, "as many operations as a product", Cost(least_s, least_s))

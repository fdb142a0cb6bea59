"""Clips as converters, codecs and distance leave them, packed like the training data.

The pictures are really converted and encoded, then read, searched for faces and cut by the
product. Nothing here depends on a sync model: it is made once.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from lipsync_cli.errors import LipsyncError
from lipsync_cli.faces.detect import FaceDetector
from lipsync_cli.faces.stream import FaceStream, TrackChunk
from lipsync_cli.media.audio import SAMPLE_RATE, AudioBlock
from lipsync_cli.media.reader import read
from lipsync_cli.media.video import VideoFrame
from lipsync_cli.training.sync.cache import Clip
from lipsync_cli.training.sync.prepare import Source, prepare_sync_data

Log = Callable[[str], None]
Luma = NDArray[np.uint8]
Shown = tuple[float, Luma]

LONGEST_S = 14.0
POSES = "poses.json"

_LEAST_S = 10.0
_TICKS = 90_000
_GREY = 128


@dataclass(frozen=True)
class PictureCondition:
    """What is done to the pictures of a clip.

    Attributes:
        rate: frames per second of the converter; None keeps the frames and their times.
        bits_per_pixel: of H.264; None encodes them well.
        face_px: faces are shrunk to this size; smaller ones stay.
    """

    name: str
    rate: Fraction | None = None
    bits_per_pixel: float | None = None
    face_px: float | None = None


PICTURE_CONDITIONS = (
    PictureCondition("fps-23.976", rate=Fraction(24_000, 1001)),
    PictureCondition("fps-25", rate=Fraction(25)),
    PictureCondition("fps-29.97", rate=Fraction(30_000, 1001)),
    PictureCondition("fps-30", rate=Fraction(30)),
    PictureCondition("fps-50", rate=Fraction(50)),
    PictureCondition("fps-59.94", rate=Fraction(60_000, 1001)),
    PictureCondition("h264-low", bits_per_pixel=0.02),
    PictureCondition("face-64-px", face_px=64.0),
)


@dataclass(frozen=True)
class Poses:
    """How the longest-followed face of a clip is held.

    Attributes:
        pts_s: float64 [T].
        turn: [T], how far the nose is beside the middle of the eyes, in distances between
            them: 0 from the front, about 0.35 at 30 degrees.
        face_px: median of the geometric mean of the box's sides, in source px.
    """

    pts_s: NDArray[np.float64]
    turn: NDArray[np.float64]
    face_px: float


def choose_clips(clips: Sequence[Clip], count: int, seed: int = 0) -> list[Clip]:
    """Random clips of some seconds at full frame rates, one a speaker."""
    long = [c for c in clips if c.duration_s >= _LEAST_S and len(c.pts_s) >= 23 * c.duration_s]
    chosen: dict[str, Clip] = {}
    for i in np.random.default_rng(seed).permutation(len(long)).tolist():
        chosen.setdefault(long[i].group, long[i])
    return list(chosen.values())[:count]


def prepare_conditions(
    sources: Sequence[Source],
    conditions: Sequence[PictureCondition],
    folder: Path,
    detector: Callable[[], FaceDetector],
    *,
    log: Log | None = None,
) -> None:
    """Pack `sources` under each condition that `folder` does not hold yet, as shards `NAME.0`."""
    faces = load_poses(folder)
    for condition in conditions:
        if (folder / f"{condition.name}.0.json").exists():
            continue
        with tempfile.TemporaryDirectory() as temporary:
            made = [_converted(s, condition, faces, Path(temporary)) for s in sources]
            count = prepare_sync_data(made, folder, f"{condition.name}.0", detector(), log=log)
        if log:
            log(f"{condition.name}: {count} clips")


def _converted(
    source: Source, condition: PictureCondition, faces: dict[str, Poses], folder: Path
) -> Source:
    path = folder / f"{Path(source.file).stem}.mkv"
    shrink = 1.0
    if condition.face_px is not None and source.file in faces:
        shrink = min(1.0, condition.face_px / faces[source.file].face_px)
    convert(source.path, path, condition, shrink=shrink)
    return Source(path, source.file, source.speaker, source.corpus)


def convert(path: Path, target: Path, condition: PictureCondition, *, shrink: float = 1.0) -> None:
    """Write the first seconds of `path` to Matroska as `condition` says, sound untouched.

    Grey pictures, upright, with square pixels; 16 kHz sound as PCM.
    """
    blocks: list[AudioBlock] = []
    shown = _pictures(path, blocks)
    if condition.rate is not None:
        shown = retimed(shown, condition.rate)
    with av.open(str(target), "w") as out:
        sound = out.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
        _encode(out, shown, condition, shrink)
        _write_sound(out, sound, blocks)


def retimed(shown: Iterable[Shown], rate: Fraction) -> Iterator[Shown]:
    """The picture nearest to each tick of a constant `rate`: some are dropped or doubled."""
    start_s, tick, before = 0.0, 0, None
    for pts_s, picture in shown:
        if before is None:
            start_s, before = pts_s, (pts_s, picture)
        while (at_s := start_s + float(tick / rate)) <= (before[0] + pts_s) / 2:
            yield at_s, before[1]
            tick += 1
        before = pts_s, picture


def measure_poses(
    sources: Sequence[Source],
    folder: Path,
    detector: Callable[[], FaceDetector],
    *,
    log: Log | None = None,
) -> None:
    """Follow the faces in clips that `folder/poses.json` does not hold yet."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / POSES
    known = json.loads(path.read_text()) if path.exists() else {}
    for source in sources:
        if source.file in known:
            continue
        try:
            known[source.file] = _poses(source.path, detector())
        except LipsyncError as error:
            known[source.file] = None
            if log:
                log(str(error))
        path.write_text(json.dumps(known))


def load_poses(folder: Path) -> dict[str, Poses]:
    """What `measure_poses` found, by file; clips without a face are left out."""
    path = folder / POSES
    known = json.loads(path.read_text()) if path.exists() else {}
    return {
        file: Poses(np.array(p["pts_s"]), np.array(p["turn"]), p["face_px"])
        for file, p in known.items()
        if p
    }


def head_turn(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """Five landmarks [T, 5, 2] -> how far the nose is beside the middle of the eyes [T]."""
    points = np.asarray(landmarks, np.float64)
    across = points[:, 1] - points[:, 0]
    beside = points[:, 2] - points[:, :2].mean(1)
    width2 = np.maximum((across**2).sum(1), 1e-6)
    return np.asarray(np.abs((beside * across).sum(1)) / width2, np.float64)


def _poses(path: Path, detector: FaceDetector) -> dict[str, object] | None:
    faces = FaceStream(detector)
    chunks: list[TrackChunk] = []
    with closing(_frames(path, [])) as frames:
        for frame in frames:
            chunks += faces.push(frame)
    chunks += faces.close()
    if not chunks:
        return None
    numbers = np.concatenate([np.full(len(c.pts_s), c.track) for c in chunks])
    longest = [c for c in chunks if c.track == np.bincount(numbers).argmax()]
    boxes = np.concatenate([c.boxes for c in longest])
    sides = boxes[:, 2:] - boxes[:, :2]
    turn = head_turn(np.concatenate([c.landmarks for c in longest]))
    return {
        "pts_s": np.concatenate([c.pts_s for c in longest]).round(5).tolist(),
        "turn": turn.round(4).tolist(),
        "face_px": float(np.median(np.sqrt(sides.prod(1)))),
    }


def _frames(path: Path, blocks: list[AudioBlock]) -> Generator[VideoFrame, None, None]:
    """Pictures of the first seconds of a file; the sound is put into `blocks`."""
    first_s: float | None = None
    with closing(read(path, max_rate=120.0)) as items:
        for item in items:
            if isinstance(item, AudioBlock):
                blocks.append(item)
                continue
            first_s = item.pts_s if first_s is None else first_s
            if item.pts_s > first_s + LONGEST_S:
                return
            yield item


def _pictures(path: Path, blocks: list[AudioBlock]) -> Iterator[Shown]:
    for frame in _frames(path, blocks):
        yield frame.pts_s, frame.luma


def _encode(
    out: OutputContainer,
    shown: Iterable[Shown],
    condition: PictureCondition,
    shrink: float,
) -> None:
    stream = None
    for pts_s, luma in shown:
        height, width = (max(16, round(n * shrink / 2) * 2) for n in luma.shape)
        picture = _grey(luma, width, height)
        if stream is None:
            stream = out.add_stream("libx264", rate=condition.rate or 30)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.time_base = Fraction(1, _TICKS)
            stream.options = {"preset": "veryfast", "crf": "18", "threads": "1"}
            if condition.bits_per_pixel is not None:
                del stream.options["crf"]
                stream.bit_rate = int(condition.bits_per_pixel * width * height * 30)
        picture.pts, picture.time_base = round(pts_s * _TICKS), Fraction(1, _TICKS)
        out.mux(stream.encode(picture))
    if stream is not None:
        out.mux(stream.encode(None))


def _grey(luma: Luma, width: int, height: int) -> av.VideoFrame:
    """A picture of limited-range luma without colour, of even size."""
    even = luma[: luma.shape[0] // 2 * 2, : luma.shape[1] // 2 * 2]
    colour = np.full((even.shape[0] // 2, even.shape[1]), _GREY, np.uint8)
    planes = np.ascontiguousarray(np.concatenate([even, colour]))
    picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    if (picture.width, picture.height) == (width, height):
        return picture
    return VideoReformatter().reformat(picture, width=width, height=height, interpolation="AREA")


def _write_sound(out: OutputContainer, stream: AudioStream, blocks: Sequence[AudioBlock]) -> None:
    for block in blocks:
        pcm = np.clip(np.round(block.samples * 32767), -32768, 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        frame.time_base = Fraction(1, SAMPLE_RATE)
        frame.pts = round(block.t0_s * SAMPLE_RATE)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))

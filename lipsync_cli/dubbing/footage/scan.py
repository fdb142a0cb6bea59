"""One pass over footage: every followed face, frame by frame, and what its mouth says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from lipsync_cli.dubbing.footage.looks import looks, thumbnails
from lipsync_cli.dubbing.speech import Loudness, LoudnessMeter
from lipsync_cli.faces.detect import FaceDetector, create_detector
from lipsync_cli.faces.steady import steadied
from lipsync_cli.faces.stream import FaceStream, TrackChunk
from lipsync_cli.media.ahead import ahead
from lipsync_cli.media.audio import AudioBlock
from lipsync_cli.media.probe import MediaInfo, probe
from lipsync_cli.media.reader import ReadStats, read
from lipsync_cli.progress import Progress, tell_time
from lipsync_cli.sync.encoders import DIM, VISUAL_CONTEXT
from lipsync_cli.sync.evidence import LagEvidence
from lipsync_cli.sync.model_file import LoadedModel
from lipsync_cli.sync.stream import SyncStream

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Times = npt.NDArray[np.float64]

# Offsets of a file's own sound that are looked at, in steps of 10 ms either way.
REACH = 100


@dataclass(frozen=True, eq=False)
class FaceTrack:
    """One face of one shot, frame by frame; about 1 kB a frame.

    Attributes:
        source: number of the file among all footage; the target is 0.
        track: number of the track in its file, in order of appearance.
        pts_s: [n], true presentation times of the frames that were looked at: at most
            33 a second, so every other one of 50 or 60 Hz material.
        boxes, landmarks: [n, 4] and [n, 5, 2] in px of the upright source, smoothed.
        embeddings: float16 [n, 256], unit vectors; zero where there is none.
        known: bool [n], has an embedding: false for the first and last five frames.
        thumbnails: uint8 [n, 256], the aligned mouth crop shrunk to 16x16.
        looks: float32 [n, 6], see `looks.LOOKS`.
        quiet: bool [n], the file's own sound is silent around this frame.
        frame_size: width and height of the upright source.
        evidence: how the track follows the file's own sound; None without sound.
    """

    source: int
    track: int
    pts_s: Times
    boxes: Floats
    landmarks: Floats
    embeddings: npt.NDArray[np.float16]
    known: npt.NDArray[np.bool_]
    thumbnails: npt.NDArray[np.uint8]
    looks: Floats
    quiet: npt.NDArray[np.bool_]
    frame_size: tuple[int, int]
    evidence: LagEvidence | None

    @property
    def duration_s(self) -> float:
        """From the first to the last frame."""
        return float(self.pts_s[-1] - self.pts_s[0])


@dataclass(frozen=True, eq=False)
class Footage:
    """All faces of one file.

    Attributes:
        start_s, end_s: first picture, and end of the last one.
        warnings: what is wrong with the file, in words.
    """

    path: Path
    source: int
    tracks: tuple[FaceTrack, ...]
    start_s: float
    end_s: float
    has_sound: bool
    warnings: tuple[str, ...] = ()


def scan(
    path: str | Path,
    model: LoadedModel,
    *,
    source: int = 0,
    detector: FaceDetector | None = None,
    audio_track: int = 0,
    on_chunk: Callable[[TrackChunk], None] | None = None,
    progress: Progress | None = None,
) -> Footage:
    """Follow all faces of a file and embed their mouths, in one streaming pass.

    Memory: what is returned (about 80 MB for an hour of one face) and a few seconds of
    pictures.

    Args:
        source: number that the file gets.
        on_chunk: also shown every stretch of mouth crops.
        progress: told the share that is done, 0 to 1.

    Raises:
        MediaNotFound, UnreadableMedia, MissingStream: the file cannot be read.
    """
    info = probe(path)
    # What is put onto a face has to move with it in every single frame.
    faces = FaceStream(detector or create_detector(), every=1)
    work = _Scan(model, on_chunk)
    if not info.audio:
        work.embedder.sound.close()
    stats = ReadStats()
    items = read(path, audio_track=audio_track, audio=bool(info.audio), stats=stats)
    with closing(ahead(items)) as decoded:
        for item in decoded:
            if isinstance(item, AudioBlock):
                work.hear(item)
            else:
                work.see(faces.push(item))
                work.embedder.forget_sound(item.pts_s - faces.delay_s)
                tell_time(progress, item.pts_s, info.duration_s)
    work.see(faces.close())
    start_s, last_s = stats.video_start_s or 0.0, stats.video_end_s or 0.0
    return Footage(
        path=Path(path),
        source=source,
        tracks=work.tracks(source),
        start_s=start_s,
        end_s=last_s + _frame_s(info),
        has_sound=stats.audio_samples > 0,
        warnings=stats.warnings,
    )


def _frame_s(info: MediaInfo) -> float:
    rate = info.video.frame_rate if info.video is not None else None
    return float(1 / rate) if rate else 0.04


class _Scan:
    """Gathers what one pass finds, track by track."""

    def __init__(self, model: LoadedModel, on_chunk: Callable[[TrackChunk], None] | None) -> None:
        self.embedder = SyncStream(model, REACH, self._keep_rows)
        self._rows: dict[int, list[npt.NDArray[np.float16]]] = defaultdict(list)
        self.loudness = LoudnessMeter()
        self._on_chunk = on_chunk
        # All but the crops, and what was read out of them.
        self._pieces: dict[int, list[tuple[TrackChunk, Bytes, Floats]]] = defaultdict(list)

    def _keep_rows(self, track: int, rows: Tensor) -> None:
        self._rows[track].append(rows.numpy().astype(np.float16))

    def hear(self, block: AudioBlock) -> None:
        """Take the next sound."""
        self.loudness.push(block)
        self.embedder.push_sound(block)

    def see(self, chunks: Iterable[TrackChunk]) -> None:
        """Take the next stretches of faces."""
        for chunk in chunks:
            self.embedder.push_faces(chunk)
            if self._on_chunk is not None:
                self._on_chunk(chunk)
            lean = replace(chunk, mouths=chunk.mouths[:0])
            self._pieces[chunk.track].append((lean, thumbnails(chunk.mouths), looks(chunk.mouths)))

    def tracks(self, source: int) -> tuple[FaceTrack, ...]:
        """Everything found, when no more will come."""
        evidence = self.embedder.close()
        heard = self.loudness.loudness()
        return tuple(
            self._track(source, number, heard, evidence.get(number))
            for number in sorted(self._pieces)
        )

    def _track(
        self, source: int, number: int, heard: Loudness | None, evidence: LagEvidence | None
    ) -> FaceTrack:
        chunks, thumbs, seen = zip(*self._pieces.pop(number), strict=True)
        pts_s = np.concatenate([c.pts_s for c in chunks])
        embeddings, known = _between_borders(self._rows.pop(number, []), len(pts_s))
        return FaceTrack(
            source=source,
            track=number,
            pts_s=pts_s,
            boxes=np.concatenate([c.boxes for c in chunks]),
            landmarks=steadied(pts_s, np.concatenate([c.found for c in chunks])),
            embeddings=embeddings,
            known=known,
            thumbnails=np.concatenate(thumbs),
            looks=np.concatenate(seen),
            quiet=np.zeros(len(pts_s), np.bool_) if heard is None else heard.silent_at(pts_s),
            frame_size=chunks[0].frame_size,
            evidence=evidence if heard is not None else None,
        )


def _between_borders(
    pieces: list[npt.NDArray[np.float16]], frames: int
) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.bool_]]:
    """Rows for all frames of a track, and which of them are more than filling."""
    rows = np.zeros((frames, DIM), np.float16)
    known = np.zeros(frames, np.bool_)
    have = sum(len(p) for p in pieces)
    if have:
        inner = slice(VISUAL_CONTEXT, VISUAL_CONTEXT + have)
        rows[inner], known[inner] = np.concatenate(pieces), True
    return rows, known

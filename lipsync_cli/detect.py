"""detect-offset: by how much is the sound of a file early or late?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.device import choose
from lipsync_cli.errors import UnreadableMedia, UsageError
from lipsync_cli.faces._cv2 import load_cv2
from lipsync_cli.faces.detect import FaceDetector, create_detector
from lipsync_cli.faces.stream import FaceStats, FaceStream, TrackChunk
from lipsync_cli.media.ahead import ahead
from lipsync_cli.media.audio import AudioBlock
from lipsync_cli.media.probe import MediaInfo, probe
from lipsync_cli.media.reader import ReadStats, read
from lipsync_cli.media.video import VideoFrame
from lipsync_cli.progress import Progress, tell_time
from lipsync_cli.quick import SampledResult, Span, as_sampled, is_enough, sampling_rounds
from lipsync_cli.results import OffsetResult
from lipsync_cli.sync.estimate import softmax
from lipsync_cli.sync.evidence import LagEvidence, offsets_ms
from lipsync_cli.sync.lag_matrix import STEP_S
from lipsync_cli.sync.model_file import LoadedModel, load_model
from lipsync_cli.sync.programme import Seen, TrackSpan, programme_evidence, read_programme
from lipsync_cli.sync.stream import SyncStream
from lipsync_cli.weights import locate

MIN_SEARCH_MS, MAX_SEARCH_MS = 100.0, 15_000.0
THUMBNAIL = 160  # pixels
THUMBNAILS = 12
THUMBNAIL_EVERY_S = 2.0


@dataclass(frozen=True)
class Evidence:
    """What an answer rests on, for people to look at.

    Attributes:
        lags_ms: [K], candidate offsets, ascending; > 0 audio early.
        curve: [K], posterior of the programme.
        diagonal: [K], plain mean of the lag matrix along each diagonal, NaN where unknown.
        matrix: float32 [rows, K], lag matrix averaged over each second, NaN where unknown.
        rows_s: [rows], time at which each row starts.
        thumbnails: (time, BGR picture uint8 [h, w, 3], track) of faces that were followed.
    """

    lags_ms: NDArray[np.float64]
    curve: NDArray[np.float32]
    diagonal: NDArray[np.float32]
    matrix: NDArray[np.float32]
    rows_s: NDArray[np.float64]
    thumbnails: tuple[tuple[float, NDArray[np.uint8], int], ...] = ()


@dataclass(frozen=True)
class Measurement:
    """An answer, and what it rests on where that was asked for."""

    result: OffsetResult
    evidence: Evidence | None = None


def detect_offset(
    path: str | Path,
    *,
    search_ms: float = 1500.0,
    audio_track: int = 0,
    min_probability: float = 0.9,
    face_detector: str = "own",
    device: str = "auto",
    quick: bool = False,
    progress: Progress | None = None,
) -> OffsetResult:
    """Measure the audio offset of one file; see `measure`."""
    return measure(
        path,
        search_ms=search_ms,
        audio_track=audio_track,
        min_probability=min_probability,
        face_detector=face_detector,
        device=device,
        quick=quick,
        progress=progress,
    ).result


def measure(
    path: str | Path,
    *,
    search_ms: float = 1500.0,
    audio_track: int = 0,
    min_probability: float = 0.9,
    face_detector: str = "own",
    device: str = "auto",
    evidence: bool = False,
    stretches: Sequence[tuple[float, float]] | None = None,
    quick: bool = False,
    progress: Progress | None = None,
) -> Measurement:
    """Measure the audio offset of one file from the lips of the people in it.

    Args:
        search_ms: how far to search on either side of 0.
        audio_track: number among the audio streams, from 0.
        min_probability: below this calibrated probability the answer is "cannot tell".
        face_detector: "own" or a detector of face-alignment whose file is present.
        device: "auto", "cpu", "cuda" or "cuda:N".
        evidence: keep what a picture of the evidence needs.
        stretches: (start, end) in seconds to answer for as segments; None to find them.
        quick: read windows spread over a long programme until the interval is narrow enough;
            the answer is then a `quick.SampledResult`. Short ones are read whole all the same.
        progress: told the share that is done, 0 to 1.

    Raises:
        MediaNotFound, UnreadableMedia, MissingStream: the file cannot be measured.
        WeightsError, DependencyError: the tool is not complete.
        UsageError: an option is out of range.
    """
    reach, info = _reach(search_ms), probe(path)
    model = load_model(locate("sync"), choose(device))
    source = _Source(path, info, audio_track)
    detector = create_detector(face_detector)

    def answer(run: _Pass, spans: Sequence[Span] | None) -> OffsetResult:
        found = read_programme(run.seen(info), model, min_probability, spans or stretches)
        return replace(
            found,
            file=str(path),
            search_ms=search_ms,
            audio_track=audio_track,
            warnings=(*found.warnings, *run.warnings),
        )

    if quick:
        run = _Pass(model, reach, detector, evidence)
        sampled = _sampled(run, source, answer, progress)
        if sampled is not None:
            return Measurement(sampled, run.evidence() if evidence else None)
    run = _Pass(model, reach, detector, evidence)
    run.go(source, progress)
    return Measurement(answer(run, None), run.evidence() if evidence else None)


@dataclass(frozen=True)
class _Source:
    """The file that is measured."""

    path: str | Path
    info: MediaInfo
    audio_track: int


def _sampled(
    run: _Pass,
    source: _Source,
    answer: Callable[[_Pass, Sequence[Span]], OffsetResult],
    progress: Progress | None,
) -> SampledResult | None:
    """Read windows until they are enough; None where all of the programme has to be read."""
    left = 1.0
    for windows in sampling_rounds(source.info):
        before = len(run.read_spans)
        for number, span in enumerate(windows):
            try:
                run.go(source, None, span)
            except UnreadableMedia:
                # Not every file can be read from the middle.
                return None
            if progress is not None:
                progress(1 - left + left / 2 * (number + 1) / len(windows))
        left /= 2
        if len(run.read_spans) == before:
            return None
        spans = sorted(run.read_spans)
        found = answer(run, spans)
        if is_enough(found):
            return as_sampled(found, spans)
    return None


@dataclass
class _Pass:
    """One pass over a file: decoded items in, evidence and spans of each face track out."""

    model: LoadedModel
    reach: int
    detector: FaceDetector
    keep_pictures: bool
    spans: dict[int, TrackSpan] = field(default_factory=dict)
    tracks: dict[int, LagEvidence] = field(default_factory=dict)
    thumbnails: list[tuple[float, NDArray[np.uint8], int]] = field(default_factory=list)
    read_spans: list[Span] = field(default_factory=list)
    met: FaceStats = field(default_factory=FaceStats)
    warnings: tuple[str, ...] = ()
    damaged: int = 0
    loudness: float = 0.0

    def __post_init__(self) -> None:
        self.faces = FaceStream(self.detector)

    def go(self, source: _Source, progress: Progress | None, span: Span | None = None) -> None:
        """Read the whole file, or one more window of it."""
        stats = ReadStats()
        self.faces = FaceStream(self.detector)
        stream = SyncStream(self.model, self.reach)
        reading = read(source.path, audio_track=source.audio_track, span_s=span, stats=stats)
        with closing(ahead(reading)) as items:
            for item in items:
                if isinstance(item, AudioBlock):
                    level = float(np.sqrt(np.mean(item.samples**2)))
                    self.loudness = max(self.loudness, level)
                    stream.push_sound(item)
                elif span is not None and self._was_read(item.pts_s):
                    return
                else:
                    self._picture(item, stream)
                    tell_time(progress, item.pts_s, source.info.duration_s)
        for chunk in self.faces.close():
            self._chunk(chunk, stream)
        self.tracks |= stream.close()
        self.met = self.met.plus(self.faces.stats)
        if span is None:
            self.warnings = stats.warnings
        elif stats.video_start_s is not None and stats.video_end_s is not None:
            self.read_spans.append((stats.video_start_s, stats.video_end_s))
            self.damaged += stats.corrupt_packets
            self.warnings = ReadStats(corrupt_packets=self.damaged).warnings

    def _was_read(self, pts_s: float) -> bool:
        """Whether a window leads to a key frame that another one began with."""
        return any(start_s <= pts_s <= end_s for start_s, end_s in self.read_spans)

    def seen(self, info: MediaInfo) -> Seen:
        """Everything that the reading of the evidence needs to know."""
        rate = info.video.frame_rate if info.video else None
        return Seen(
            tracks=self.tracks,
            spans=self.spans,
            frame_rate=float(rate) if rate else None,
            duration_s=info.duration_s,
            faces=self.met,
            loudness=self.loudness,
            reach=self.reach,
        )

    def evidence(self) -> Evidence:
        """The evidence of the programme, for a picture."""
        grid = offsets_ms(self.reach)
        whole = programme_evidence(self.tracks, self.model)
        if whole is None:
            empty = np.zeros(0)
            nothing = np.full(len(grid), np.nan, np.float32)
            return Evidence(grid, nothing, nothing, np.zeros((0, len(grid)), np.float32), empty)
        scores, weight = whole.scores.sum(0)[None], whole.weight.sum()[None]
        curve = softmax(self.model.logits(scores, weight))[0, :-1]
        known = np.where(whole.valid > 0, whole.valid, np.nan).astype(np.float32)
        rows = np.asarray(whole.cosine / known, np.float32)
        pictures = tuple(self.thumbnails)
        return Evidence(grid, curve, whole.diagonal(), rows, whole.start_s, pictures)

    def _picture(self, frame: VideoFrame, stream: SyncStream) -> None:
        for chunk in self.faces.push(frame):
            self._chunk(chunk, stream)
            # A track that has ended may lie behind a cut: this frame no longer shows it.
            if self.keep_pictures and not chunk.last:
                self._thumbnail(frame, chunk)
        stream.forget_sound(frame.pts_s - self.faces.delay_s)

    def _chunk(self, chunk: TrackChunk, stream: SyncStream) -> None:
        # Every window counts its tracks from 0.
        chunk = replace(chunk, track=chunk.track + self.met.tracks)
        if len(chunk.pts_s):
            self.spans.setdefault(chunk.track, TrackSpan()).add(chunk)
        stream.push_faces(chunk)

    def _thumbnail(self, frame: VideoFrame, chunk: TrackChunk) -> None:
        """Keep a few pictures of faces, evenly thinned out when there are too many."""
        last_s = max((t for t, _, n in self.thumbnails if n == chunk.track), default=-np.inf)
        if frame.pts_s - last_s < THUMBNAIL_EVERY_S:
            return
        x0, y0, x1, y1 = (chunk.boxes[-1] * frame.scale).tolist()
        margin = 0.35 * (x1 - x0)
        cut = frame.bgr(x0 - margin, y0 - margin, x1 + margin, y1 + margin)
        if cut.size == 0:
            return
        corner = max(0.0, x0 - margin), max(0.0, y0 - margin)
        box = (x0 - corner[0], y0 - corner[1], x1 - corner[0], y1 - corner[1])
        self.thumbnails.append((frame.pts_s, _boxed(cut, box), chunk.track))
        if len(self.thumbnails) > 2 * THUMBNAILS:
            del self.thumbnails[1::2]


def _boxed(picture: NDArray[np.uint8], box: tuple[float, ...]) -> NDArray[np.uint8]:
    """A thumbnail of `picture` with the face's box drawn into it."""
    cv2: Any = load_cv2()
    size = min(1.0, THUMBNAIL / max(picture.shape[:2]))
    shape = (max(1, round(picture.shape[1] * size)), max(1, round(picture.shape[0] * size)))
    small = np.ascontiguousarray(cv2.resize(picture, shape, interpolation=cv2.INTER_AREA))
    x0, y0, x1, y1 = (round(v * size) for v in box)
    return np.asarray(cv2.rectangle(small, (x0, y0), (x1, y1), (255, 255, 255), 1), np.uint8)


def _reach(search_ms: float) -> int:
    """Candidate offsets on either side of 0."""
    if not MIN_SEARCH_MS <= search_ms <= MAX_SEARCH_MS:
        limits = f"{MIN_SEARCH_MS:g} to {MAX_SEARCH_MS:g} ms"
        raise UsageError(f"cannot search {search_ms:g} ms", hint=f"give {limits}")
    return math.ceil(search_ms / (STEP_S * 1000))

"""detect-offset: by how much is the sound of a file early or late?"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.device import choose
from lipsync_cli.errors import UnreadableMedia, UsageError
from lipsync_cli.faces.detect import FaceDetector, create_detector
from lipsync_cli.faces.follow import Reached, follow
from lipsync_cli.faces.stream import FaceStats, FaceStream, TrackChunk
from lipsync_cli.faces.thumbnails import Thumbnails
from lipsync_cli.media.ahead import ahead
from lipsync_cli.media.audio import AudioBlock
from lipsync_cli.media.probe import MediaInfo, probe
from lipsync_cli.media.reader import ReadStats, read
from lipsync_cli.media.video import VideoFrame
from lipsync_cli.progress import Progress, tell_time
from lipsync_cli.quick import SampledResult, Span, as_sampled, is_enough, sampling_rounds
from lipsync_cli.results import OffsetResult
from lipsync_cli.sync.estimate import softmax
from lipsync_cli.sync.evidence import STEP_S, LagEvidence, offsets_ms
from lipsync_cli.weights import locate

if TYPE_CHECKING:
    # They import torch, which takes seconds: pictures are decoded meanwhile.
    from lipsync_cli.sync.model_file import LoadedModel
    from lipsync_cli.sync.programme import Seen, TrackSpan
    from lipsync_cli.sync.stream import SyncStream

MIN_SEARCH_MS, MAX_SEARCH_MS = 100.0, 15_000.0
# Sound and faces that may wait for the models: about ten seconds of a programme.
WAITING = 128


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
    model, source = _Model(device), _Source(path, info, audio_track)
    detector = create_detector(face_detector)

    def answer(run: _Pass, spans: Sequence[Span] | None) -> OffsetResult:
        from lipsync_cli.sync.programme import read_programme

        seen = run.seen(info)
        found = read_programme(seen, model.loaded, min_probability, spans or stretches)
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


@dataclass
class _Model:
    """The sync model, loaded when it is first asked for."""

    device: str

    @cached_property
    def loaded(self) -> LoadedModel:
        from lipsync_cli.sync.model_file import load_model

        return load_model(locate("sync"), choose(self.device))


class _ReadBefore(Exception):
    """A window leads to a key frame that another one began with."""


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
    """One pass over a file: decoded items in, evidence and spans of each face track out.

    One thread decodes, one follows the faces, and the models run in the caller's.
    """

    model: _Model
    reach: int
    detector: FaceDetector
    keep_pictures: bool
    spans: dict[int, TrackSpan] = field(default_factory=dict)
    tracks: dict[int, LagEvidence] = field(default_factory=dict)
    thumbnails: Thumbnails = field(default_factory=Thumbnails)
    read_spans: list[Span] = field(default_factory=list)
    met: FaceStats = field(default_factory=FaceStats)
    warnings: tuple[str, ...] = ()
    damaged: int = 0
    loudness: float = 0.0

    def go(self, source: _Source, progress: Progress | None, span: Span | None = None) -> None:
        """Read the whole file, or one more window of it."""
        stats, faces = ReadStats(), FaceStream(self.detector)
        reading = read(source.path, audio_track=source.audio_track, span_s=span, stats=stats)
        fresh = self._not_read_before(reading) if self.read_spans else reading
        watch = self.thumbnails.add if self.keep_pictures else None
        with closing(ahead(follow(ahead(fresh), faces, watch), depth=WAITING)) as items:
            try:
                # The threads begin with the first item; the models load beside them.
                first = list(islice(items, 1))
                stream = self._stream()
                for item in chain(first, items):
                    self._push(item, stream)
                    if isinstance(item, Reached):
                        stream.forget_sound(item.pts_s - faces.delay_s)
                        tell_time(progress, item.pts_s, source.info.duration_s)
            except _ReadBefore:
                return
        self.tracks |= stream.close()
        self.met = self.met.plus(faces.stats)
        self._book(stats, span)

    def _stream(self) -> SyncStream:
        from lipsync_cli.sync.stream import SyncStream

        return SyncStream(self.model.loaded, self.reach)

    def _push(self, item: TrackChunk | AudioBlock | Reached, stream: SyncStream) -> None:
        if isinstance(item, AudioBlock):
            level = float(np.sqrt(np.mean(item.samples**2)))
            self.loudness = max(self.loudness, level)
            stream.push_sound(item)
        elif isinstance(item, TrackChunk):
            self._chunk(item, stream)

    def _book(self, stats: ReadStats, span: Span | None) -> None:
        """Keep what is to be told about the file, and what of it was read."""
        if span is None:
            self.warnings = stats.warnings
        elif stats.video_start_s is not None and stats.video_end_s is not None:
            self.read_spans.append((stats.video_start_s, stats.video_end_s))
            self.damaged += stats.corrupt_packets
            self.warnings = ReadStats(corrupt_packets=self.damaged).warnings

    def _not_read_before(
        self, items: Generator[VideoFrame | AudioBlock, None, None]
    ) -> Generator[VideoFrame | AudioBlock, None, None]:
        with closing(items):
            for item in items:
                if isinstance(item, VideoFrame) and self._was_read(item.pts_s):
                    raise _ReadBefore
                yield item

    def _was_read(self, pts_s: float) -> bool:
        return any(start_s <= pts_s <= end_s for start_s, end_s in self.read_spans)

    def seen(self, info: MediaInfo) -> Seen:
        """Everything that the reading of the evidence needs to know."""
        from lipsync_cli.sync.programme import Seen

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
        from lipsync_cli.sync.programme import programme_evidence

        grid, model = offsets_ms(self.reach), self.model.loaded
        whole = programme_evidence(self.tracks, model)
        if whole is None:
            empty = np.zeros(0)
            nothing = np.full(len(grid), np.nan, np.float32)
            return Evidence(grid, nothing, nothing, np.zeros((0, len(grid)), np.float32), empty)
        scores, weight = whole.scores.sum(0)[None], whole.weight.sum()[None]
        curve = softmax(model.logits(scores, weight))[0, :-1]
        known = np.where(whole.valid > 0, whole.valid, np.nan).astype(np.float32)
        rows = np.asarray(whole.cosine / known, np.float32)
        pictures = tuple(self.thumbnails.pictures)
        return Evidence(grid, curve, whole.diagonal(), rows, whole.start_s, pictures)

    def _chunk(self, chunk: TrackChunk, stream: SyncStream) -> None:
        from lipsync_cli.sync.programme import TrackSpan

        # Every window counts its tracks from 0.
        chunk = replace(chunk, track=chunk.track + self.met.tracks)
        if len(chunk.pts_s):
            self.spans.setdefault(chunk.track, TrackSpan()).add(chunk)
        stream.push_faces(chunk)


def _reach(search_ms: float) -> int:
    """Candidate offsets on either side of 0."""
    if not MIN_SEARCH_MS <= search_ms <= MAX_SEARCH_MS:
        limits = f"{MIN_SEARCH_MS:g} to {MAX_SEARCH_MS:g} ms"
        raise UsageError(f"cannot search {search_ms:g} ms", hint=f"give {limits}")
    return math.ceil(search_ms / (STEP_S * 1000))

"""LSE-D, LSE-C and the audio-video offset of a file, by the protocols of the papers.

Follows SyncNet's run_pipeline and run_syncnet and Wav2Lip's calculate_scores_LRS on the
network's side to rounding errors. What the programs around it lose is left out on purpose:
pictures do not go through JPEG and MPEG-4 files on the way, the sound does not go through MP3,
each picture stands at its own time, and colours follow the file's own matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lipsync_cli.errors import UnreadableMedia
from lipsync_cli.faces.detect import create_detector
from lipsync_cli.media.ahead import ahead
from lipsync_cli.media.audio import AudioBlock
from lipsync_cli.media.reader import ReadStats, read
from lipsync_cli.media.video import VideoFrame
from lipsync_cli.progress import Progress, tell_time
from lipsync_cli.results import ScoreTrack
from lipsync_cli.scoring.clip_score import ClipScore
from lipsync_cli.scoring.distance import Lse
from lipsync_cli.scoring.followed_faces import FollowedFaces
from lipsync_cli.scoring.grid25 import RATE, GridSound, PictureGrid
from lipsync_cli.scoring.lse_options import LseOptions
from lipsync_cli.scoring.protocols import TOO_SHORT, ClipSource, Row, WholePicture
from lipsync_cli.scoring.syncnet import LoadedSyncNet

__all__ = ["LseOptions", "LseResult", "measure_lse"]

# No picture is left out before the grid chooses, and none is shrunk.
_ANY_RATE, _ANY_HEIGHT = 1000.0, 1_000_000
# Decoded pictures that wait; they may be large.
_DEPTH = 4
# Scores below this are no faces to the reference, whose detector is "sfd".
_MIN_SCORE = {"sfd": 0.9}
# Rates as near to 25 as this are it, with rounded timestamps.
_RATE_SLACK = 0.05


@dataclass(frozen=True)
class LseResult:
    """The figures of a file.

    Attributes:
        protocol: "tracked" or "lrs".
        lse_d, lse_c: means over the tracks, each counting once however long it is, as the
            papers average the lines of Wav2Lip's scripts; None without a track.
        av_offset: of the track with the largest lse_c, in frames at 25 a second; > 0 audio
            early.
        valid_overlap: the same three by name, without the comparisons beyond the ends; None
            where they were not asked for.
        reason: why there are no figures, in words.
    """

    protocol: str
    av_offset: int | None = None
    lse_d: float | None = None
    lse_c: float | None = None
    tracks: tuple[ScoreTrack, ...] = ()
    valid_overlap: Mapping[str, float | int] | None = None
    reason: str | None = None
    warnings: tuple[str, ...] = ()


def measure_lse(
    path: str | Path,
    syncnet: LoadedSyncNet,
    options: LseOptions | None = None,
    *,
    audio_track: int = 0,
    progress: Progress | None = None,
) -> LseResult:
    """Measure LSE-D, LSE-C and the offset of one file with SyncNet.

    The file is decoded once, and memory does not grow with its duration as long as picture
    and sound lie side by side in it.

    Args:
        audio_track: number among the audio streams, from 0.
        progress: told the share that is done, 0 to 1.

    Raises:
        MediaNotFound, UnreadableMedia, MissingStream: the file cannot be measured.
        WeightsError, DependencyError, UsageError: the face detector cannot be had.
    """
    options, stats = options or LseOptions(), ReadStats()
    run = _Pass(syncnet, options)
    items = read(
        path,
        audio_track=audio_track,
        max_rate=_ANY_RATE,
        max_height=_ANY_HEIGHT,
        stats=stats,
    )
    try:
        with closing(ahead(items, _DEPTH)) as decoded:
            for item in decoded:
                run.take(item)
                tell_time(progress, run.seen_s, stats.duration_s)
    except UnreadableMedia as error:
        error.path = error.path or str(path)
        raise
    run.close()
    return run.result(stats)


class _Pass:
    """One pass over a file: decoded items in, clips and their figures out."""

    def __init__(self, syncnet: LoadedSyncNet, options: LseOptions) -> None:
        self._syncnet, self._options = syncnet, options
        self._pictures, self._sound = PictureGrid(), GridSound()
        self._source = self._make_source()
        self.seen_s = 0.0

    def take(self, item: VideoFrame | AudioBlock) -> None:
        """Take the next item of the file."""
        if isinstance(item, AudioBlock):
            self._sound.push(item)
        else:
            self._show(self._pictures.push(item))
            assert self._pictures.start_s is not None
            self.seen_s = item.pts_s - self._pictures.start_s
        self._source.advance()
        self._sound.forget(self._source.needs_from)

    def close(self) -> None:
        """The file has ended."""
        self._show(self._pictures.close())
        self._source.close()
        self._sound.closed = True
        self._source.advance()

    def result(self, stats: ReadStats) -> LseResult:
        """Read the figures of all clips."""
        rows = sorted(self._source.rows, key=lambda row: row.clip.first)
        read_out = [row.clip.distances.reading() for row in rows]
        scored = [(row, lse) for row, lse in zip(rows, read_out, strict=True) if lse is not None]
        left_out = self._source.left_out + len(rows) - len(scored) if scored else 0
        warnings = tuple(_warnings(stats, [lse for _, lse in scored], self._options, left_out))
        if not scored:
            reason = TOO_SHORT if rows else self._source.reason()
            return LseResult(self._options.protocol, reason=reason, warnings=warnings)
        unbiased = [row.clip.distances.reading(valid_overlap=True) for row, _ in scored]
        whole = _summary([lse for _, lse in scored])
        valid = _summary([lse for lse in unbiased if lse is not None])
        return LseResult(
            self._options.protocol,
            *whole,
            tracks=tuple(self._track(i, row, lse) for i, (row, lse) in enumerate(scored)),
            valid_overlap=valid._asdict() if self._options.valid_overlap else None,
            warnings=warnings,
        )

    def _make_source(self) -> ClipSource:
        options = self._options
        if options.protocol == "lrs":
            return WholePicture(self._begin(0), codec=options.reference_codec)
        return FollowedFaces(
            self._begin,
            create_detector(options.face_detector),
            options,
            min_score=_MIN_SCORE.get(options.face_detector, 0.0),
        )

    def _begin(self, tick: int) -> ClipScore:
        vshift, batch = self._options.vshift, self._options.batch
        return ClipScore(self._syncnet, self._sound, tick, vshift=vshift, batch=batch)

    def _show(self, frames: Sequence[VideoFrame]) -> None:
        if self._sound.start_s is None and self._pictures.start_s is not None:
            self._sound.start(self._pictures.start_s)
        for frame in frames:
            self._source.push(frame)

    def _track(self, number: int, row: Row, lse: Lse) -> ScoreTrack:
        first, frames = row.clip.first, row.clip.frames
        start_s, end_s = (self._pictures.time_s(tick) for tick in (first, first + frames))
        return ScoreTrack(number, start_s, end_s, frames, *lse, row.box)


def _summary(figures: Sequence[Lse]) -> Lse:
    """Unweighted means, with the offset of the most confident."""
    surest = max(figures, key=lambda lse: lse.lse_c)
    count = len(figures)
    lse_d, lse_c = (sum(getattr(f, name) for f in figures) / count for name in ("lse_d", "lse_c"))
    return Lse(surest.av_offset, lse_d, lse_c)


def _warnings(
    stats: ReadStats, figures: Sequence[Lse], options: LseOptions, left_out: int
) -> Iterator[str]:
    rate = _rate(stats)
    if rate is not None and abs(rate - RATE) > _RATE_SLACK:
        yield (
            f"the {rate:.2f} pictures a second were put on SyncNet's grid of {RATE}: each is shown"
            " up to half a picture early or late"
        )
    if any(abs(lse.av_offset) == options.vshift for lse in figures):
        yield f"an offset of {options.vshift} frames is the end of the search, not a measurement"
    if left_out:
        yield f"faces left out because they are seen too briefly or too small: {left_out}"
    yield from stats.warnings


def _rate(stats: ReadStats) -> float | None:
    if stats.video_start_s is None or stats.video_end_s is None or stats.video_frames < 2:
        return None
    return (stats.video_frames - 1) / max(stats.video_end_s - stats.video_start_s, 1e-6)

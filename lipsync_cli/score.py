"""score: how well do lips and sound of a file belong together, and does it keep to standards?"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from lipsync_cli.errors import InputError
from lipsync_cli.progress import Progress, part_of
from lipsync_cli.results import ScoreResult
from lipsync_cli.scoring.lse_options import LseOptions
from lipsync_cli.scoring.pictures import FacePicture, face_pictures, times_to_show
from lipsync_cli.scoring.resume import Earlier, digest, key_of
from lipsync_cli.scoring.verdict import judged
from lipsync_cli.weights import find, locate, sha256_of

if TYPE_CHECKING:
    from lipsync_cli.detect import Measurement
    from lipsync_cli.scoring.lse import LseResult
    from lipsync_cli.scoring.syncnet import LoadedSyncNet


_NO_SYNCNET = "the public SyncNet v2 file is not there: lipsync weights fetch syncnet_v2"
# What the figures do not depend on, or what is known by its content instead.
_NOT_SETTINGS = ("tolerances", "pictures", "syncnet", "reference", "device")


@dataclass(frozen=True)
class ScoreOptions:
    """How files are scored.

    Attributes:
        tolerances: limits to judge by, as `parse_tolerance` reads them.
        lse: how LSE figures are taken; its face detector is the one below.
        syncnet: file of SyncNet v2; None for the one that was imported, if any.
        search_ms, audio_track, min_probability, face_detector, device: as `detect.measure`.
        reference: the real video that the pictures are compared with.
        pictures: keep a few pictures of the faces, for a report.
    """

    tolerances: tuple[str, ...] = ()
    lse: LseOptions = field(default_factory=LseOptions)
    syncnet: Path | None = None
    search_ms: float = 1500.0
    audio_track: int = 0
    min_probability: float = 0.9
    face_detector: str = "own"
    device: str = "auto"
    reference: Path | None = None
    pictures: bool = False


@dataclass(frozen=True)
class Scored:
    """An answer, and what to show beside it."""

    result: ScoreResult
    pictures: tuple[FacePicture, ...] = ()


def score_file(
    path: str | Path, options: ScoreOptions | None = None, *, progress: Progress | None = None
) -> ScoreResult:
    """Score one file; see `examine`."""
    return examine(path, options or ScoreOptions(), progress=progress).result


def examine(
    path: str | Path,
    options: ScoreOptions,
    *,
    earlier: Earlier | None = None,
    progress: Progress | None = None,
) -> Scored:
    """Score one file with the own sync model, and with SyncNet where its file is at hand.

    Args:
        earlier: results to take the answer from where the same content was scored with the
            same settings; verdicts are always new.
        progress: told the share that is done, 0 to 1.

    Raises:
        MediaNotFound, UnreadableMedia, MissingStream: the file cannot be scored.
        WeightsError, DependencyError: the tool is not complete.
        UsageError: an option is out of range.
    """
    from lipsync_cli.media.probe import probe

    # A bad file answers at once, not after the seconds that the models take to load.
    probe(path)
    path, syncnet = Path(path), _syncnet(options)
    key = key_of(path, _settings(options, syncnet.path))
    known = earlier.get(key) if earlier is not None else None
    if known is not None:
        return Scored(judged(replace(known, file=str(path), reused=True), options.tolerances))
    stages = _Stages(progress, lse=syncnet.path is not None, quality=options.reference is not None)
    measurement = _measure(path, options, stages.own)
    result = replace(_own_figures(measurement), sha256=key.sha256, settings=key.settings)
    result = _with_lse(result, path, options, syncnet, stages.lse)
    result = _with_quality(result, path, options, stages.quality)
    result = judged(result, options.tolerances)
    return Scored(result, _pictures(measurement, result) if options.pictures else ())


@dataclass(frozen=True)
class _SyncNetFile:
    """Where SyncNet's file is, or why there is none."""

    path: Path | None
    reason: str | None = None


def _syncnet(options: ScoreOptions) -> _SyncNetFile:
    path = options.syncnet or find("syncnet_v2")
    return _SyncNetFile(path, None if path else _NO_SYNCNET)


def _settings(options: ScoreOptions, syncnet: Path | None) -> str:
    """Digest of everything but the file itself that the figures depend on."""
    models = {"sync": locate("sync"), "syncnet": syncnet, "reference": options.reference}
    return digest(
        {
            **{k: v for k, v in asdict(options).items() if k not in _NOT_SETTINGS},
            **{k: None if path is None else _hash(path) for k, path in models.items()},
        }
    )


def _hash(path: Path) -> str:
    try:
        status = path.stat()
        return _hash_once(path, status.st_size, status.st_mtime_ns)
    except OSError:
        # What is wrong with it, reading it will tell.
        return ""


@lru_cache(maxsize=64)
def _hash_once(path: Path, size: int, mtime_ns: int) -> str:
    return sha256_of(path)


def _measure(path: Path, options: ScoreOptions, progress: Progress | None) -> Measurement:
    # Only here are torch and OpenCV needed.
    from lipsync_cli.detect import measure

    return measure(
        path,
        search_ms=options.search_ms,
        audio_track=options.audio_track,
        min_probability=options.min_probability,
        face_detector=options.face_detector,
        device=options.device,
        evidence=True,
        progress=progress,
    )


def _own_figures(measurement: Measurement) -> ScoreResult:
    from lipsync_cli.scoring.own import own_figures

    return own_figures(measurement)


def _with_lse(
    result: ScoreResult,
    path: Path,
    options: ScoreOptions,
    syncnet: _SyncNetFile,
    progress: Progress | None,
) -> ScoreResult:
    """Add the LSE figures; a file that has none keeps its other figures."""
    if syncnet.path is None:
        return replace(result, lse_reason=syncnet.reason)
    from lipsync_cli.scoring.lse import measure_lse

    network = _network(syncnet.path, options.device)
    how = replace(options.lse, face_detector=options.face_detector)
    try:
        found = measure_lse(path, network, how, audio_track=options.audio_track, progress=progress)
    except InputError as error:
        return replace(result, protocol=how.protocol, lse_reason=error.message)
    return _merged(result, found)


@lru_cache(maxsize=1)
def _network(path: Path, device: str) -> LoadedSyncNet:
    from lipsync_cli.device import choose
    from lipsync_cli.scoring.syncnet import load_syncnet

    return load_syncnet(path, choose(device))


def _merged(result: ScoreResult, found: LseResult) -> ScoreResult:
    return replace(
        result,
        protocol=found.protocol,
        lse_d=found.lse_d,
        lse_c=found.lse_c,
        av_offset=found.av_offset,
        lse_reason=found.reason,
        valid_overlap=found.valid_overlap,
        tracks=found.tracks,
        warnings=(*result.warnings, *found.warnings),
    )


def _with_quality(
    result: ScoreResult, path: Path, options: ScoreOptions, progress: Progress | None
) -> ScoreResult:
    """Add how near the pictures come to those of the reference."""
    if options.reference is None:
        return result
    from lipsync_cli.scoring.quality import compare

    real, detector = options.reference, options.face_detector
    try:
        found = asdict(compare(path, real, face_detector=detector, progress=progress))
    except InputError as error:
        reason = f"not compared with {real}: {error.message}"
        return replace(result, warnings=(*result.warnings, reason))
    warnings = (*result.warnings, *found.pop("warnings"))
    return replace(result, quality=found, warnings=warnings)


def _pictures(measurement: Measurement, result: ScoreResult) -> tuple[FacePicture, ...]:
    if measurement.evidence is None:
        return ()
    return face_pictures(measurement.evidence, times_to_show(result))


class _Stages:
    """Shares of one progress bar; SyncNet takes longer than the own model."""

    def __init__(self, progress: Progress | None, *, lse: bool, quality: bool) -> None:
        weights = (1.0, 2.0 if lse else 0.0, 1.0 if quality else 0.0)
        first, second = weights[0] / sum(weights), sum(weights[:2]) / sum(weights)
        self.own = part_of(progress, 0.0, first)
        self.lse = part_of(progress, first, second)
        self.quality = part_of(progress, second, 1.0)

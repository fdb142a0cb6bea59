"""Many results in one: means as papers give them, every file counting alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any

from lipsync_cli.results import SCHEMA_VERSION, Outcome, ScoreResult

_QUALITY = ("psnr", "ssim", "mouth_psnr", "mouth_ssim")


@dataclass(frozen=True)
class Summary:
    """What a set of files amounts to; each mean is over the files that have the figure.

    Attributes:
        files, failed, reused: files asked for, those without a result, those not measured anew.
        measured: files whose offset the own model could tell.
        lse_files: files with LSE figures; lse_d and lse_c are their unweighted means.
        lse_tracks: face tracks in them; lse_d_tracks and lse_c_tracks are the unweighted means
            over tracks, which is what averaging the lines of Wav2Lip's script for real videos
            amounts to.
        offset_ms, mean_abs_offset_ms, spread_ms: of the files measured.
        quality: means of PSNR and SSIM; fid: of all files together.
        verdicts: by tolerance, how many files pass, fail and are not checkable.
    """

    files: int
    failed: int
    reused: int = 0
    measured: int = 0
    probability_in_sync: float | None = None
    offset_ms: float | None = None
    mean_abs_offset_ms: float | None = None
    spread_ms: float | None = None
    protocol: str | None = None
    lse_files: int = 0
    lse_d: float | None = None
    lse_c: float | None = None
    lse_tracks: int = 0
    lse_d_tracks: float | None = None
    lse_c_tracks: float | None = None
    quality: Mapping[str, float | None] | None = None
    fid: float | None = None
    verdicts: Mapping[str, Mapping[Outcome, int]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record, told from those of files by its key "summary"."""
        return {
            "schema": SCHEMA_VERSION,
            "summary": True,
            "ok": self.failed == 0,
            **asdict(self),
        }


def summarise(results: Sequence[ScoreResult], *, failed: int) -> Summary:
    """Average the results of a set; `failed` files have none."""
    offsets = [r.offset_ms for r in results if r.offset_ms is not None]
    summary = Summary(
        files=len(results) + failed,
        failed=failed,
        reused=sum(r.reused for r in results),
        measured=len(offsets),
        probability_in_sync=_mean(r.probability_in_sync for r in results),
        offset_ms=_mean(offsets),
        mean_abs_offset_ms=_mean(abs(offset) for offset in offsets),
        spread_ms=_mean(r.spread_ms for r in results),
        quality=_quality(results),
        verdicts=_verdicts(results),
    )
    return _with_lse(summary, results)


def _with_lse(summary: Summary, results: Sequence[ScoreResult]) -> Summary:
    scored = [r for r in results if r.lse_d is not None]
    tracks = [track for r in scored for track in r.tracks]
    protocols = {r.protocol for r in scored}
    return replace(
        summary,
        protocol=protocols.pop() if len(protocols) == 1 else None,
        lse_files=len(scored),
        lse_d=_mean(r.lse_d for r in scored),
        lse_c=_mean(r.lse_c for r in scored),
        lse_tracks=len(tracks),
        lse_d_tracks=_mean(track.lse_d for track in tracks),
        lse_c_tracks=_mean(track.lse_c for track in tracks),
    )


def _quality(results: Sequence[ScoreResult]) -> Mapping[str, float | None] | None:
    compared = [r.quality for r in results if r.quality is not None]
    if not compared:
        return None
    return {name: _mean(quality.get(name) for quality in compared) for name in _QUALITY}


def _verdicts(results: Sequence[ScoreResult]) -> dict[str, Mapping[Outcome, int]]:
    outcomes: tuple[Outcome, ...] = ("pass", "fail", "not_checkable")
    names = dict.fromkeys(name for r in results for name in r.verdicts)
    counts = {
        name: Counter(r.verdicts[name].outcome for r in results if name in r.verdicts)
        for name in names
    }
    return {name: {each: count[each] for each in outcomes} for name, count in counts.items()}


def _mean(values: Iterable[float | int | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return round(fmean(known), 4) if known else None

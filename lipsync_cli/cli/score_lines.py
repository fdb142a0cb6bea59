"""Scores in words. Nothing here prints."""

from __future__ import annotations

from collections.abc import Iterator

from lipsync_cli.cli.wording import (
    early_or_late,
    interval_words,
    milliseconds,
    probability,
)
from lipsync_cli.results import OutOfLimits, ScoreResult, Verdict
from lipsync_cli.scoring.summary import Summary
from lipsync_cli.scoring.timecode import timecode
from lipsync_cli.text import printable

_SHOWN_RANGES = 2

TRACK_HEADS = ("track", "from", "to", "frames", "LSE-D", "LSE-C", "AV offset")
RANGE_HEADS = ("limits", "from", "to", "audio", "95 %", "")


def score_line(result: ScoreResult) -> str:
    """One line for one file: offset, probability, LSE, quality, verdicts."""
    parts = [
        _offset(result),
        *_lse(result),
        *_quality(result),
        *(_verdict(name, verdict, result) for name, verdict in result.verdicts.items()),
    ]
    return f"{printable(result.file)}: {'; '.join(parts)}"


def summary_line(summary: Summary) -> str:
    """One line for all files."""
    sure = summary.probability_in_sync
    parts = [] if sure is None else [f"in sync with p = {probability(sure)} on average"]
    if summary.lse_d is not None and summary.lse_c is not None:
        parts.append(
            f"LSE-D {summary.lse_d:.3f}, LSE-C {summary.lse_c:.3f}"
            f" (mean of {_files(summary.lse_files)})"
        )
    quality = summary.quality or {}
    parts += [f"{_name(name)} {value:.3f}" for name, value in quality.items() if value is not None]
    if summary.fid is not None:
        parts.append(f"FID {summary.fid:.3f}")
    for name, count in summary.verdicts.items():
        told = [f"{n} {outcome.replace('_', ' ')}" for outcome, n in count.items() if n]
        parts.append(f"{name}: {', '.join(told)}")
    if summary.failed:
        parts.append(f"{summary.failed} failed")
    return f"{_files(summary.files)}: {'; '.join(parts) or 'nothing could be compared'}"


def track_rows(result: ScoreResult) -> Iterator[tuple[str, ...]]:
    """Cells for one table row per face track of the LSE protocol."""
    for track in result.tracks:
        span = (timecode(at, result.frame_rate) for at in (track.start_s, track.end_s))
        figures = (f"{track.lse_d:.3f}", f"{track.lse_c:.3f}", f"{track.av_offset:+d}")
        yield (str(track.track), *span, str(track.frames), *figures)


def range_rows(result: ScoreResult) -> Iterator[tuple[str, ...]]:
    """Cells for one table row per stretch that is out of limits."""
    for name, verdict in result.verdicts.items():
        for part in verdict.ranges:
            interval = interval_words(part.interval_ms) if part.interval_ms else ""
            sure = "" if part.certain else "unsure"
            offset = early_or_late(part.offset_ms).removeprefix("audio ")
            yield (name, part.start, part.end, offset, interval, sure)


def _offset(result: ScoreResult) -> str:
    sure = result.probability_in_sync
    chance = "" if sure is None else f"in sync with p = {probability(sure)}"
    if result.offset_ms is None:
        told = f"cannot tell the offset: {printable(result.reason or 'no reason given')}"
        return f"{told} ({chance})" if chance else told
    details = []
    if result.interval_ms is not None:
        details.append(interval_words(result.interval_ms))
    if result.spread_ms is not None:
        details.append(f"spread {milliseconds(result.spread_ms)} ms")
    if result.measurable_share is not None:
        details.append(f"{result.measurable_share:.0%} measurable")
    told = early_or_late(result.offset_ms) + _course(result)
    return f"{chance}, {told} ({', '.join(details)})"


def _course(result: ScoreResult) -> str:
    """What the offset does over time, where it does anything."""
    if result.pattern in (None, "constant"):
        return ""
    if result.drift_ppm is not None:
        return f" on average, drifting by {result.drift_ppm:+.1f} ppm"
    steps = len(result.steps)
    return f" on average, with {steps} step{'' if steps == 1 else 's'}" if steps else " on average"


def _lse(result: ScoreResult) -> Iterator[str]:
    if result.lse_d is None or result.lse_c is None:
        return
    frames = "" if result.av_offset is None else f", AV offset {result.av_offset:+d}"
    yield f"LSE-D {result.lse_d:.3f}, LSE-C {result.lse_c:.3f}{frames} ({result.protocol})"
    valid = result.valid_overlap
    if valid is not None:
        figures = f"LSE-D {valid['lse_d']:.3f}, LSE-C {valid['lse_c']:.3f}"
        yield f"without padding {figures}, AV offset {valid['av_offset']:+d}"


def _quality(result: ScoreResult) -> Iterator[str]:
    for name in ("psnr", "ssim", "mouth_psnr", "mouth_ssim"):
        value = (result.quality or {}).get(name)
        if value is not None:
            yield (
                f"{_name(name)} {value:.2f} dB" if "psnr" in name else f"{_name(name)} {value:.4f}"
            )


def _name(figure: str) -> str:
    return figure.replace("psnr", "PSNR").replace("ssim", "SSIM").replace("_", " ")


def _verdict(name: str, verdict: Verdict, result: ScoreResult) -> str:
    doubt = "borderline " if verdict.borderline else ""
    if verdict.outcome == "not_checkable":
        # Why the offset cannot be told is said once.
        why = "" if verdict.reason == result.reason else f" ({printable(verdict.reason or '')})"
        return f"{name} not checkable{why}"
    if verdict.outcome == "pass":
        return f"{name} {doubt}pass"
    return f"{name} {doubt}FAIL {_ranges(verdict.ranges)}".rstrip()


def _ranges(ranges: tuple[OutOfLimits, ...]) -> str:
    shown = ", ".join(f"{part.start}-{part.end}" for part in ranges[:_SHOWN_RANGES])
    more = len(ranges) - _SHOWN_RANGES
    return f"{shown} and {more} more" if more > 0 else shown


def _files(count: int) -> str:
    return f"{count} file" if count == 1 else f"{count} files"

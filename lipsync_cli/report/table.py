"""All results as CSV, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lipsync_cli.report.rows import Row, words_of
from lipsync_cli.results import ScoreResult
from lipsync_cli.text import printable

_FIGURES = (
    *("probability_in_sync", "offset_ms", "spread_ms", "probability", "offset_frames"),
    *("frame_rate", "duration_s", "measurable_s", "measurable_share", "protocol"),
    *("lse_d", "lse_c", "av_offset"),
)
_QUALITY = ("psnr", "ssim", "mouth_psnr", "mouth_ssim")
# Spreadsheets take a cell for a formula that begins like this.
_FORMULA = tuple("=+-@\t\r\n|%")


def write_table(rows: Sequence[Row], path: Path) -> None:
    """Write one line a file, in UTF-8, with a head; empty cells are unknown.

    Text that a spreadsheet could take for a formula gets an apostrophe in front.
    """
    names = _verdict_names(rows)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(_head(names))
        for row in rows:
            writer.writerow([_safe(cell) for cell in _cells(row, names)])


def _verdict_names(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows if row.result for name in row.result.verdicts))


def _head(names: Sequence[str]) -> list[str]:
    verdicts = [head for name in names for head in (f"verdict {name}", f"out of {name}")]
    return [
        *("file", "ok", "status", "reason", "interval_low_ms", "interval_high_ms"),
        *_FIGURES,
        *_QUALITY,
        *verdicts,
        *("error", "warnings", "sha256"),
    ]


def _cells(row: Row, names: Sequence[str]) -> list[Any]:
    result = row.result
    if result is None:
        blank = [None] * (4 + len(_FIGURES) + len(_QUALITY) + 2 * len(names))
        return [row.file, False, *blank, str(row.error or ""), None, None]
    low, high = result.interval_ms or (None, None)
    quality = result.quality or {}
    return [
        *(row.file, True, result.status, result.reason, low, high),
        *(getattr(result, name) for name in _FIGURES),
        *(quality.get(name) for name in _QUALITY),
        *(cell for name in names for cell in _verdict_cells(result, name)),
        *(None, "; ".join(result.warnings), result.sha256),
    ]


def _verdict_cells(result: ScoreResult, name: str) -> Iterator[str | None]:
    verdict = result.verdicts.get(name)
    if verdict is None:
        yield from (None, None)
        return
    yield words_of(verdict)
    yield "; ".join(
        f"{part.start}-{part.end} {part.offset_ms:+.1f} ms{'' if part.certain else ' (unsure)'}"
        for part in verdict.ranges
    )


def _safe(cell: Any) -> Any:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if not isinstance(cell, str):
        return cell
    text = printable(cell)
    return f"'{text}" if text.startswith(_FORMULA) else text

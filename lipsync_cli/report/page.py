"""All results as one page for people: no other file, no network, no library.

Everything that comes from outside (names, tags, messages) is escaped, and the page forbids
itself to load anything, so that it may be mailed and opened anywhere.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path

from lipsync_cli.errors import UsageError
from lipsync_cli.report.curve import shares, sparkline
from lipsync_cli.report.details import details, face
from lipsync_cli.report.rows import OUTCOMES, STATES, WORDS, Row, stretches
from lipsync_cli.report.words import (
    UNKNOWN,
    badge,
    chance,
    figure,
    limits_words,
    offset_words,
    share,
    text,
)
from lipsync_cli.results import OutOfLimits, ScoreResult, Verdict
from lipsync_cli.scoring.summary import Summary
from lipsync_cli.scoring.tolerance import Tolerance, parse_tolerance

WORST = 12

_HEADS = (("File", ""), ("Verdict", ""), ("Offset", "number"), ("p in sync", "number"))
_LSE_HEADS = (("LSE-D", "number"), ("LSE-C", "number"))
_COURSES = {"drift": "drifting", "steps": "in steps", "unclear": "changing"}
_LAST_HEADS = (("Measurable", "number"),)


@dataclass(frozen=True)
class About:
    """What a report says about itself.

    Attributes:
        tolerances: the limits that were asked for, as they were asked for.
        made: when, with its time zone.
        version: of lipsync.
    """

    tolerances: tuple[str, ...]
    made: datetime
    version: str


def write_page(rows: Sequence[Row], summary: Summary, about: About, path: Path) -> None:
    """Write the page of a set of files, in UTF-8."""
    path.write_text("".join(_page(rows, summary, about)), encoding="utf-8")


def _page(rows: Sequence[Row], summary: Summary, about: About) -> Iterator[str]:
    style, script = _part("page.css"), _part("page.js")
    yield '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, script)}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>Lip-sync report</title><style>{style}</style></head><body><main>"
    yield from _head(rows, about)
    yield from _tiles(rows, summary)
    yield from _limits(summary, about)
    yield from _worst(rows)
    yield from _files(rows, about)
    yield _part("how_to_read.html")
    yield f"</main><script>{script}</script></body></html>\n"


def _part(name: str) -> str:
    return (files("lipsync_cli.report") / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Allow exactly this style, this script and pictures within the page."""
    return (
        f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src 'sha256-{_digest(style)}'; script-src 'sha256-{_digest(script)}'"
    )


def _digest(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


def _head(rows: Sequence[Row], about: About) -> Iterator[str]:
    yield "<header><h1>Lip-sync report</h1>"
    yield (
        f'<p class="quiet">{len(rows)} {"file" if len(rows) == 1 else "files"} · '
        f'<time datetime="{about.made.isoformat(timespec="seconds")}">'
        f"{about.made:%d %B %Y, %H:%M %Z}</time> · lipsync {text(about.version)}</p></header>"
    )


def _tiles(rows: Sequence[Row], summary: Summary) -> Iterator[str]:
    yield '<section class="tiles">'
    for state in STATES:
        count = sum(row.state == state for row in rows)
        if count:
            yield _tile(str(count), WORDS[state], state)
    if summary.probability_in_sync is not None:
        yield _tile(chance(summary.probability_in_sync), "mean p in sync")
    if summary.mean_abs_offset_ms is not None:
        yield _tile(f"{summary.mean_abs_offset_ms:.0f} ms", "mean size of offset")
    if summary.lse_d is not None and summary.lse_c is not None:
        yield _tile(f"{summary.lse_d:.3f}", f"mean LSE-D of {summary.lse_files}")
        yield _tile(f"{summary.lse_c:.3f}", f"mean LSE-C of {summary.lse_files}")
    for name, value in (summary.quality or {}).items():
        if value is not None:
            yield _tile(f"{value:.3f}", f"mean {name.replace('_', ' ').replace('psnr', 'PSNR')}")
    if summary.fid is not None:
        yield _tile(f"{summary.fid:.3f}", "FID of all files")
    yield "</section>"


def _tile(value: str, words: str, kind: str = "") -> str:
    return f'<div class="card tile {kind}"><b>{value}</b><span>{text(words)}</span></div>'


def _limits(summary: Summary, about: About) -> Iterator[str]:
    """One line per standard: its limits, and how the files fared."""
    if not about.tolerances:
        return
    yield '<h2>Standards</h2><div class="card scroll"><table class="limits"><thead><tr>'
    yield '<th>Limits</th><th class="number">Early</th><th class="number">Late</th>'
    yield '<th class="number">Pass</th><th class="number">Fail</th>'
    yield '<th class="number">Not checkable</th><th class="share"></th></tr></thead><tbody>'
    for name in about.tolerances:
        count = summary.verdicts.get(name, {})
        cells = (*limits_words(name), *(count.get(outcome, 0) for outcome in OUTCOMES))
        yield f"<tr><td><b>{text(name)}</b></td>"
        yield "".join(f'<td class="number">{cell}</td>' for cell in cells)
        yield f'<td class="share">{shares([count.get(each, 0) for each in OUTCOMES])}</td></tr>'
    yield "</tbody></table></div>"


def _worst(rows: Sequence[Row]) -> Iterator[str]:
    """The stretches that are out by most, with a face where there is a picture."""
    found = [
        (row, part, names)
        for row in rows
        if row.result is not None
        for part, names in stretches(row.result)
    ]
    found.sort(key=lambda each: (not each[1].certain, -abs(each[1].offset_ms)))
    if not found:
        return
    yield '<h2>Worst segments</h2><section class="worst">'
    for row, part, names in found[:WORST]:
        yield from _card(row, part, names)
    yield "</section>"
    if len(found) > WORST:
        yield f'<p class="quiet small">and {len(found) - WORST} more, in the list of files</p>'


def _card(row: Row, part: OutOfLimits, names: Sequence[str]) -> Iterator[str]:
    yield f'<article class="card">{face(row.pictures, part.start_s, part.end_s)}<div>'
    yield f'<p class="name" title="{text(row.file)}">{text(Path(row.file).name)}</p>'
    yield f"<p>{text(part.start)} – {text(part.end)}</p><p>{offset_words(part.offset_ms)}"
    yield "</p>" if part.certain else ' <span class="quiet">(unsure)</span></p>'
    yield f'<p class="small quiet">out of {text(", ".join(names))}</p></div></article>'


def _files(rows: Sequence[Row], about: About) -> Iterator[str]:
    lse = any(row.result is not None and row.result.lse_d is not None for row in rows)
    heads = (*_HEADS, *(_LSE_HEADS if lse else ()), *_LAST_HEADS)
    yield '<div class="tools"><h2>Files</h2>'
    yield '<input id="filter" type="search" placeholder="Filter" aria-label="Filter" hidden></div>'
    yield '<div class="card scroll"><table class="files"><thead><tr>'
    for words, kind in heads:
        yield f'<th class="{kind}" scope="col"><button>{words}</button></th>'
    yield '<th scope="col">Offset over time</th></tr></thead>'
    for row in rows:
        yield "<tbody>"
        yield from _line(row, about, lse=lse)
        yield from details(row, _band(row, about), len(heads) + 1)
        yield "</tbody>"
    yield "</table></div>"


def _line(row: Row, about: About, *, lse: bool) -> Iterator[str]:
    path = Path(row.file)
    folder = "" if str(path.parent) == "." else f'<span class="folder">{text(path.parent)}</span>'
    yield f'<tr><td class="file" data-value="{text(path.name)}">{text(path.name)}{folder}</td>'
    yield f'<td class="verdict" data-value="{STATES.index(row.state)}">{"".join(_badges(row))}</td>'
    for value, shown in _figures(row.result, lse=lse):
        yield f'<td class="number" data-value="{"" if value is None else value}">{shown}</td>'
    curve = sparkline(row.result, _band(row, about)) if row.result is not None else ""
    yield f"<td>{curve}</td></tr>"


def _badges(row: Row) -> Iterator[str]:
    """A badge per standard, or one badge with the reason where there is no offset to judge."""
    result = row.result
    verdicts = result.verdicts if result is not None else {}
    judged = [verdict for verdict in verdicts.values() if verdict.outcome != "not_checkable"]
    if not judged and (result is None or result.offset_ms is None):
        reason = row.error.message if row.error else (result and result.reason) or ""
        yield f'{badge(row.state, WORDS[row.state])}<p class="quiet small">{text(reason)}</p>'
        return
    if not verdicts:
        yield badge(row.state, WORDS[row.state])
    for name, verdict in verdicts.items():
        mark = "≈ " if verdict.borderline else ""
        yield badge(verdict.outcome, f"{mark}{name} {WORDS[verdict.outcome]}", _why(verdict))


def _why(verdict: Verdict) -> str:
    doubt = "borderline: " if verdict.borderline else ""
    return doubt + (verdict.reason or "inside the limits")


def _figures(result: ScoreResult | None, *, lse: bool) -> Iterator[tuple[float | None, str]]:
    """Values to sort by, and how they are shown."""
    if result is None:
        yield from [(None, UNKNOWN)] * (5 if lse else 3)
        return
    course = _COURSES.get(result.pattern or "", "")
    yield result.offset_ms, offset_words(result.offset_ms, result.interval_ms, course)
    yield result.probability_in_sync, chance(result.probability_in_sync)
    if lse:
        yield result.lse_d, figure(result.lse_d, 3)
        yield result.lse_c, figure(result.lse_c, 3)
    yield result.measurable_share, share(result.measurable_share)


def _band(row: Row, about: About) -> Tolerance | None:
    """The first limits asked for, to draw behind the curves."""
    if not about.tolerances or row.result is None:
        return None
    try:
        return parse_tolerance(about.tolerances[0], row.result.frame_rate)
    except UsageError:
        return None

"""What the page shows of one file when it is opened."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence

from lipsync_cli.report.curve import chart
from lipsync_cli.report.rows import Row, stretches, words_of
from lipsync_cli.report.words import badge, chance, figure, offset_words, share, text
from lipsync_cli.results import ScoreResult
from lipsync_cli.scoring.pictures import FacePicture
from lipsync_cli.scoring.timecode import timecode
from lipsync_cli.scoring.tolerance import Tolerance

_LSE = (("lse_d", "LSE-D"), ("lse_c", "LSE-C"))


def details(row: Row, limits: Tolerance | None, columns: int) -> Iterator[str]:
    """A table row that unfolds, below the line of its file."""
    yield f'<tr class="detail"><td colspan="{columns}"><details><summary>Details</summary>'
    if row.result is None:
        yield from _error(row)
    else:
        yield '<div class="inside"><div>'
        yield chart(row.result, limits)
        yield from _faces(row.pictures, row.result)
        yield "</div><div>"
        yield from _verdicts(row.result)
        yield from _ranges(row.result)
        yield from _tracks(row.result)
        yield from _figures(row.result)
        yield from _warnings(row.result)
        yield "</div></div>"
    yield "</details></td></tr>"


def face(pictures: Sequence[FacePicture], start_s: float, end_s: float) -> str:
    """The picture of a stretch of time, or a place for it."""
    inside = [each for each in pictures if start_s <= each.time_s <= end_s]
    if not inside:
        return '<div class="face noface">no picture</div>'
    middle = (start_s + end_s) / 2
    return _image(min(inside, key=lambda each: abs(each.time_s - middle)))


def _image(picture: FacePicture) -> str:
    data = base64.b64encode(picture.jpeg).decode()
    return (
        f'<img class="face" alt="face at {picture.time_s:.1f} s" '
        f'src="data:image/jpeg;base64,{data}">'
    )


def _error(row: Row) -> Iterator[str]:
    yield f"<p>{text(row.file)}</p>"
    if row.error is not None:
        yield f"<p>{text(row.error.message)}</p>"
        if row.error.hint:
            yield f'<p class="quiet">{text(row.error.hint)}</p>'


def _verdicts(result: ScoreResult) -> Iterator[str]:
    if not result.verdicts:
        return
    yield "<h3>Verdicts</h3><table>"
    for name, verdict in result.verdicts.items():
        yield f"<tr><td>{badge(verdict.outcome, f'{name} {words_of(verdict)}')}</td>"
        inside = "" if verdict.probability is None else f"p inside {chance(verdict.probability)}"
        yield f"<td>{text(verdict.reason or 'inside the limits')}"
        yield f'<br><span class="quiet">{inside}</span></td></tr>'
    yield "</table>"


def _ranges(result: ScoreResult) -> Iterator[str]:
    """Each stretch that is out of any limits, once."""
    found = stretches(result)
    if found:
        yield "<h3>Out of limits</h3><table>"
    for part, names in found:
        sure = "" if part.certain else ' <span class="quiet">(unsure)</span>'
        yield f"<tr><td>{text(part.start)} – {text(part.end)}</td>"
        yield f"<td>{offset_words(part.offset_ms)}{sure}</td>"
        yield f'<td class="quiet">{text(", ".join(names))}</td></tr>'
    if found:
        yield "</table>"


def _faces(pictures: Sequence[FacePicture], result: ScoreResult) -> Iterator[str]:
    if not pictures:
        return
    yield '<h3>Faces</h3><div class="faces">'
    for each in pictures:
        at = timecode(each.time_s, result.frame_rate)
        yield f"<figure>{_image(each)}<figcaption>{at}<br>face {each.track}</figcaption></figure>"
    yield "</div>"


def _figures(result: ScoreResult) -> Iterator[str]:
    yield "<h3>Figures</h3><table>"
    for name, value in _pairs(result):
        yield f'<tr><td class="quiet name">{name}</td><td class="value">{value}</td></tr>'
    yield "</table>"


def _pairs(result: ScoreResult) -> Iterator[tuple[str, str]]:
    if result.reason:
        yield "Offset", f"cannot tell: {text(result.reason)}"
    yield "p, right within 40 ms", chance(result.probability)
    yield "Spread over time", f"{figure(result.spread_ms, 1)} ms"
    if result.pattern is not None:
        ppm = "" if result.drift_ppm is None else f", {result.drift_ppm:+.1f} ppm"
        yield "Course", f"{result.pattern}{ppm}"
    for step in result.steps:
        at = timecode(step.time_s, result.frame_rate)
        yield "Step", f"{at}, {step.size_ms:+.0f} ms"
    seconds = f"{result.measurable_s:.1f} of {figure(result.duration_s, 1)} s"
    yield "Measurable", f"{share(result.measurable_share)} ({seconds})"
    if result.protocol and result.lse_d is not None:
        frames = "–" if result.av_offset is None else f"{result.av_offset:+d}"
        yield "LSE protocol", f"{text(result.protocol)}; AV offset {frames} frames at 25/s"
    if result.valid_overlap is not None:
        yield "Without padding", ", ".join(_overlap(result.valid_overlap))
    if result.lse_reason:
        yield "No LSE", text(result.lse_reason)
    for name, value in (result.quality or {}).items():
        yield text(name.replace("_", " ")), figure(value, 3)
    yield "SHA-256", f'<span class="small">{text(result.sha256)}</span>'
    if result.reused:
        yield "Source", "taken over from earlier results"


def _overlap(figures: Mapping[str, float | int]) -> Iterator[str]:
    yield from (f"{words} {figures[name]:.3f}" for name, words in _LSE)
    yield f"AV offset {figures['av_offset']:+d}"


def _tracks(result: ScoreResult) -> Iterator[str]:
    if not result.tracks:
        return
    yield "<h3>LSE by face track</h3><table><tr><th>Track</th><th>From</th><th>To</th>"
    yield "<th>Frames</th><th>LSE-D</th><th>LSE-C</th><th>AV offset</th></tr>"
    for track in result.tracks:
        start, end = (timecode(at, result.frame_rate) for at in (track.start_s, track.end_s))
        yield f"<tr><td>{track.track}</td><td>{start}</td><td>{end}</td><td>{track.frames}</td>"
        yield f"<td>{figure(track.lse_d, 3)}</td><td>{figure(track.lse_c, 3)}</td>"
        yield f"<td>{track.av_offset:+d}</td></tr>"
    yield "</table>"


def _warnings(result: ScoreResult) -> Iterator[str]:
    if result.warnings:
        yield "<h3>Warnings</h3>"
        yield from (f"<p>{text(warning)}</p>" for warning in result.warnings)

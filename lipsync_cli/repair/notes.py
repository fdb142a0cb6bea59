"""What a repair does to a file, in words for the person whose file it is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from lipsync_cli.media.offset_curve import OffsetCurve
from lipsync_cli.media.remux import ShiftPlan
from lipsync_cli.media.remux_check import Checked
from lipsync_cli.media.resample import FADE_S
from lipsync_cli.media.retime import RetimePlan
from lipsync_cli.media.retime_check import Copies
from lipsync_cli.media.samples import Coding

# Readers drop what an edit list hides, save for one second that decoders may need.
_KEPT_HIDDEN_MS = 1000.0
# What a trained ear hears of a change of pitch.
_AUDIBLE_CENTS = 3.0


def shift_notes(shift: ShiftPlan, offset_ms: float, source_format: str) -> Iterator[str]:
    """Say how moved timestamps are stored."""
    yield _moved_words(len(shift.shifted), offset_ms)
    if shift.container.family == "iso":
        yield "stored as an edit list; players that ignore edit lists will not notice"
        if offset_ms < -_KEPT_HIDDEN_MS:
            yield "the audio that this hides may be left out when the result is copied again"
    else:
        yield f"stored in the timestamps, in steps of {shift.grid_ms:.3g} ms"
    if shift.lift_s:
        yield (
            f"all other streams start {float(shift.lift_s * 1000):g} ms later instead, "
            "because times cannot be negative here"
        )
    yield from _general_notes(source_format, shift.dropped)


def stretch_notes(curve: OffsetCurve, source_format: str, dropped: Sequence[str]) -> Iterator[str]:
    """Say what becomes of a picture whose times are scaled."""
    piece = curve.pieces[0]
    yield f"audio and picture moved by {abs(1000 * piece.offset_s):.1f} ms against each other"
    yield (
        f"pictures, subtitles and chapters run {abs(piece.slope) * 1e6:.1f} ppm "
        f"{'faster' if piece.slope > 0 else 'slower'}; no payload changes"
    )
    yield "the frame rate becomes an odd number, which editing programs do not like"
    yield from _general_notes(source_format, dropped)


def sample_notes(plan: RetimePlan, curve: OffsetCurve, source_format: str) -> Iterator[str]:
    """Say what becomes of sound that is moved itself."""
    if curve.is_constant:
        offset_ms = round(curve.pieces[0].offset_s * 1000, 6)
        yield _moved_words(len(plan.codings), offset_ms)
        size = f"{abs(offset_ms):g} ms"
        yield f"silence fills the first {size}" if offset_ms > 0 else f"the first {size} are cut"
    else:
        yield from _change_notes(curve)
    yield from dict.fromkeys(_coding_words(c, curve.drifts) for c in plan.codings.values())
    if plan.untimed:
        yield f"{plan.muxer.upper()} starts all its streams together, so the sound itself moves"
    if plan.muxer == "mxf":
        yield "the sound lasts exactly as long as the picture, with silence where it is too short"
    yield from _general_notes(source_format, plan.dropped)


def _change_notes(curve: OffsetCurve) -> Iterator[str]:
    first = curve.pieces[0]
    if curve.drifts:
        change = 1e6 * first.slope
        yield f"audio resampled by {abs(change):.1f} ppm to run {_pace(change)}"
        cents = 1200 * math.log2(1 - first.slope)
        if abs(cents) > _AUDIBLE_CENTS:
            yield f"its pitch changes by {cents:+.0f} cents"
    if curve.steps_s:
        places = ", ".join(f"{time_s:.2f} s" for time_s in curve.steps_s)
        yield f"audio moved in {len(curve.pieces)} parts that meet at {places}"
        yield f"sound is repeated or left out there, with cross-fades of {FADE_S * 1000:.0f} ms"


def _pace(ppm: float) -> str:
    return "slower" if ppm > 0 else "faster"


def _general_notes(source_format: str, dropped: Sequence[str]) -> Iterator[str]:
    if source_format == "avi":
        yield "AVI stores no exact picture times: look at the result"
    yield from (f"not kept: {what}" for what in dropped)


def _moved_words(tracks: int, offset_ms: float) -> str:
    moved = "delayed" if offset_ms >= 0 else "advanced"
    which = "audio" if tracks == 1 else f"{tracks} audio tracks"
    return f"{which} {moved} by {abs(offset_ms):g} ms"


def _coding_words(coding: Coding, resampled: bool) -> str:
    if coding.pcm and not resampled:
        return "PCM moved by whole samples, without any loss"
    if coding.lossless:
        return f"{coding.source} decoded and written again in the same format"
    name = coding.source if coding.source != "vorbis" else "vorbis, as opus,"
    return f"{name} encoded again at {round((coding.bit_rate or 0) / 1000)} kb/s; nothing else is"


def lost_edits(checked: Checked | Copies) -> Iterator[str]:
    """Say which cuts of an edit list were lost."""
    if checked.unhidden:
        yield f"the edit list that hides pictures (now shown: {checked.unhidden})"
    if checked.left_out:
        yield f"what lies far outside the edit list (packets: {checked.left_out})"


def how_copied(checked: Checked | Copies, *, others: bool = False) -> str:
    """Say how the streams were copied."""
    streams = "every other stream" if others else "every stream"
    if checked.bit_exact:
        return f"{streams} copied bit-exactly"
    return f"{streams} copied without re-encoding; the container wraps it differently"

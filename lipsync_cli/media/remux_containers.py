"""Which muxer writes a file, with which options, and how finely it stores times."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from av.container import InputContainer

from lipsync_cli.errors import OutputError

Family = Literal["iso", "matroska", "mpegts", "mpeg", "flv", "avi", "mxf"]

_SUFFIXES: Mapping[str, tuple[Family, tuple[str, ...]]] = {
    ".mp4": ("iso", ("mp4",)),
    ".m4v": ("iso", ("ipod",)),
    ".mov": ("iso", ("mov",)),
    ".qt": ("iso", ("mov",)),
    ".3gp": ("iso", ("3gp",)),
    ".3g2": ("iso", ("3g2",)),
    ".mkv": ("matroska", ("matroska",)),
    ".webm": ("matroska", ("webm",)),
    ".ts": ("mpegts", ("mpegts",)),
    ".m2ts": ("mpegts", ("mpegts",)),
    ".mts": ("mpegts", ("mpegts",)),
    ".mpg": ("mpeg", ("mpeg",)),
    ".mpeg": ("mpeg", ("mpeg",)),
    ".vob": ("mpeg", ("vob",)),
    ".flv": ("flv", ("flv",)),
}
_FAMILIES: Mapping[str, tuple[Family, str]] = {
    "mov,mp4,m4a,3gp,3g2,mj2": ("iso", "mp4"),
    "matroska,webm": ("matroska", "matroska"),
    "mpegts": ("mpegts", "mpegts"),
    "mpeg": ("mpeg", "mpeg"),
    "flv": ("flv", "flv"),
    "live_flv": ("flv", "flv"),
}
# Families that let all streams begin together: a time cannot be stored, only sound can.
UNTIMED: Mapping[str, Family] = {"avi": "avi", "mxf": "mxf"}
_REFUSED: Mapping[str, tuple[str, str]] = {
    "avi": ("AVI has no timestamps: a delay of the audio is silently lost in it", ".mkv"),
    "mxf": ("MXF starts all its tracks together: a shift of one is silently lost in it", ".mov"),
}
_TICK_S: Mapping[Family, Fraction] = {
    "matroska": Fraction(1, 1000),
    "mpegts": Fraction(1, 90000),
    "mpeg": Fraction(1, 90000),
    "flv": Fraction(1, 1000),
}
_COARSE_S = Fraction(1, 1000)
# Finer than a sample of 44.1 and 48 kHz alike, and within the 32 bits of a duration for 100 min.
_COMMON_TIMESCALE = 705600
_FINE_HZ = 44100
_PACK_START = b"\x00\x00\x01\xba"
_SYNC_BYTE = 0x47


@dataclass(frozen=True)
class Container:
    """How a target is written.

    Attributes:
        family: kinds of file that store times alike.
        muxers: FFmpeg muxers to try, the best first.
        options: muxer options.
        tick_s: step in which the times of audio are stored, in seconds.
    """

    family: Family
    muxers: tuple[str, ...]
    options: Mapping[str, str]
    tick_s: Fraction


def choose_container(source: InputContainer, path: Path, target: Path) -> Container:
    """Choose how `target` is written from its suffix; that of the source keeps its kind.

    `path` is that of `source`, the opened file.

    Raises:
        OutputError: the container cannot store a shift exactly, or is not known.
    """
    same = path.suffix.lower() == target.suffix.lower()
    if same:
        family, muxers = _like_source(source, path)
    else:
        family, muxers = _by_suffix(target, path)
    options = _iso_options(source, path) if family == "iso" else {}
    if family == "mpegts" and _has_timed_packets(path if same else target, same):
        options["mpegts_m2ts_mode"] = "1"
    return Container(family, muxers, options, _tick_s(source, family))


def subdivision(time_base: Fraction | None) -> int:
    """Parts to cut a tick into, so that shifts fit: AVI counts MP3 in whole packets."""
    if not time_base or time_base <= _COARSE_S:
        return 1
    return math.ceil(time_base / _TICK_S["mpegts"])


def family_of(source: InputContainer) -> Family | None:
    """The family an opened file belongs to, None for those never written."""
    name = source.format.name
    return _FAMILIES[name][0] if name in _FAMILIES else UNTIMED.get(name)


def _like_source(source: InputContainer, path: Path) -> tuple[Family, tuple[str, ...]]:
    name = source.format.name
    if name not in _FAMILIES:
        raise _refusal(name, path)
    family, muxer = _FAMILIES[name]
    brand = source.metadata.get("major_brand", "").strip()
    if family == "mpeg":
        muxer = "vob" if _is_mpeg2_stream(path) else "mpeg"
    elif brand == "qt":
        return family, ("mov",)
    elif _SUFFIXES.get(path.suffix.lower(), (None,))[0] == family:
        # Browsers record H.264 into .webm, which the webm muxer itself refuses.
        return family, tuple(dict.fromkeys((*_SUFFIXES[path.suffix.lower()][1], muxer)))
    return family, (muxer,)


def _by_suffix(target: Path, path: Path) -> tuple[Family, tuple[str, ...]]:
    suffix = target.suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    raise _refusal(suffix.removeprefix("."), path, target)


def _refusal(name: str, path: Path, target: Path | None = None) -> OutputError:
    reason, suffix = _REFUSED.get(
        name, (f"a shift of the audio cannot be stored reliably in '{name}' files", ".mkv")
    )
    hint = f"use --method samples, or write another container: -o {path.stem}.synced{suffix}"
    return OutputError(reason, path=target or path, hint=hint)


def _iso_options(source: InputContainer, path: Path) -> dict[str, str]:
    options = {"movie_timescale": str(_movie_timescale(source))}
    flags = []
    if family_of(source) == "iso" and _starts_with_index(path):
        flags.append("+faststart")
    if any(key.startswith("com.") for key in source.metadata):
        flags.append("+use_metadata_tags")
    if flags:
        options["movflags"] = "".join(flags)
    return options


def _movie_timescale(source: InputContainer) -> int:
    """Ticks per second of the edit lists: whole samples of every audio track where possible.

    The default of 1000 rounds each delay down to a whole millisecond.
    """
    rates = set(_sample_rates(source))
    if len(rates) != 1:
        return _COMMON_TIMESCALE
    rate = rates.pop()
    return rate * math.ceil(_FINE_HZ / rate)


def _sample_rates(source: InputContainer) -> list[int]:
    """The known ones: a stream of an unknown format has no decoder, and then no rate."""
    known = [stream for stream in source.streams.audio if stream.codec_context is not None]
    return [stream.sample_rate for stream in known if stream.sample_rate]


def _tick_s(source: InputContainer, family: Family) -> Fraction:
    bases = [stream.time_base for stream in source.streams.audio if stream.time_base]
    own = [base / subdivision(base) for base in bases]
    rates = _sample_rates(source)
    stored = _TICK_S.get(family) or Fraction(1, min(rates, default=_FINE_HZ))
    return max([stored, *own])


def _starts_with_index(path: Path) -> bool:
    """Whether the index (moov) comes before the media data, as streaming from a server needs."""
    with path.open("rb") as handle:
        while len(head := handle.read(8)) == 8:
            size, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind in (b"moov", b"mdat"):
                return kind == b"moov"
            if size == 1:
                size = int.from_bytes(handle.read(8), "big") - 8
            if size < 8:
                return False
            handle.seek(size - 8, 1)
    return False


def _is_mpeg2_stream(path: Path) -> bool:
    with path.open("rb") as handle:
        head = handle.read(5)
    return head.startswith(_PACK_START) and head[4] >> 6 == 1


def _has_timed_packets(path: Path, exists: bool) -> bool:
    """Whether a transport stream has packets of 192 bytes (Blu-ray, AVCHD), not of 188."""
    if not exists:
        return path.suffix.lower() in (".m2ts", ".mts")
    with path.open("rb") as handle:
        head = handle.read(197)
    return len(head) == 197 and head[4] == _SYNC_BYTE == head[196] and head[0] != _SYNC_BYTE

"""Name what a copy has lost beside its packets: tags, chapters, flags, shape and rotation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from av.container import InputContainer
from av.stream import Disposition, Stream

from lipsync_cli.media.probe import open_media, probe
from lipsync_cli.media.remux_streams import kept_tags

# Notes of a muxer to itself.
_TECHNICAL = {
    *("handler_name", "vendor_id", "creation_time", "name", "language", "filename"),
    # Identifiers that an MXF file gets anew.
    *("material_package_umid", "file_package_umid", "uid", "generation_uid", "modification_date"),
}
# Display sizes in whole pixels round the shape of a pixel.
_SHAPE_TOLERANCE = 0.01
_COUNTED = ("cover picture", "subtitle", "attachment")


@dataclass(frozen=True)
class _Details:
    tags: Mapping[str, str]
    language: str | None
    flags: Disposition
    shape: Fraction | None


@dataclass(frozen=True)
class _Description:
    tags: Mapping[str, str]
    chapters: int
    rotation: int
    kinds: Counter[str]
    streams: Mapping[tuple[str, int], _Details]


def lost_details(source: Path, copy: Path) -> list[str]:
    """Compare the descriptions of two files and say in words what the copy lacks.

    Streams are compared in order within their kind; dropped ones are known already.
    """
    before, after = _describe(source), _describe(copy)
    lost = list(_lost_tags("the file", before.tags, after.tags))
    if after.chapters < before.chapters:
        lost.append(f"{before.chapters - after.chapters} of {before.chapters} chapters")
    if after.rotation != before.rotation:
        lost.append(f"the rotation by {before.rotation} degrees")
    for key, details in before.streams.items():
        if key in after.streams:
            lost += _lost_of_stream(f"{key[0]} {key[1]}", details, after.streams[key])
    for kind in _COUNTED:
        if after.kinds[kind] < before.kinds[kind]:
            lost.append(f"{before.kinds[kind] - after.kinds[kind]} {kind} stream(s)")
    return lost


def _lost_of_stream(name: str, before: _Details, after: _Details) -> Iterator[str]:
    yield from _lost_tags(name, before.tags, after.tags)
    if before.language not in (None, "und", after.language):
        yield f"the language {before.language} of {name}"
    # A flag that every first stream gets by itself is no information.
    flags = before.flags & ~after.flags & ~Disposition.default
    if flags:
        yield f"the flags {flags.name} of {name}"
    if abs(float(after.shape or 1) / float(before.shape or 1) - 1) > _SHAPE_TOLERANCE:
        yield f"the pixel aspect ratio {before.shape} of {name}"


def _lost_tags(name: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    keys = [key for key, value in before.items() if after.get(key) != value]
    if keys:
        yield f"tags of {name}: {', '.join(sorted(keys))}"


def _describe(path: Path) -> _Description:
    info = probe(path)
    with open_media(path) as container:
        return _Description(
            tags=_tags(container.metadata),
            chapters=len(container.chapters()),
            rotation=info.video.rotation if info.video else 0,
            kinds=Counter(_kind(stream) for stream in container.streams),
            streams=dict(_details(container)),
        )


def _details(container: InputContainer) -> Iterator[tuple[tuple[str, int], _Details]]:
    seen: Counter[str] = Counter()
    for stream in container.streams:
        kind = _kind(stream)
        shape = getattr(stream, "sample_aspect_ratio", None)
        tags = _tags(stream.metadata)
        yield (kind, seen[kind]), _Details(tags, stream.language, stream.disposition, shape)
        seen[kind] += 1


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    lowered = {key.lower(): value for key, value in kept_tags(tags).items()}
    return {key: value for key, value in lowered.items() if key not in _TECHNICAL}


def _kind(stream: Stream) -> str:
    return "cover picture" if stream.disposition & Disposition.attached_pic else stream.type

"""Open an output whose sound is coded anew while all other streams are copied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

from av.audio.codeccontext import AudioCodecContext
from av.codec.context import CodecContext
from av.container import InputContainer
from av.stream import Stream

from lipsync_cli.media.remux_containers import UNTIMED, Container, Family, choose_container
from lipsync_cli.media.remux_streams import (
    Attempt,
    Output,
    Source,
    describe_source,
    open_output,
    stream_tags,
    try_output,
)
from lipsync_cli.media.samples import Coding, configure

# Containers that tell a decoder how much of its first output to leave out.
_SIGNALS_PRIMING = ("iso", "matroska")


def stores_times(source: InputContainer, path: Path, target: Path) -> bool:
    """Whether the container of `target` can say that the sound begins later."""
    return _untimed(source, path, target) is None


def choose_output(source: InputContainer, path: Path, target: Path) -> Container:
    """As `choose_container`, and AVI and MXF as well.

    Raises:
        OutputError: the container is not known.
    """
    untimed = _untimed(source, path, target)
    if untimed is None:
        return choose_container(source, path, target)
    rates = [stream.rate for stream in source.streams.audio if stream.rate]
    return Container(untimed, (untimed,), {}, Fraction(1, min(rates, default=48000)))


def signals_priming(container: Container) -> bool:
    """Whether what an encoder puts in front of its sound may be left to the container."""
    return container.family in _SIGNALS_PRIMING


@contextmanager
def recoded_output(
    source: InputContainer,
    path: Path,
    target: Path,
    container: Container,
    codings: Mapping[int, Coding],
) -> Iterator[Output]:
    """Write the header of `target`; the trailer follows on success.

    Raises:
        OutputError: the container cannot hold a stream.
    """
    described = _describe(source, path, container, codings)
    with open_output(described, target, container, Fraction(0)) as out:
        yield out


def try_recoded(
    source: InputContainer,
    path: Path,
    target: Path,
    container: Container,
    codings: Mapping[int, Coding],
) -> tuple[str, list[str]]:
    """Write the header to memory; returns the muxer that took it and what it dropped.

    Raises:
        OutputError: as `recoded_output`.
    """
    return try_output(_describe(source, path, container, codings), container, target)


def encoder_of(target: Stream, coding: Coding) -> AudioCodecContext:
    """The encoder whose packets an output stream takes."""
    if not coding.pcm:
        return cast(AudioCodecContext, target.codec_context)
    context = cast(AudioCodecContext, CodecContext.create(coding.encoder, "w"))
    configure(context, coding)
    return context


def _describe(
    source: InputContainer, path: Path, container: Container, codings: Mapping[int, Coding]
) -> Source:
    # PCM has no parameters of an encoder: its stream stays as the source describes it.
    coded = {index: _Encoded(coding) for index, coding in codings.items() if not coding.pcm}
    return replace(describe_source(source, container.family, path), substitutes=coded)


class _Encoded:
    """Adds the stream of an encoder that goes by the name of the source's stream."""

    def __init__(self, coding: Coding) -> None:
        self._coding = coding

    def __call__(self, stream: Stream, output: Output, source: Source, attempt: Attempt) -> None:
        copy: Any = output.container.add_stream(self._coding.encoder, rate=self._coding.rate)
        configure(copy.codec_context, self._coding)
        copy.metadata.update(stream_tags(stream, source))
        copy.disposition = stream.disposition
        if attempt.family == "mpegts" and not source.foreign:
            copy.id = stream.id
        output.streams[stream.index] = copy


def _untimed(source: InputContainer, path: Path, target: Path) -> Family | None:
    if path.suffix.lower() == target.suffix.lower():
        return UNTIMED.get(source.format.name)
    return UNTIMED.get(target.suffix.lower().removeprefix("."))

"""What all ways of writing a file again share: which streams, which packets, which errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import av.error
from av.audio.stream import AudioStream
from av.container import Flags, InputContainer
from av.packet import Packet

from lipsync_cli.errors import MissingStream, OutputError, UnreadableMedia
from lipsync_cli.media.output import NO_SPACE
from lipsync_cli.media.probe import main_video
from lipsync_cli.media.remux_check import ByteProgress
from lipsync_cli.progress import Progress

# Share of the work that is writing; the rest is reading the result again.
WRITING = 0.7
_LOG_LINES = 20


def audio_streams(
    source: InputContainer, path: Path, tracks: Sequence[int] | None
) -> list[AudioStream]:
    """The audio streams that are moved.

    Raises:
        MissingStream: there is no picture, no sound, or no such track.
        UnreadableMedia: one of them is in an unknown format.
    """
    if main_video(source) is None:
        raise MissingStream("has no picture to be in sync with", path=path)
    audio = source.streams.audio
    if not audio:
        raise MissingStream("has no audio track that could be shifted", path=path)
    wrong = [track for track in tracks or () if not 0 <= track < len(audio)]
    if wrong:
        raise MissingStream(
            f"has no audio track {wrong[0]}", path=path, hint=f"it has 0 to {len(audio) - 1}"
        )
    moved = [audio[k] for k in (range(len(audio)) if tracks is None else tracks)]
    for stream in moved:
        # PyAV leaves it out for a format that it does not know, whatever its annotation says.
        context: Any = stream.codec_context
        if context is None:
            raise UnreadableMedia(
                f"the format of its audio stream {stream.index} is not known here",
                path=path,
                hint="convert the sound first",
            )
    return moved


def read_packets(
    source: InputContainer,
    path: Path,
    log: list[tuple[int, str, str]],
    progress: Progress | None,
) -> Iterator[Packet[Any]]:
    """All packets of the source, with progress by bytes.

    Raises:
        UnreadableMedia: the file is damaged.
    """
    if source.format.name == "avi":
        # AVI stores the coding order only: let the times of B-frames be worked out.
        source.flags |= cast(int, Flags.gen_pts.value)
    bar, position = ByteProgress(source.size, progress), 0
    try:
        for packet in source.demux():
            # The flush packets at the end are empty; a missing dts is no reason to skip.
            if packet.size:
                position = packet.pos or position
                yield packet
                bar.reached(position)
                if len(log) > _LOG_LINES:
                    log.clear()
    except av.error.FFmpegError as error:
        raise UnreadableMedia(
            f"damaged near byte {position}: {error.strerror}",
            path=path,
            hint="copy or download it again",
        ) from error
    except IndexError as error:
        # Damage that looks like a new stream; PyAV fails on it when it comes up.
        raise UnreadableMedia(
            f"damaged near byte {position}: it goes on with streams that it does not announce",
            path=path,
            hint="copy or download it again",
        ) from error


@contextmanager
def naming_writing_errors(target: Path) -> Iterator[None]:
    """Turn what FFmpeg says while it writes into an error that names the target."""
    try:
        yield
    except av.error.FFmpegError as error:
        if error.errno in NO_SPACE:
            raise
        raise OutputError(
            f"could not be written: {' '.join(str(error).split())}",
            path=target,
            hint="write another container, such as .mkv",
        ) from error

"""What a generator needs of new speech: its spectrogram and its level, in one pass."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.generator.mel import MelStream
from lipsync_cli.dubbing.speech import Loudness, LoudnessMeter
from lipsync_cli.errors import NotTrustworthy
from lipsync_cli.media.ahead import ahead
from lipsync_cli.media.audio import AudioBlock
from lipsync_cli.media.probe import probe
from lipsync_cli.media.reader import read
from lipsync_cli.progress import Progress, tell_time


@dataclass(frozen=True, eq=False)
class Heard:
    """Speech that was listened to; 26 kB a second.

    Attributes:
        mel: float32 [80, T], 80 columns a second.
        loudness: its level, on the clock of its file.
    """

    mel: npt.NDArray[np.float32]
    loudness: Loudness


def listen(path: str | Path, *, audio_track: int = 0, progress: Progress | None = None) -> Heard:
    """Listen to the speech of a file.

    Raises:
        MediaNotFound, UnreadableMedia, MissingStream: it cannot be heard.
        NotTrustworthy: there is no sound in it.
    """
    meter, stream, info = LoudnessMeter(), MelStream(), probe(path)
    columns = []
    with closing(ahead(read(path, audio_track=audio_track, video=False))) as blocks:
        for block in blocks:
            assert isinstance(block, AudioBlock)
            meter.push(block)
            columns.append(stream.push(block.samples))
            tell_time(progress, block.t0_s, info.duration_s)
    loudness = meter.loudness()
    if loudness is None:
        raise NotTrustworthy("there is no sound in it", path=path)
    mel = np.concatenate([*columns, stream.close()], axis=1)
    return Heard(mel, loudness)

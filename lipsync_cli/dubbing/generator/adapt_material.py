"""Pictures and sound of a person's own clip, as a generator is given them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.canvas import Place
from lipsync_cli.dubbing.compositing.cutout import cut_canvas
from lipsync_cli.dubbing.footage.people import Person
from lipsync_cli.dubbing.generator.adapt_frames import Frames, Parts, divided, usable_frames
from lipsync_cli.dubbing.generator.mel import MelStream, windows_at
from lipsync_cli.dubbing.generator.wav2lip import CropGeometry
from lipsync_cli.dubbing.speech import Speech, SpeechReader
from lipsync_cli.media.ahead import ahead
from lipsync_cli.media.audio import AudioBlock
from lipsync_cli.media.convert import editable
from lipsync_cli.media.pictures import read_pictures
from lipsync_cli.media.reader import read
from lipsync_cli.media.upright import read_upright
from lipsync_cli.progress import Progress
from lipsync_cli.sync.estimate import estimate
from lipsync_cli.sync.evidence import merged
from lipsync_cli.sync.model_file import LoadedModel

Pictures = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Times = npt.NDArray[np.float64]

# The same picture has the same time in two passes over a file, but for rounding.
_SAME_S = 0.004
_REFERENCE_APART_S = 0.4
# Sound that a window or an embedding reaches beyond its own time.
_SOUND_AFTER_S = 2.0


@dataclass(frozen=True, eq=False)
class OwnSound:
    """What is heard in a clip, on the clock of its pictures.

    Attributes:
        mel: float32 [80, T], see `mel.wav2lip_mel`.
        t0_s: time of its first sample.
        speech: the same for the sync model.
    """

    mel: Floats
    t0_s: float
    speech: Speech


@dataclass(frozen=True, eq=False)
class Material:
    """Frames to learn from and to be judged by.

    Attributes:
        frames: n of them.
        parts: which are for what; its rows are those of `frames`.
        crops: uint8 [n, S, S, 3] BGR, as `CropGeometry` places them.
        mel: float32 [n, 80, 16], what the generator hears of each.
        sound: all of it.
    """

    frames: Frames
    parts: Parts
    crops: Pictures
    mel: Floats
    sound: OwnSound

    @property
    def judged_s(self) -> float:
        """Seconds that decide whether what was learnt is kept."""
        return sum(map(len, self.parts.judge)) * self.frames.step_s

    def references(self, rows: Rows, rng: np.random.Generator) -> Rows:
        """Frames to learn from at other times, one for each row [...]: [...].

        Raises:
            ValueError: there is nothing at another time.
        """
        learn, pts_s = self.parts.learn, self.frames.pts_s
        apart = np.abs(pts_s[learn] - pts_s[rows][..., None])  # [..., m]
        far = apart >= min(_REFERENCE_APART_S, float(apart.max(-1).min()))
        chosen = np.where(far, rng.random(apart.shape), -1).argmax(-1)
        return np.asarray(learn[chosen], np.int64)


def own_offset_s(person: Person, model: LoadedModel, min_probability: float) -> float | None:
    """By how much a person's own sound is early; None where that cannot be told.

    What may be nothing is nothing.
    """
    parts = [track.evidence for track in person.tracks if track.evidence is not None]
    reading = estimate(merged(parts), model.logits, model.calibration) if parts else None
    if reading is None or reading.probability < min_probability:
        return None
    low, high = reading.interval_ms
    return 0.0 if low <= 0 <= high else reading.offset_ms / 1000


def collect(
    video: Path,
    person: Person,
    model: LoadedModel,
    *,
    size: int,
    shift_s: float,
    offset_s: float,
    progress: Progress | None = None,
) -> Material | None:
    """Cut out what can be learnt from; None where the person is seen speaking too little.

    Decodes the video up to the last frame that is needed. Memory: at most 700 crops, and
    52 kB for each second of sound.

    Args:
        size: side of the crops in px.
        shift_s: of the windows of sound, see `windows_at`.
        offset_s: by which the sound is early.

    Raises:
        UnreadableMedia: it cannot be decoded any more.
    """
    frames = usable_frames(person.tracks)
    parts = divided(frames)
    if parts is None:
        return None
    wanted = np.sort(np.concatenate([parts.learn, *parts.stop, *parts.judge]))
    crops, found = _crops(video, frames.take(wanted), size, progress)
    # A file whose clock restarts may be placed otherwise than when it was looked at.
    if len(found) < len(wanted):
        frames = frames.take(wanted[found])
        parts = divided(frames)
    else:
        frames, parts = frames.take(wanted), _renumbered(parts, wanted)
    if parts is None:
        return None
    sound = _own_sound(video, model, float(frames.pts_s[-1]) + _SOUND_AFTER_S, offset_s)
    mel = windows_at(sound.mel, sound.t0_s, frames.pts_s, shift_s=shift_s)
    return Material(frames, parts, crops, mel, sound)


def _renumbered(parts: Parts, wanted: Rows) -> Parts:
    learn, *held_out = (
        np.searchsorted(wanted, each) for each in (parts.learn, *parts.stop, *parts.judge)
    )
    stops = len(parts.stop)
    return Parts(learn, tuple(held_out[:stops]), tuple(held_out[stops:]))


def _crops(
    video: Path, frames: Frames, size: int, progress: Progress | None
) -> tuple[Pictures, Rows]:
    """Crops [m, S, S, 3] of the frames that are found again, and which ones these are."""
    geometry, upright = CropGeometry(size), read_upright(video)
    crops, found = [], []
    with closing(read_pictures(video)) as pictures:
        for picture in pictures:
            time_s = float(picture.time or 0.0)
            row = int(np.searchsorted(frames.pts_s, time_s - _SAME_S))
            if row == len(frames):
                break
            if frames.pts_s[row] - time_s > _SAME_S:
                continue
            place = Place(size, geometry.matrix(frames.landmarks[row]), upright)
            crops.append(cut_canvas(editable(picture), place).to_bgr())
            found.append(row)
            if progress is not None:
                progress((row + 1) / len(frames))
    shape = (len(found), size, size, 3)
    return np.array(crops, np.uint8).reshape(shape), np.array(found, np.int64)


def _own_sound(video: Path, model: LoadedModel, until_s: float, offset_s: float) -> OwnSound:
    stream, reader = MelStream(), SpeechReader(model)
    columns, t0_s = [], 0.0
    with closing(ahead(read(video, video=False))) as blocks:
        for number, block in enumerate(blocks):
            assert isinstance(block, AudioBlock)
            t0_s = block.t0_s if number == 0 else t0_s
            columns.append(stream.push(block.samples))
            reader.push(block)
            if block.t0_s > until_s:
                break
    mel = np.concatenate([*columns, stream.close()], axis=1)
    return OwnSound(mel, t0_s + offset_s, reader.close(offset_s))

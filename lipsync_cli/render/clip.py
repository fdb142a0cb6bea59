"""A talking-face clip whose audio offset is known exactly, because nobody had to measure it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from lipsync_cli.render.contours import MouthShape
from lipsync_cli.render.motion import Motion
from lipsync_cli.render.mouth import Picture
from lipsync_cli.render.portrait import Identity, Portrait
from lipsync_cli.render.speech import Articulation, rest, speak
from lipsync_cli.render.voice import SAMPLE_RATE, synthesise

_X264 = {"preset": "veryfast", "crf": "20"}


@dataclass(frozen=True)
class RenderedClip:
    """A clip and its truth.

    Attributes:
        offset_ms: error put into it; > 0 audio early.
        articulation: what the speaking face does, on the clock of the picture.
    """

    path: Path
    offset_ms: float
    articulation: Articulation


def render_frames(
    articulation: Articulation,
    *,
    fps: float | Fraction = 25,
    size: int = 640,
    seed: int = 0,
    identity: Identity | None = None,
) -> Iterator[Picture]:
    """Yield RGB frames uint8 [size, size, 3]; frame i shows the mouth at i / fps seconds."""
    portrait, motion = Portrait(size, seed, identity), Motion(articulation, seed)
    for i in range(int(articulation.duration_s * float(fps) + 1e-6)):
        t_s = i / float(fps)
        yield portrait.frame(_shape(articulation, t_s), motion.blink(t_s), motion.pose(t_s))


def render_clip(
    path: str | Path,
    *,
    duration_s: float = 12.0,
    fps: float | Fraction = 25,
    size: int = 640,
    audio_offset_ms: float = 0.0,
    seed: int = 0,
    silent: bool = False,
    faces: int = 1,
    identity: Identity | None = None,
    comment: str | None = None,
    progress: Callable[[float], None] | None = None,
) -> RenderedClip:
    """Write an mp4 (H.264, AAC) of a face that talks.

    Args:
        path: where to write; an existing file is replaced.
        size: height of the frame and width per face, in pixels; even.
        audio_offset_ms: error to put in; > 0 makes the audio early.
        seed: of words, voice, rhythm and movement.
        silent: the sound is that of the empty room while the face talks.
        faces: 1, or 2 for a listener, mouth at rest, on the right of the speaker.
        identity: the person; None is the photograph as it is.
        comment: stored in the file as its comment.
        progress: told the share that is done, 0 to 1.
    """
    articulation = speak(duration_s, seed)
    heard = rest(duration_s, seed) if silent else articulation
    people = [render_frames(articulation, fps=fps, size=size, seed=seed, identity=identity)]
    if faces == 2:
        listener = Identity(flip=True, brightness=-18, warmth=-8, width=1.07, height=0.96)
        idle = rest(duration_s, seed + 1)
        people.append(render_frames(idle, fps=fps, size=size, seed=seed + 1, identity=listener))
    rate = Fraction(fps).limit_denominator(100_000)
    pictures = (np.concatenate(row, axis=1) for row in zip(*people, strict=True))
    told = _telling(pictures, duration_s * float(rate), progress)
    sound = synthesise(heard, offset_ms=audio_offset_ms)
    _encode(Path(path), told, rate, sound, {} if comment is None else {"comment": comment})
    return RenderedClip(Path(path), audio_offset_ms, articulation)


def _shape(articulation: Articulation, t_s: float) -> MouthShape:
    opening, rounding, tuck = (
        float(articulation.at(name, t_s)) for name in ("opening", "rounding", "tuck")
    )
    return MouthShape(opening, rounding, tuck)


def _telling(
    pictures: Iterator[Picture], total: float, progress: Callable[[float], None] | None
) -> Iterator[Picture]:
    """Pass pictures on, telling the share of them that went by."""
    for i, picture in enumerate(pictures):
        yield picture
        if progress is not None:
            progress(min((i + 1) / total, 1.0))


def _encode(
    path: Path,
    pictures: Iterator[Picture],
    fps: Fraction,
    sound: npt.NDArray[np.float32],
    metadata: dict[str, str],
) -> None:
    """Encode picture and sound, both from time 0, interleaved by the muxer."""
    with av.open(str(path), "w", format="mp4") as container:
        container.metadata.update(metadata)
        video = container.add_stream("libx264", rate=fps, options=_X264)
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        audio.bit_rate = 128_000
        done = 0
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if i == 0:
                video.width, video.height, video.pix_fmt = frame.width, frame.height, "yuv420p"
            frame.pts, frame.time_base = i, 1 / fps
            container.mux(video.encode(frame))
            until = round((i + 1) / fps * SAMPLE_RATE)
            container.mux(audio.encode(_audio_frame(sound[done:until], done)))
            done = until
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def _audio_frame(samples: npt.NDArray[np.float32], at: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(samples[None, :], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, at, Fraction(1, SAMPLE_RATE)
    return frame

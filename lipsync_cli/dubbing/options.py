"""How a video is dubbed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lipsync_cli.dubbing.generator.mel import REFERENCE_LEAD_S
from lipsync_cli.dubbing.mouths.slots import Extend
from lipsync_cli.media.encoders import EncoderOptions

Engine = Literal["auto", "rewrite", "wav2lip"]


@dataclass(frozen=True)
class DubOptions:
    """How a video is dubbed.

    Attributes:
        engine: "rewrite" borrows the speaker's own mouth from other moments, "wav2lip" lets a
            generator draw it; "auto" draws where a generator was imported.
        generator: a Wav2Lip checkpoint instead of the imported one.
        adapt: let the generator learn from the video first; kept only where that helps.
        adapt_steps: most steps of that.
        footage: more video of the same person to borrow from.
        face: "speaker", "largest", a number in order of appearance, or a place: "x,y,w,h" in
            px of the upright picture, with "@seconds" for a moment.
        start_s, end_s: write only this part of the programme.
        extend: what is shown where the speech is longer than the picture; "cut" ends it.
        keep_original: keep the old sound as a second track.
        audio_track: of the speech, from 0.
        audio_shift_ms: of what the generator hears; > 0 makes its lips later.
        verify: measure the lips of the result.
        min_probability: below it the result is not trusted.
        sheet: picture of the evidence to write, PNG or JPEG; None for none.
        cache: folder where findings about footage are kept; None looks anew.
    """

    engine: Engine = "auto"
    generator: Path | None = None
    adapt: bool = False
    adapt_steps: int = 600
    footage: tuple[Path, ...] = ()
    face: str = "speaker"
    start_s: float | None = None
    end_s: float | None = None
    extend: Extend = "freeze"
    keep_original: bool = False
    audio_track: int = 0
    audio_shift_ms: float = -1000 * REFERENCE_LEAD_S
    verify: bool = True
    min_probability: float = 0.9
    face_detector: str = "own"
    device: str = "auto"
    video: EncoderOptions = field(default_factory=EncoderOptions)
    sheet: Path | None = None
    cache: Path | None = None

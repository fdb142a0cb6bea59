"""How LSE figures are taken; the defaults are those of the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from lipsync_cli.errors import UsageError

ProtocolName = Literal["tracked", "lrs"]
MAX_VSHIFT = 250


@dataclass(frozen=True)
class LseOptions:
    """Settings of SyncNet's run_pipeline and run_syncnet, in frames at 25 a second.

    Attributes:
        protocol: "tracked" for the face tracks of run_pipeline, "lrs" for the whole picture
            as in Wav2Lip's calculate_scores_LRS.
        vshift: how far to search on either side of 0.
        valid_overlap: also give the figures without the zeros beyond the ends.
        min_track: a face counts when it was seen in more frames of a shot than this.
        min_face_px: ... and when its mean width or height is larger than this, in source px.
        crop_scale: how much of the surroundings is cut out with a face.
        max_failed: a face not seen for more frames than this is a new one.
        face_detector: as `faces.detect.create_detector` takes it; "sfd" is the reference's.
        batch: windows embedded at once.
        reference_codec: send the pictures through JPEG once, as the reference does between
            its two programs. Its other losses (MPEG-4 twice, MP3) are not reproduced.
    """

    protocol: ProtocolName = "tracked"
    vshift: int = 15
    valid_overlap: bool = False
    min_track: int = 100
    min_face_px: float = 100.0
    crop_scale: float = 0.4
    max_failed: int = 25
    face_detector: str = "own"
    batch: int = 20
    reference_codec: bool = False

    def __post_init__(self) -> None:
        if self.protocol not in get_args(ProtocolName):
            known = " or ".join(get_args(ProtocolName))
            raise UsageError(f"there is no protocol {self.protocol!r}", hint=f"use {known}")
        _within("vshift", self.vshift, 1, MAX_VSHIFT)
        _within("batch", self.batch, 1, 10_000)
        _within("min_track", self.min_track, 0, 1_000_000)
        _within("min_face_px", self.min_face_px, 0, 100_000)
        _within("max_failed", self.max_failed, 1, 250)
        _within("crop_scale", self.crop_scale, 0, 2)


def _within(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise UsageError(f"{name} cannot be {value:g}", hint=f"give {least:g} to {most:g}")

"""The public checkpoints that lipsync can use, where their authors offer them, and on what terms.

None of them is part of the project. Addresses, sizes and hashes are those of the authors' own
files; one without an address can only be downloaded by hand, in a browser.
"""

from __future__ import annotations

from dataclasses import dataclass

_NON_COMMERCIAL = "research / non-commercial only (trained on LRS2)"
_WAV2LIP_PAGE = "https://github.com/Rudrabha/Wav2Lip#getting-the-weights"
_FACE_ALIGNMENT = "https://github.com/1adrianb/face-alignment"
_FAN_FILES = "https://www.adrianbulat.com/downloads/python-fan"

# What the own weights are for, by the name they have in the manifest that ships.
OWN_PURPOSES = {
    "sync": "offset between sound and lips",
    "face_detector": "faces and their landmarks",
    "generator": "generator of dub, a baseline",
    "expert": "training of generators",
}


@dataclass(frozen=True)
class Public:
    """A checkpoint that somebody else publishes.

    Attributes:
        name: what `locate` calls it.
        architecture: what `architectures.recognise` calls it.
        purpose: what it is for, in words.
        licence: the terms that its authors state, in words.
        page: where the authors describe it.
        url: the file itself, where it can be had without a browser.
        sha256, bytes: of the file at `url`.
        also: SHA-256 of further files of the authors that hold the same weights.
    """

    name: str
    title: str
    architecture: str
    purpose: str
    licence: str
    page: str
    url: str | None = None
    sha256: str | None = None
    bytes: int | None = None
    also: tuple[str, ...] = ()

    @property
    def remedy(self) -> str:
        """The command that brings it here."""
        by_hand = "lipsync weights import FILE"
        if self.url:
            return f"lipsync weights fetch {self.name}, or {by_hand}"
        return f"download it from {self.page}, then {by_hand}"


_CHECKPOINTS = (
    Public(
        "syncnet_v2",
        "SyncNet v2",
        "syncnet",
        "LSE-D, LSE-C and AV offset of score",
        "none stated for the weights; code MIT",
        "https://github.com/joonson/syncnet_python",
        "https://www.robots.ox.ac.uk/~vgg/software/lipsync/data/syncnet_v2.model",
        "961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442",
        54_573_114,
    ),
    Public(
        "wav2lip",
        "Wav2Lip",
        "wav2lip",
        "generator of dub, accurate sync",
        _NON_COMMERCIAL,
        _WAV2LIP_PAGE,
        also=("b78b681b68ad9fe6c6fb1debc6ff43ad05834a8af8a62ffc4167b7b34ef63c37",),
    ),
    Public(
        "wav2lip_gan",
        "Wav2Lip + GAN",
        "wav2lip",
        "generator of dub, sharper picture",
        _NON_COMMERCIAL,
        _WAV2LIP_PAGE,
        also=(
            "ca9ab7b7b812c0e80a6e70a5977c545a1e8a365a6c49d5e533023c034d7ac3d8",
            "180cfd49d31d47f195d5bfc62830ffe2c40724b7bbbce6faadc73ac6ab1a3b8e",
        ),
    ),
    Public(
        "lipsync_expert",
        "lip-sync expert of Wav2Lip",
        "expert",
        "training of generators",
        _NON_COMMERCIAL,
        _WAV2LIP_PAGE,
    ),
    Public(
        "visual_quality_disc",
        "visual quality discriminator of Wav2Lip",
        "discriminator",
        "training of generators",
        _NON_COMMERCIAL,
        _WAV2LIP_PAGE,
    ),
    Public(
        "s3fd",
        "S3FD of face-alignment",
        "s3fd",
        "--face-detector sfd",
        "none stated for the weights (trained on WIDER FACE); code BSD-3-Clause",
        _FACE_ALIGNMENT,
        f"{_FAN_FILES}/s3fd-619a316812.pth",
        "619a31681264d3f7f7fc7a16a42cbbe8b23f31a256f75a366e5a1bcd59b33543",
        89_843_225,
    ),
    Public(
        "fan",
        "2DFAN-4 of face-alignment",
        "fan",
        "68 landmarks of a face",
        "none stated for the weights (trained on 300-W); code BSD-3-Clause",
        _FACE_ALIGNMENT,
        f"{_FAN_FILES}/2DFAN4-11f355bf06.pth.tar",
        "11f355bf0693120222f5955ce3f9dc8fb5763ebb30a47d7906e509490d32e4aa",
    ),
    Public(
        "inception",
        "Inception of pytorch-fid",
        "inception",
        "FID of score",
        "Apache-2.0",
        "https://github.com/mseitzer/pytorch-fid",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
        "pt_inception-2015-12-05-6726825d.pth",
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        95_628_359,
    ),
)

PUBLIC = {each.name: each for each in _CHECKPOINTS}


def named_by_hash(sha256: str) -> Public | None:
    """The checkpoint that a file of this digest holds, where the file is a known one."""
    for each in _CHECKPOINTS:
        if sha256 in (each.sha256, *each.also):
            return each
    return None

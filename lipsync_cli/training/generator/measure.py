"""What is measured of a generator: pictures against the real ones, lips against new sound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipsync_cli.dubbing.generator.expert import SyncExpert
from lipsync_cli.dubbing.generator.losses import lower_halves, mouth_box
from lipsync_cli.dubbing.generator.mel import MEL_RATE
from lipsync_cli.dubbing.generator.windows import FRAMES, window_rows, window_starts
from lipsync_cli.training.faces.pack import CROP, MARGIN, PackedClip
from lipsync_cli.training.generator.models import pixels
from lipsync_cli.training.generator.samples import EXPERT_COLUMNS

Faces = NDArray[np.uint8]
Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]

REACH = 15  # lags on either side
LAG_S = 0.04
WINDOW_S, HOP_S = 5.0, 1.0
_TOGETHER = 64

# The square that SyncNet-like models look at, 1.7 distances from eyes to mouth wide, as the
# alignment of the crops places it: left, top, right, bottom as shares of the crop.
_MOUTH_SQUARE = (0.082, 0.412, 0.926, 1.011)
_MOUTH_SIDE = 64


@dataclass(frozen=True, eq=False)
class Talk:
    """Pictures of a clip and the sound that goes with them.

    Attributes:
        clip: whose pictures.
        voice: whose sound.
        crops: uint8 [T, 96, 96, 3] BGR, of the pictures during which there is sound.
        pts_s: [T].
    """

    clip: PackedClip
    voice: PackedClip
    crops: Faces
    pts_s: Doubles

    @classmethod
    def of(cls, clip: PackedClip, voice: PackedClip, longest_s: float) -> Talk:
        """Begin both at their first pictures."""
        until = clip.pts_s[0] + min(clip.duration_s, voice.duration_s, longest_s)
        count = int(np.searchsorted(clip.pts_s, until, side="right"))
        crops = clip.faces[:count, MARGIN:-MARGIN, MARGIN:-MARGIN]
        return cls(clip, voice, np.ascontiguousarray(crops), clip.pts_s[:count])

    @property
    def voice_after_s(self) -> float:
        """How much later the voice's own time is than that of the pictures."""
        return float(self.voice.pts_s[0] - self.clip.pts_s[0])

    def sound(self, start_s: float, columns: int) -> Floats:
        """What is heard from `start_s` after each picture: [T, 80, columns]."""
        return np.stack([self.window(float(t) + start_s, columns) for t in self.pts_s])

    def window(self, time_s: float, columns: int = EXPERT_COLUMNS) -> Floats:
        """The sound from a time of the pictures' clock on: [80, columns]."""
        return self.voice.mel_window(time_s + self.voice_after_s, columns)

    def references(self) -> NDArray[np.int64]:
        """Pictures [T, 5] to draw each one after, from the other half and 1 s away or more."""
        half = self.pts_s[0] + (self.pts_s[-1] - self.pts_s[0]) / 2
        early = np.flatnonzero(self.pts_s <= half - 1)
        late = np.flatnonzero(self.pts_s >= half + 1)
        chosen = np.empty((len(self.pts_s), FRAMES), np.int64)
        for rows, others in ((self.pts_s <= half, late), (self.pts_s > half, early)):
            chosen[rows] = others[np.linspace(0, len(others) - 1, FRAMES).astype(np.int64)]
        return chosen


@dataclass(frozen=True)
class Sync:
    """How well lips follow a sound.

    Attributes:
        height: mean cosine at no lag, over the median of the lags within 0.6 s.
        lags: of each window of 5 s, in frames of 40 ms; > 0 sound late.
    """

    height: float
    lags: tuple[int, ...]

    @property
    def follows(self) -> float:
        """Share of windows whose lag is at most one frame."""
        return float(np.mean(np.abs(self.lags) <= 1)) if self.lags else float("nan")


@torch.no_grad()
def expert_sync(expert: SyncExpert, talk: Talk, faces: Faces) -> Sync:
    """Ask an expert about faces [T, 96, 96, 3] and the talk's sound at 31 lags."""
    starts = window_starts(talk.pts_s)
    times_s = talk.pts_s[starts][:, None] + LAG_S * np.arange(-REACH, REACH + 1)
    # Sound is cut at whole columns: many lags of many pictures share one.
    columns = np.floor(times_s * MEL_RATE + 1e-6).astype(np.int64)  # [n, 31]
    each, place = np.unique(columns, return_inverse=True)
    mel = np.stack([talk.window((c + 0.5) / MEL_RATE) for c in each.tolist()])
    device = next(expert.parameters()).device
    halves = lower_halves(pixels(torch.from_numpy(faces)))  # [T, 3, 48, 96]
    rows = torch.from_numpy(window_rows(talk.pts_s, starts))  # [n, 5]
    seen = _embedded(
        expert.embed_pictures, len(rows), lambda part: halves[rows[part]].flatten(1, 2).to(device)
    )
    heard = _embedded(
        expert.embed_sound, len(mel), lambda part: torch.from_numpy(mel[part, None]).to(device)
    )
    cosine = np.einsum("nd,nkd->nk", seen, heard[place.reshape(columns.shape)])  # [n, 31]
    curve = cosine.mean(0)
    lags = tuple(
        int(cosine[part].mean(0).argmax()) - REACH for part in _stretches(talk.pts_s[starts])
    )
    return Sync(float(curve[REACH] - np.median(curve)), lags)


def mouth_error(drawn: Faces, real: Faces) -> tuple[float, float]:
    """Mean PSNR in dB and SSIM of the mouth's box, on luma."""
    from lipsync_cli.scoring.quality import psnr, ssim

    rows, columns = mouth_box(CROP)
    pairs = [
        (_luma(a[rows, columns]), _luma(b[rows, columns])) for a, b in zip(drawn, real, strict=True)
    ]
    found = np.array([(psnr(a, b), ssim(a, b)) for a, b in pairs])
    return float(found[:, 0].mean()), float(found[:, 1].mean())


def judged_mouths(talk: Talk, faces: Faces) -> Faces:
    """Mouths as SyncNet-like judges cut them: uint8 [T, 64, 64], grey."""
    left, top, right, bottom = (share * CROP + MARGIN - 0.5 for share in _MOUTH_SQUARE)
    across, down = (right - left) / _MOUTH_SIDE, (bottom - top) / _MOUTH_SIDE
    matrix = np.array([[across, 0, left + across / 2], [0, down, top + down / 2]])
    return np.stack([_mouth(each, matrix) for each in whole_faces(talk, faces)])


def whole_faces(talk: Talk, faces: Faces) -> Faces:
    """Put crops [T, 96, 96, 3] back into what is packed around them: [T, 112, 112, 3]."""
    whole = np.array(talk.clip.faces[: len(faces)])
    whole[:, MARGIN:-MARGIN, MARGIN:-MARGIN] = faces
    return whole


def _mouth(face: Faces, matrix: Doubles) -> Faces:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cut = cv2.warpAffine(face, matrix, (_MOUTH_SIDE, _MOUTH_SIDE), flags=flags)
    return _luma(np.asarray(cut, np.uint8))


def _luma(face: Faces) -> Faces:
    return np.asarray(cv2.cvtColor(face, cv2.COLOR_BGR2GRAY), np.uint8)


def _embedded(
    embed: Callable[[Tensor], Tensor], count: int, given: Callable[[slice], Tensor]
) -> Floats:
    """Unit vectors [count, D] of what is given for parts of them."""
    parts = [slice(first, first + _TOGETHER) for first in range(0, count, _TOGETHER)]
    return np.concatenate([embed(given(part)).float().cpu().numpy() for part in parts])


def _stretches(times_s: Doubles) -> list[slice]:
    """Five seconds every second."""
    begins = np.arange(times_s[0], times_s[-1] - WINDOW_S + HOP_S / 2, HOP_S)
    edges = np.searchsorted(times_s, np.stack([begins, begins + WINDOW_S])).T
    return [slice(int(low), int(high)) for low, high in edges]

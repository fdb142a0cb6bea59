"""One random look for all pictures of a sample: where the crop lies, its side, its colours."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lipsync_cli.training.faces.pack import CROP, MARGIN, SIDE

Rng = np.random.Generator
Faces = NDArray[np.uint8]

# What stays inside of the packed picture: px, shares, degrees.
_MOST_SHIFT, _MOST_ZOOM, _MOST_TURN = 4.0, 0.05, 3.0
_MOST_GAIN, _MOST_GAMMA = 0.12, 0.15
_MOST_SOUND_DB = 6.0
_MEL_PER_DB, _SILENCE, _PEAK = 0.08, -4.0, 4.0


@dataclass(frozen=True, eq=False)
class Look:
    """How packed pictures are shown.

    Attributes:
        matrix: float64 [2, 3], packed px <- crop px.
        flip: left and right exchanged.
        tone: uint8 [256, 1, 3], the new value of each.
    """

    matrix: NDArray[np.float64]
    flip: bool
    tone: Faces | None

    def crops(self, faces: Faces) -> Faces:
        """Show pictures: uint8 [n, 112, 112, 3] -> [n, 96, 96, 3]."""
        return np.stack([self._crop(each) for each in faces])

    def _crop(self, face: Faces) -> Faces:
        crop = cv2.warpAffine(
            face,
            self.matrix,
            (CROP, CROP),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        if self.flip:
            crop = crop[:, ::-1]
        return np.asarray(crop if self.tone is None else cv2.LUT(crop, self.tone), np.uint8)


def plain_look() -> Look:
    """The crop that a generator is given when it dubs."""
    return Look(np.array([[1.0, 0, MARGIN], [0, 1.0, MARGIN]]), False, None)


def random_look(rng: Rng) -> Look:
    """Draw a look that real footage could have."""
    zoom = 1 + rng.uniform(-_MOST_ZOOM, _MOST_ZOOM)
    turn = np.deg2rad(rng.uniform(-_MOST_TURN, _MOST_TURN))
    linear = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    middle = np.full(2, (SIDE - 1) / 2) + rng.uniform(-_MOST_SHIFT, _MOST_SHIFT, 2)
    place = middle - linear @ np.full(2, (CROP - 1) / 2)
    return Look(np.column_stack([linear, place]), bool(rng.random() < 0.5), _tone(rng))


def _tone(rng: Rng) -> Faces:
    """Gain of each colour and a common gamma."""
    gains = 1 + rng.uniform(-_MOST_GAIN, _MOST_GAIN) + rng.uniform(-0.04, 0.04, 3)
    gamma = 1 + rng.uniform(-_MOST_GAMMA, _MOST_GAMMA)
    values = (np.arange(256) / 255) ** gamma
    return np.clip(np.round(255 * values[:, None, None] * gains), 0, 255).astype(np.uint8)


def louder(mel: NDArray[np.float32], gain_db: float) -> NDArray[np.float32]:
    """The spectrogram of the same sound at another gain; what is silent stays so."""
    moved = np.where(mel > _SILENCE, mel + np.float32(_MEL_PER_DB * gain_db), mel)
    return np.clip(moved, _SILENCE, _PEAK).astype(np.float32)


def random_gain_db(rng: Rng) -> float:
    """Draw a gain: generators hear sound without any normalisation."""
    return float(rng.uniform(-_MOST_SOUND_DB, _MOST_SOUND_DB))

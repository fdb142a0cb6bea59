"""A borrowed face is laid by eyes and nose, wherever the landmarks of its mouth were."""

from __future__ import annotations

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
import skimage.data

from lipsync_cli.dubbing.compositing.bending import SMALL, Bent
from lipsync_cli.dubbing.compositing.canvas import face_place
from lipsync_cli.dubbing.compositing.colour import colour_of
from lipsync_cli.dubbing.compositing.cutout import Cutout
from lipsync_cli.dubbing.compositing.register import Registration, similarity
from lipsync_cli.media.upright import Upright

SIDE = 192
LANDMARKS = np.array([[70, 60], [120, 60], [95, 90], [75, 120], [115, 120]], np.float64)
Luma = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def face() -> Luma:
    """Luma of a face with eyes and nose about where a square has them."""
    grey = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2GRAY)[20:240, 120:340]
    return np.asarray(cv2.resize(grey, (SIDE, SIDE)) / 255, np.float32)


def displaced(face: Luma, growth: float, right: float, down: float) -> Luma:
    """The face grown about (0.5, 0.34) of the square, then shifted, in shares of a side."""
    x, y = 0.5 * SIDE - 0.5, 0.34 * SIDE - 0.5
    k = 1 + growth
    matrix = np.array([[k, 0, x - k * x + right * SIDE], [0, k, y - k * y + down * SIDE]])
    out = cv2.warpAffine(face, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.float32)


def bent(luma: Luma) -> Bent:
    place = face_place(LANDMARKS, Upright((SIDE, SIDE)), SIDE)
    colour = colour_of(av.VideoFrame(SIDE, SIDE, "yuv420p"))
    return Bent.of(Cutout((luma,), (np.eye(2, 3),), 1.0, place, colour), colour)


@pytest.mark.parametrize(
    "planted", [(0.0, 0.0, 0.06), (0.12, 0.0, -0.04), (-0.1, 0.05, 0.05), (0.0, 0.0, 0.0)]
)
def test_a_displacement_is_found(face: Luma, planted: tuple[float, float, float]) -> None:
    """Under another exposure, with grain, and with another mouth."""
    new = displaced(face, *planted)
    new[130:165, 70:120] = 0.2
    grain = np.random.default_rng(0).normal(0, 0.02, new.shape)
    growth, turn, right, down = similarity(face, np.asarray(0.8 * new + 0.1 + grain, np.float32))
    np.testing.assert_allclose((growth, right, down), planted, atol=0.012)
    assert abs(turn) < 0.02


def test_strangers_stay_where_the_landmarks_put_them(face: Luma) -> None:
    noise = np.random.default_rng(1).random((SIDE, SIDE)).astype(np.float32)
    for other in (noise, np.full_like(face, 0.4), np.ascontiguousarray(face[::-1])):
        assert not similarity(face, other).any()


def test_a_face_is_laid_over_the_other(face: Luma) -> None:
    new = displaced(face, 0.08, 0.0, -0.05)
    inner = (slice(40, 90), slice(60, 130))
    assert np.abs(new - face)[inner].mean() > 0.05
    registration, small = Registration(), (SMALL, SMALL)
    old = np.asarray(cv2.resize(face, small, interpolation=cv2.INTER_AREA), np.float32)
    for time_s in (0.0, 0.04):
        # The next frame follows at once where nothing else changes.
        laid = registration.lay(old, bent(new), time_s).small()[0]
        wide = cv2.resize(laid, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        assert np.abs(wide - face)[inner].mean() < 0.02

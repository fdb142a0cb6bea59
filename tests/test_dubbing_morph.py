"""One face bent towards another: shapes meet, detail stays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from test_dubbing_compose import FACE, SIDE, canvas

from lipsync_cli.dubbing.compositing.canvas import REACH, Canvas
from lipsync_cli.dubbing.compositing.fitting import mixed
from lipsync_cli.dubbing.compositing.mask import LIPS, face_mask, ring_mask
from lipsync_cli.dubbing.compositing.morph import bent, dense_flow, morph
from lipsync_cli.dubbing.compositing.refine import Meeting
from lipsync_cli.dubbing.compositing.warp import blur

Floats = npt.NDArray[np.float32]
FPS = 25
INSIDE = (slice(24, -24), slice(24, -24))
# As far as lips move from one run to another.
MOVED_PX = 0.08 / REACH * SIDE


def moved(face: Canvas, x: float, y: float) -> Canvas:
    flow = np.zeros((SIDE, SIDE, 2), np.float32)
    flow[..., 0], flow[..., 1] = -x / SIDE, -y / SIDE
    return face.with_planes(bent(face.planes, flow))


def test_flow_is_how_far_a_face_has_moved() -> None:
    face = canvas()
    flow = SIDE * dense_flow(face.planes[0], moved(face, MOVED_PX, -2.0).planes[0])
    assert np.median(flow[INSIDE][..., 0]) == pytest.approx(MOVED_PX, abs=0.5)
    assert np.median(flow[INSIDE][..., 1]) == pytest.approx(-2.0, abs=0.5)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5])
def test_half_way_lies_between(share: float) -> None:
    """Neither twice the same lips nor soft ones, as a dissolve would show."""
    face = canvas(coarse=3.0)
    away = moved(face, MOVED_PX, MOVED_PX)
    between = moved(face, share * MOVED_PX, share * MOVED_PX).planes[0][INSIDE]
    morphed = morph(face, away, share).planes[0][INSIDE]
    dissolved = ((1 - share) * face.planes[0] + share * away.planes[0])[INSIDE]
    error = np.abs(morphed - between).mean()
    if share == 0:
        assert error < 1e-6
    else:
        assert error < 0.4 * np.abs(dissolved - between).mean()
        assert morphed.std() > 0.97 * between.std() > dissolved.std()


def test_light_is_mixed_and_grain_is_not() -> None:
    face, rng = canvas(), np.random.default_rng(1)
    grain = rng.normal(0, 0.02, (2, SIDE, SIDE)).astype(np.float32)
    pair = [face.with_planes(face.planes + g) for g in grain]
    bright = pair[1].with_planes(pair[1].planes + np.float32(0.1))
    result = mixed(pair[0], bright, 0.4)
    change = (result.planes - pair[0].planes)[0][INSIDE]
    assert change.mean() == pytest.approx(0.04, abs=0.01)

    def fine(planes: Floats) -> float:
        return float((planes[0] - blur(planes[0], 2.0))[INSIDE].std())

    assert fine(result.planes) > 0.9 * fine(pair[0].planes)


def test_cheeks_meet_and_lips_keep_their_shape() -> None:
    """A face two px aside, with another mouth: its edge comes back, its mouth goes along."""
    face, ring = canvas(coarse=3.0), ring_mask(SIDE, FACE)
    mouth = face_mask(SIDE, FACE, LIPS)
    spoken = face.with_planes(face.planes - np.float32(0.3) * mouth)
    met = Meeting().bend(face, moved(spoken, 2.0, 1.0), ring, 0.0)
    apart, left = (
        np.abs(each.planes[0] - face.planes[0])[ring > 0.5].mean()
        for each in (moved(spoken, 2.0, 1.0), met)
    )
    assert left < 0.4 * apart
    inside = mouth == 1
    assert (
        np.abs(met.planes[0] - spoken.planes[0])[inside].mean()
        < 0.3 * np.abs(moved(spoken, 2.0, 1.0).planes[0] - spoken.planes[0])[inside].mean() + 0.01
    )


def test_faces_do_not_shake_while_they_meet() -> None:
    """Landmarks that tremble move what they place, and the bending does not add to it."""
    face, ring, meeting = canvas(coarse=3.0), ring_mask(SIDE, FACE), Meeting()
    other = noisy(face)
    met = [meeting.bend(face, moved(other, 2.0, 0.0), ring, i / FPS).planes[0] for i in range(4)]
    assert np.abs(met[3] - met[2])[INSIDE].max() < 1e-3
    meeting.reset()
    sudden = meeting.bend(face, moved(other, -2.0, 0.0), ring, 5 / FPS).planes[0]
    assert np.abs(sudden - met[3])[ring > 0.5].mean() < 0.02


def noisy(face: Canvas) -> Canvas:
    grain = np.random.default_rng(2).normal(0, 0.005, face.planes.shape)
    return face.with_planes((face.planes + grain).astype(np.float32))

"""One face bent towards another: shapes meet, detail stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from test_dubbing_compose import FACE, canvas

from lipsync_cli.dubbing.compositing.bending import SMALL, Bent
from lipsync_cli.dubbing.compositing.canvas import REACH
from lipsync_cli.dubbing.compositing.cutout import Cutout
from lipsync_cli.dubbing.compositing.mask import LIPS, face_mask, ring_mask
from lipsync_cli.dubbing.compositing.morph import dense_flow, morph
from lipsync_cli.dubbing.compositing.refine import Meeting
from lipsync_cli.dubbing.compositing.warp import blur, resized

Floats = npt.NDArray[np.float32]
FPS = 25
SIDE = SMALL
INSIDE = (slice(16, -16), slice(16, -16))
# As far as lips move from one run to another.
MOVED_PX = 0.08 / REACH * SIDE


def face_of(planes: Floats) -> Bent:
    """A face with these samples; its square is the picture."""
    square = canvas()
    place, same = replace(square.place, side=SIDE), np.eye(2, 3)
    cutout = Cutout(tuple(planes), (same,) * 3, 1.0, place, square.colour)
    return Bent.of(cutout, square.colour)


def face() -> Bent:
    return face_of(resized(canvas(coarse=3.0).planes, SIDE))


def moved(before: Bent, x: float, y: float) -> Bent:
    flow = np.full((SIDE, SIDE, 2), (-x / SIDE, -y / SIDE), np.float32)
    return face_of(before.by(flow).small())


def test_flow_is_how_far_a_face_has_moved() -> None:
    flow = SIDE * dense_flow(face().small()[0], moved(face(), MOVED_PX, -2.0).small()[0])
    assert np.median(flow[INSIDE][..., 0]) == pytest.approx(MOVED_PX, abs=0.5)
    assert np.median(flow[INSIDE][..., 1]) == pytest.approx(-2.0, abs=0.5)


def test_bending_twice_is_bending_once() -> None:
    """The second time in what the first one shows: a turn, then a shift."""
    x = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE - 0.5
    turn = np.stack(np.broadcast_arrays(-0.2 * x[:, None], 0.2 * x), axis=-1)
    shift = np.full((SIDE, SIDE, 2), (12 / SIDE, 0.0), np.float32)
    apart = face_of(face().by(turn).small()).by(shift).small()
    twice, swapped = face().by(turn).by(shift).small(), face().by(shift).by(turn).small()
    near, far = (np.abs(each - apart)[0][INSIDE].mean() for each in (twice, swapped))
    assert far > 0.01
    assert near < 0.1 * far


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5])
def test_half_way_lies_between(share: float) -> None:
    """Neither twice the same lips nor soft ones, as a dissolve would show."""
    away = moved(face(), MOVED_PX, MOVED_PX)
    between = moved(face(), share * MOVED_PX, share * MOVED_PX).small()[0][INSIDE]
    morphed = morph(face(), away, share).small()[0][INSIDE]
    dissolved = ((1 - share) * face().small()[0] + share * away.small()[0])[INSIDE]
    error = np.abs(morphed - between).mean()
    if share == 0:
        assert error < 1e-6
    else:
        assert error < 0.4 * np.abs(dissolved - between).mean()
        assert morphed.std() > 0.97 * between.std() > dissolved.std()


def test_light_is_mixed_and_grain_is_not() -> None:
    rng = np.random.default_rng(1)
    grain = rng.normal(0, 0.02, (2, SIDE, SIDE)).astype(np.float32)
    pair = [face().plain + g for g in grain]
    result = morph(face_of(pair[0]), face_of(pair[1] + np.float32(0.1)), 0.4).small()
    assert (result - pair[0])[0][INSIDE].mean() == pytest.approx(0.04, abs=0.01)

    def fine(planes: Floats) -> float:
        return float((planes[0] - blur(planes[0], 2.0))[INSIDE].std())

    assert fine(result) > 0.9 * fine(pair[0])


def test_cheeks_meet_and_lips_keep_their_shape() -> None:
    """A face two px aside, with another mouth: its edge comes back, its mouth goes along."""
    old, ring = face().small(), ring_mask(SIDE, FACE)
    mouth = face_mask(SIDE, FACE, LIPS)
    spoken = old - np.float32(0.3) * mouth
    aside = moved(face_of(spoken), 2.0, 1.0)
    met = Meeting().bend(old[0], aside, ring, 0.0).small()
    apart, left = (np.abs(e[0] - old[0])[ring > 0.5].mean() for e in (aside.small(), met))
    assert left < 0.4 * apart
    before, after = (np.abs(e - spoken)[0][mouth == 1].mean() for e in (aside.small(), met))
    assert after < 0.3 * before + 0.01


def test_faces_do_not_shake_while_they_meet() -> None:
    """Landmarks that tremble move what they place, and the bending does not add to it."""
    old, ring, meeting = face().small(), ring_mask(SIDE, FACE), Meeting()
    grain = np.random.default_rng(2).normal(0, 0.005, old.shape)
    other = face_of((old + grain).astype(np.float32))
    right, left = moved(other, 2.0, 0.0), moved(other, -2.0, 0.0)
    met = [meeting.bend(old[0], right, ring, i / FPS).small()[0] for i in range(4)]
    assert np.abs(met[3] - met[2])[INSIDE].max() < 1e-3
    meeting.reset()
    sudden = meeting.bend(old[0], left, ring, 5 / FPS).small()[0]
    assert np.abs(sudden - met[3])[ring > 0.5].mean() < 0.02

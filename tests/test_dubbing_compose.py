"""New faces in old pictures: masks, light, seams, detail, and when to show them at all."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from test_dubbing_canvas import face_at, noise

from lipsync_cli.dubbing.compositing.canvas import REACH, RISE, Canvas, face_place, paste_canvas
from lipsync_cli.dubbing.compositing.compose import Look, blend
from lipsync_cli.dubbing.compositing.cutout import cut_canvas
from lipsync_cli.dubbing.compositing.gate import Gate, eased, turned_deg
from lipsync_cli.dubbing.compositing.mask import (
    LIPS,
    LOWER_FACE,
    Polar,
    face_mask,
    points_at,
    polar_at,
    soft_step,
)
from lipsync_cli.dubbing.compositing.ring import RingMatch
from lipsync_cli.dubbing.compositing.seam import Seam
from lipsync_cli.dubbing.compositing.warp import blur
from lipsync_cli.media.upright import Upright

Floats = npt.NDArray[np.float32]
SIDE = 160
FACE = face_at(100, 100, 50)


def at(mask: Floats, x: float, y: float) -> float:
    """Value at a place in distances of eyes and mouth from the middle of the mouth."""
    unit = len(mask) / REACH
    middle = len(mask) / 2
    return float(mask[int(middle + (y + RISE) * unit), int(middle + x * unit)])


def turned(sideways: float) -> npt.NDArray[np.float64]:
    """A face whose nose lies aside, in distances of eyes and mouth."""
    face = FACE.copy()
    face[2, 0] += sideways * 50
    return face


def canvas(seed: int = 0, coarse: float = 6.0) -> Canvas:
    """A face-like square: soft patches of light, one level of fine grain."""
    picture = noise(200, 200, "yuv444p", seed)
    cut = cut_canvas(picture, face_place(FACE, Upright((200, 200)), side=SIDE))
    planes = [0.5 + 2 * (blur(plane, coarse) - 0.5) for plane in cut.planes]
    return cut.with_planes(np.stack(planes).astype(np.float32))


def test_mask_covers_mouth_and_chin_and_nothing_else() -> None:
    mask = face_mask(SIDE, FACE)
    assert mask.min() == 0
    assert mask.max() == 1
    for x, y in ((0, 0), (0.4, 0), (-0.4, 0), (0, 0.4), (0, -0.2)):
        assert at(mask, x, y) == 1, (x, y)
    # Eyes, ears, and what lies below the chin.
    for x, y in ((0.46, -1), (0, -0.8), (1.0, 0), (-1.0, 0), (0, 1.05), (0.8, 0.8)):
        assert at(mask, x, y) == 0, (x, y)
    np.testing.assert_allclose(mask, mask[:, ::-1], atol=1e-6)
    steps = np.abs(np.diff(mask, axis=1)).max(), np.abs(np.diff(mask, axis=0)).max()
    assert max(steps) < 0.15


def test_mask_is_narrower_on_the_far_cheek() -> None:
    right, left = face_mask(SIDE, turned(0.25)), face_mask(SIDE, turned(-0.25))
    np.testing.assert_allclose(right, left[:, ::-1], atol=1e-6)
    rows = right[SIDE // 2 + 12]
    assert rows[SIDE // 2 :].sum() < 0.75 * rows[: SIDE // 2].sum()


def test_large_masks_are_small_ones_enlarged() -> None:
    large = face_mask(768, FACE)
    apart = np.abs(large - polar_mask(768))
    assert apart.max() < 0.02 and apart.mean() < 2e-3
    assert not large[polar_at(*grid_of(768), 0, LOWER_FACE).radius > 1.01].any()


def polar_mask(side: int) -> Floats:
    radius = polar_at(*grid_of(side), 0, LOWER_FACE).radius
    return soft_step((1 - radius) * LOWER_FACE.reach / LOWER_FACE.feather)


def grid_of(side: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    y, x = (np.mgrid[:side, :side] + 0.5) * (REACH / side) - REACH / 2
    return x, y - RISE


def test_places_on_rays_are_where_the_mask_says() -> None:
    random = np.random.default_rng(0)
    radius, angle = random.uniform(0.05, 1, 500), random.uniform(0, 2 * np.pi, 500)
    place = Polar(radius.astype(np.float32), angle.astype(np.float32))
    for step in (0, 9, -9):
        again = polar_at(*points_at(place, step, LOWER_FACE), step, LOWER_FACE)
        np.testing.assert_allclose(again.radius, radius, atol=2e-3)
        apart = np.abs(again.angle - angle)
        assert np.minimum(apart, 2 * np.pi - apart).max() < 2e-3


def fit(old: Canvas, new: Canvas, **options: float) -> tuple[Floats, Floats, Floats]:
    """The composed square, the mask, and the mask of the lips."""
    fitted = blend(old, new, FACE, RingMatch(), Seam(), 0.0, look=Look(**options))
    return (
        old.planes + fitted.mask * (fitted.canvas.planes - old.planes),
        fitted.mask,
        fitted.lips,
    )


def test_other_light_leaves_no_trace() -> None:
    """The same face, brighter on one side and greener: what is pasted is the face itself."""
    old = canvas()
    light = np.linspace(0.02, 0.09, SIDE, dtype=np.float32)
    shift = np.stack([np.tile(light, (SIDE, 1)), np.full((SIDE, SIDE), -0.03), 0 * old.planes[0]])
    composed, mask, _ = fit(old, old.with_planes((old.planes + shift).astype(np.float32)))
    assert mask.max() == 1
    assert np.abs(shift).max() > 20 / 255
    assert np.abs(composed - old.planes).max() < 1.6 / 255


def test_another_mouth_stays_another_mouth() -> None:
    old = canvas()
    mouth = face_mask(SIDE, FACE, LIPS)
    new = old.with_planes(old.planes - 0.3 * mouth)
    composed, _, _ = fit(old, new)
    assert np.abs(composed - new.planes)[:, mouth == 1].max() < 0.02


def test_a_hand_does_not_bend_the_light() -> None:
    old = canvas()
    hand = old.planes + np.float32(0.05)
    hand[:, :, : SIDE // 4] = 0.9
    match = RingMatch()
    clear = RingMatch()
    clear.correct(old, old, face_mask(SIDE, FACE), 0.0)
    corrected = match.correct(old, old.with_planes(hand), _ring(), 0.0)
    error = np.abs(corrected.planes - old.planes)[:, 40:120, SIDE // 2 :]
    assert error.max() < 0.02
    assert match.residual > 0.1 > clear.residual


def _ring() -> Floats:
    inner, outer = (face_mask(SIDE, FACE), np.ones((SIDE, SIDE), np.float32))
    return np.asarray(outer - inner, np.float32)


def test_corrections_do_not_flicker_and_do_not_cross_shots() -> None:
    old, match = canvas(), RingMatch()
    flicker = [0.04 + 0.02 * (-1) ** i for i in range(20)]
    left = []
    for number, offset in enumerate(flicker):
        new = old.with_planes(old.planes + np.float32(offset))
        corrected = match.correct(old, new, _ring(), number / 25)
        left.append(float((new.planes[0] - corrected.planes[0]).mean()))
    assert np.ptp(left[10:]) < 0.4 * np.ptp(flicker)
    assert np.mean(left[10:]) == pytest.approx(0.04, abs=0.005)
    match.reset()
    new = old.with_planes(old.planes - np.float32(0.05))
    assert np.abs(match.correct(old, new, _ring(), 0.8).planes - old.planes).max() < 0.01


def test_seam_goes_round_what_differs() -> None:
    """A jaw that lies elsewhere on one side: the mask ends before it, and spares no lips."""
    old = canvas()
    planes = old.planes.copy()
    unit, middle = SIDE / REACH, SIDE // 2
    bar = slice(int(middle + 0.62 * unit), int(middle + 0.95 * unit))
    planes[0, middle:, bar] += 0.25
    plain, _, _ = fit(old, old)
    mask = Seam().mask(old, old.with_planes(planes), FACE, LOWER_FACE, 0.0)
    assert at(face_mask(SIDE, FACE), 0.66, 0.1) > 0.4
    assert at(mask, 0.66, 0.1) < 0.1
    assert at(mask, -0.66, 0.1) > 0.5
    assert at(mask, 0.36, 0.0) > 0.9
    assert np.abs(plain - old.planes).max() < 1e-3


def test_seam_moves_without_jumps() -> None:
    old, seam = canvas(), Seam()
    planes = old.planes.copy()
    planes[0, SIDE // 2 :, 110:130] += 0.25
    masks = [seam.mask(old, old, FACE, LOWER_FACE, 0.0)]
    masks += [seam.mask(old, old.with_planes(planes), FACE, LOWER_FACE, i / 25) for i in (1, 2, 9)]
    changes = [np.abs(b - a).max() for a, b in pairwise(masks)]
    assert 0 < changes[0] < 0.8
    assert np.abs(masks[-1] - masks[0]).max() > changes[0]


def test_detail_comes_back_outside_of_the_lips() -> None:
    grain = noise(200, 200, "yuv444p", 5)
    cut = cut_canvas(grain, face_place(FACE, Upright((200, 200)), side=SIDE))
    soft = canvas()
    old = soft.with_planes(soft.planes + np.float32(0.05) * (cut.planes - 0.5))
    smooth, mask, lips = fit(old, soft)
    rough, _, _ = fit(old, soft, detail=1.0)
    sigma = 0.035 / REACH * SIDE

    def fine(planes: Floats, where: npt.NDArray[np.bool_]) -> float:
        return float((planes[0] - blur(planes[0], sigma))[where].std())

    skin, inside = (mask == 1) & (lips == 0), lips == 1
    assert fine(smooth, skin) < 0.3 * fine(old.planes, skin)
    assert fine(rough, skin) > 0.75 * fine(old.planes, skin)
    assert fine(rough, inside) < 1.05 * fine(smooth, inside)


def test_part_of_a_new_face_fades_before_its_edge() -> None:
    old = canvas()
    known = np.zeros((SIDE, SIDE), np.float32)
    known[:110] = 1
    fitted = blend(old, old, FACE, RingMatch(), Seam(), 0.0, known=known)
    assert fitted.mask[110:].max() == 0
    assert fitted.mask[108].max() < 0.3
    assert fitted.mask[85].max() > 0.99


def test_gate() -> None:
    gate = Gate()
    assert gate.weight(0.0, FACE) == 1
    assert turned_deg(FACE) == pytest.approx(0, abs=0.1)
    assert turned_deg(turned(0.225)) == pytest.approx(30, abs=0.5)
    # A hand: down within three frames, up again in half a second.
    down = [gate.weight(i / 25, FACE, residual=0.5) for i in (1, 2, 3)]
    up = [gate.weight(i / 25, FACE) for i in (4, 5, 10, 20)]
    assert 1 > down[0] > down[1] > down[2]
    assert down[2] < 0.15
    assert up[0] < 0.35
    assert 0.9 < up[-1] < 1
    gate.reset()
    assert gate.weight(1.0, turned(0.42)) == 0
    gate.reset()
    assert gate.weight(1.0, FACE, score=0.2) == 0
    assert Gate().weight(0.0, turned(-0.2)) == 1


def test_easing_of_flags() -> None:
    times_s = np.arange(30) / 25
    active = (times_s > 0.3) & (times_s < 0.8)
    weights = eased(times_s, active)
    assert (weights[~active] == 0).all()
    assert weights.max() == 1
    assert np.abs(np.diff(weights)).max() < 0.6
    np.testing.assert_allclose(weights[7:21], weights[7:21][::-1], atol=1e-6)
    assert eased(times_s, np.ones(30, bool)).min() == 1
    # A programme that begins in the middle of a word does not fade in.
    assert eased(times_s, times_s < 0.5)[0] == 1


@pytest.mark.real
def test_no_seam_on_real_faces(shared: Path) -> None:
    """Mouths of a second later leave the edge of the mask as steady as it was."""
    from lipsync_cli.faces.detect import create_detector
    from lipsync_cli.faces.stream import FaceStream
    from lipsync_cli.media.pictures import read_pictures
    from lipsync_cli.media.reader import read
    from lipsync_cli.media.upright import read_upright
    from lipsync_cli.media.video import VideoFrame

    path = shared / "clips/val/new_vishalsp123_1357a1b6.mkv"
    faces, found = FaceStream(create_detector("own")), []
    for frame in read(path, audio=False):
        assert isinstance(frame, VideoFrame)
        if frame.pts_s > 4:
            break
        found += faces.push(frame)
    found += faces.close()
    marks = {
        round(float(t), 3): m for c in found for t, m in zip(c.pts_s, c.landmarks, strict=True)
    }
    pictures: dict[float, av.VideoFrame] = {}
    for picture in read_pictures(path):
        pictures[round(picture.time, 3)] = picture
        if picture.time > 3:
            break
    upright, match, seam = read_upright(path), RingMatch(), Seam()
    steps: dict[str, list[float]] = {"old": [], "new": []}
    before: tuple[Floats, Floats] | None = None
    for time_s in sorted(t for t in marks if 0.5 < t < 1.5):
        later = min(marks, key=lambda t: abs(t - time_s - 1))
        place = face_place(marks[time_s], upright, SIDE)
        old = cut_canvas(pictures[time_s], place)
        taken = cut_canvas(pictures[later], face_place(marks[later], upright, SIDE))
        fitted = blend(old, old.with_planes(taken.planes), marks[time_s], match, seam, time_s)
        pasted = cut_canvas(paste_canvas(pictures[time_s], old, fitted.canvas, fitted.mask), place)
        edge = (fitted.mask > 0.05) & (fitted.mask < 0.95)
        if before is not None:
            steps["old"].append(float(np.abs(old.planes[0] - before[0])[edge].mean()))
            steps["new"].append(float(np.abs(pasted.planes[0] - before[1])[edge].mean()))
        before = old.planes[0], pasted.planes[0]
    assert len(steps["new"]) > 15
    assert np.mean(steps["new"]) < 1.1 * np.mean(steps["old"])

"""What the generator sees of a track: where crops lie, which references, in which order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lipsync_cli.dubbing.generator.wav2lip import (
    CropGeometry,
    LipGenerator,
    Pads,
    choose_references,
)

# Eyes, nose and mouth corners of a frontal face in a square of 256 px (FFHQ alignment).
FACE = 256 * np.array(
    [(0.377, 0.469), (0.623, 0.469), (0.501, 0.613), (0.393, 0.725), (0.611, 0.725)]
)
NO_PADS = Pads(0, 0, 0, 0)


def apply(matrix: Any, points: Any) -> Any:
    return np.asarray(points) @ matrix[:, :2].T + matrix[:, 2]


def turned(points: Any, degrees: float, scale: float, shift: tuple[float, float]) -> Any:
    angle = np.radians(degrees)
    turn = np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    return scale * points @ turn.T + shift


def test_crop_is_the_box_of_the_training_detector() -> None:
    matrix = CropGeometry(96, NO_PADS).matrix(FACE)
    inverse = np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))[:2]
    # The outer edges of the first and the last pixel.
    (left, top), (right, bottom) = apply(inverse, [(-0.5, -0.5), (95.5, 95.5)])
    assert (left, right) == pytest.approx((62, 194), abs=1)
    assert (top, bottom) == pytest.approx((60, 236), abs=1)
    assert (bottom - top) / (right - left) == pytest.approx(4 / 3, abs=0.01)
    # The mask of the lower half begins between the eyes and the tip of the nose.
    rows = apply(matrix, FACE)[:, 1]
    assert rows[:2].max() < 48 < rows[2] + 1 and rows[3:].max() < 75


@pytest.mark.parametrize(("degrees", "scale"), [(0, 1.0), (25, 0.4), (-40, 3.0), (180, 1.0)])
def test_crop_follows_place_size_and_tilt(degrees: float, scale: float) -> None:
    geometry = CropGeometry(128)
    upright = apply(geometry.matrix(FACE), FACE)
    moved = turned(FACE, degrees, scale, (300.0, -40.0))
    np.testing.assert_allclose(apply(geometry.matrix(moved), moved), upright, atol=1e-6)


def test_crop_never_mirrors_and_survives_one_point() -> None:
    mirrored = FACE * (-1, 1) + (256, 0)
    assert np.linalg.det(CropGeometry().matrix(mirrored)[:, :2]) > 0
    assert np.all(np.isfinite(CropGeometry().matrix(np.ones((5, 2)))))


def test_pads_show_more_below_the_chin() -> None:
    chin = [(128.0, 236.0)]
    bare, padded = CropGeometry(180, NO_PADS), CropGeometry(180)
    assert apply(bare.matrix(FACE), chin)[0, 1] == pytest.approx(179.5, abs=0.5)
    assert apply(padded.matrix(FACE), chin)[0, 1] == pytest.approx(170, abs=1)


def test_maps_of_a_track() -> None:
    track = np.stack([FACE, FACE + 5])
    geometry = CropGeometry()
    matrices = geometry.matrices(track)
    assert matrices.shape == (2, 2, 3)
    np.testing.assert_array_equal(matrices[1], geometry.matrix(FACE + 5))
    assert geometry.matrices(np.zeros((0, 5, 2))).shape == (0, 2, 3)


def nodding(frames: int) -> Any:
    """The tip of the nose wanders to the right: the head turns."""
    track = np.tile(FACE, (frames, 1, 1))
    track[:, 2, 0] += np.linspace(0, 40, frames)
    return track


def test_references_are_closed_and_near_in_pose() -> None:
    quiet = np.zeros(50, bool)
    quiet[[3, 20, 45]] = True
    chosen = choose_references(nodding(50), quiet)
    assert chosen[[0, 3, 21, 49]].tolist() == [3, 3, 20, 45]
    assert set(chosen.tolist()) == {3, 20, 45}
    # From one to the next without going back and forth.
    assert np.count_nonzero(np.diff(chosen)) == 2


def test_reference_does_not_flicker_between_equal_poses() -> None:
    track = np.tile(FACE, (100, 1, 1)) + np.random.default_rng(0).normal(0, 0.5, (100, 5, 2))
    chosen = choose_references(track, np.ones(100, bool))
    assert len(set(chosen.tolist())) == 1


def test_few_references_are_held_however_long_the_track() -> None:
    chosen = choose_references(nodding(3000), np.ones(3000, bool))
    assert len(set(chosen.tolist())) <= 64


class Painter:
    """Answers with the target, brightened by what it hears."""

    size = 8

    def __init__(self) -> None:
        self.batches: list[int] = []

    def generate(self, target: Any, reference: Any, mel: Any) -> Any:
        self.batches.append(len(target))
        assert reference.shape == target.shape
        return target + mel[:, 0, 0].astype(np.uint8)[:, None, None, None]


def test_frames_come_back_in_order_with_their_times() -> None:
    painter = Painter()
    lips = LipGenerator(painter, batch=4)
    pts_s = [0.0, 0.04, 0.09, 0.1, 0.5, 0.51]
    done = []
    for number, each_s in enumerate(pts_s):
        crop = np.full((8, 8, 3), 10 * number, np.uint8)
        done += lips.push(each_s, crop, crop, np.full((80, 16), number, np.float32))
        assert len(done) == (4 if number >= 3 else 0)
    done += lips.close()
    assert [each_s for each_s, _ in done] == pts_s
    assert [int(crop[0, 0, 0]) for _, crop in done] == [0, 11, 22, 33, 44, 55]
    assert painter.batches == [4, 2]
    assert lips.close() == []

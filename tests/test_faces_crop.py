"""Geometry of the mouth crop, against values worked out by hand, and shots on real material."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lipsync_cli.faces.crop import cut_mouth, mouth_geometry
from lipsync_cli.faces.patch import see_patch

# Eyes 40 px apart and level, mouth 50 px below: the face's scale is 50.
UPRIGHT = np.array([(80, 100), (120, 100), (100, 125), (85, 150), (115, 150)], np.float64)


def _turned(points: np.ndarray, degrees: float, about: tuple[float, float]) -> np.ndarray:
    turn = np.radians(degrees)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return (points - about) @ matrix.T + about


def test_geometry_of_an_upright_face() -> None:
    geometry = mouth_geometry(UPRIGHT)
    np.testing.assert_allclose(geometry.centre, (100, 155))
    assert geometry.side == pytest.approx(85.0)
    assert geometry.angle == pytest.approx(0.0)


def test_profile_is_scaled_by_its_height_and_wide_face_by_its_eyes() -> None:
    profile = UPRIGHT * (0.2, 1.0)
    assert mouth_geometry(profile).side == pytest.approx(85.0)
    # Eyes 80 px apart: 0.9 * 80 = 72 is more than the 50 px down to the mouth.
    assert mouth_geometry(UPRIGHT * (2.0, 1.0)).side == pytest.approx(1.7 * 72)


def test_collapsed_landmarks_keep_a_smallest_crop() -> None:
    assert mouth_geometry(np.full((5, 2), 7.0)).side == pytest.approx(1.7 * 8)


@pytest.mark.parametrize("degrees", [-90.0, -20.0, 35.0, 90.0, 180.0])
def test_turned_face_gives_the_same_crop(degrees: float) -> None:
    rng = np.random.default_rng(0)
    smooth = cv2.GaussianBlur(rng.uniform(0, 255, (301, 301)), (0, 0), 6)
    picture = np.asarray(cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX), np.uint8)
    upright = cut_mouth(picture, mouth_geometry(UPRIGHT + 50))
    matrix = cv2.getRotationMatrix2D((150, 150), -degrees, 1.0)
    turned = np.asarray(cv2.warpAffine(picture, matrix, (301, 301)), np.uint8)
    points = _turned(UPRIGHT + 50, degrees, (150, 150))
    crop = cut_mouth(turned, mouth_geometry(points))
    assert np.abs(crop.astype(int) - upright).mean() < 2.5


def test_centre_of_the_crop_is_below_the_mouth() -> None:
    picture = np.zeros((300, 200), np.uint8)
    picture[150:160, 95:105] = 255
    crop = cut_mouth(picture, mouth_geometry(UPRIGHT)).astype(float)
    rows, columns = np.mgrid[0:64, 0:64]
    middle = (rows * crop).sum() / crop.sum(), (columns * crop).sum() / crop.sum()
    np.testing.assert_allclose(middle, (32, 32), atol=0.6)


def test_large_faces_are_low_passed() -> None:
    """Stripes finer than the crop's pixels become grey and no false pattern."""
    picture = np.zeros((1080, 1080), np.uint8)
    picture[:, ::2] = 200
    crop = cut_mouth(picture, mouth_geometry(UPRIGHT * 5))
    assert crop.std() < 8
    assert crop.mean() == pytest.approx(100, abs=3)


def test_border_is_repeated_beyond_the_picture() -> None:
    picture = np.full((160, 200), 40, np.uint8)
    picture[-5:] = 220
    crop = cut_mouth(picture, mouth_geometry(UPRIGHT))
    assert (crop[48:] == 220).all()


def smooth_picture(shape: tuple[int, int], blur: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    smooth = cv2.GaussianBlur(rng.uniform(0, 255, shape), (0, 0), blur)
    return np.asarray(cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX), np.uint8)


@pytest.mark.parametrize("size", [60, 330, 700])
def test_patch_gives_the_crop_of_the_whole_picture(size: int) -> None:
    """Only the neighbourhood of a face is kept, shrunk where it is large."""
    picture = smooth_picture((1080, 1920), size / 40)
    centre = np.array((900.0, 500.0))
    points = (UPRIGHT - (100, 125)) * size / 100 + centre
    patch = see_patch(picture, [*(centre - size / 2), *(centre + size / 2)]).kept()
    whole = cut_mouth(picture, mouth_geometry(points))
    assert patch.pixels.size <= (2 * 1.5 * 320 + 4) ** 2
    assert not np.shares_memory(patch.pixels, picture)
    assert np.abs(patch.mouth(points).astype(int) - whole).mean() < 2.0


@pytest.mark.parametrize("size", [60, 330, 700])
@pytest.mark.parametrize("centre", [(900.0, 500.0), (40.0, 1010.0), (1900.0, 30.0)])
@pytest.mark.parametrize("side", [64, 96])
def test_patch_that_is_kept_gives_the_same_crop(
    size: int, centre: tuple[float, float], side: int
) -> None:
    """A copy of all of it, and only what the mouth needs, shrunk when it is cut."""
    picture = smooth_picture((1080, 1920), 2.0)
    points = _turned((UPRIGHT - (100, 125)) * size / 100 + centre, 12.0, centre)
    box = np.array([*np.subtract(centre, size / 2), *np.add(centre, size / 2)])
    patch = see_patch(picture, box)
    assert np.shares_memory(patch.pixels, picture)
    np.testing.assert_array_equal(patch.mouth(points, side), patch.kept().mouth(points, side))

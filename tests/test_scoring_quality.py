"""PSNR and SSIM against straightforward computation, and which pictures are compared."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from faces_media import astronaut
from skimage.metrics import structural_similarity

from lipsync_cli.errors import InputError, MediaNotFound, MissingStream
from lipsync_cli.scoring.quality import PSNR_CAP_DB, compare, psnr, ssim

Picture = npt.NDArray[np.uint8]
ClipFactory = Callable[..., Path]

LOSSLESS: dict[str, Any] = {"suffix": ".mkv", "vcodec": "ffv1", "acodec": None}
SIZE = (160, 120)


def _texture(shape: tuple[int, int], seed: int = 0) -> Picture:
    rng = np.random.default_rng(seed)
    return rng.integers(30, 220, shape, dtype=np.uint8)


def _moment(number: int, size: tuple[int, int]) -> Picture:
    """Soft stripes that are elsewhere in every picture."""
    columns = np.arange(size[0]) + 3 * number
    row = 110 + 60 * np.sin(columns / 5) + 20 * np.sin(number)
    return np.tile(row.astype(np.uint8), (size[1], 1))


def _portrait(number: int, size: tuple[int, int]) -> Picture:
    """A face that sinks by two pixels a picture."""
    top = 4 * 2 - 2 * number
    return astronaut()[top : top + size[1], 100 : 100 + size[0]]


def _plain_ssim(first: Picture, second: Picture) -> float:
    """Wang et al. 2004, eq. 6 to 13, window by window."""
    ticks = np.arange(-5, 6)
    weights = np.exp(-(ticks[:, None] ** 2 + ticks**2) / (2 * 1.5**2))
    weights /= weights.sum()
    found = []
    for top in range(first.shape[0] - 10):
        for left in range(first.shape[1] - 10):
            x, y = (p[top : top + 11, left : left + 11].astype(float) for p in (first, second))
            mx, my = (weights * x).sum(), (weights * y).sum()
            vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
            cov = (weights * (x - mx) * (y - my)).sum()
            light = (2 * mx * my + 6.5025) / (mx**2 + my**2 + 6.5025)
            found.append(light * (2 * cov + 58.5225) / (vx + vy + 58.5225))
    return float(np.mean(found))


def test_psnr_of_known_differences() -> None:
    picture = _texture((120, 160))
    brighter = (picture + 5).astype(np.uint8)
    assert psnr(picture, brighter) == pytest.approx(20 * math.log10(255 / 5), abs=1e-9)
    noise = np.random.default_rng(1).normal(0, 4, picture.shape)
    noisy = np.rint(picture + noise).astype(np.uint8)
    # Rounding to whole levels adds a variance of 1/12.
    assert psnr(picture, noisy) == pytest.approx(10 * math.log10(255**2 / (16 + 1 / 12)), abs=0.1)
    assert psnr(picture, picture) == PSNR_CAP_DB


def test_ssim_is_that_of_the_paper() -> None:
    first = _texture((15, 18))
    second = np.clip(first + np.random.default_rng(2).normal(0, 25, first.shape), 0, 255)
    degraded = second.astype(np.uint8)
    assert ssim(first, degraded) == pytest.approx(_plain_ssim(first, degraded), abs=1e-9)
    assert ssim(first, first) == 1.0


def test_ssim_agrees_with_scikit_image() -> None:
    bright = np.maximum(astronaut()[:200, :300], 200)
    for first, second in ((astronaut()[:300], astronaut()[1:301]), (bright, bright // 2)):
        expected = structural_similarity(
            first,
            second,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
        )
        assert ssim(first, second) == pytest.approx(expected, abs=1e-9)


def test_a_video_equals_itself(clip: ClipFactory) -> None:
    path = clip(**LOSSLESS, duration_s=0.2, size=(240, 200), paint=_portrait)
    told: list[float] = []
    quality = compare(path, path, progress=told.append)
    assert (quality.frames, quality.mouth_frames) == (5, 5)
    assert quality.psnr == quality.mouth_psnr == PSNR_CAP_DB
    assert quality.ssim == quality.mouth_ssim == 1.0
    assert quality.warnings == ()
    assert told == sorted(told)
    assert 0 <= told[0] <= told[-1] <= 1


def test_the_mouth_is_judged_by_itself(clip: ClipFactory) -> None:
    def background_changed(number: int, size: tuple[int, int]) -> Picture:
        picture = _portrait(number, size).copy()
        picture[:40] += 7
        picture[:, 190:] += 7
        return picture

    def all_changed(number: int, size: tuple[int, int]) -> Picture:
        return _portrait(number, size) // 2 + 60

    def half(number: int, size: tuple[int, int]) -> Picture:
        return _portrait(number, size) // 2 + 52

    shape: dict[str, Any] = {**LOSSLESS, "duration_s": 0.2, "size": (240, 200)}
    real = clip(**shape, paint=_portrait)
    around = compare(clip(**shape, paint=background_changed), real)
    assert around.psnr < 45
    assert around.mouth_psnr == PSNR_CAP_DB
    # 8 levels everywhere are 8 levels at the mouth, whatever its crop.
    brighter = compare(clip(**shape, paint=all_changed), clip(**shape, paint=half))
    assert brighter.psnr == pytest.approx(20 * math.log10(255 / 8), abs=1e-6)
    assert brighter.mouth_frames == 5
    assert brighter.mouth_psnr == pytest.approx(brighter.psnr, abs=0.1)


def test_pictures_are_paired_by_time(clip: ClipFactory) -> None:
    assert psnr(_moment(0, SIZE), _moment(10, SIZE)) < 25
    real = clip(**LOSSLESS, duration_s=1.0, paint=_moment)
    late = clip(
        **LOSSLESS,
        duration_s=1.0,
        video_start_s=0.4,
        paint=lambda number, size: _moment(number + 10, size),
    )
    quality = compare(late, real)
    assert (quality.frames, quality.psnr) == (15, PSNR_CAP_DB)
    warnings = " ".join(quality.warnings)
    assert "10 pictures of the reference" in warnings
    assert (
        "generated video goes on after the other has ended: compared is 0.40 to 0.96 s" in warnings
    )
    assert "no face" in warnings
    assert quality.mouth_psnr is quality.mouth_ssim is None


def test_variable_rate_pairs_what_is_shown_at_one_time(clip: ClipFactory) -> None:
    kept = [0, 1, 2, 5, 6, 11, 12, 20, 24]
    real = clip(**LOSSLESS, duration_s=1.0, paint=_moment)
    sparse = clip(
        **LOSSLESS,
        pts_s=[number / 25 + 0.006 for number in kept],
        paint=lambda number, size: _moment(kept[number], size),
    )
    quality = compare(sparse, real)
    assert (quality.frames, quality.psnr) == (len(kept), PSNR_CAP_DB)
    assert any("6 ms apart" in warning for warning in quality.warnings)
    assert any("16 pictures of the reference" in warning for warning in quality.warnings)


def test_other_size_is_resized_to_the_reference(clip: ClipFactory) -> None:
    real = clip(**LOSSLESS, duration_s=0.2, paint=_moment)
    large = clip(**LOSSLESS, duration_s=0.2, size=(320, 240), paint=_twice)
    quality = compare(large, real)
    assert (quality.frames, quality.psnr) == (5, PSNR_CAP_DB)
    assert "resized from 320 x 240 to 160 x 120 px" in quality.warnings[0]


def _twice(number: int, size: tuple[int, int]) -> Picture:
    return np.repeat(np.repeat(_moment(number, SIZE), 2, axis=0), 2, axis=1)


def test_full_range_is_converted(clip: ClipFactory) -> None:
    def expanded(number: int, size: tuple[int, int]) -> Picture:
        return np.rint((_moment(number, size) - 16.0) * 255 / 219).astype(np.uint8)

    exact: dict[str, Any] = {"suffix": ".mkv", "acodec": None, "options": {"qp": "0"}}
    real = clip(**LOSSLESS, duration_s=0.2, paint=_moment)
    full = clip(**exact, duration_s=0.2, pix_fmt="yuvj420p", paint=expanded)
    assert psnr(expanded(0, SIZE), _moment(0, SIZE)) < 35
    quality = compare(full, real)
    assert quality.psnr > 50
    assert any("range" in warning for warning in quality.warnings)


def test_what_cannot_be_compared(clip: ClipFactory, tmp_path: Path) -> None:
    real = clip(**LOSSLESS, duration_s=0.2, paint=_moment)
    later = clip(**LOSSLESS, duration_s=0.2, video_start_s=5.0, paint=_moment)
    tiny = clip(**LOSSLESS, duration_s=0.2, size=(16, 8), paint=_moment)
    sound = clip(".mp4", vcodec=None, duration_s=0.5)
    with pytest.raises(InputError, match="shown at the time") as error:
        compare(later, real)
    assert str(later) in str(error.value)
    assert str(real) in str(error.value)
    with pytest.raises(InputError, match="11 px"):
        compare(tiny, tiny)
    for pair in ((sound, real), (real, sound)):
        with pytest.raises(MissingStream, match=sound.name):
            compare(*pair)
    with pytest.raises(MediaNotFound):
        compare(real, tmp_path / "none.mp4")

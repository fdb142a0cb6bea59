"""Pictures: grey levels, formats, orientation, colour cuts, times and rates."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from conftest import ClipFactory

from lipsync_cli.media.reader import read
from lipsync_cli.media.video import VideoFrame

Grey = npt.NDArray[np.uint8]


def marked(number: int, size: tuple[int, int]) -> Grey:
    """A ramp that brightens to the right, with a bright mark in the upper left corner."""
    width, height = size
    picture = np.tile(np.linspace(40, 120, width), (height, 1)).astype(np.uint8)
    picture[: height // 4, : width // 4] = 220
    return picture


def coloured(number: int, size: tuple[int, int]) -> Grey:
    """Orange on the left, blue on the right, as RGB."""
    picture = np.empty((size[1], size[0], 3), np.uint8)
    picture[:, : size[0] // 2] = (220, 130, 40)
    picture[:, size[0] // 2 :] = (30, 60, 200)
    return picture


def frames_of(path: Path, **options: float) -> list[VideoFrame]:
    frames = read(path, audio=False, **options)  # type: ignore[arg-type]
    return [f for f in frames if isinstance(f, VideoFrame)]


def first_luma(path: Path, **options: float) -> Grey:
    return frames_of(path, **options)[0].luma


@pytest.mark.parametrize(
    ("suffix", "vcodec", "pix_fmt", "size"),
    [
        (".mkv", "ffv1", "yuv420p", (64, 48)),
        (".mkv", "ffv1", "yuv422p", (65, 47)),
        (".mkv", "ffv1", "yuv444p", (161, 121)),
        (".mkv", "ffv1", "yuv410p", (66, 50)),
        (".mkv", "ffv1", "gray", (33, 31)),
        (".mkv", "ffv1", "yuva420p", (64, 48)),
        (".nut", "rawvideo", "nv12", (66, 50)),
        (".mkv", "ffv1", "yuv420p", (2, 2)),
    ],
)
def test_eight_bit_luma_is_passed_on_untouched(
    clip: ClipFactory, suffix: str, vcodec: str, pix_fmt: str, size: tuple[int, int]
) -> None:
    path = clip(
        suffix, vcodec=vcodec, pix_fmt=pix_fmt, size=size, paint=marked, acodec=None, duration_s=0.2
    )
    luma = first_luma(path)
    np.testing.assert_array_equal(luma, marked(0, size))
    assert not luma.flags.writeable


@pytest.mark.parametrize(
    ("suffix", "vcodec", "pix_fmt"),
    [
        (".mkv", "ffv1", "yuv420p10le"),
        (".mkv", "ffv1", "yuv422p12le"),
        (".mkv", "ffv1", "gray16le"),
        (".mkv", "ffv1", "bgr0"),
        (".avi", "rawvideo", "bgr24"),
        (".mov", "png", "rgb24"),
        (".nut", "rawvideo", "yuyv422"),
        (".nut", "rawvideo", "rgb8"),
        (".nut", "rawvideo", "yuv420p10be"),
        (".nut", "rawvideo", "monow"),
    ],
)
def test_other_formats_become_eight_bit_luma(
    clip: ClipFactory, suffix: str, vcodec: str, pix_fmt: str
) -> None:
    path = clip(suffix, vcodec=vcodec, pix_fmt=pix_fmt, paint=marked, acodec=None, duration_s=0.2)
    frame = frames_of(path)[0]
    luma, painted = frame.luma.astype(float), marked(0, (160, 120)).astype(float)
    assert luma.shape == painted.shape
    coarse = pix_fmt in {"monow", "rgb8"}
    # Full and limited range differ by an affine map only.
    assert np.corrcoef(luma.ravel(), painted.ravel())[0, 1] > (0.3 if coarse else 0.999)
    assert frame.bgr(0, 0, 40, 30).shape == (30, 40, 3)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", ["", "h", "v"])
def test_display_matrix_is_applied(clip: ClipFactory, rotation: int, flip: str) -> None:
    path = clip(
        ".mp4", rotation=rotation, flip=flip, paint=marked, acodec=None, duration_s=0.2, bframes=0
    )
    upright = np.rot90(marked(0, (160, 120)), -rotation // 90)
    upright = np.fliplr(upright) if flip == "h" else upright
    upright = np.flipud(upright) if flip == "v" else upright
    frame = frames_of(path)[0]
    assert frame.luma.shape == upright.shape
    assert np.abs(frame.luma.astype(int) - upright).mean() < 3
    _assert_cut_matches(frame, (10, 20, 75, 61))


def _assert_cut_matches(frame: VideoFrame, box: tuple[int, int, int, int]) -> None:
    x0, y0, x1, y1 = box
    cut = frame.bgr(*box).astype(float)
    assert cut.shape == (y1 - y0, x1 - x0, 3)
    grey = frame.luma[y0:y1, x0:x1].astype(float)
    expected = np.clip((grey - 16) * 255 / 219, 0, 255)
    assert np.abs(cut.mean(axis=2) - expected).mean() < 3


@pytest.mark.parametrize(
    ("suffix", "vcodec", "pix_fmt"),
    [
        (".mkv", "ffv1", "yuv420p"),
        (".mkv", "ffv1", "yuv444p"),
        (".mkv", "ffv1", "yuv422p10le"),
        (".nut", "rawvideo", "nv12"),
        (".mkv", "ffv1", "bgr0"),
    ],
)
def test_cuts_have_the_right_colours(
    clip: ClipFactory, suffix: str, vcodec: str, pix_fmt: str
) -> None:
    path = clip(suffix, vcodec=vcodec, pix_fmt=pix_fmt, paint=coloured, acodec=None, duration_s=0.2)
    frame = frames_of(path)[0]
    box = slice(13, 62), slice(61, 100)
    painted = coloured(0, (160, 120))[box][:, :, ::-1].astype(int)
    assert np.abs(frame.bgr(61, 13, 100, 62) - painted).mean() < 4


def test_cuts_are_clipped_to_the_picture(clip: ClipFactory) -> None:
    frame = frames_of(clip(paint=marked, acodec=None, duration_s=0.2))[0]
    assert frame.bgr(-20, -20, 15, 1000).shape == (120, 15, 3)
    assert frame.bgr(159, 119, 200, 200).shape == (1, 1, 3)
    assert frame.bgr(50, 50, 50, 60).size == 0


def test_frame_without_a_source_cuts_grey() -> None:
    frame = VideoFrame(0, 0.0, marked(0, (40, 30)))
    cut = frame.bgr(0, 0, 10, 5)
    assert cut.shape == (5, 10, 3)
    assert (cut == 220).all()


def test_large_pictures_are_shrunk_by_their_shorter_side(clip: ClipFactory) -> None:
    path = clip(size=(320, 180), paint=marked, acodec=None, duration_s=0.2)
    frame = frames_of(path, max_height=90)[0]
    assert frame.luma.shape == (90, 160)
    assert frame.scale == pytest.approx(0.5)
    _assert_cut_matches(frame, (4, 4, 60, 70))
    assert frames_of(path, max_height=180)[0].scale == 1.0


def test_pixels_become_square(clip: ClipFactory) -> None:
    wide = clip(paint=marked, acodec=None, duration_s=0.2, options={"aspect": "3:2"})
    frame = frames_of(wide)[0]
    assert frame.luma.shape == (120, 240)
    assert frame.scale == 1.0
    assert frame.bgr(0, 0, 60, 30).shape == (30, 60, 3)


@pytest.mark.parametrize(
    ("fps", "kept_rate"),
    [(1, 1), (24, 24), (25, 25), (30, 30), (48, 24), (50, 25), (60, 30), (120, 30)],
)
def test_high_rates_are_thinned_evenly(clip: ClipFactory, fps: int, kept_rate: int) -> None:
    path = clip(".mkv", fps=Fraction(fps), duration_s=2.0, acodec=None, events_s=(0.0,))
    times_s = [f.pts_s for f in frames_of(path)]
    assert len(times_s) == 2 * kept_rate
    # Matroska rounds times to a millisecond.
    np.testing.assert_allclose(np.diff(times_s), 1 / kept_rate, atol=0.0011)


def test_variable_rate_keeps_its_own_times(clip: ClipFactory) -> None:
    pts_s = tuple(np.cumsum([0, 40, 40, 120, 17, 17, 17, 300, 33, 41, 1000, 8, 8, 40]) / 1000)
    frames = frames_of(clip(pts_s=pts_s, acodec=None, events_s=()))
    times_s = [f.pts_s for f in frames]
    np.testing.assert_allclose(
        times_s, [0, 0.04, 0.08, 0.2, 0.234, 0.551, 0.584, 0.625, 1.625, 1.681], atol=2e-5
    )
    assert [f.index for f in frames] == list(range(len(frames)))


def test_single_frame_is_a_video(clip: ClipFactory) -> None:
    frames = frames_of(clip(duration_s=0.04, acodec=None, events_s=()))
    assert [f.pts_s for f in frames] == [0.0]


def test_late_start_is_kept(clip: ClipFactory) -> None:
    path = clip(video_start_s=1.075, events_s=(), acodec=None, duration_s=1.0)
    assert frames_of(path)[0].pts_s == pytest.approx(1.075, abs=1e-3)

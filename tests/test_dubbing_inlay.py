"""Faces of other pictures, laid in sample by sample: right place, right colours, no more."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from test_dubbing_canvas import FORMATS, contents, disc, distances, face_at, noise

from lipsync_cli.dubbing.compositing.bending import SMALL, Bent
from lipsync_cli.dubbing.compositing.canvas import Place, face_place
from lipsync_cli.dubbing.compositing.colour import colour_of
from lipsync_cli.dubbing.compositing.cutout import cut_canvas, cut_out
from lipsync_cli.dubbing.compositing.inlay import inlay
from lipsync_cli.dubbing.compositing.warp import blur
from lipsync_cli.dubbing.mouths.gallery import Gallery
from lipsync_cli.media.planes import sample_layout, samples
from lipsync_cli.media.upright import Upright

Floats = npt.NDArray[Any]
SIZE = (200, 160)


def at(scale: float, x: float = 100, y: float = 80, degrees: float = 0.0) -> Place:
    return face_place(face_at(x, y, scale, degrees), Upright(SIZE))


def taken(picture: av.VideoFrame, place: Place, onto: av.VideoFrame) -> Bent:
    return Bent.of(cut_out(picture, place), colour_of(onto))


def painted(name: str, place: Place, contrast: float = 1.0) -> av.VideoFrame:
    """A picture whose samples are waves over the square of a face, of all three kinds."""
    picture, layout = av.VideoFrame(*SIZE, name), sample_layout(name)
    assert layout is not None
    for number, view in enumerate(samples(picture)):
        wave = waves(view.shape, place, number)
        level = (0.5 + 0.3 * contrast * wave) * (2**layout.depth - 1)
        view[:] = np.rint(level).astype(view.dtype) << layout.shift
    return picture


def waves(shape: tuple[int, ...], place: Place, number: int) -> Floats:
    """Waves along the diagonal of a square, in units of its side; chroma is left-sited."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(float)
    steps = SIZE[0] // shape[1], SIZE[1] // shape[0]
    x, y = columns * steps[0], rows * steps[1] + (steps[1] - 1) / 2
    points = place.matrix @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    phase = (points[0] + 2 * points[1] + 1.5) / place.side * (14, 9, 7)[number] + number
    return np.asarray(np.sin(phase).reshape(shape))


@pytest.mark.parametrize("name", FORMATS)
def test_only_what_the_mask_covers_changes(name: str) -> None:
    picture, other = noise(*SIZE, name), noise(*SIZE, name, 1)
    before, place = contents(picture), at(20, 103, 80, -17)
    face, mask = taken(other, place, picture), disc(64)
    assert inlay(picture, place, face, np.zeros_like(mask)) is picture

    laid = inlay(picture, place, face, mask)

    assert laid.format.name == name
    assert all(np.array_equal(a, b) for a, b in zip(before, contents(picture), strict=True))
    reach = 21 * place.side / 64
    for number, planes in enumerate(zip(before, contents(laid), contents(other), strict=True)):
        old, new, wanted = planes
        distance = distances(old.shape, SIZE, place, chroma=number > 0)
        assert np.array_equal(old[distance > reach], new[distance > reach])
        # A face of the same place arrives as it is, sample by sample.
        shift = sample_layout(name).shift  # type: ignore[union-attr]
        apart = np.abs((new >> shift) - (wanted >> shift))[distance < reach / 3]
        assert apart.size
        assert apart.max() <= 1
    if name == "yuva420p":
        alpha = np.frombuffer(memoryview(laid.planes[3]), np.uint8)
        assert (alpha.reshape(SIZE[1], -1)[:, : SIZE[0]] == 77).all()


@pytest.mark.parametrize(
    ("names", "scales", "degrees"),
    [
        (("yuv420p", "yuv420p"), (23, 31), 20),
        (("yuv420p", "yuv444p"), (30, 30), -15),
        (("yuv422p10le", "yuv420p10le"), (33, 22), 0),
        (("yuv420p", "nv12"), (33, 13), 8),
    ],
)
def test_faces_arrive_at_another_place(
    names: tuple[str, str], scales: tuple[float, float], degrees: float
) -> None:
    """Of another size and tilt, in samples of another layout: the pattern is drawn there anew."""
    source, place = at(scales[0], 90, 78), at(scales[1], 104, 84, degrees)
    original = painted(names[0], source)
    flat = painted(names[1], place, 0.0)
    layout = sample_layout(names[1])
    assert layout is not None
    laid = inlay(flat, place, taken(original, source, flat), disc(128, 0.5))
    wanted = contents(painted(names[1], place))
    for number, (new, expected) in enumerate(zip(contents(laid), wanted, strict=True)):
        inside = distances(new.shape, SIZE, place, chroma=number > 0) < 0.16 * place.side
        error = (new - expected)[inside] >> layout.shift
        assert np.abs(error).mean() < 0.012 * 2**layout.depth


def test_colours_of_another_range_are_kept() -> None:
    place = at(25)
    source, target = painted("yuvj420p", place, 0.5), painted("yuv420p", place, 0.0)
    source.colorspace, target.colorspace = 5, 1
    laid = inlay(target, place, taken(source, place, target), disc(128, 0.5))
    laid.colorspace = 1
    before, after = (cut_canvas(each, place).to_bgr().astype(int) for each in (source, laid))
    middle = slice(place.side * 2 // 5, place.side * 3 // 5)
    assert np.abs(before - after)[middle, middle].mean() < 2
    assert np.abs(contents(source)[0] - contents(laid)[0])[70:90, 90:110].mean() > 4


def test_bending_moves_the_samples_and_light_is_added() -> None:
    place, picture = at(30), noise(*SIZE, "yuv444p")
    for view, grain in zip(samples(picture), contents(picture), strict=True):
        view[:] = 64 + blur(grain.astype(np.float32), 1.5) / 2
    px = place.side / (3.2 * 30)  # of the square, for one of the picture
    flow = np.full((SMALL, SMALL, 2), (5 * px / place.side, 0), np.float32)
    face = taken(picture, place, picture).by(flow).lit(np.full((3, SMALL, SMALL), 0.1, np.float32))
    laid = contents(inlay(picture, place, face, disc(64, 0.5)))
    for old, new in zip(contents(picture), laid, strict=True):
        expected = old[70:90, 95:115] + 25.5
        assert np.abs(new[70:90, 90:110] - expected).max() <= 2


def test_detail_survives_and_large_faces_do_not_alias() -> None:
    """Half a px aside, where sampling blurs most; and three times as large as where it goes."""
    soft = blur(np.random.default_rng(1).normal(0, 1, SIZE[::-1]).astype(np.float32), 0.8)
    grain, flat = noise(*SIZE, "gray"), noise(*SIZE, "gray")
    samples(grain)[0][:], samples(flat)[0][:] = np.clip(128 + 90 * soft, 0, 255), 128

    def laid(scale: float, x: float) -> Floats:
        new = taken(grain, at(45), flat)
        return contents(inlay(flat, at(scale, x), new, disc(128, 0.9)))[0].astype(np.float32)

    def sharpness(luma: Floats) -> float:
        part = luma[70:95, 85:115]
        return float(np.abs(np.diff(part, axis=0)).mean() + np.abs(np.diff(part)).mean())

    assert 0.9 < sharpness(laid(45, 100.5)) / sharpness(contents(grain)[0]) < 1.04
    shrunk = laid(15, 100)[74:86, 92:108]
    assert shrunk.std() < 0.6 * contents(grain)[0][60:100, 70:130].std()


@pytest.mark.parametrize("plain_bytes", [10**9, 0])
@pytest.mark.parametrize("name", ["yuv420p", "yuv420p10le", "gray", "p010le"])
def test_faces_are_kept_as_they_were_coded(name: str, plain_bytes: int) -> None:
    times_s = [0.0, 0.04, 0.08]
    pictures, place = [noise(*SIZE, name, i) for i in range(3)], at(20, 4, 80, 30)
    with Gallery(plain_bytes=plain_bytes) as gallery:
        for time_s, picture in zip(times_s, pictures, strict=True):
            gallery.add(1, time_s, cut_out(picture, place))
        assert len(gallery) == 3
        for time_s, picture in zip(times_s, pictures, strict=True):
            kept, cut = gallery.cutout(1, time_s + 0.015), cut_out(picture, place)
            assert kept is not None
            assert kept.place == cut.place
            assert kept.planes[0].dtype == cut.planes[0].dtype
            assert all(map(np.array_equal, kept.planes, cut.planes))
            canvas = gallery.nearest(1, time_s)
            assert canvas is not None
            assert np.abs(canvas.planes - cut_canvas(picture, place).planes).max() < 1e-5
        assert all(
            not np.array_equal(a.square(32), b.square(32))
            for a, b in pairwise(cut_out(each, place) for each in pictures)
        )
        assert gallery.cutout(1, 0.2) is None
        assert gallery.cutout(0, 0.0) is None


def test_many_faces_are_compressed() -> None:
    place = at(20)
    soft = painted("yuv420p", place, 0.1)
    raw = sum(plane.nbytes for plane in cut_out(soft, place).planes)
    with Gallery(plain_bytes=raw) as gallery:
        for number in range(11):
            gallery.add(0, number / 25, cut_out(soft, place))
        assert gallery.size_bytes < 8 * raw
        for number in (0, 10):
            kept = gallery.cutout(0, number / 25)
            assert kept is not None
            assert all(map(np.array_equal, kept.planes, cut_out(soft, place).planes))

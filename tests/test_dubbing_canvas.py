"""Squares cut out of planes and put back: right place, right colours, nothing else changed."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from lipsync_cli.dubbing.compositing.canvas import Canvas, Place, face_place, paste_canvas, transfer
from lipsync_cli.dubbing.compositing.colour import colour_of
from lipsync_cli.dubbing.compositing.cutout import cut_canvas
from lipsync_cli.dubbing.compositing.warp import blur, inverse
from lipsync_cli.media.planes import sample_layout, samples
from lipsync_cli.media.probe import Orientation
from lipsync_cli.media.upright import Upright

Floats = npt.NDArray[np.float64]
# Right eye, left eye, nose, mouth corners of a face 1 high from eyes to mouth.
FACE = np.array([(-0.46, -1.0), (0.46, -1.0), (0.0, -0.42), (-0.36, 0.0), (0.36, 0.0)])
FORMATS = (
    "yuv420p",
    "yuvj420p",
    "yuv422p",
    "yuv444p",
    "yuv420p10le",
    "yuv422p12le",
    "yuva420p",
    "nv12",
    "nv21",
    "p010le",
    "gray",
    "gray10le",
)


def face_at(x: float, y: float, scale: float, degrees: float = 0.0) -> Floats:
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(FACE * scale @ turn.T + (x, y))


def noise(width: int, height: int, name: str, seed: int = 0) -> av.VideoFrame:
    picture = av.VideoFrame(width, height, name)
    random, layout = np.random.default_rng(seed), sample_layout(name)
    assert layout is not None
    for view in samples(picture):
        view[:] = random.integers(1 << layout.depth, size=view.shape) << layout.shift
    if "a" in name[3:5]:
        np.frombuffer(memoryview(picture.planes[3]), np.uint8)[:] = 77
    return picture


def contents(picture: av.VideoFrame) -> list[npt.NDArray[Any]]:
    return [view.astype(np.int64) for view in samples(picture)]


def disc(side: int, share: float = 0.3) -> npt.NDArray[np.float32]:
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.asarray(np.clip(4 - 4 * np.hypot(x, y) / (share * side), 0, 1), np.float32)


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_changes_where_nothing_differs(name: str) -> None:
    picture = noise(96, 80, name)
    place = face_place(face_at(48, 45, 20, 12), Upright((96, 80)))
    canvas = cut_canvas(picture, place)
    again = canvas.with_planes(canvas.planes.copy())
    assert paste_canvas(picture, canvas, again, disc(canvas.side)) is picture
    lit = canvas.with_planes(canvas.planes + np.float32(0.1))
    assert paste_canvas(picture, canvas, lit, np.zeros_like(disc(canvas.side))) is picture


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [(96, 80), (35, 37)])
def test_changes_stay_inside_the_mask(name: str, size: tuple[int, int]) -> None:
    """A brighter disc: every changed sample lies in it, every one in its middle is changed."""
    picture, layout = noise(*size, name), sample_layout(name)
    assert layout is not None
    before = contents(picture)
    place = face_place(face_at(size[0] / 2 + 3, size[1] / 2, 14, -17), Upright(size), side=64)
    canvas, mask = cut_canvas(picture, place), disc(64)
    lit = canvas.with_planes(canvas.planes + np.float32(0.05))

    pasted = paste_canvas(picture, canvas, lit, mask)

    assert pasted.format.name == name
    assert all(np.array_equal(a, b) for a, b in zip(before, contents(picture), strict=True))
    for number, (old, new) in enumerate(zip(before, contents(pasted), strict=True)):
        distance = distances(old.shape, size, place, chroma=number > 0)
        assert np.array_equal(old[distance > 21], new[distance > 21])
        greatest = (1 << layout.depth) - 1
        expected = np.minimum((old >> layout.shift) + 0.05 * greatest, greatest)
        middle = distance < 8
        assert middle.any()
        assert np.abs((new >> layout.shift) - expected)[middle].max() <= 0.51
    if name == "yuva420p":
        alpha = np.frombuffer(memoryview(pasted.planes[3]), np.uint8)
        assert (alpha.reshape(size[1], -1)[:, : size[0]] == 77).all()


def distances(
    shape: tuple[int, ...], size: tuple[int, int], place: Place, *, chroma: bool
) -> Floats:
    """Distance of each sample from the middle of a square, in its px; chroma is left-sited."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(float)
    steps = [round(a / b) for a, b in zip(size, shape[::-1], strict=True)]
    x = columns * steps[0] if chroma else columns
    y = rows * steps[1] + (steps[1] - 1) / 2 if chroma else rows
    points = place.matrix @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    return np.asarray(np.hypot(*(points - (place.side - 1) / 2)).reshape(shape))


@pytest.mark.parametrize("scale", [11, 20, 55])
def test_changes_arrive_as_they_were_drawn(scale: float) -> None:
    """A smooth bump, drawn on squares that are smaller or larger than the face."""
    picture = noise(240, 220, "yuv444p10le")
    place = face_place(face_at(120, 120, scale, 25), Upright((240, 220)), side=96)
    canvas = cut_canvas(picture, place)

    def bump(distance: Floats) -> Floats:
        return np.asarray(0.2 * np.exp(-((distance / 12) ** 2)))

    y, x = np.mgrid[:96, :96] - 47.5
    drawn = canvas.with_planes((canvas.planes + bump(np.hypot(x, y))).astype(np.float32))
    pasted = paste_canvas(picture, canvas, drawn, np.ones((96, 96), np.float32))
    for old, new in zip(contents(picture), contents(pasted), strict=True):
        expected = bump(distances(old.shape, (240, 220), place, chroma=False)) * 1023
        free = (old > 2) & (old < 1023 - 210)
        assert np.abs(new - old - expected)[free].max() < 6.0
        assert np.abs(new - old - expected)[free].mean() < 0.4


def test_luma_and_chroma_meet() -> None:
    """The same ramp in both, with chroma samples on the left of their luma samples."""
    picture = av.VideoFrame(128, 96, "yuv420p")
    luma, u, v = samples(picture)
    luma[:], u[:] = np.arange(128) + 20, np.arange(0, 128, 2) + 20
    v[:] = (np.arange(48)[:, None] * 2 + 0.5 + 20).round()
    place = face_place(face_at(64, 50, 16, 30), Upright((128, 96)))
    planes = cut_canvas(picture, place).planes * 255
    middle = (slice(12, -12), slice(12, -12))
    assert np.abs(planes[0] - planes[1])[middle].max() < 0.3
    y, x = np.mgrid[: place.side, : place.side].astype(float)
    back = inverse(place.matrix)
    source_y = back[1, 0] * x + back[1, 1] * y + back[1, 2]
    assert np.abs(planes[2] - source_y - 20)[middle].max() < 0.6


@pytest.mark.parametrize(
    "orientation", [Orientation(*flags) for flags in product((False, True), repeat=3)]
)
@pytest.mark.parametrize("aspect", [Fraction(1), Fraction(4, 3), Fraction(1, 2)])
def test_upright_places_are_found_in_coded_pictures(
    orientation: Orientation, aspect: Fraction
) -> None:
    """A soft dot, painted upright and then coded by hand, is where the landmarks say."""
    coded_size = 96, 72
    upright = Upright(coded_size, orientation, aspect)
    wide, high = upright.size
    stretch = (wide / 96, high / 72) if not orientation.transpose else (wide / 72, high / 96)
    shape = (72, 96) if not orientation.transpose else (96, 72)
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    x, y = 0.45 * wide, 0.55 * high
    dot = np.exp(-(((columns * stretch[0] - x) / 5) ** 2 + ((rows * stretch[1] - y) / 5) ** 2))
    if orientation.flip_rows:
        dot = dot[::-1]
    if orientation.flip_columns:
        dot = dot[:, ::-1]
    coded = dot.T if orientation.transpose else dot
    picture = av.VideoFrame(*coded_size, "gray")
    samples(picture)[0][:] = np.rint(coded * 255)

    place = face_place(face_at(x - 0.5, y - 0.5, 15), upright, side=96)
    seen = cut_canvas(picture, place).planes[0]
    row, column = np.mgrid[:96, :96]
    found = [float((each * seen).sum() / seen.sum()) for each in (column, row)]
    # The mouth lies in the middle, a little below.
    assert found == pytest.approx([47.5, 47.5 + 96 * 0.25 / 3.2], abs=0.25)


@pytest.mark.parametrize("scale", [23, 30, 47])
def test_detail_survives_the_way_to_another_picture(scale: float) -> None:
    """Skin from one picture on a flat other one, half a px aside, where sampling blurs most."""
    upright, face = Upright((160, 160)), face_at(80, 80, scale)
    grain, flat = noise(160, 160, "gray"), noise(160, 160, "gray")
    soft = blur(np.random.default_rng(1).normal(0, 1, (160, 160)).astype(np.float32), 0.8)
    samples(grain)[0][:], samples(flat)[0][:] = np.clip(128 + 90 * soft, 0, 255), 128
    taken = cut_canvas(grain, face_place(face, upright))
    onto = cut_canvas(flat, face_place(face + 0.5, upright))
    pasted = paste_canvas(flat, onto, onto.with_planes(taken.planes), disc(onto.side, 0.9))

    def sharpness(picture: av.VideoFrame) -> float:
        luma = contents(picture)[0][70:95, 65:95].astype(np.float32)
        return float(np.abs(np.diff(luma, axis=0)).mean() + np.abs(np.diff(luma)).mean())

    assert 0.96 < sharpness(pasted) / sharpness(grain) < 1.04


def test_squares_are_finer_than_the_face_and_of_few_sizes() -> None:
    picture, upright = noise(64, 48, "gray"), Upright((64, 48))
    canvases = [cut_canvas(picture, face_place(face_at(30, 20, s), upright)) for s in range(9, 190)]
    assert len({canvas.side for canvas in canvases}) == 8
    assert min(canvas.zoom for canvas in canvases) == pytest.approx(1.25, abs=0.02)
    huge = cut_canvas(picture, face_place(face_at(30, 20, 400), upright))
    assert huge.side == 768 and huge.zoom == pytest.approx(0.6)


def test_faces_at_the_edge_of_the_picture() -> None:
    picture = noise(64, 48, "yuv420p")
    for x, y in ((0, 0), (63, 47), (-200, 20), (30, 300)):
        canvas = cut_canvas(picture, face_place(face_at(x, y, 20), Upright((64, 48))))
        assert np.isfinite(canvas.planes).all()
        dark = canvas.with_planes(canvas.planes * np.float32(0.5))
        pasted = paste_canvas(picture, canvas, dark, np.ones_like(canvas.planes[0]))
        assert (pasted is picture) or pasted.width == 64


def test_old_detail_goes_where_it_is_asked_to() -> None:
    """A small square over a large face: what is finer stays, save where it is bared."""
    picture = noise(400, 400, "gray")
    place = face_place(face_at(200, 200, 100), Upright((400, 400)), side=64)
    canvas = cut_canvas(picture, place)
    dark = canvas.with_planes(canvas.planes - np.float32(0.02))
    mask = disc(64)
    kept = contents(paste_canvas(picture, canvas, dark, mask))[0][190:210, 190:210]
    bared = contents(paste_canvas(picture, canvas, dark, mask, bare=mask))[0][190:210, 190:210]
    assert kept.std() > 60
    assert bared.std() < 12
    assert kept.mean() == pytest.approx(bared.mean(), abs=6)


@pytest.mark.parametrize(
    ("matrix", "full", "name", "red"),
    [
        # Computed by hand from ITU-R BT.709-6, BT.601-7 and BT.2020-2.
        (1, False, "yuv420p", (62.56, 102.34, 240.0)),
        (5, False, "yuv420p", (81.48, 90.20, 240.0)),
        (5, True, "yuvj420p", (76.25, 84.97, 255.5)),
        (9, False, "yuv420p10le", (294.13, 386.90, 960.0)),
    ],
)
def test_colours(matrix: int, full: bool, name: str, red: tuple[float, ...]) -> None:
    picture = av.VideoFrame(64, 64, name)
    picture.colorspace, picture.color_range = matrix, 2 if full else 1
    colour, layout = colour_of(picture), sample_layout(name)
    assert layout is not None
    planes = colour.from_bgr(np.full((1, 1, 3), (0, 0, 255), np.uint8))
    codes = planes[:, 0, 0] * (2**layout.depth - 1)
    assert codes == pytest.approx(red, abs=0.02)
    random = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert np.abs(colour.to_bgr(colour.from_bgr(random)).astype(int) - random).max() == 0


def test_crops_of_a_generator_are_drawn_into_the_square() -> None:
    picture = noise(200, 200, "yuv420p")
    target = cut_canvas(picture, face_place(face_at(100, 100, 30, 10), Upright((200, 200))))
    # Stretched, and only part of the square: px of the crop <- px of the picture.
    stretched = np.array([[1.5, 0.0, -90.0], [0.0, 1.1, -60.0]])
    crop = cut_canvas(picture, Place(96, stretched, Upright((200, 200))))
    flat = Canvas(
        crop.colour.from_bgr(np.full((96, 96, 3), 120, np.uint8)), crop.place, crop.colour
    )
    drawn, known = transfer(flat, target)
    y, x = np.mgrid[: target.side, : target.side].astype(float)
    back = inverse(target.place.matrix)
    source = np.stack([back[i, 0] * x + back[i, 1] * y + back[i, 2] for i in range(2)])
    in_crop = np.stack([1.5 * source[0] - 90, 1.1 * source[1] - 60])
    inside = ((in_crop > 2) & (in_crop < 93)).all(0)
    outside = ((in_crop < -1.5) | (in_crop > 96.5)).any(0)
    assert inside.any()
    assert outside.any()
    assert (known[inside] == 1).all()
    assert (known[outside] == 0).all()
    assert np.abs(drawn.to_bgr()[inside].astype(int) - 120).max() <= 1
    np.testing.assert_allclose(drawn.planes[:, outside], target.planes[:, outside], atol=1e-6)


def test_pictures_without_luma_are_refused() -> None:
    with pytest.raises(ValueError, match="no luma"):
        cut_canvas(
            av.VideoFrame(32, 32, "rgb24"), face_place(face_at(16, 16, 5), Upright((32, 32)))
        )

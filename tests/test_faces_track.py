"""Tracks: linking, gaps, smoothing, several people, cuts, bounded memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from faces_media import ScriptedDetector, background, face_at, frame, numbered

from lipsync_cli.faces.detect import FaceDetection
from lipsync_cli.faces.steady import steadied
from lipsync_cli.faces.stream import FaceStream, TrackChunk

RATE = 25.0
SHAPE = (360, 640)
Script = list[list[FaceDetection]]


def follow(
    script: Script,
    *,
    luma: Callable[[int], npt.NDArray[np.uint8]] | None = None,
    stream: FaceStream | None = None,
    rate: float = RATE,
    scale: float = 1.0,
) -> tuple[list[TrackChunk], FaceStream]:
    """Push one frame per entry of the script; every look finds what its entry says."""
    stream = stream or FaceStream(ScriptedDetector(script))
    plain = background(SHAPE)
    chunks = []
    for number in range(len(script)):
        picture = numbered(number, plain if luma is None else luma(number))
        chunks += stream.push(frame(picture, number, rate=rate, scale=scale))
    return chunks + stream.close(), stream


def centres(chunks: list[TrackChunk]) -> npt.NDArray[np.float64]:
    boxes = np.concatenate([chunk.boxes for chunk in chunks]).astype(np.float64)
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def numbers(chunks: list[TrackChunk]) -> set[int]:
    return {chunk.track for chunk in chunks}


def test_moving_face_is_followed_within_two_px() -> None:
    path = [(150 + 4.0 * n, 180 + 30 * np.sin(n / 8)) for n in range(75)]
    chunks, _ = follow([[face_at(place, 90)] for place in path])
    found = centres(chunks)
    error = np.hypot(*(found - np.array(path)[: len(found)]).T)
    assert numbers(chunks) == {0}
    # The ends are smoothed over repeated values, as everywhere in this field.
    assert error[3:-3].max() < 2.0


def test_chunks_leave_no_frame_out_and_only_the_last_says_so() -> None:
    chunks, _ = follow([[face_at((300, 180), 90)]] * 100)
    pts_s = np.concatenate([chunk.pts_s for chunk in chunks])
    np.testing.assert_allclose(np.diff(pts_s), 1 / RATE)
    assert pts_s[0] == 0.0
    # Faces are looked for in every third frame; number 99 is one of them.
    assert len(pts_s) == 100
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert all(chunk.mouths.shape == (len(chunk.pts_s), 64, 64) for chunk in chunks)
    assert all(chunk.frame_size == (640, 360) for chunk in chunks)


def test_two_faces_are_two_tracks() -> None:
    left, right = face_at((160, 180), 90), face_at((450, 180), 100)
    chunks, stream = follow([[left, right], [right, left]] * 25)
    assert numbers(chunks) == {0, 1}
    for number in (0, 1):
        spread = centres([chunk for chunk in chunks if chunk.track == number])[:, 0]
        assert np.ptp(spread) < 1e-3
    assert stream.stats.tracks == 2


def test_double_box_is_no_second_face() -> None:
    chunks, stream = follow([[face_at((300, 180), 90), face_at((315, 180), 110)]] * 50)
    assert numbers(chunks) == {0}
    assert stream.stats.short_tracks == 0


@pytest.mark.parametrize(("gap_s", "tracks"), [(0.6, 1), (1.5, 2)])
def test_only_short_gaps_are_bridged(gap_s: float, tracks: int) -> None:
    seen = [[face_at((300.0, 180.0), 90)]]
    missing: Script = [[] for _ in range(round(gap_s * RATE))]
    chunks, _ = follow(seen * 45 + missing + seen * 45)
    assert len(numbers(chunks)) == tracks


def test_face_moves_evenly_through_a_gap() -> None:
    missing: Script = [[] for _ in range(15)]
    before, after = [[face_at((300.0, 180.0), 90)]] * 31, [[face_at((330.0, 180.0), 90)]] * 32
    # A look at frame 30 and at 48, the first ones around the gap.
    chunks, _ = follow(before + missing + after)
    x = centres(chunks)[:, 0]
    expected = np.interp(np.arange(len(x)), [30, 48], [300, 330])
    smoothed = np.convolve(np.pad(expected, 3, mode="edge"), np.ones(7) / 7, "valid")
    np.testing.assert_allclose(x, smoothed, atol=0.01)


def test_gap_is_interpolated_by_time_and_not_by_frame_number() -> None:
    """Variable frame rates: four frames close together, then one far off."""
    stream = FaceStream(
        ScriptedDetector([[face_at((300.0 + n, 180), 90)] for n in range(80)]), every=4
    )
    times = np.cumsum(np.tile([0.01, 0.01, 0.01, 0.09], 20)) - 0.01
    chunks = []
    for number, pts_s in enumerate(times):
        item = frame(numbered(number, background(SHAPE)), number)
        chunks += stream.push(type(item)(number, float(pts_s), item.luma, 1.0))
    chunks += stream.close()
    x = centres(chunks)[:, 0]
    knots = np.arange(0, 80, 4)
    raw = np.interp(times[: len(x)], times[knots], 300.0 + knots)
    smoothed = np.convolve(np.pad(raw, 3, mode="edge"), np.ones(7) / 7, "valid")
    np.testing.assert_allclose(x, smoothed, atol=0.01)


def test_cut_ends_the_track_at_its_frame() -> None:
    face = face_at((300, 180), 90)
    dark, bright = background(SHAPE), 255 - background(SHAPE)
    chunks, stream = follow([[face]] * 100, luma=lambda n: dark if n < 50 else bright)
    first = [chunk for chunk in chunks if chunk.track == 0]
    second = [chunk for chunk in chunks if chunk.track == 1]
    assert numbers(chunks) == {0, 1}
    assert first[-1].last
    assert 47 / RATE <= first[-1].pts_s[-1] < 50 / RATE
    assert second[0].pts_s[0] == 50 / RATE
    assert stream.stats.shots == 2


@pytest.mark.parametrize("flash_frames", [1, 2])
def test_flash_is_no_cut(flash_frames: int) -> None:
    dark, flash = background(SHAPE), np.full(SHAPE, 250, np.uint8)
    lit = range(40, 40 + flash_frames)
    chunks, stream = follow(
        [[face_at((300, 180), 90)]] * 80, luma=lambda n: flash if n in lit else dark
    )
    assert numbers(chunks) == {0}
    assert stream.stats.shots == 1
    assert len(np.concatenate([chunk.pts_s for chunk in chunks])) >= 78


def test_short_and_small_faces_are_dropped_and_counted() -> None:
    nothing: Script = [[] for _ in range(60)]
    short, short_stream = follow([[face_at((300, 180), 90)]] * 20 + nothing)
    small, small_stream = follow([[face_at((300, 180), 25)]] * 60)
    assert short == small == []
    assert short_stream.stats.short_tracks == 1
    assert small_stream.stats.too_small == small_stream.stats.looks == 20


def test_size_is_judged_and_told_in_source_pixels() -> None:
    """A face of 30 px in luma that was halved is 60 px in the file."""
    chunks, _ = follow([[face_at((100, 80), 30)]] * 50, scale=0.5)
    np.testing.assert_allclose(centres(chunks)[10], (200, 160), atol=0.01)
    assert chunks[0].frame_size == (1280, 720)


def test_doubtful_track_is_dropped() -> None:
    """A box that shows up in every third look only is most likely no face."""
    once: Script = [[face_at((300, 180), 90)]] * 3 + [[] for _ in range(6)]
    chunks, stream = follow(once * 10)
    assert chunks == []
    assert stream.stats.short_tracks >= 1


def test_no_face_gives_nothing() -> None:
    chunks, stream = follow([[] for _ in range(60)])
    assert chunks == []
    assert (stream.stats.frames, stream.stats.frames_with_face) == (60, 0)


def test_memory_does_not_grow() -> None:
    """Frames wait for a second at most, also while a face is lost or never confirmed."""
    pattern: Script = [[face_at((300.0, 180.0), 90)]] * 30 + [[] for _ in range(20)]
    script = pattern * 8
    stream = FaceStream(ScriptedDetector(script))
    held = []
    for number in range(len(script)):
        stream.push(frame(numbered(number, background(SHAPE)), number))
        held.append(stream.waiting_frames)
    assert 20 < max(held) <= RATE + 4 + 3


@pytest.mark.parametrize("size_px", [90, 330])
def test_few_whole_pictures_are_held(size_px: float) -> None:
    """What waits for longer than from one look to the next waits as a copy."""
    script: Script = [[face_at((300.0, 180.0), size_px)]] * 30 + [[] for _ in range(20)]
    stream, pictures, held = FaceStream(ScriptedDetector(script)), [], []
    for number in range(len(script)):
        shown = frame(numbered(number, background(SHAPE)), number)
        pictures.append(weakref.ref(shown.luma))
        stream.push(shown)
        del shown
        held.append((stream.waiting_frames, sum(p() is not None for p in pictures)))
    assert max(waiting for waiting, _ in held) > 20
    # Eight as patches, and those of which it is not known yet whether they begin a shot.
    assert max(alive for _, alive in held) <= 8 + 3


@pytest.mark.parametrize("shape", [(2, 2), (16, 16)])
def test_tiny_pictures_pass(shape: tuple[int, int]) -> None:
    class Blind:
        def detect(self, luma: npt.NDArray[np.uint8]) -> list[FaceDetection]:
            return [face_at((shape[1] / 2, shape[0] / 2), shape[0])]

    stream = FaceStream(Blind(), min_face_px=1)
    chunks = []
    for number in range(30):
        chunks += stream.push(frame(np.full(shape, 99, np.uint8), number))
    chunks += stream.close()
    assert np.unique(np.concatenate([chunk.mouths for chunk in chunks])).tolist() == [99]


def test_change_of_size_is_a_new_shot() -> None:
    shapes = [(360, 640)] * 40 + [(180, 320)] * 40
    script = [[face_at((shape[1] / 2, shape[0] / 2), 90)] for shape in shapes]
    chunks, _ = follow(script, luma=lambda n: background(shapes[n]))
    assert [sorted({c.frame_size for c in chunks if c.track == n}) for n in (0, 1)] == [
        [(640, 360)],
        [(320, 180)],
    ]


def jittered(path: npt.NDArray[np.float64], noise_px: float = 0.0) -> npt.NDArray[np.float64]:
    """Landmarks [n, 5, 2] of a face of 100 px from eyes to mouth along a path [n, 2]."""
    face = np.array([[-40, 0], [40, 0], [0, 50], [-30, 100], [30, 100]], np.float64)
    noise = np.random.default_rng(0).normal(0, noise_px, (len(path), 5, 2))
    return face + path[:, None] + noise


def test_a_face_at_rest_does_not_tremble() -> None:
    times_s = np.arange(100) / 25
    found = jittered(np.zeros((100, 2)), noise_px=1.5)
    steady = steadied(times_s, found)
    before, after = (np.abs(np.diff(x, 2, axis=0)).mean() for x in (found, steady))
    assert after < before / 5


def test_a_moving_or_jumping_face_keeps_its_place() -> None:
    """Where a plain mean of seven frames lags by half of the jump."""
    times_s = np.arange(60) / 25
    path = np.zeros((60, 2))
    path[20:, 0] = 80.0
    path[:, 1] = 3.0 * np.arange(60)
    found = jittered(path)
    padded = np.pad(found, ((3, 3), (0, 0), (0, 0)), mode="edge")
    mean = np.stack([padded[i : i + 7].mean(0) for i in range(60)])
    assert np.abs(mean - found).max() > 30
    assert np.abs(steadied(times_s, found) - found).max() < 0.5


def test_uneven_times_and_single_frames_are_steadied_too() -> None:
    times_s = np.cumsum(np.random.default_rng(1).uniform(0.02, 0.09, 50))
    found = jittered(np.outer(times_s, [60.0, -20.0]))
    np.testing.assert_allclose(steadied(times_s, found), found, atol=0.01)
    np.testing.assert_allclose(steadied(times_s[:1], found[:1]), found[:1], atol=1e-4)

"""SyncNet's clock and run_pipeline: grid, tracks, crops, memory; each against a plain version."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import pytest
import python_speech_features
from numpy.typing import NDArray
from syncnet_reference import median_13, overlap

from lipsync_cli.errors import UnreadableMedia
from lipsync_cli.faces.detect import FaceDetection
from lipsync_cli.media.audio import AudioBlock
from lipsync_cli.media.video import VideoFrame
from lipsync_cli.scoring.clip_score import ClipScore
from lipsync_cli.scoring.followed_faces import FollowedFaces
from lipsync_cli.scoring.grid25 import GridSound, PictureGrid
from lipsync_cli.scoring.lse_options import LseOptions
from lipsync_cli.scoring.reference_crop import cut_face
from lipsync_cli.scoring.reference_track import Place, ReferenceTrack, ReferenceTracker

RNG = np.random.default_rng
Boxes = list[NDArray[np.float64]]


def frame_at(pts_s: float, index: int = 0, luma: NDArray[np.uint8] | None = None) -> VideoFrame:
    return VideoFrame(index, pts_s, np.zeros((4, 4), np.uint8) if luma is None else luma)


def shown(pts_s: Sequence[float]) -> list[VideoFrame]:
    grid = PictureGrid()
    frames = [frame_at(t, i) for i, t in enumerate(pts_s)]
    return [f for frame in frames for f in grid.push(frame)] + grid.close()


@pytest.mark.parametrize(
    ("rate", "pictures", "ticks"),
    [(25, 30, 30), (50, 60, 30), (12.5, 20, 40), (30, 60, 50), (24, 48, 50), (29.97, 60, 50)],
)
def test_each_tick_shows_the_nearest_picture(rate: float, pictures: int, ticks: int) -> None:
    pts_s = 3.2 + np.arange(pictures) / rate
    frames = shown(pts_s.tolist())
    late_s = 3.2 + np.arange(len(frames)) / 25 - [frame.pts_s for frame in frames]
    assert len(frames) == ticks
    assert np.abs(late_s).max() <= 0.5 / rate + 1e-6
    assert abs(late_s[: len(late_s) // 2].mean()) < 0.25 / rate + 1e-6


def test_rounded_times_leave_25_hz_alone() -> None:
    pts_s = np.round(np.arange(200) / 25 + RNG(1).uniform(-0.004, 0.004, 200), 3)
    assert [frame.index for frame in shown(pts_s.tolist())] == list(range(200))


def test_a_hole_of_hours_is_a_damaged_timestamp() -> None:
    with pytest.raises(UnreadableMedia, match="no picture for"):
        shown([0.0, 0.04, 5000.0])


def sound_blocks(samples: NDArray[np.int16], t0_s: float) -> Iterator[AudioBlock]:
    for first in range(0, len(samples), 4000):
        part = samples[first : first + 4000].astype(np.float32) / 32768
        yield AudioBlock(t0_s + first / 16000, part)


@pytest.mark.parametrize("early_s", [0.5, 0.0, -0.3])
def test_sound_is_placed_by_its_time(early_s: float) -> None:
    samples = RNG(5).integers(-9000, 9000, 32_000).astype(np.int16)
    sound = GridSound()
    sound.start(7.0)
    for block in sound_blocks(samples, 7.0 - early_s):
        sound.push(block)
    lead = round(early_s * 16000)
    heard = samples[lead:] if lead >= 0 else np.concatenate([np.zeros(-lead, np.int16), samples])
    assert sound.ticks == len(heard) // 640
    whole = python_speech_features.mfcc(heard, 16000).T
    golden = [whole[:, 4 * i : 4 * i + 20] for i in range(10, 13)]
    np.testing.assert_allclose(sound.windows(10, 3, begins=False), golden, atol=1e-9)
    # A clip that begins here is cut out of the sound first.
    cut = python_speech_features.mfcc(heard[10 * 640 :], 16000).T[:, :20]
    np.testing.assert_allclose(sound.windows(10, 1, begins=True)[0], cut, atol=1e-9)
    sound.forget(10)
    np.testing.assert_allclose(sound.windows(10, 3, begins=False), golden, atol=1e-9)


def followed(detections: Sequence[Boxes], max_failed: int = 25) -> list[ReferenceTrack]:
    tracker, ended = ReferenceTracker(max_failed), []
    for tick, boxes in enumerate(detections):
        ended += tracker.expire(tick)
        tracker.push(tick, boxes)
    return ended + tracker.end()


def greedy(detections: Sequence[Boxes], max_failed: int) -> list[list[tuple[int, Any]]]:
    """One track after the other out of what is left, as the reference does."""
    left = [list(boxes) for boxes in detections]
    tracks: list[list[tuple[int, Any]]] = []
    while any(left):
        track: list[tuple[int, Any]] = []
        for tick, boxes in enumerate(left):
            for place, box in enumerate(boxes):
                near = track and tick - track[-1][0] <= max_failed
                if not track or (near and overlap(track[-1][1], box) > 0.5):
                    track.append((tick, boxes.pop(place)))
                    break
        tracks.append(track)
    return tracks


def wandering_faces(frames: int) -> list[Boxes]:
    """Three faces that cross each other's way, missed now and then, in changing order."""
    rng = RNG(11)
    detections: list[Boxes] = []
    for tick in range(frames):
        centres = np.array([[100 + 3 * tick, 100], [400 - 3 * tick, 120], [250, 300]], float)
        sizes = np.array([80, 90 + 20 * np.sin(tick / 9), 60])
        low = centres - sizes[:, None] / 2 + rng.normal(0, 3, (3, 2))
        boxes = np.hstack([low, low + sizes[:, None] * (1, 1.3)])
        keep = rng.random(3) > (0.2, 0.9 if 30 < tick < 50 else 0.3, 0.5)
        detections.append([boxes[i] for i in rng.permutation(3) if keep[i]])
    return detections


@pytest.mark.parametrize("max_failed", [1, 4, 25])
def test_tracks_are_those_of_the_greedy_search(max_failed: int) -> None:
    detections = wandering_faces(120)
    golden = greedy(detections, max_failed)
    assert len(golden) > 3
    found = sorted(followed(detections, max_failed), key=lambda track: track.first)
    assert sorted((t.first, t.last, t.detections) for t in found) == sorted(
        (t[0][0], t[-1][0], len(t)) for t in golden
    )


@pytest.mark.parametrize("length", [1, 4, 12, 13, 40])
def test_places_are_interpolated_and_median_filtered(length: int) -> None:
    rng = RNG(length)
    seen = np.unique(np.r_[0, np.flatnonzero(rng.random(length) > 0.4), length - 1])
    boxes = np.array([100, 80, 180, 190]) + rng.normal(0, 4, (len(seen), 4))
    track, places = ReferenceTrack(50, boxes[0]), list[Place]()
    for tick, box in zip(seen[1:], boxes[1:], strict=True):
        track.see(50 + int(tick), box)
        places += track.take()
        assert track.unsettled == 50 + len(places)
    places += track.end()
    dense = np.stack([np.interp(np.arange(length), seen, side) for side in boxes.T], axis=1)
    wide, high = dense[:, 2] - dense[:, 0], dense[:, 3] - dense[:, 1]
    plain = ((dense[:, 0] + dense[:, 2]) / 2, (dense[:, 1] + dense[:, 3]) / 2)
    golden = [median_13(v) for v in (*plain, np.maximum(wide, high) / 2)]
    assert [place.tick for place in places] == list(range(50, 50 + length))
    np.testing.assert_allclose([place[1:] for place in places], np.array(golden).T, atol=1e-9)
    assert track.face_px == pytest.approx(max(wide.mean(), high.mean()))


@pytest.mark.parametrize(
    "place", [Place(0, 80.3, 60.9, 25.7), Place(0, 12.2, 9.0, 30.5), Place(0, 150.0, 110.0, 90.4)]
)
def test_crop_equals_padding_the_whole_picture(place: Place) -> None:
    picture = RNG(1).integers(0, 256, (120, 160), dtype=np.uint8)
    half, reach = place.half, int(place.half * 1.8)
    pads = ((reach, reach), (reach, reach), (0, 0))
    canvas = np.pad(np.repeat(picture[..., None], 3, 2), pads, constant_values=110)
    x, y = place.x + reach, place.y + reach
    square = canvas[int(y - half) : int(y + half * 1.8), int(x - half * 1.4) : int(x + half * 1.4)]
    if max(square.shape) > 224:
        square = cv2.resize(square, (224, 224))
    np.testing.assert_array_equal(cut_face(frame_at(0.0, luma=picture), place, 0.4), square)


class _NoNetwork:
    """Stands in for SyncNet where only the bookkeeping counts."""

    def embed_lips(self, pictures: NDArray[np.uint8], *, batch: int) -> NDArray[np.float32]:
        return np.zeros((len(pictures) - 4, 1024), np.float32)

    def embed_sound(self, cepstra: NDArray[np.float64], *, batch: int) -> NDArray[np.float32]:
        return np.zeros((len(cepstra), 1024), np.float32)


class _Scripted:
    """A detector that plays back boxes."""

    def __init__(self, detections: Sequence[Boxes]) -> None:
        self._detections = iter(detections)

    def detect(self, luma: NDArray[np.uint8]) -> list[FaceDetection]:
        boxes = next(self._detections)
        return [
            FaceDetection(b.astype(np.float32), 0.9, np.zeros((5, 2), np.float32)) for b in boxes
        ]


def test_memory_does_not_grow_with_the_programme() -> None:
    """Faces that stay, are lost for a second, are too small or stay too briefly."""
    here = np.array([40.0, 30.0, 160.0, 150.0])
    detections = [
        [here] * (tick % 200 >= 30) + [np.array([200.0, 20, 230, 50])] * (tick % 90 < 80)
        for tick in range(430)
    ]
    options, sound = LseOptions(min_track=30), GridSound()
    network: Any = _NoNetwork()
    faces = FollowedFaces(
        lambda tick: ClipScore(network, sound, tick, vshift=15, batch=20),
        _Scripted(detections),
        options,
    )
    sound.start(0.0)
    picture, held = np.zeros((240, 320), np.uint8), []
    for tick in range(len(detections)):
        sound.push(AudioBlock(tick / 25, np.zeros(640, np.float32)))
        faces.push(frame_at(tick / 25, tick, picture))
        faces.advance()
        sound.forget(faces.needs_from)
        waiting = sum(len(face._waiting) for face in faces._faces.values())
        held.append((len(faces._frames), waiting, len(sound._blocks)))
    faces.close()
    sound.closed = True
    faces.advance()
    assert [row.clip.first for row in faces.rows] == [30, 230]
    assert all(row.clip.is_done for row in faces.rows)
    frames, waiting, blocks = np.max(held, axis=0)
    assert frames <= 25 + 6 + 1 and waiting <= 100 and blocks <= 150

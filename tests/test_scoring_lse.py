"""LSE-D, LSE-C and offset: the parts by hand, the whole against an independent evaluation."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from conftest import ClipFactory
from numpy.typing import NDArray
from syncnet_reference import (
    Figures,
    State,
    compare,
    evaluate,
    median_13,
    overlap,
    random_syncnet,
)
from synth import make_clip

from lipsync_cli.errors import MissingStream, UsageError
from lipsync_cli.faces.detect import create_detector
from lipsync_cli.render import render_clip
from lipsync_cli.scoring.distance import Lse, ShiftDistances
from lipsync_cli.scoring.lse import LseOptions, measure_lse
from lipsync_cli.scoring.syncnet import LoadedSyncNet, load_syncnet

RNG = np.random.default_rng


def features(count: int, seed: int) -> NDArray[np.float32]:
    return RNG(seed).normal(0, 0.2, (count, 1024)).astype(np.float32)


def measured(
    lips: NDArray[np.float32], sound: NDArray[np.float32], vshift: int = 15, step: int = 7
) -> ShiftDistances:
    distances = ShiftDistances(vshift)
    for first in range(0, len(lips), step):
        distances.push(lips[first : first + step], sound[first : first + step])
    distances.close()
    return distances


def figures_of(distances: ShiftDistances, *, valid_overlap: bool = False) -> Lse:
    reading = distances.reading(valid_overlap=valid_overlap)
    assert reading is not None
    return reading


def assert_same(found: Lse | Any, golden: Figures) -> None:
    assert found.av_offset == golden.offset
    assert found.lse_d == pytest.approx(golden.lse_d, abs=1e-4)
    assert found.lse_c == pytest.approx(golden.lse_c, abs=1e-4)


@pytest.mark.parametrize(("count", "vshift"), [(16, 15), (31, 15), (60, 15), (40, 4)])
def test_figures_equal_the_plain_computation(count: int, vshift: int) -> None:
    lips, sound = features(count, 1), features(count, 2)
    golden = compare(torch.from_numpy(lips).double(), torch.from_numpy(sound).double(), vshift)
    assert_same(figures_of(measured(lips, sound, vshift)), golden)


def test_audio_delayed_by_five_frames_lowers_the_offset_by_five() -> None:
    """Positive is audio early, so delaying it brings the offset down."""
    said = features(120, 3)
    lips = said[20:100] + features(80, 4) / 4
    early = figures_of(measured(lips, said[23:103]))  # sound comes 3 frames before its picture
    late = figures_of(measured(lips, said[18:98]))
    assert (early.av_offset, late.av_offset) == (3, -2)
    assert early.lse_c > 1 and late.lse_c > 1


def test_zeros_beyond_the_ends_fake_an_offset_which_valid_overlap_does_not() -> None:
    """Unrelated features: no shift is better than another."""
    ends, inside, spread = 0, 0, []
    for seed in range(20):
        distances = measured(features(45, 100 + seed), features(45, 200 + seed))
        biased = figures_of(distances)
        unbiased = figures_of(distances, valid_overlap=True)
        ends += abs(biased.av_offset) >= 14
        inside += abs(unbiased.av_offset) < 14
        spread.append((biased.lse_c, unbiased.lse_c))
    assert ends == 20
    assert inside >= 10
    confident, honest = np.mean(spread, axis=0)
    assert honest < 0.2 * confident


def test_shifts_that_never_overlap_have_no_say() -> None:
    distances = measured(features(5, 1), features(5, 2))
    assert abs(figures_of(distances, valid_overlap=True).av_offset) <= 4


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedSyncNet, State]:
    path = tmp_path_factory.mktemp("syncnet") / "random.model"
    state = random_syncnet(path)
    return load_syncnet(path, torch.device("cpu")), state


def pictures_of(path: Path, pixels: str = "bgr24") -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format=pixels) for frame in file.decode(video=0)]


def sound_of(path: Path) -> NDArray[np.int16]:
    """16 kHz mono of a file whose streams begin together."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=16000)
    parts = []
    with av.open(str(path)) as file:
        for frame in file.decode(audio=0):
            assert parts or frame.pts == 0
            parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
        parts += [part.to_ndarray()[0] for part in resampler.resample(None)]
    samples = np.clip(np.rint(np.concatenate(parts) * 32768), -32768, 32767)
    return samples.astype(np.int16)


def coloured(index: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    coarse = RNG(index).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, size), np.uint8)


def test_whole_pictures_equal_the_independent_evaluation(
    weights: tuple[LoadedSyncNet, State], tmp_path: Path
) -> None:
    path = make_clip(
        tmp_path / "clip.mkv",
        duration_s=0.44,
        size=(160, 120),
        vcodec="ffv1",
        acodec="pcm_s16le",
        sample_rate=16000,
        events_s=(0.04, 0.2, 0.36),
        paint=coloured,
    )
    pictures, samples = pictures_of(path), sound_of(path)
    squashed = np.stack([cv2.resize(picture, (224, 224)) for picture in pictures])
    assert len(pictures) == 11 and np.abs(samples).max() > 8000
    golden = evaluate(weights[1], squashed, samples, vshift=4)
    told: list[float] = []
    options = LseOptions(protocol="lrs", vshift=4, valid_overlap=True, batch=5)
    found = measure_lse(path, weights[0], options, progress=told.append)
    assert_same(found, golden)
    (track,) = found.tracks
    assert (track.frames, track.start_s, track.box) == (11, 0.0, None)
    assert found.valid_overlap is not None and found.valid_overlap["lse_d"] > found.lse_d
    assert told == sorted(told) and 0.5 < told[-1] <= 1.0


def independent_crops(path: Path) -> NDArray[np.uint8]:
    """The reference's crops of a face that is found in every picture."""
    pictures, detector, boxes = pictures_of(path), create_detector(), []
    for planes in pictures_of(path, "yuv420p"):
        (face,) = detector.detect(planes[: len(pictures[0])])
        boxes.append(face.box.astype(np.float64))
    assert all(overlap(a, b) > 0.5 for a, b in pairwise(boxes))
    x0, y0, x1, y1 = np.array(boxes).T
    half = median_13(np.maximum(y1 - y0, x1 - x0) / 2)
    xs, ys = median_13((x0 + x1) / 2), median_13((y0 + y1) / 2)
    crops = []
    for picture, x, y, s in zip(pictures, xs, ys, half, strict=True):
        pad = int(s * 1.8)
        canvas = np.pad(picture, ((pad, pad), (pad, pad), (0, 0)), constant_values=110)
        top, bottom = int(y + pad - s), int(y + pad + s * 1.8)
        left, right = int(x + pad - s * 1.4), int(x + pad + s * 1.4)
        crops.append(cv2.resize(canvas[top:bottom, left:right], (224, 224)))
    return np.stack(crops)


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("talking") / "talking.mp4"
    render_clip(path, duration_s=0.56, size=256, seed=3)
    return path


def test_followed_face_equals_the_independent_evaluation(
    weights: tuple[LoadedSyncNet, State], talking: Path
) -> None:
    golden = evaluate(weights[1], independent_crops(talking), sound_of(talking), vshift=3)
    found = measure_lse(talking, weights[0], LseOptions(vshift=3, min_track=13))
    (track,) = found.tracks
    assert (track.frames, track.start_s, found.protocol) == (14, 0.0, "tracked")
    assert_same(found, golden)
    assert (track.lse_d, track.lse_c) == (found.lse_d, found.lse_c)
    assert track.box is not None and 100 < track.box[3] - track.box[1] < 200


def test_no_row_without_a_reason(weights: tuple[LoadedSyncNet, State], talking: Path) -> None:
    brief = measure_lse(talking, weights[0])
    assert brief.lse_d is None and brief.tracks == ()
    assert brief.reason is not None and "more than 100 frames" in brief.reason
    small = measure_lse(talking, weights[0], LseOptions(min_track=5, min_face_px=400))
    assert small.reason is not None and "larger than 400 px" in small.reason


def test_flashes_hold_no_face(weights: tuple[LoadedSyncNet, State], clip: ClipFactory) -> None:
    assert measure_lse(clip(duration_s=1.0), weights[0]).reason == "no face found"


@pytest.mark.parametrize("missing", ["pictures", "sound"])
def test_five_frames_are_too_few(
    weights: tuple[LoadedSyncNet, State], clip: ClipFactory, missing: str
) -> None:
    cut: dict[str, Any] = {"duration_s": 0.2}
    if missing == "sound":
        cut = {"duration_s": 0.48, "audio_hole_s": (0.2, 9.0)}
    path = clip(".mkv", acodec="pcm_s16le", **cut)
    found = measure_lse(path, weights[0], LseOptions(protocol="lrs"))
    assert found.lse_d is None and found.tracks == ()
    assert found.reason is not None and "fewer than 6 frames" in found.reason


def test_no_sound_is_an_error(weights: tuple[LoadedSyncNet, State], clip: ClipFactory) -> None:
    with pytest.raises(MissingStream):
        measure_lse(clip(duration_s=1.0, acodec=None), weights[0])


def test_other_rates_are_said(weights: tuple[LoadedSyncNet, State], clip: ClipFactory) -> None:
    path = clip(fps=30, duration_s=0.4, vcodec="mpeg4")
    found = measure_lse(path, weights[0], LseOptions(protocol="lrs", vshift=2))
    assert found.tracks[0].frames == 10
    assert any("30.00 pictures a second" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    "wrong", [{"protocol": "best"}, {"vshift": 0}, {"batch": 0}, {"max_failed": -1}]
)
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        replace(LseOptions(), **wrong)


@pytest.mark.real
def test_real_clip(weights: tuple[LoadedSyncNet, State], shared: Path) -> None:
    path = min((shared / "clips" / "val").glob("*.mp4"))
    pictures, samples = pictures_of(path), sound_of(path)
    squashed = np.stack([cv2.resize(picture, (224, 224)) for picture in pictures])
    golden = evaluate(weights[1], squashed, samples, vshift=15)
    found = measure_lse(path, weights[0], LseOptions(protocol="lrs"))
    assert_same(found, golden)

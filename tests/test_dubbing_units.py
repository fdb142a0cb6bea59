"""Footage keeps its true times on the way to units; speech knows where it rests."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import ClipFactory

from lipsync_cli.dubbing.footage import cache as footage_cache
from lipsync_cli.dubbing.footage.cache import cached_scan, load, prune, save
from lipsync_cli.dubbing.footage.looks import LOOKS, POSE, looks, poses, thumbnails
from lipsync_cli.dubbing.footage.people import Person, choose_person, matching, people
from lipsync_cli.dubbing.footage.scan import FaceTrack, Footage, scan
from lipsync_cli.dubbing.job import Job
from lipsync_cli.dubbing.mouths.units import collect, frame_step_s
from lipsync_cli.dubbing.options import DubOptions
from lipsync_cli.dubbing.speech import LEVEL_RATE, LoudnessMeter, Speech, hear, resting
from lipsync_cli.errors import NotTrustworthy, UsageError
from lipsync_cli.faces.stream import TrackChunk
from lipsync_cli.media.audio import AudioBlock
from lipsync_cli.render import render_clip
from lipsync_cli.sync.evidence import LagEvidence
from lipsync_cli.sync.model_file import LoadedModel, load_model
from lipsync_cli.training.dub.judge import judged
from lipsync_cli.weights import locate

FPS = 25
EARLY_MS = 120.0


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model(locate("sync"), torch.device("cpu"))


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face whose sound is early by a known time."""
    path = tmp_path_factory.mktemp("talking") / "talking.mp4"
    render_clip(path, duration_s=4.0, size=192, audio_offset_ms=EARLY_MS, seed=3)
    return path


@pytest.fixture(scope="module")
def seen(talking: Path, model: LoadedModel) -> tuple[Footage, npt.NDArray[np.uint8]]:
    """The talking face's footage and its mouth crops."""
    chunks: list[TrackChunk] = []
    footage = scan(talking, model, on_chunk=chunks.append)
    return footage, np.concatenate([c.mouths for c in chunks])


def test_every_frame_keeps_its_time_and_gets_its_embedding(
    seen: tuple[Footage, npt.NDArray[np.uint8]], model: LoadedModel
) -> None:
    footage, crops = seen
    (track,) = footage.tracks
    np.testing.assert_allclose(track.pts_s, np.arange(len(track.pts_s)) / FPS, atol=1e-6)
    assert len(track.pts_s) >= 4 * FPS - 3
    with torch.inference_mode():
        rows = model.module.embed_visual(torch.from_numpy(crops)[None])[0].numpy()
    np.testing.assert_allclose(track.embeddings[5:-5], rows, atol=2e-3)
    assert track.known[5:-5].all()
    assert not track.known[:5].any() and not track.known[-5:].any()
    blocks = crops.reshape(-1, 16, 4, 16, 4).mean((2, 4)).reshape(-1, 256)
    np.testing.assert_allclose(track.thumbnails, blocks, atol=0.51)


def test_speech_and_mouths_meet_on_one_clock(
    seen: tuple[Footage, npt.NDArray[np.uint8]], talking: Path, model: LoadedModel
) -> None:
    """The sound is 120 ms early: mouths fit the sound of 120 ms before."""
    (track,) = seen[0].tracks
    mouths = track.embeddings.astype(np.float32)

    def fit(speech: Speech, lag_s: float) -> float:
        asked, known = speech.at(track.pts_s - lag_s)
        both = known & track.known
        return float((asked * mouths).sum(1)[both].mean())

    lags_s = np.arange(-0.3, 0.31, 0.02)
    plain, later = hear(talking, model), hear(talking, model, delay_s=0.1)
    assert lags_s[np.argmax([fit(plain, t) for t in lags_s])] == pytest.approx(0.12, abs=0.041)
    assert lags_s[np.argmax([fit(later, t) for t in lags_s])] == pytest.approx(0.02, abs=0.041)


def test_the_one_who_speaks_is_found(
    seen: tuple[Footage, npt.NDArray[np.uint8]], model: LoadedModel
) -> None:
    (person,) = people(seen[0], model)
    assert person.speaks is not None and person.speech_s > 0
    assert choose_person((person,), "speaker") is person
    assert person.seconds == pytest.approx(4.0, abs=0.2)


def test_footage_without_sound(clip: ClipFactory, model: LoadedModel) -> None:
    footage = scan(clip(acodec=None, duration_s=1.0), model)
    assert not footage.has_sound and footage.tracks == ()


def a_track(
    pts_s: npt.ArrayLike, *, track: int = 0, source: int = 0, face: int = 0, x: float = 100.0
) -> FaceTrack:
    """A track of noise on a face's own pattern; odd frames open the mouth."""
    pts = np.asarray(pts_s, np.float64)
    n, rng = len(pts), np.random.default_rng(track)
    pattern = np.random.default_rng(100 + face).integers(90, 200, (16, 16))
    crops = np.kron(pattern, np.ones((4, 4))) + rng.normal(0, 4, (n, 64, 64))
    crops[1::2, 26:34, 22:42] = 20
    grey = np.clip(crops, 0, 255).astype(np.uint8)
    marks = np.array([[-20, -20], [20, -20], [0, 0], [-15, 20], [15, 20]], np.float32) + x
    box = np.array([x - 40, x - 50, x + 40, x + 50], np.float32)
    return FaceTrack(
        source=source,
        track=track,
        pts_s=pts,
        boxes=np.tile(box, (n, 1)),
        landmarks=np.tile(marks, (n, 1, 1)),
        embeddings=np.tile(np.eye(1, 256, dtype=np.float16), (n, 1)),
        known=np.ones(n, np.bool_),
        thumbnails=thumbnails(grey),
        looks=looks(grey),
        quiet=np.zeros(n, np.bool_),
        frame_size=(640, 360),
        evidence=None,
    )


def footage_of(*tracks: FaceTrack) -> Footage:
    return Footage(Path("video.mp4"), 0, tracks, 0.0, 10.0, False)


@pytest.mark.parametrize(
    ("pts_s", "rate"),
    [
        (np.arange(200) / 30, 25.0),
        (np.arange(200) / 24, 30.0),
        (np.cumsum(np.random.default_rng(0).uniform(0.02, 0.05, 200)), 29.97),
    ],
)
def test_footage_of_other_rates_plays_at_its_own_speed(
    pts_s: npt.NDArray[np.float64], rate: float
) -> None:
    units = collect([a_track(pts_s)], 1 / rate)
    np.testing.assert_allclose(np.diff(units.time_s), 1 / rate)
    assert np.abs(units.pts_s - units.time_s).max() <= np.diff(pts_s).max() / 2 + 1e-9
    assert np.isin(units.pts_s, pts_s).all()
    assert units.time_s[-1] == pytest.approx(pts_s[-1], abs=1 / rate)
    assert units.follows[:-1].all() and not units.follows[-1]


def test_rounded_timestamps_do_not_drift() -> None:
    """Milliseconds of 29.97 Hz: 33, 33, 34; no frame may be skipped or shown twice."""
    pts_s = np.round(np.arange(900) / 29.97, 3)
    track = a_track(pts_s)
    assert np.median(np.diff(pts_s)) == pytest.approx(0.033)  # a drift of a frame in 3 s
    units = collect([track], frame_step_s([track]))
    np.testing.assert_array_equal(units.pts_s, pts_s)


def test_smeared_covered_and_sideways_frames_are_not_usable() -> None:
    track = a_track(np.arange(400) / FPS)
    thumbs, seen, marks = track.thumbnails.copy(), track.looks.copy(), track.landmarks.copy()
    seen[50:55, LOOKS.index("sharpness")] *= 0.3
    thumbs[100:105] = thumbs[100:105, ::-1]
    marks[150:155, 2, 0] += 20
    spoilt = replace(track, thumbnails=thumbs, looks=seen, landmarks=marks)
    bad = np.flatnonzero(~collect([spoilt], 1 / FPS).usable)
    np.testing.assert_array_equal(bad, [*range(50, 55), *range(100, 105), *range(150, 155)])
    assert collect([track], 1 / FPS).usable.all()


def test_open_mouths_are_told_from_closed_ones() -> None:
    units = collect([a_track(np.arange(60) / FPS)], 1 / FPS)
    assert units.opening[1::2].min() > units.opening[::2].max()
    assert units.opening[::2].min() == 0.0


def test_pose_ignores_where_how_large_and_how_tilted_a_face_is() -> None:
    marks = np.array([[-20, -20], [20, -20], [6, 4], [-15, 20], [15, 20]], np.float64)
    tilt = np.deg2rad(25)
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    plain, moved = poses(np.stack([marks, 3 * marks @ turn.T + 500]))
    still = [POSE.index(name) for name in ("yaw", "pitch", "aspect")]
    np.testing.assert_allclose(moved[still], plain[still], atol=1e-5)
    assert plain[POSE.index("yaw")] == pytest.approx(6 / 40)
    assert moved[POSE.index("roll")] == pytest.approx(tilt, abs=1e-5)
    assert moved[POSE.index("size")] - plain[POSE.index("size")] == pytest.approx(np.log2(3))


def test_shots_of_one_person_are_linked_and_two_people_are_not(model: LoadedModel) -> None:
    first, again = a_track(np.arange(100) / FPS), a_track(6 + np.arange(100) / FPS, track=2)
    other = a_track(np.arange(100) / FPS, track=1, face=1, x=300.0)
    twin = a_track(np.arange(100) / FPS, track=3, x=500.0)
    found = people(footage_of(first, other, again), model)
    assert [[t.track for t in p.tracks] for p in found] == [[0, 2], [1]]
    assert len(people(footage_of(first, twin), model)) == 2  # alike, but both in view
    elsewhere = people(footage_of(other, a_track(np.arange(50) / 30, source=1)), model)
    match = matching(elsewhere, found[0])
    assert match is not None and match.tracks[0].source == 1
    assert matching((found[1],), found[0]) is None


def test_the_face_to_dub_is_chosen_by_name() -> None:
    def person(index: int, seconds: float, size: float, speaks: float | None) -> Person:
        return Person(index, (), seconds, size, speaks, 5.0 * (speaks or 0))

    crowd = person(0, 10, 0.1, 0.2), person(1, 10, 0.3, 0.1), person(2, 4, 0.1, 0.9)
    chosen: Callable[[str], int] = lambda face: choose_person(crowd, face).index  # noqa: E731
    assert [chosen("speaker"), chosen("largest"), chosen("0")] == [2, 1, 0]
    assert choose_person(crowd[:2], "speaker").index == 1  # nobody speaks: the largest
    for wrong in ("3", "-1", "left"):
        with pytest.raises(UsageError, match="there is no face"):
            chosen(wrong)
    with pytest.raises(NotTrustworthy):
        choose_person((), "speaker")


def level(*stretches: tuple[float, float]) -> npt.NDArray[np.float32]:
    """(seconds, dB) one after the other."""
    parts = [np.full(round(s * LEVEL_RATE), db, np.float32) for s, db in stretches]
    return np.concatenate(parts)


def test_pauses_rest_and_plosives_do_not() -> None:
    rests = resting(level((1, -20), (0.2, -70), (1, -22), (0.8, -70), (1, -20)))
    silent_s = np.flatnonzero(rests) / LEVEL_RATE
    # The mouth closes a little after the sound and opens before the next.
    assert silent_s.min() == pytest.approx(2.2 + 0.06, abs=0.04)
    assert silent_s.max() == pytest.approx(3.0 - 0.12, abs=0.04)
    assert len(silent_s) == round((silent_s.max() - silent_s.min()) * LEVEL_RATE) + 1


def test_a_room_rests_and_music_does_not() -> None:
    room = np.random.default_rng(0).normal(-52, 1.5, 100).astype(np.float32)
    rests = resting(np.concatenate([level((1, -20)), room, level((1, -20))]))
    assert rests[120:180].all() and not rests[:100].any()
    assert not resting(level((3, -20))).any()
    assert resting(level((3, -90))).all()
    click = level((1, -20), (0.5, -80), (0.02, -20), (0.5, -80), (1, -20))
    assert resting(click)[110:190].all()


def test_loudness_is_placed_by_time() -> None:
    meter = LoudnessMeter()
    assert meter.loudness() is None
    tone = (0.5 * np.sin(np.arange(16_000) * 0.4)).astype(np.float32)
    samples = np.concatenate([tone, np.zeros(16_000, np.float32), tone])
    for start in range(0, len(samples), 3333):
        meter.push(AudioBlock(7.0 + start / 16_000, samples[start : start + 3333]))
    heard = meter.loudness()
    assert heard is not None and heard.t0_s == 7.0
    times_s = np.array([6.9, 7.5, 8.5, 9.5, 10.2])
    assert heard.silent_at(times_s).tolist() == [True, False, True, False, True]


def test_footage_is_looked_at_once(
    talking: Path, model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy under another name is known; a damaged record is made anew."""
    looked: list[Path] = []

    def counted(path: Path, *args: object, **kwargs: object) -> Footage:
        looked.append(path)
        return footage_of(replace(a_track(np.arange(30) / FPS), evidence=evidence))

    monkeypatch.setattr(footage_cache, "scan", counted)
    evidence = LagEvidence(*(np.ones((1, 3), np.float32) for _ in fields(LagEvidence)))
    kept, copy = tmp_path / "kept", tmp_path / "copy.mp4"
    copy.write_bytes(talking.read_bytes())
    first = cached_scan(talking, model, kept, model_id="m")
    again = cached_scan(copy, model, kept, model_id="m", source=2)
    assert looked == [talking] and again.path == copy
    assert again.source == again.tracks[0].source == 2
    for name in ("pts_s", "embeddings", "thumbnails", "known", "frame_size"):
        before, after = getattr(first.tracks[0], name), getattr(again.tracks[0], name)
        np.testing.assert_array_equal(after, before)
    np.testing.assert_array_equal(again.tracks[0].evidence.scores, evidence.scores)
    cached_scan(talking, model, kept, model_id="other")
    (record,) = kept.glob("*.m.*")
    record.write_bytes(record.read_bytes()[:500])
    cached_scan(talking, model, kept, model_id="m")
    assert looked == [talking] * 3
    assert not list(kept.glob("*.part"))
    # A file where the folder should be: nothing is kept, and nothing fails.
    assert cached_scan(talking, model, copy, model_id="m").tracks
    assert looked == [talking] * 4


def test_the_next_dub_of_a_video_does_not_look_again(
    talking: Path, model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []

    def counted(path: Path, *args: object, **kwargs: object) -> Footage:
        looked.append(path)
        return footage_of(a_track(np.arange(30) / FPS))

    monkeypatch.setattr(footage_cache, "scan", counted)
    for name in ("french.mp4", "spanish.mp4"):
        options = DubOptions(cache=tmp_path / "kept")
        Job(talking, talking, tmp_path / name, options, False, None).scan(talking, model)
    assert looked == [talking]


def test_findings_that_were_not_read_for_longest_go_first(tmp_path: Path) -> None:
    records = [tmp_path / f"{name}.npz" for name in "abcd"]
    for age, record in enumerate(records):
        save(footage_of(a_track(np.arange(30) / FPS)), record)
        os.utime(record, (1000 - age, 1000 - age))
    assert load(records[3]) is not None  # the oldest, but just read
    prune(tmp_path, 3 * records[0].stat().st_size)
    assert [record.exists() for record in records] == [True, True, False, True]


class _BrightnessJudge:
    """Mouths as bright as their sound is loud belong together."""

    def load_net(self) -> None:
        return None

    def log_mel(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.abs(samples).reshape(-1, 160).mean(1).astype(np.float32)

    def lag_matrix(
        self, net: None, mouths: npt.NDArray[np.uint8], mel: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        bright = mouths.mean((1, 2)) / 255
        loud = np.pad(mel[::4], 15, constant_values=np.nan)
        lags = [loud[k : k + len(bright)] for k in range(31)]
        return -np.abs(np.stack(lags, 1) - bright[:, None]).astype(np.float32)


@pytest.mark.parametrize("late", [-3, 0, 4])
def test_a_judge_sees_each_mouth_at_its_time(late: int) -> None:
    """Pictures at 50 Hz, sound whose file begins before them and that is late by some frames."""
    levels = np.random.default_rng(0).uniform(0.1, 1, 220)
    pts_s = 5.0 + np.arange(400) * 0.02
    mouths = np.kron((levels[10:210] * 255)[:, None, None], np.ones((2, 64, 64))).astype(np.uint8)
    sound = np.repeat(levels, 640).astype(np.float32)
    found = judged(_BrightnessJudge(), None, mouths, pts_s, sound, 5.0 - 0.4 + late / 25)
    assert found.own == late
    assert len(found.windows) > 0 and (found.windows == late).all()
    assert found.centred().own == 0 and found.height(late) > 0.2 > found.height(late + 2)

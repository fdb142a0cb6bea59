"""Old lips that stay: where they have to, how they fade, and that it is said."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.io import wavfile
from test_dubbing_compose import FACE, turned
from test_dubbing_units import a_track

import lipsync_cli.dub
from lipsync_cli.dub import DubOptions, dub_video
from lipsync_cli.dubbing.compositing.gate import Gate
from lipsync_cli.dubbing.compositing.kept import Ledger, in_words
from lipsync_cli.dubbing.compositing.showing import Cuts, plan_showing
from lipsync_cli.dubbing.footage.covered import covered
from lipsync_cli.dubbing.footage.face_path import FacePath
from lipsync_cli.dubbing.mouths.slots import Window
from lipsync_cli.media.encoders import EncoderOptions
from lipsync_cli.media.pictures import Shown
from lipsync_cli.media.planes import duplicate, samples
from lipsync_cli.media.rewrite import rewrite
from lipsync_cli.render import render_clip
from lipsync_cli.render.speech import speak
from lipsync_cli.render.voice import SAMPLE_RATE, synthesise
from lipsync_cli.sheet import LABEL_PX, TILE

FPS, SIZE, SECONDS = 25, 128, 5.0
AWAY_S, COVERED_S = (1.2, 2.6), (3.4, 4.2)
SILENT_S = (1.0, 2.6)
LOSSLESS = EncoderOptions(lossless=True, threads=1)
# Where the rendered mouth is, in a picture of 128 rows, and what is dark in it.
MOUTH, DARK = (slice(62, 90), slice(44, 84)), 90
Pictures = NDArray[np.uint8]


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("talking") / "talking.mp4"
    return render_clip(path, duration_s=SECONDS, size=SIZE, seed=3).path


@pytest.fixture(scope="module")
def paused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other words, with a pause in their midst."""
    sound = synthesise(speak(4.0, 11)).copy()
    sound[round(SILENT_S[0] * SAMPLE_RATE) : round(SILENT_S[1] * SAMPLE_RATE)] = 0
    return saved(sound, tmp_path_factory.mktemp("speech") / "paused.wav")


def saved(sound: NDArray[np.float32], path: Path) -> Path:
    wavfile.write(path, SAMPLE_RATE, (np.clip(sound, -1, 1) * 32767).astype(np.int16))
    return path


def luma(path: Path) -> Pictures:
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="gray") for f in container.decode(video=0)])


def frames(span_s: tuple[float, float]) -> slice:
    return slice(round(span_s[0] * FPS), round(span_s[1] * FPS))


def hidden(picture: av.VideoFrame, pts_s: float) -> av.VideoFrame:
    """Nothing but grey for a while, later a grey hand before the mouth."""
    if AWAY_S[0] <= pts_s < AWAY_S[1]:
        rows, columns = (0.0, 1.0), (0.0, 1.0)
    elif COVERED_S[0] <= pts_s < COVERED_S[1]:
        rows, columns = (0.55, 1.0), (0.2, 0.6)
    else:
        return picture
    copy = duplicate(picture)
    for view, level in zip(samples(copy), (90, 128, 128), strict=True):
        high, wide = view.shape
        top, bottom = (round(share * high) for share in rows)
        left, right = (round(share * wide) for share in columns)
        view[top:bottom, left:right] = level
    return copy


def test_hidden_mouths_stay_and_it_is_said(talking: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "hidden.mp4", tmp_path / "out.mp4"
    speech = saved(synthesise(speak(SECONDS, 11)), tmp_path / "speech.wav")
    rewrite(talking, source, hidden, video=LOSSLESS)
    options = DubOptions(engine="rewrite", verify=False, video=LOSSLESS)
    result = dub_video(source, speech, target, options=options)
    changed = (luma(source) != luma(target)).any((1, 2))
    away, under = frames(AWAY_S), frames(COVERED_S)
    assert not changed[away].any() and not changed[under].any()
    # Close to both the lips are new.
    for first, last in ((away.start - 8, away.start), (away.stop, under.start - 3)):
        assert changed[first:last].mean() > 0.5
    assert changed[under.stop + 3 : -8].mean() > 0.5
    assert result.kept_s["lost"] == pytest.approx(1.4, abs=0.1)
    assert result.kept_s["covered"] == pytest.approx(0.8 + 0.2, abs=0.15)
    (said,) = (each for each in result.warnings if "old lips" in each)
    assert re.search(r"not in view 1\.[45] s, covered (0\.9|1\.[01]) s$", said)


class Copier:
    """A generator that draws what it is shown as a reference."""

    size = 96

    def generate(self, target: Any, reference: Any, mel: Any) -> Any:
        return reference.copy()


def opening(pictures: Pictures) -> NDArray[np.float64]:
    """Share of the mouth's place that is as dark as its inside, for each picture."""
    return (pictures[:, *MOUTH] < DARK).mean((1, 2))


@pytest.mark.parametrize("engine", ["rewrite", "wav2lip"])
def test_mouths_rest_while_the_speech_pauses(
    engine: Any, talking: Path, paused: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lipsync_cli.dub, "load_generator", lambda *_: Copier())
    target, sheet = tmp_path / "out.mp4", tmp_path / "sheet.png"
    options = DubOptions(
        engine=engine,
        generator=tmp_path / "any.pth",
        verify=False,
        end_s=4.0,
        video=LOSSLESS,
        sheet=sheet if engine == "wav2lip" else None,
    )
    result = dub_video(talking, paused, target, options=options)
    before, after = luma(talking), luma(target)
    # A quarter of a second for the lips to close.
    pause = frames((SILENT_S[0] + 0.25, SILENT_S[1] - 0.2))
    talked, rested = opening(before)[pause], opening(after)[pause]
    assert talked.std() > 0.015  # the original talks on
    assert rested.var() < 0.05 * talked.var()
    assert rested.mean() < 0.3 * talked.mean()
    assert not any("old lips" in each for each in result.warnings)
    if engine == "wav2lip":
        check_sheet(sheet, before, after)
        assert result.sheet == str(sheet)


def check_sheet(path: Path, before: Pictures, after: Pictures) -> None:
    """Four moments: source, dub, what changed, and by how much."""
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    rows = [picture[y : y + TILE] for y in row_tops(picture)]
    assert len(rows) == 4
    columns = np.concatenate(
        [np.arange(28 + k * (TILE + 8), 28 + k * (TILE + 8) + TILE) for k in range(4)]
    )
    source, dub, mask, enlarged = (row[:, columns] for row in rows)
    differs = np.abs(dub - source).max(-1) > 6
    assert 200 < differs.sum() < 0.2 * differs.size
    assert (mask[differs] == 255).all()
    np.testing.assert_array_equal(enlarged, np.clip(128 + 8 * (dub - source), 0, 255))


def row_tops(picture: NDArray[np.int_]) -> list[int]:
    """Where rows of tiles begin: below each label."""
    return [picture.shape[0] - 28 - k * (TILE + LABEL_PX) - TILE for k in reversed(range(4))]


def track_faces(*spans_s: tuple[float, float]) -> FacePath:
    tracks = [
        a_track(np.arange(round(low * FPS), round(high * FPS)) / FPS, track=i)
        for i, (low, high) in enumerate(spans_s)
    ]
    return FacePath(tracks, 10.0)


WINDOW = Window(0.0, 10.0, 10.0)


def test_lips_fade_where_a_face_is_lost_and_not_at_cuts() -> None:
    faces = track_faces((0.0, 3.0), (5.0, 7.0), (7.08, 10.0))
    lost = plan_showing(faces, WINDOW, (0.0, 10.0))
    ends_s = np.array([2.8, 2.92, 2.96, 3.0, 3.1])
    weights = [lost.at(t)[0] for t in ends_s]
    assert weights[0] == 1 and weights[-1] == 0
    assert sorted(weights, reverse=True) == weights and len(set(weights)) == len(weights)
    assert lost.at(4.0) == (0.0, "lost") and lost.at(3.02)[1] == "lost"
    assert 0 < lost.at(5.0)[0] < 1  # and come back likewise
    # One track follows another: a cut. Neither do the ends of the programme fade.
    assert {lost.at(t)[0] for t in (0.0, 6.95, 7.0, 7.04, 7.1, 9.99)} == {1.0}
    cut = plan_showing(faces, WINDOW, (0.0, 10.0), cuts=Cuts((3.04,), (4.96,)))
    assert cut.at(2.96)[0] == cut.at(5.0)[0] == 1
    assert cut.at(4.0) == (0.0, "lost")


def test_lips_fade_where_the_speech_ends_before_the_picture() -> None:
    faces = track_faces((0.0, 10.0))
    shown = plan_showing(faces, WINDOW, (0.0, 4.0))
    assert shown.at(3.8) == (1.0, None)
    assert 0 < shown.at(3.95)[0] < 1 and shown.at(4.01) == (0.0, None)
    assert plan_showing(faces, WINDOW, (0.0, 10.0)).at(9.98) == (1.0, None)


def test_repeated_pictures_are_judged_by_the_time_they_come_from() -> None:
    looped = Window(0.0, 10.0, 20.0, "loop")
    shown = plan_showing(track_faces((0.0, 3.0), (6.0, 10.0)), looped, (0.0, 20.0))
    assert shown.at(11.0) == (1.0, None) and shown.at(14.5) == (0.0, "lost")


def test_only_lasting_covers_of_the_usual_pose_count() -> None:
    track = a_track(np.arange(250) / FPS)
    thumbs, marks = track.thumbnails.copy(), track.landmarks.copy()
    strange = np.random.default_rng(5).integers(90, 200, 256).astype(np.uint8)
    thumbs[50:75] = thumbs[100:103] = thumbs[150:175] = strange
    marks[150:175, 2, 0] += 8  # turned away, not covered
    flags = covered(replace(track, thumbnails=thumbs, landmarks=marks))
    assert flags[50:75].all() and not flags[:45].any() and not flags[80:].any()
    assert not covered(track).any()


def test_the_gate_says_what_kept_the_old_lips() -> None:
    gate = Gate()
    assert gate.weight(0.0, FACE) == 1 and gate.last is not None and gate.last.reason is None
    for residual, face, reason in ((0.5, FACE, "covered"), (0.0, turned(0.42), "turned")):
        gate.reset()
        assert gate.weight(1.0, face, residual=residual) == 0
        assert gate.last is not None and gate.last.reason == reason
    # It comes back slowly, and until half of it is there the reason stays.
    reasons = []
    for i in range(1, 12):
        gate.weight(1.0 + i / FPS, FACE)
        reasons.append((gate.last.weight >= 0.5, gate.last.reason))
    assert (False, "turned") in reasons and (True, None) in reasons
    assert set(reasons) == {(False, "turned"), (True, None)}
    away = Gate(planned=lambda t: (0.0, "lost"))
    assert away.weight(0.0, FACE) == 0 and away.last is not None and away.last.reason == "lost"


def test_seconds_are_those_of_the_pictures() -> None:
    """Variable frame rate: long pictures count for longer."""
    times_s = [0.0, 0.04, 0.5, 0.54, 1.0]
    shown = plan_showing(track_faces((0.3, 10.0)), WINDOW, (0.0, 10.0))

    def pictures() -> Iterator[Shown]:
        for i, time_s in enumerate(times_s):
            frame = av.VideoFrame(16, 16, "gray")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            yield Shown(frame, i, 1, time_s, frame)

    nothing: Callable[[Iterator[Shown]], Iterator[Shown]] = lambda each: each  # noqa: E731
    ledger = Ledger(nothing, Gate(), track_faces((0.3, 10.0)), shown, lambda _: True)
    assert [each.pts_s for each in ledger(pictures())] == times_s
    assert ledger.kept_s == pytest.approx({"lost": 0.5, "silent": 0.96})
    assert ledger.moments == []


def test_what_is_said_of_them() -> None:
    assert in_words({"silent": 3.0}) == in_words({"turned": 0.1}) == ()
    (said,) = in_words({"silent": 3.0, "turned": 1.25, "lost": 0.1})
    assert said.startswith("4.2 s of the speech kept the old lips")
    assert "turned away 1.2 s" in said and "not in view" not in said

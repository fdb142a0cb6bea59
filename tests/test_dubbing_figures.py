"""Figures of dubbed files: each sees what it is for, and nothing else."""

from __future__ import annotations

import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from test_dubbing_canvas import face_at

from lipsync_cli.dubbing.compositing.warp import blur
from lipsync_cli.dubbing.footage.face_path import StillFace
from lipsync_cli.dubbing.job import GATHER, HEAR, SCAN, WRITE
from lipsync_cli.training.dub.coverage import Dub, fitted, refitted
from lipsync_cli.training.dub.files import stages_of, write_silence
from lipsync_cli.training.dub.judge import Verdict
from lipsync_cli.training.dub.pictures import PictureFigures, compare, figures
from lipsync_cli.training.dub.table import lines, summary

Pictures = npt.NDArray[np.uint8]
SIDE, FRAMES, FPS, SCALE = 160, 24, 25, 36.0
MOUTH = (80.0, 95.0)
JOIN = 12


def grain() -> Pictures:
    """Grain that drifts by a px a frame, and a mouth that opens and closes: [n, 160, 160]."""
    rng = np.random.default_rng(0)
    wide = 128 + 60 * blur(rng.normal(0, 1, (SIDE, SIDE + FRAMES)).astype(np.float32), 1.0)
    pictures = np.stack([wide[:, i : i + SIDE] for i in range(FRAMES)]).astype(np.uint8)
    y, x = np.mgrid[:SIDE, :SIDE]
    for number, picture in enumerate(pictures):
        height = 4 + 3 * np.sin(number / 3)
        picture[np.hypot((x - MOUTH[0]) / 10, (y - MOUTH[1]) / height) < 1] = 10
    return pictures


def written(path: Path, pictures: Pictures) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=FPS, options={"level": "3"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame(SIDE, SIDE, "yuv420p")
            for plane, value in zip(frame.planes, (0, 128, 128), strict=True):
                np.frombuffer(memoryview(plane), np.uint8)[:] = value
            luma = np.frombuffer(memoryview(frame.planes[0]), np.uint8)
            luma.reshape(SIDE, -1)[:, :SIDE] = picture
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def lower() -> npt.NDArray[np.bool_]:
    y, x = np.mgrid[:SIDE, :SIDE]
    inside = np.hypot((x - MOUTH[0]) / 0.8, y - MOUTH[1] - 5) < 0.75 * SCALE
    return np.asarray(inside, np.bool_)


def softened(pictures: Pictures) -> Pictures:
    soft = np.stack([blur(p.astype(np.float32), 1.5) for p in pictures])
    return np.where(lower(), soft, pictures).astype(np.uint8)


def jumping(pictures: Pictures) -> Pictures:
    """Other grain from the middle on."""
    swapped = pictures.copy()
    swapped[JOIN:, lower()] = pictures[JOIN:, ::-1][:, lower()]
    return swapped


def shaking(pictures: Pictures) -> Pictures:
    sign = (-1.0) ** np.arange(FRAMES)[:, None, None]
    return np.where(lower(), pictures + 12 * sign, pictures).astype(np.uint8)


def resting(pictures: Pictures) -> Pictures:
    """The first mouth throughout."""
    return np.where(lower(), pictures[:1], pictures)


def brightened(pictures: Pictures) -> Pictures:
    return np.where(lower(), pictures, pictures + 5).astype(np.uint8)


def measured(tmp_path: Path, edit: Callable[[Pictures], Pictures] | None) -> PictureFigures:
    plain = grain()
    old = written(tmp_path / "old.mkv", plain)
    new = written(tmp_path / "new.mkv", plain if edit is None else edit(plain))
    face = StillFace(face_at(*MOUTH, SCALE).astype(np.float32))
    taken_s = np.zeros(FRAMES) if edit is resting else np.arange(FRAMES) / FPS
    return figures(compare(old, new, face), np.array([JOIN / FPS]), taken_s)


def test_a_copy_is_as_good_as_the_original(tmp_path: Path) -> None:
    same = measured(tmp_path, None)
    assert (same.sharpness, same.sharpness_above, same.seam, same.trembling) == (1, 1, 1, 1)
    assert same.change == pytest.approx(1, abs=0.02)
    assert same.opening == same.kept == 1
    assert same.joins == pytest.approx(1, abs=0.05)
    assert same.outside_psnr_db > 100
    assert same.compared == FRAMES


def test_softness_is_seen_where_it_is(tmp_path: Path) -> None:
    soft = measured(tmp_path, softened)
    assert soft.sharpness == soft.kept < 0.75
    assert soft.sharpness_above == 1
    assert soft.outside_psnr_db > 100


def test_a_jump_is_seen_at_its_join(tmp_path: Path) -> None:
    jump = measured(tmp_path, jumping)
    assert jump.joins > 1.1
    assert jump.joins_worst > 1.35 and jump.joins_worst > jump.joins


def test_a_mouth_that_rests_is_seen_to(tmp_path: Path) -> None:
    rested = measured(tmp_path, resting)
    assert rested.opening < 0.05
    # It is as sharp as the picture that it was taken from.
    assert rested.kept == pytest.approx(1, abs=0.1)


def test_shaking_skin_and_a_touched_background_are_seen(tmp_path: Path) -> None:
    assert measured(tmp_path, shaking).change > 1.3
    assert measured(tmp_path, brightened).outside_psnr_db < 36


def row(**figures: Any) -> dict[str, Any]:
    usual = {
        "clip": "a",
        "seconds": 10.0,
        "windows": 4,
        "follows": 1.0,
        "height": 0.09,
        "real": 0.1,
        "undubbed_follows": 0.0,
        "random_follows": 0.25,
        "undubbed": 0.0,
        "random": 0.01,
        "coverage": 0.9,
        "run_s": 0.5,
        "sharpness": 0.97,
        "kept": 0.98,
        "joins": 1.2,
        "joins_worst": 2.0,
        "trembling": 1.0,
        "seam": 1.0,
        "silence": 0.1,
        "outside_psnr_db": 45.0,
        "stages_s": {"scan": 2.0, "write": 3.0},
    }
    return usual | figures


def test_means_are_held_against_their_bars() -> None:
    rows = [row(), row(clip="b", windows=12, follows=0.5, height=0.06, sharpness=0.9, silence=None)]
    whole = summary(rows)
    assert whole["means"]["follows"] == pytest.approx((4 * 1.0 + 12 * 0.5) / 16)
    assert whole["means"]["of_real"] == pytest.approx(0.75)
    assert whole["means"]["silence"] == pytest.approx(0.1)
    failed = {name for name, passed in whole["passed"].items() if not passed}
    assert failed == {"follows", "of_real", "sharpness"}
    assert whole["real_time_factor"] == {"scan": 0.2, "write": 0.3}
    table = lines(rows)
    assert len(table) == 5 and len({len(line) for line in table}) == 1


def test_a_file_without_a_face_has_no_verdict() -> None:
    unseen = {k: v for k, v in row(windows=0).items() if k not in ("follows", "height", "real")}
    whole = summary([unseen])
    assert whole["means"]["follows"] is None and not whole["passed"]["follows"]
    assert " - " in lines([unseen])[1]


def test_stages_end_where_their_share_is_done() -> None:
    ends = [(SCAN, 2.0), (HEAR + 0.01, 5.0), (GATHER, 6.0), (WRITE, 9.0), (1.0, 9.5)]
    spent = stages_of([(0.0, 0.0), (SCAN / 2, 1.0), *ends])
    assert spent == {"scan": 2.0, "hear": 3.0, "gather": 1.0, "write": 3.0, "verify": 0.5}


def test_silence_is_silent_and_as_long_as_asked(tmp_path: Path) -> None:
    write_silence(tmp_path / "none.wav", 1.5)
    with wave.open(str(tmp_path / "none.wav")) as file:
        assert file.getnframes() / file.getframerate() == 1.5
        assert not any(file.readframes(file.getnframes()))


def trial(name: str, ratio: float, real: float, told: float) -> Dub:
    """A dub whose lips follow `told` times as clearly as the person's real ones."""
    curve = np.zeros(31, np.float32)
    curve[15] = told * real
    verdict = Verdict(curve, np.zeros(1, np.int64))
    return Dub(name, verdict, real, 0.5, ratio, 0.5, 2.0, 1.0)


def test_the_coverage_line_is_found_and_foretells_other_people() -> None:
    ratios = np.linspace(0.6, 1.1, 6)
    dubs = [
        trial(name, ratio, real, 1.5 * ratio - 0.6)
        for name, real in (("a", 0.05), ("b", 0.1), ("c", 0.2))
        for ratio in ratios.tolist()
    ]
    unknown = trial("c", float("nan"), 0.1, 5.0)
    odd = [trial("a", 1.0, 0.1, 9.0)]
    assert fitted([*dubs, unknown]) == pytest.approx((1.5, -0.6), abs=1e-3)
    told = refitted(odd, [*dubs, *odd])  # what is odd about a person does not foretell it
    assert told == pytest.approx([0.9], abs=1e-3)
    assert refitted([trial("b", 2.0, 0.1, 1.0), unknown], dubs)[0] == 1

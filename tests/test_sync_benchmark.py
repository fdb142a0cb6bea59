"""The benchmark: known truths come back, and uncertain figures are called uncertain."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from synth import make_clip as make_media
from test_sync_training import make_clip

from lipsync_cli.media.reader import read
from lipsync_cli.media.video import VideoFrame
from lipsync_cli.sync.calibration import Calibration
from lipsync_cli.sync.model import SyncModel
from lipsync_cli.training.accuracy import benchmark as benchmark_sync
from lipsync_cli.training.accuracy.benchmark import Plan, run
from lipsync_cli.training.accuracy.pictures import (
    PictureCondition,
    choose_clips,
    convert,
    head_turn,
    retimed,
)
from lipsync_cli.training.accuracy.plot import SIDE, save_reliability
from lipsync_cli.training.accuracy.report import (
    accuracy,
    interval,
    reliability,
    reliability_error,
    write_report,
)
from lipsync_cli.training.accuracy.sound import changed, sound_conditions
from lipsync_cli.training.sync.evaluate import Heard, compare, covered, seen_as

RATE = 16_000


class Beacon:
    """Stands in for a model: pictures and sound embedded as what happens when."""

    def __init__(self) -> None:
        self.classifier = SyncModel().classifier.eval()

    def embed_visual(self, crops: torch.Tensor) -> torch.Tensor:
        """White pictures point one way, all others the other way."""
        white = (crops.float().mean((2, 3)) > 128).float()[:, 5:-5]
        return torch.nn.functional.normalize(torch.stack([white, 1 - white], 2), dim=2)

    def embed_audio(self, mel: torch.Tensor) -> torch.Tensor:
        """As loud as the middle of the field is."""
        loud = mel.mean(2)[:, 25:-25:2]
        loud = ((loud - loud.min()) / (loud.max() - loud.min())).clamp(0, 1)
        return torch.nn.functional.normalize(torch.stack([loud, 1 - loud], 2), dim=2)

    def classify(
        self, visual: torch.Tensor, audio: torch.Tensor, *rest: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        from lipsync_cli.sync.lag_matrix import lag_matrix

        matrix, valid = lag_matrix(visual, audio, *rest)  # type: ignore[arg-type]
        return matrix, valid, *self.classifier(matrix, valid)

    def logits(self, evidence: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return self.classifier.logits(evidence, weight)


@pytest.fixture
def beacon() -> Beacon:
    torch.manual_seed(0)
    return Beacon()


@pytest.mark.parametrize("own_ms", [0.0, 130.0])
def test_known_offsets_come_back_from_whole_windows(
    beacon: Beacon, own_ms: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark_sync, "FRAMES", (75,))
    monkeypatch.setattr(benchmark_sync, "MOST_SPEECHLESS", -1.0)
    clip = make_clip(offset_ms=own_ms)
    rows: benchmark_sync.Columns = {}
    plan = Plan([clip], tmp_path, tmp_path, windows=4)
    seen = seen_as(clip, benchmark_sync.embed_pictures(beacon, clip))  # type: ignore[arg-type]
    heard = benchmark_sync.hear_clip(beacon, clip)  # type: ignore[arg-type]
    assert heard is not None
    benchmark_sync._add_windows(rows, beacon, plan, (seen, heard), clean=True)  # type: ignore[arg-type]
    moved = np.array(rows["moved_ms"])
    # Truths that are all alike would prove nothing.
    assert len(moved) == 4 and np.ptp(moved) > 100
    # The middle of a click of 20 ms is late, and loudness is seen every 20 ms.
    np.testing.assert_allclose(np.array(rows["diagonal_ms"]) - own_ms, -5, atol=10)


def test_windows_without_all_candidates_are_left_out(beacon: Beacon) -> None:
    clip = make_clip()
    seen = seen_as(clip, torch.zeros(len(clip.pts_s) - 10, 2))
    heard = Heard(torch.zeros(100, 2), float(clip.pts_s[40]))
    # Rows of 20 ms: the first picture with 600 ms of sound before it is 15 after row 0.
    first = int(np.searchsorted(seen.pts_s, clip.pts_s[40] + 0.6))
    assert covered(seen, heard, slice(first, first + 5), 60)
    assert not covered(seen, heard, slice(first - 1, first + 5), 60)
    assert covered(seen, heard, slice(first - 1, first + 5), 60, moved_s=0.05)
    found = compare(beacon, seen, heard, slice(first, first + 5), 60)  # type: ignore[arg-type]
    assert found.valid.all()


def test_a_run_goes_on_and_reports(
    beacon: Beacon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark_sync, "sound_conditions", lambda: sound_conditions()[:1])
    monkeypatch.setattr(benchmark_sync, "FRAMES", (25,))
    monkeypatch.setattr(benchmark_sync, "FEW_FRAMES", (25,))
    monkeypatch.setattr(benchmark_sync, "MOST_SPEECHLESS", -1.0)
    plan = Plan([make_clip("a"), make_clip("b")], tmp_path / "none", tmp_path, windows=2)
    done: list[str] = []
    run(beacon, plan, log=done.append)  # type: ignore[arg-type]
    assert [line.split(":")[0] for line in done] == [
        "clean",
        "trials",
        "shifted",
        "cost",
        "noise-20-dB",
    ]
    (tmp_path / "shifted.json").unlink()
    done.clear()
    run(beacon, plan, log=done.append)  # type: ignore[arg-type]
    assert [line.split(":")[0] for line in done] == ["shifted"]
    text = write_report(tmp_path, Calibration(), {"model_bytes": 1})
    assert "| noise-20-dB | 2 |" in text
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["refusal"]["sure_about_strangers"]["n"] > 0
    with Image.open(tmp_path / "reliability.png") as picture:
        assert picture.size == (SIDE, SIDE)


def test_rates_are_means_over_clips() -> None:
    """One clip with ten right windows and one with two wrong ones are half right."""
    table = {
        "file": np.array(["a"] * 10 + ["b"] * 2),
        "frames": np.full(12, 25),
        "classifier_ms": np.array([5.0] * 10 + [50.0, 70.0]),
        "diagonal_ms": np.array([200.0] * 12),
    }
    (row,) = accuracy(table, np.zeros(12))
    assert (row["clips"], row["windows"]) == (2, 12)
    assert row["classifier"]["within_40_ms"] == pytest.approx(0.5)
    assert row["classifier"]["within_60_ms"] == pytest.approx(0.75)
    assert row["diagonal"]["within_40_ms"] == 0
    assert row["classifier"]["interval"] == (0.0, 1.0)
    assert row["gain"]["mean"] == pytest.approx(0.5)


def test_interval_of_a_mean_shrinks_with_the_number_of_clips() -> None:
    rng = np.random.default_rng(0)
    few, many = (interval(rng.normal(0.8, 0.1, n)) for n in (10, 1000))
    assert many[1] - many[0] == pytest.approx(2 * 1.96 * 0.1 / 1000**0.5, rel=0.15)
    assert few[1] - few[0] > 3 * (many[1] - many[0])


def test_clips_count_by_their_weight() -> None:
    rates, weight = np.array([0.0, 1.0] * 50), np.array([1.0, 3.0] * 50)
    low, high = interval(rates, weight)
    assert low < 0.75 < high
    assert (low + high) / 2 == pytest.approx(0.75, abs=0.02)


def test_reliability_error_of_honest_and_of_boastful_answers() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 1, 20_000)
    right, weight = rng.uniform(0, 1, 20_000) < p, np.ones(20_000)
    assert reliability_error(p, right, weight) < 0.02
    boastful = np.minimum(1, p + 0.2)
    assert reliability_error(boastful, right, weight) == pytest.approx(0.18, abs=0.02)
    assert sum(row["n"] for row in reliability(p, right, weight)) == 20_000


def test_weights_of_answers_count() -> None:
    p, right = np.array([0.55, 0.55]), np.array([True, False])
    assert reliability_error(p, right, np.array([1.0, 1.0])) == pytest.approx(0.05)
    assert reliability_error(p, right, np.array([0.0, 1.0])) == pytest.approx(0.55)


def test_diagram_shows_points_where_they_belong(tmp_path: Path) -> None:
    path = tmp_path / "r.png"
    save_reliability([{"stated": 0.5, "right": 0.9, "n": 10}], path)
    with Image.open(path) as image:
        picture = np.asarray(image.convert("RGB"), int)
    sky = np.argwhere(np.abs(picture - (205, 228, 242)).sum(2) < 12)
    y, x = sky.mean(0)
    assert x == pytest.approx(SIDE / 2, abs=4)
    assert y == pytest.approx(SIDE - 90 - 0.9 * (SIDE - 180), abs=4)


@pytest.mark.parametrize("condition", sound_conditions(), ids=lambda c: c.name)
def test_sound_keeps_its_time_and_gets_the_stated_ratio(condition: object) -> None:
    rng = np.random.default_rng(1)
    n = 2 * RATE
    # Noise in syllables, so that a shift shows.
    speech = rng.normal(0, 0.1, n) * (np.sin(2 * np.pi * 4 * np.arange(n) / RATE) > 0)
    sound = speech.astype(np.float32)
    others = [rng.normal(0, 0.1, n).astype(np.float32) for _ in range(3)]
    heard = changed(condition, "a", sound, others, 0)  # type: ignore[arg-type]
    again = changed(condition, "a", sound, others, 0)  # type: ignore[arg-type]
    np.testing.assert_array_equal(heard, again)
    assert not np.array_equal(heard[:n], sound)
    size = 2 * max(n, len(heard))
    match = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(sound, size)))
    assert int(match.argmax()) == 0
    name = condition.name  # type: ignore[attr-defined]
    if name.endswith("dB"):
        ratio = 10 * np.log10(np.mean(sound**2) / np.mean((heard - sound) ** 2))
        assert ratio == pytest.approx(float(name.split("-")[1]), abs=0.1)


@pytest.mark.parametrize(
    ("rate", "shown"), [(Fraction(25), [0, 1, 2, 4, 5, 6]), (Fraction(60), [0, 0, 1, 1, 2, 2])]
)
def test_converter_drops_and_doubles_the_nearest_picture(rate: Fraction, shown: list[int]) -> None:
    pictures = [(5 + i / 30, np.full((2, 2), i, np.uint8)) for i in range(12)]
    out = list(retimed(pictures, rate))
    gaps = np.diff([t for t, _ in out])
    np.testing.assert_allclose(gaps, float(1 / rate), atol=1e-9)
    numbers = [int(p[0, 0]) for _, p in out]
    late = [t - pictures[n][0] for (t, _), n in zip(out, numbers, strict=True)]
    assert max(np.abs(late)) <= 1 / 60 + 1e-9
    assert numbers[:6] == shown


def test_converted_clips_keep_their_times_and_shrink(tmp_path: Path) -> None:
    source = make_media(tmp_path / "a.mkv", duration_s=1.5, audio_start_s=0.2)
    small = PictureCondition("small", face_px=64)
    convert(source, tmp_path / "b.mkv", small, shrink=0.5)
    before, after = (list(read(tmp_path / name)) for name in ("a.mkv", "b.mkv"))
    frames = [[i for i in items if isinstance(i, VideoFrame)] for items in (before, after)]
    assert frames[1][0].luma.shape == (60, 80) and frames[0][0].luma.shape == (120, 160)
    times = [[f.pts_s for f in each] for each in frames]
    np.testing.assert_allclose(times[1], times[0], atol=1e-3)
    # Flashes stay in their pictures, and the sound where it was.
    lit = [[f.luma.mean() > 128 for f in each] for each in frames]
    assert lit[0] == lit[1] and any(lit[0])
    starts = [
        next(i.t0_s for i in items if not isinstance(i, VideoFrame)) for items in (before, after)
    ]
    assert starts[1] == pytest.approx(starts[0], abs=1e-3)


def test_head_turn_of_a_frontal_and_a_turned_face() -> None:
    front = np.array([[0, 0], [40, 0], [20, 20], [8, 40], [32, 40]], float)
    turned = front.copy()
    turned[2, 0] = 34
    tilt = np.array([[0.8, -0.6], [0.6, 0.8]])
    np.testing.assert_allclose(head_turn(np.stack([front, turned])), [0, 0.35])
    np.testing.assert_allclose(head_turn(np.stack([front, turned]) @ tilt.T), [0, 0.35], atol=1e-9)


def test_one_clip_a_speaker_is_converted() -> None:
    clips = [make_clip("a", seconds=12), make_clip("a", seconds=12), make_clip("b", seconds=12)]
    assert sorted(c.speaker for c in choose_clips([*clips, make_clip("c")], 5)) == ["a", "b"]

"""Training: labels, samples and losses agree on where the offset is, and a run can be resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lipsync_cli.sync.calibration import Calibration
from lipsync_cli.sync.encoders import AUDIO_FIELD, AUDIO_STRIDE, EMBED_RATE
from lipsync_cli.sync.model import SyncModel
from lipsync_cli.sync.model_file import save_model, shipped_weights
from lipsync_cli.training.sync.cache import Clip, hold_out
from lipsync_cli.training.sync.calibrate import Trial, coverage, even_odds, fit, trials
from lipsync_cli.training.sync.evaluate import see
from lipsync_cli.training.sync.labels import own_offsets_ms, recentre, table_delay_ms
from lipsync_cli.training.sync.losses import soft_target
from lipsync_cli.training.sync.samples import REACH, Sampler
from lipsync_cli.training.sync.train import TrainingPlan, train

RATE = 16_000


def make_clip(speaker: str = "a", offset_ms: float = 0.0, seconds: float = 6.0) -> Clip:
    """A click every now and then, and a picture that is white while it sounds."""
    rng = np.random.default_rng(0)
    pts_s = np.arange(int(seconds * 25)) / 25
    sound = np.zeros(int((seconds + 2) * RATE), np.int16)
    crops = np.zeros((len(pts_s), 80, 80), np.uint8)
    for frame in rng.choice(np.arange(15, len(pts_s) - 15), 12, replace=False):
        crops[frame] = 255
        start = round((pts_s[frame] - offset_ms / 1000 + 1.0) * RATE)
        sound[start : start + 320] = 20_000
    return Clip(f"{speaker}.mp4", speaker, "wild", crops, pts_s, sound, -1.0, offset_ms)


@pytest.mark.parametrize("own_ms", [0.0, 130.0, -200.0])
def test_samples_hold_the_offset_they_state(own_ms: float) -> None:
    """White pictures and clicks must lie as far apart as the sample's label says."""
    sampler = Sampler([make_clip(offset_ms=own_ms)], frames=60, batch=6, seed=1, strangers=0.0)
    sampler.augment = False
    batch = sampler.draw()
    grid_s = np.arange(-REACH, REACH + 1) / 100
    for i in range(6):
        white = (batch.crops[i].float().mean((1, 2)) > 128).numpy()[5:-5]
        # One value a sound embedding: the loudness in the middle of its field.
        loud = batch.mel[i].mean(1).numpy()[AUDIO_FIELD // 2 :: AUDIO_STRIDE]
        rows, shown = np.arange(len(loud)), batch.position[i].numpy()[white]
        fit = [np.interp(shown - o * EMBED_RATE, rows, loud).mean() for o in grid_s]
        # The clicks last 20 ms from the picture's time on.
        found_s = grid_s[int(np.argmax(fit))] + 0.01
        assert found_s == pytest.approx(float(batch.offset_s[i]), abs=0.02)


def test_strangers_are_labelled_as_none() -> None:
    clips = [make_clip("a"), make_clip("b")]
    batch = Sampler(clips, frames=30, batch=8, seed=0, strangers=1.0).draw()
    assert torch.isnan(batch.offset_s).all()
    target = soft_target(batch.offset_s)
    assert (target[:, -1] == 1).all() and (target[:, :-1] == 0).all()


def test_target_is_a_distribution_around_the_offset() -> None:
    target = soft_target(torch.tensor([0.123]))
    assert float(target.sum()) == pytest.approx(1.0, abs=1e-5)
    mean = float((target[0, :-1] * (torch.arange(2 * REACH + 1) - REACH)).sum())
    assert mean == pytest.approx(12.3, abs=0.05)


@pytest.mark.parametrize(("rate", "delay_ms"), [(25.0, 0.0), (30.0, 13.3), (24.0, 20.0)])
def test_the_table_reads_pictures_late_by_its_grid(rate: float, delay_ms: float) -> None:
    assert table_delay_ms(np.arange(int(rate * 60)) / rate) == pytest.approx(delay_ms, abs=0.7)


def test_labels_take_out_the_grid_and_drop_guesses(tmp_path: Path) -> None:
    table = tmp_path / "lags.csv"
    table.write_text("file,lag_ms,margin\na.mp4,100,0.05\nb.mp4,300,0.001\n")
    clips = [make_clip("a"), make_clip("b")]
    kept = recentre(clips, table)
    assert [c.file for c in kept] == ["a.mp4"]
    # Sound 100 ms late is an offset of -100; the zero of the table lies 8 ms beside ours.
    assert kept[0].offset_ms == pytest.approx(-108)
    assert set(own_offsets_ms(clips, table)) == {"a.mp4", "b.mp4"}


def test_people_are_held_out_whole() -> None:
    clips = [replace(make_clip(f"p{i % 10}"), file=f"{i}.mp4") for i in range(40)]
    kept, out = hold_out(clips, 0.2, seed=3)
    assert {c.group for c in kept}.isdisjoint({c.group for c in out})
    assert len({c.group for c in out}) == 2


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    clips = [make_clip("a"), make_clip("b")]
    plan = TrainingPlan(steps=2, long_frames=24, long_batch=2, short_share=0.0, warm_up=1)
    first = train(clips, tmp_path, plan)
    again = train(clips, tmp_path, plan)
    for name, value in first.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value)
    longer = train(clips, tmp_path, replace(plan, steps=3))
    assert any(
        not torch.equal(value, longer.state_dict()[name])
        for name, value in first.state_dict().items()
    )


def test_a_shipped_model_can_be_trained_on(tmp_path: Path) -> None:
    plan = TrainingPlan(steps=1, long_frames=24, long_batch=2, short_share=0.0)
    model = train([make_clip("a"), make_clip("b")], tmp_path / "run", plan)
    wanted = {k: v.clone() for k, v in model.state_dict().items()}
    save_model(model, {}, tmp_path / "sync.pt")
    for name, value in shipped_weights(tmp_path / "sync.pt").items():
        torch.testing.assert_close(value, wanted[name].to(value.dtype), atol=2e-3, rtol=2e-3)


def test_calibration_recovers_the_chances_answers_were_drawn_with() -> None:
    rng = np.random.default_rng(0)
    mass = rng.uniform(0.02, 0.999, 6000)
    truth = 1 / (1 + np.exp(-(0.5 + 0.7 * np.log(mass / (1 - mass)))))
    found = [drawn_trial(m, rng.random() < p, rng) for m, p in zip(mass, truth, strict=True)]
    calibration = Calibration(**fit(found))
    stated = np.array([t.probability(calibration) for t in found])
    assert np.abs(stated - truth).max() < 0.05
    assert coverage(found, calibration) == pytest.approx(
        0.95 * truth[stated >= 0.9].mean(), abs=0.02
    )


def test_own_and_strangers_sound_count_alike() -> None:
    rng = np.random.default_rng(0)
    own = [drawn_trial(0.9, True, rng)] * 3
    stranger = replace(own[0], error_ms=np.inf)
    weight = even_odds([*own, *[stranger] * 9])
    assert weight[:3].sum() == pytest.approx(weight[3:].sum())
    assert weight.sum() == pytest.approx(12)
    np.testing.assert_array_equal(even_odds(own), 1)


def test_a_clip_with_a_wrong_label_widens_the_interval_once() -> None:
    """However many cuts there are of it."""
    rng = np.random.default_rng(0)
    good = [replace(drawn_trial(0.99, True, rng), file=str(i)) for i in range(1000)]
    bad = [replace(t, file="bad", error_ms=55.0) for t in good[:200]]
    alone, both = (Calibration(**fit(found)) for found in (good, [*good, *bad]))
    widths = [c.half_width_ms(12.0) for c in (alone, both)]
    assert widths[0] == pytest.approx(1.96 * 12, rel=0.1)
    assert widths[1] == pytest.approx(widths[0], rel=0.05)


def drawn_trial(mass: float, right: bool, rng: np.random.Generator) -> Trial:
    error = float(rng.normal(0, 12)) if right else float(rng.uniform(100, 900))
    return Trial("a", "a", 3.0, False, mass, 100.0, mass, 0.1, True, error, error, 12.0)


def test_cuts_of_a_clip_know_their_truth() -> None:
    torch.manual_seed(0)
    model = SyncModel().eval()
    people = [see(model, make_clip(name, offset_ms=40.0)) for name in ("a", "b")]
    found = trials(model, [p for p in people if p is not None], strangers=1.0)
    assert {t.length_s for t in found if not t.whole} == {0.6, 1.0, 2.0, 3.0, 5.0}
    # Six seconds, without the five pictures at either end.
    assert [t.length_s for t in found if t.whole] == pytest.approx([5.56] * 4)
    own = [t for t in found if not t.stranger]
    assert 0 < len(own) < len(found)
    assert all(t.error_ms == pytest.approx(t.offset_ms - 40.0) for t in own)
    assert {t.resampled for t in found} == {True, False}

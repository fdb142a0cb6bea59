"""Frames are chosen that fit the sound, that follow each other, and that rest in silence."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from lipsync_cli.dubbing.mouths import select as selecting
from lipsync_cli.dubbing.mouths.coverage import coverage_of, expected
from lipsync_cli.dubbing.mouths.select import Weights, select, select_slots
from lipsync_cli.dubbing.mouths.selection import Selection
from lipsync_cli.dubbing.mouths.units import Units
from lipsync_cli.dubbing.mouths.viterbi import Lattice, Play
from lipsync_cli.dubbing.speech import LEVEL_RATE, Loudness, Speech

STEP_S = 0.04
PLAIN = Weights(pose=0.0, light=0.0, jump=1.0, seam=0.0)

Rows = npt.NDArray[np.int64]


def some_units(sizes: list[int], seed: int = 0) -> Units:
    """Tracks of one file, one after the other, with random mouths; track 0 is the target."""
    rng, n = np.random.default_rng(seed), sum(sizes)
    vectors = rng.normal(size=(n, 256))
    last = np.cumsum(sizes) - 1
    time_s = np.concatenate([np.arange(k) * STEP_S + 100.0 * i for i, k in enumerate(sizes)])
    return Units(
        step_s=STEP_S,
        source=np.zeros(n, np.int32),
        track=np.repeat(np.arange(len(sizes)), sizes).astype(np.int32),
        time_s=time_s,
        pts_s=time_s,
        follows=~np.isin(np.arange(n), last),
        embeddings=(vectors / np.linalg.norm(vectors, axis=1)[:, None]).astype(np.float16),
        usable=np.ones(n, np.bool_),
        pose=np.zeros((n, 5), np.float32),
        light=np.zeros((n, 3), np.float32),
        thumbnails=rng.integers(60, 200, (n, 256)).astype(np.uint8),
        opening=np.full(n, 0.5, np.float32),
        quiet=np.zeros(n, np.bool_),
    )


def asking_for(units: Units, rows: Rows, silent: npt.NDArray[np.bool_] | None = None) -> Speech:
    """Speech that asks, in slot k, for exactly the mouth of `rows[k]`."""
    wanted = np.repeat(units.embeddings[rows], 2, axis=0)
    sounding = np.ones(len(rows), np.bool_) if silent is None else ~silent
    wanted[np.repeat(~sounding, 2)] = 0.0
    level_db = np.where(np.repeat(sounding, round(STEP_S * LEVEL_RATE)), -20.0, -90.0)
    return Speech(0.0, wanted, Loudness(-STEP_S / 2, level_db.astype(np.float32)))


def runs_of(selection: Selection) -> list[int]:
    return np.bincount(selection.unit).tolist()


def test_a_planted_path_is_found() -> None:
    units = some_units([120, 400, 300])
    starts = np.random.default_rng(1).integers(120, 480, 12)
    planted = np.concatenate([np.arange(s, s + 10) for s in starts])
    found = select(units, asking_for(units, planted), weights=PLAIN)
    np.testing.assert_array_equal(found.rows, planted)
    np.testing.assert_array_equal(found.source_pts_s, units.pts_s[planted])
    assert runs_of(found) == [10] * 12
    np.testing.assert_allclose(found.similarity, 1.0, atol=2e-3)
    assert not found.silent.any() and not found.own.any()


def test_windows_do_not_change_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    units = some_units([300, 400])
    planted = np.concatenate([np.arange(s, s + 15) for s in range(300, 680, 19)])[:300]
    rough = asking_for(units, planted)
    whole = select(units, rough, weights=PLAIN)
    monkeypatch.setattr(selecting, "_WINDOW_S", 2.0)
    pieces = select(units, rough, weights=PLAIN)
    np.testing.assert_array_equal(pieces.rows, whole.rows)
    np.testing.assert_array_equal(pieces.unit, whole.unit)


def test_long_footage_is_narrowed_to_what_looks_like_the_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    units = some_units([100, 2000])
    pose = units.pose.copy()
    pose[100:1500, 0] = pose[1800:, 0] = 0.2
    planted = np.arange(1600, 1700)
    monkeypatch.setattr(selecting, "_POOL", 400)
    found = select(replace(units, pose=pose), asking_for(units, planted), weights=PLAIN)
    np.testing.assert_array_equal(found.rows[3:], planted[3:])


def test_continuity_is_preferred_when_mouths_fit_alike() -> None:
    units = some_units([60, 200])
    same = np.repeat(units.embeddings[:1], len(units), axis=0)
    found = select(replace(units, embeddings=same), asking_for(units, np.arange(60)), weights=PLAIN)
    assert runs_of(found) == [60]


def test_a_jump_goes_where_the_picture_changes_least() -> None:
    """Of two stretches that fit alike, the one is entered that looks like what would follow."""
    units = some_units([40, 60, 60, 60])
    first, one, other = np.arange(40, 60), np.arange(120, 140), np.arange(180, 200)
    embeddings, thumbs = units.embeddings.copy(), units.thumbnails.copy()
    embeddings[other] = embeddings[one]
    planted = np.concatenate([first, one])
    weights = replace(PLAIN, seam=2.0)
    for twin in (one, other):
        alike = thumbs.copy()
        alike[twin[0]] = thumbs[first[-1] + 1]
        changed = replace(units, embeddings=embeddings, thumbnails=alike)
        found = select(changed, asking_for(changed, planted), weights=weights)
        np.testing.assert_array_equal(found.rows, np.concatenate([first, twin]))


def test_runs_are_not_short() -> None:
    units = some_units([90, 300])
    scattered = np.random.default_rng(2).integers(90, 380, 90)
    eager = replace(PLAIN, jump=0.0, play=Play(shortest=1))
    assert min(runs_of(select(units, asking_for(units, scattered), weights=eager))) == 1
    patient = replace(PLAIN, jump=0.0, play=Play(shortest=5, short=50.0))
    assert min(runs_of(select(units, asking_for(units, scattered), weights=patient))) >= 5


def test_side_views_and_other_poses_are_avoided() -> None:
    units = some_units([50, 100, 100])
    embeddings, pose, usable = units.embeddings.copy(), units.pose.copy(), units.usable.copy()
    embeddings[150:250] = embeddings[50:150]
    planted = np.arange(60, 110)
    turned = pose.copy()
    turned[50:150, 0] = 0.1
    posed = replace(units, embeddings=embeddings, pose=turned)
    found = select(posed, asking_for(units, planted), weights=replace(PLAIN, pose=3.0))
    np.testing.assert_array_equal(found.rows, planted + 100)
    usable[50:150] = False
    covered = replace(units, embeddings=embeddings, usable=usable)
    np.testing.assert_array_equal(
        select(covered, asking_for(units, planted), weights=PLAIN).rows, planted + 100
    )


def test_in_silence_the_mouth_closes_and_its_own_frames_stay() -> None:
    units = some_units([100, 200])
    silent = np.zeros(100, np.bool_)
    silent[40:90] = True
    opening = units.opening.copy()
    opening[:] = 0.9
    planted = np.arange(150, 250)
    speech = asking_for(units, planted, silent)
    opening[200:215] = 0.0  # the only closed mouths, shorter than the pause
    dear = replace(PLAIN, jump=6.0)  # dearer than holding a frame
    held = select(replace(units, opening=opening), speech, weights=dear)
    middle = np.flatnonzero(held.silent)[5:-8]
    assert len(middle) > 25
    assert np.isin(held.rows[middle], np.arange(200, 215)).all()
    assert held.held[middle].any() and not held.held[~held.silent].any()
    opening[45:85] = 0.0  # the target's own mouth is closed there as well
    quiet = units.quiet.copy()
    quiet[45:85] = True
    own = select(replace(units, opening=opening, quiet=quiet), speech, weights=PLAIN)
    assert own.own[middle].mean() > 0.8
    assert len(own.wanted_s(0)) < 80  # pictures left alone need no footage


def test_without_any_sound_the_target_rests() -> None:
    units = some_units([50])
    found = select(units, Speech(0.0, np.zeros((0, 256), np.float16), None), weights=PLAIN)
    assert found.silent.all() and found.own.all()
    assert np.isnan(found.similarity).all()


def test_pictures_shown_again_are_dubbed_at_their_new_time() -> None:
    """A picture that freezes at its end: one frame of the target, many slots."""
    units = some_units([40, 100])
    planted = np.arange(60, 100)
    rows, times_s = np.full(40, 39), 2.0 + np.arange(40) * STEP_S
    speech = replace(asking_for(units, planted), t0_s=2.0)
    sounding = Loudness(2.0 - STEP_S / 2, np.full(200, -20, np.float32))
    found = select_slots(units, replace(speech, loudness=sounding), rows, times_s, weights=PLAIN)
    np.testing.assert_array_equal(found.rows, planted)
    np.testing.assert_array_equal(found.pts_s, times_s)


def test_joins_are_dissolved_between_runs_that_go_on() -> None:
    units = some_units([20, 100])
    planted = np.concatenate([np.arange(30, 40), np.arange(80, 90)])
    found = select(units, asking_for(units, planted), weights=PLAIN)
    near = np.array([1, 2, 3, 3, 2, 1]) / 7
    np.testing.assert_allclose(found.share[7:13], near, atol=1e-6)
    assert found.share.sum() == pytest.approx(12 / 7)
    np.testing.assert_allclose(found.mixed_pts_s[7:13], units.pts_s[[77, 78, 79, 40, 41, 42]])
    wanted = found.wanted_s(0)
    assert np.isin(found.mixed_pts_s[7:13], wanted).all() and (np.diff(wanted) > 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_the_way_is_the_cheapest_of_all(seed: int) -> None:
    """Against every sequence there is, costs written down plainly."""
    rng = np.random.default_rng(seed)
    n, slots, play = 5, 6, Play(shortest=3, short=0.7)
    local = rng.random((slots, n)).astype(np.float32) * 2
    seams = rng.random((n, n)).astype(np.float32) + 0.2
    follows = np.array([True, True, False, True, False])

    def price(rows: tuple[int, ...]) -> float:
        total, length = float(local[0, rows[0]]), 1
        for slot in range(1, slots):
            before, now = rows[slot - 1], rows[slot]
            if now == before + 1 and follows[before]:
                length += 1
            else:
                total += float(seams[before, now]) + play.short * max(0, play.shortest - length)
                length = 1
            total += float(local[slot, now])
        return total + play.short * max(0, play.shortest - length)

    best = min(price(rows) for rows in itertools.product(range(n), repeat=slots))
    lattice = Lattice(follows, lambda a, b: seams[np.ix_(a, b)], play)
    everything = np.arange(n)
    lattice.start(everything, local[0])
    for costs in local[1:]:
        lattice.step(everything, costs, may_hold=False)
    rows, _ = lattice.way(ends=True)
    assert price(tuple(rows.tolist())) == pytest.approx(best, abs=1e-4)


def test_more_footage_never_covers_less() -> None:
    units = some_units([200, 800])
    planted = np.concatenate([np.arange(s, s + 10) for s in range(220, 980, 38)])[:200]
    speech = asking_for(units, planted)
    values, lacking = [], []
    for last in (200, 400, 600, 1000):
        usable = np.arange(len(units)) < last
        part = replace(units, usable=usable)
        found = coverage_of(part, [select(part, speech, weights=PLAIN)])
        values.append(found.value)
        lacking.append(found.lacking)
    assert values == sorted(values) and lacking == sorted(lacking, reverse=True)
    assert values[0] < 0.25 and values[-1] > 0.95
    assert lacking[0] > 0.9 and lacking[-1] == 0


def test_coverage_says_why_and_what_would_help() -> None:
    units = some_units([50, 200])
    speech = asking_for(units, np.arange(100, 150))

    def found(changed: Units, wish: Speech = speech) -> tuple[str | None, str | None]:
        coverage = coverage_of(changed, [select(changed, wish, weights=PLAIN)])
        return coverage.reason, coverage.hint

    assert found(units) == (None, None)
    reason, hint = found(replace(units, quiet=np.arange(250) > 60))
    assert reason is not None and "only 2.4 s of speech" in reason and "--footage" in (hint or "")
    reason, _ = found(units, asking_for(some_units([50, 200], seed=9), np.arange(100, 150)))
    assert reason is not None and "lacks mouth shapes" in reason
    reason, _ = found(replace(units, usable=np.zeros(250, np.bool_)))
    assert reason is not None and "no frame can be used" in reason
    silent = np.ones(50, np.bool_)
    assert found(units, asking_for(units, np.arange(100, 150), silent))[0] is None
    assert 0 < expected(0.2, 0.55) < 0.5 < expected(0.45, 0.55) < 1 == expected(0.75, 0.55)

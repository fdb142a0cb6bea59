"""The offset over time, from evidence in which drifts, steps, gaps and lies were planted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lipsync_cli.cli import wording
from lipsync_cli.detect import Evidence, Measurement
from lipsync_cli.faces.stream import FaceStats
from lipsync_cli.plot import HEIGHT, WIDTH, draw_evidence
from lipsync_cli.results import OffsetResult
from lipsync_cli.scoring.tolerance import parse_tolerance
from lipsync_cli.sync.calibration import Calibration
from lipsync_cli.sync.evidence import PARTS, LagEvidence, merged, offsets_ms
from lipsync_cli.sync.lag_path import most_probable_path
from lipsync_cli.sync.programme import Seen, TrackSpan, read_programme
from lipsync_cli.sync.timeline import find_timeline

REACH = 150
PICTURES = 25

Offset = Callable[[float], float]


def logits(scores: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """A classifier that only adds up: the last column is "no offset"."""
    return np.concatenate([scores, np.full((len(scores), 1), 6.0)], 1).astype(np.float32)


def planted(
    offset_ms: Offset,
    seconds: int,
    *,
    lies: float = 0.1,
    silent: tuple[tuple[int, int], ...] = (),
    seed: int = 0,
) -> LagEvidence:
    """Evidence of a programme in which picture time t has the offset `offset_ms(t)`.

    Every second is off by 12 ms of its own (standard deviation), speaks more or less loudly,
    and with probability `lies` tells something else altogether.
    """
    rng, grid = np.random.default_rng(seed), offsets_ms(REACH)
    spoken = [s for s in range(seconds) if not any(a <= s < b for a, b in silent)]
    rows = []
    for second in spoken:
        truth = [offset_ms(second + (k + 0.5) / PARTS) for k in range(PARTS)]
        place = np.array(truth) + rng.normal(0, 12)
        if rng.random() < lies:
            place = np.full(PARTS, rng.uniform(-1500, 1500))
        peaks = np.exp(-0.5 * ((grid - place[:, None]) / 40) ** 2) / PARTS
        loud, noise = PICTURES * rng.uniform(0.12, 0.6), 0.25 / PARTS**0.5
        rows.append(loud * peaks + rng.normal(0, noise, peaks.shape))
    parts = np.array(rows, np.float16).reshape(len(rows), PARTS, len(grid))
    scores = parts.sum(1, dtype=np.float32)
    count = np.full(len(rows), PICTURES, np.float32)
    valid = np.full(scores.shape, PICTURES, np.uint8)
    start_s = np.array(spoken, np.float64)
    return LagEvidence(start_s, scores, count, scores.astype(np.float16), valid, count, parts)


def steps_at(levels: Mapping[float, float]) -> Offset:
    """{start in s: level in ms} as a function."""
    return lambda t: next(v for s, v in reversed(levels.items()) if t >= s)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("ppm", [20, 100, -500, 2000])
def test_drift_is_found_with_its_interval(ppm: float, seed: int) -> None:
    found = find_timeline(planted(lambda t: 40 + ppm * 1e-3 * t, 600, seed=seed), logits)
    assert found.drift_interval_ppm is not None
    low, high = found.drift_interval_ppm
    assert low < ppm < high
    assert (low + high) / 2 == pytest.approx(ppm, abs=10)
    # What amounts to a hundredth of a second in the end may also pass for constant.
    assert found.pattern == "drift" or ppm == 20
    if found.pattern == "drift":
        # The sign: the audio becomes earlier where the drift is above 0.
        ends = found.offset_ms(np.array([0.0, 600.0]))
        assert ends == pytest.approx([40, 40 + ppm * 0.6], abs=12)


@pytest.mark.parametrize(
    "levels",
    [{0: 0, 100.3: 120}, {0: 60, 100.7: 15}, {0: 0, 100.3: 120, 200.6: -300}],
    ids=["one", "one frame", "two"],
)
def test_steps_are_found(levels: dict[float, float]) -> None:
    found = find_timeline(planted(steps_at(levels), 300), logits)
    assert found.pattern == "steps" and found.drift_ppm == 0
    truth = list(levels.items())
    times_s = [t for t, _ in truth[1:]]
    assert [step.time_s for step in found.steps] == pytest.approx(times_s, abs=0.55)
    assert all(
        s.earliest_s - 0.2 < t < s.latest_s + 0.2 and s.latest_s - s.earliest_s < 3
        for s, t in zip(found.steps, times_s, strict=True)
    )
    sizes = np.diff([level for _, level in truth])
    assert [step.size_ms for step in found.steps] == pytest.approx(sizes, abs=8)


@pytest.mark.parametrize("step_s", [50.2, 50.4, 50.6, 50.8])
def test_parts_of_a_second_say_when_a_step_happened(step_s: float) -> None:
    """Golden value: with evidence free of noise, the border of the parts at which it was put."""
    grid = offsets_ms(REACH)
    time_s = (np.arange(100 * PARTS) + 0.5) / PARTS
    place_ms = np.where(time_s < step_s, -40.0, 120.0)
    parts = 8 * np.exp(-0.5 * ((grid - place_ms[:, None]) / 30) ** 2)
    parts = parts.reshape(100, PARTS, -1).astype(np.float16)
    scores, count = parts.sum(1, dtype=np.float32), np.full(100, 25, np.float32)
    valid = np.full(scores.shape, 25, np.uint8)
    bins = (np.arange(100.0), scores, count, scores.astype(np.float16), valid, count)
    (step,) = find_timeline(LagEvidence(*bins, parts), logits).steps
    assert step.time_s == pytest.approx(step_s, abs=0.05)
    assert (step.earliest_s, step.latest_s) == pytest.approx((step_s, step_s), abs=0.11)
    # Without the parts, what is left is to choose a second.
    (vague,) = find_timeline(LagEvidence(*bins, parts[:, :0]), logits).steps
    assert vague.latest_s - vague.earliest_s >= 1
    assert vague.earliest_s < step_s < vague.latest_s


@pytest.mark.parametrize("seed", range(4))
def test_short_clips(seed: int) -> None:
    """Where a step leaves ten seconds or less on either side, it is no drift but a step."""
    found = find_timeline(planted(steps_at({0: 0, 7.6: 160}), 16, lies=0.0, seed=seed), logits)
    assert (found.pattern, found.drift_ppm) == ("steps", 0)
    (step,) = found.steps
    assert step.time_s == pytest.approx(7.6, abs=0.4)
    assert step.size_ms == pytest.approx(160, abs=20)
    assert find_timeline(planted(lambda t: 50, 14, seed=seed), logits).pattern == "constant"


def test_a_false_end_does_not_pull_the_rest_along() -> None:
    """Four seconds that tell something far off are no piece of their own, nor half of one."""
    for seed in (0, 2):
        evidence = planted(steps_at({0: -300, 24: 1300}), 28, lies=0.0, seed=seed)
        found = find_timeline(evidence, logits)
        assert (found.pattern, found.steps) == ("constant", ())
        assert found.levels_ms == pytest.approx([-300], abs=8)


@pytest.mark.parametrize("seed", [2, 15, 28])
def test_few_blocks_make_no_drift(seed: int) -> None:
    """Seconds scatter by 12 ms each: in 52 s that alone makes slopes of more than 200 ppm."""
    found = find_timeline(planted(lambda t: 20, 52, lies=0.0, seed=seed), logits)
    assert found.pattern == "constant"
    low, high = found.drift_interval_ppm or (0, 0)
    assert low < 0 < high


def test_steps_too_close_to_be_told_apart_are_one() -> None:
    found = find_timeline(planted(steps_at({0: 0, 100.4: 120, 103.4: 260}), 200), logits)
    assert found.pattern == "steps"
    (step,) = found.steps
    assert 100 < step.time_s < 104
    assert step.size_ms == pytest.approx(260, abs=10)


def test_wide_search_reads_the_same() -> None:
    """Ten seconds on either side hold what one and a half hold, and more to be misled by."""
    narrow = planted(steps_at({0: 40, 60.4: -90}), 120)
    more = 1000 - REACH
    noise = np.random.default_rng(1).normal(0, 0.11, (120, PARTS, 2 * 1000 + 1))
    noise[:, :, more:-more] = narrow.parts
    parts = noise.astype(np.float16)
    scores = parts.sum(1, dtype=np.float32)
    valid = np.full(scores.shape, PICTURES, np.uint8)
    wide = replace(
        narrow, scores=scores, cosine=scores.astype(np.float16), valid=valid, parts=parts
    )
    found, expected = (find_timeline(evidence, logits) for evidence in (wide, narrow))
    assert found.pattern == expected.pattern == "steps"
    assert found.levels_ms == pytest.approx(expected.levels_ms, abs=3)
    assert found.steps[0].time_s == pytest.approx(expected.steps[0].time_s, abs=0.1)


def test_music_between_speech_says_nothing() -> None:
    whole = planted(steps_at({0: 30, 160: -90}), 240, seed=3)
    music = (whole.start_s >= 100) & (whole.start_s < 140)
    noise = np.random.default_rng(4).normal(0, 0.5, whole.parts.shape)
    parts = np.where(music[:, None, None], noise, whole.parts).astype(np.float16)
    whole = replace(whole, parts=parts, scores=parts.sum(1, dtype=np.float32))
    result = answered(whole)
    assert result.pattern == "steps"
    (step,) = result.steps
    assert step.time_s == pytest.approx(160, abs=0.5)
    known = [(s.start_s, s.end_s, s.offset_ms) for s in result.segments if s.offset_ms is not None]
    assert [offset_ms for *_, offset_ms in known] == pytest.approx([30, 30, -90], abs=8)
    # The music is a stretch of its own, about which nothing is said.
    assert known[0][1] == pytest.approx(100, abs=3) and known[1][0] == pytest.approx(140, abs=3)


def test_drift_and_steps_and_silences_together() -> None:
    steps = steps_at({0: 0, 300.4: -200})
    silent = ((100, 160), (290, 310), (700, 720))
    found = find_timeline(planted(lambda t: 0.12 * t + steps(t), 900, silent=silent), logits)
    assert found.pattern == "steps"
    assert found.drift_ppm == pytest.approx(120, abs=10)
    (step,) = found.steps
    # Nobody speaks around it: all that is known is the gap.
    assert step.earliest_s < 300.4 < step.latest_s
    assert step.latest_s - step.earliest_s > 15
    assert step.size_ms == pytest.approx(-200, abs=12)


@pytest.mark.parametrize("seed", range(8))
def test_a_constant_offset_has_no_pattern_to_find(seed: int) -> None:
    found = find_timeline(planted(lambda t: 33, 200, seed=100 + seed), logits)
    assert found.pattern == "constant"
    assert found.drift_ppm == 0 and found.steps == ()


def test_one_speaker_is_no_step() -> None:
    """Two people who articulate differently by 25 ms are no edit."""
    found = find_timeline(planted(steps_at({0: 10, 150: 35}), 300), logits)
    assert found.pattern != "steps"


def test_offsets_without_a_pattern_are_unclear() -> None:
    levels = np.repeat(np.random.default_rng(5).uniform(-500, 500, 50), 6)
    assert find_timeline(planted(lambda t: levels[int(t)], 300), logits).pattern == "unclear"


def test_too_little_is_no_pattern() -> None:
    assert find_timeline(planted(lambda t: 80, 8), logits).pattern is None
    nothing = planted(lambda t: 0, 60)
    blank = LagEvidence(
        nothing.start_s,
        nothing.scores * 0,
        *(nothing.weight,),
        nothing.cosine,
        nothing.valid,
        nothing.frames,
        nothing.parts * 0,
    )
    assert find_timeline(blank, logits).pattern is None


def test_path_jumps_when_that_is_cheaper_than_walking() -> None:
    """Golden value: exhaustive search over all paths of a tiny problem."""
    rng = np.random.default_rng(2)
    scores = rng.normal(0, 6, (5, 6))
    best = max(
        np.ndindex(*(6,) * 5),
        key=lambda p: (
            scores[np.arange(5), p].sum() - sum(min(2.5 * abs(a - b), 12.0) for a, b in pairwise(p))
        ),
    )
    assert most_probable_path(scores).tolist() == list(best)


def answered(*tracks: LagEvidence) -> OffsetResult:
    """What the programme reader makes of tracks of evidence."""
    spans = {}
    for number, track in enumerate(tracks):
        box = np.zeros(4, np.float32)
        spans[number] = TrackSpan(float(track.start_s[0]), float(track.start_s[-1]) + 1, [box])
    seen = Seen(dict(enumerate(tracks)), spans, 25.0, 600.0, FaceStats(), 0.1, REACH)
    model: Any = SimpleNamespace(logits=logits, calibration=Calibration())
    return read_programme(seen, model, 0.9)


def test_answer_of_a_drifting_programme() -> None:
    whole = planted(lambda t: 40 + 0.5 * t, 600, silent=((200, 260),))
    result = answered(whole)
    assert (result.status, result.pattern) == ("measured", "drift")
    assert result.drift_ppm == pytest.approx(500, abs=12)
    assert result.offset_ms == pytest.approx(190, abs=8)
    assert result.probability > 0.9 and result.warnings == ()
    silent = [s for s in result.segments if s.offset_ms is None]
    assert [(s.start_s, s.end_s) for s in silent] == [
        (pytest.approx(200, abs=2), pytest.approx(260, abs=2))
    ]
    for segment in result.segments:
        if segment.offset_ms is not None:
            middle_s = (segment.start_s + segment.end_s) / 2
            assert segment.offset_ms == pytest.approx(40 + 0.5 * middle_s, abs=8)
    edges = [
        (a.end_s, b.start_s) for a, b in zip(result.segments, result.segments[1:], strict=False)
    ]
    assert all(a == pytest.approx(b, abs=1e-3) for a, b in edges)


def test_answer_of_a_programme_with_a_step() -> None:
    result = answered(planted(steps_at({0: 0, 100: 120}), 200))
    assert (result.pattern, result.drift_ppm) == ("steps", None)
    assert [s.offset_ms for s in result.segments] == pytest.approx([0, 120], abs=8)
    assert result.to_dict()["steps"][0]["size_ms"] == pytest.approx(120, abs=8)


def test_two_speakers_share_one_curve() -> None:
    whole = planted(lambda t: 40 - 0.3 * t, 400)
    first, second = (whole.take(whole.start_s.astype(int) // 7 % 2 == k) for k in (0, 1))
    result = answered(first, second)
    assert merged([first, second]).start_s.tolist() == whole.start_s.tolist()
    assert result.pattern == "drift"
    assert result.drift_ppm == pytest.approx(-300, abs=15)


def test_drift_out_of_the_search_range_is_named() -> None:
    result = answered(planted(lambda t: 3.0 * t, 600))
    assert any("search range" in warning for warning in result.warnings)


def test_constant_programme_answers_as_it_always_did() -> None:
    whole = planted(lambda t: 80, 120)
    result = answered(whole)
    assert (result.pattern, result.drift_ppm, result.steps) == ("constant", None, ())
    low, high = result.drift_interval_ppm or (0, 0)
    assert low < 0 < high
    # A single number, from the sum of all seconds, and stretches that agree with it.
    assert result.offset_ms == pytest.approx(80, abs=5)
    assert len(result.segments) == 1


def test_line_and_tables_say_what_the_offset_does() -> None:
    result = replace(answered(planted(lambda t: 40 + 0.5 * t, 300)), file="a.mp4")
    line = wording.offset_line(result, parse_tolerance("ebu", 25.0))
    assert line.startswith("a.mp4: audio drifts from 3")
    assert "early (drift +" in line and " ppm, +" in line
    # A tolerance is kept only where every part keeps it.
    assert "OUT OF ebu tolerance" in line
    result = answered(planted(steps_at({0: 0, 100: 120, 150: -60}), 200, silent=((60, 80),)))
    line = wording.offset_line(replace(result, file="a.mp4"))
    assert line.startswith("a.mp4: audio offset changes in 2 steps, between ")
    assert [row[2] for row in wording.segment_rows(result)].count("not measurable") == 1
    (first, _, _, size), _ = wording.step_rows(result)
    assert first.startswith("00:01:") and size.endswith(" ms earlier")


def test_picture_shows_the_offset_over_time() -> None:
    """Orange along the line, and nowhere else in the row."""
    result = answered(planted(lambda t: -600 + 4.0 * t, 300))
    assert result.pattern == "drift"
    lags = offsets_ms(REACH)
    flat = np.zeros((300, len(lags)), np.float32)
    rows_s = np.arange(300, dtype=np.float64)
    evidence = Evidence(lags, flat[0], flat[0], flat, rows_s)
    picture = np.asarray(draw_evidence(Measurement(result, evidence)).convert("RGB")).astype(int)
    orange = (np.abs(picture - (213, 94, 0)).max(axis=2) < 40) & (np.arange(WIDTH) > 115)
    top, bottom = 402, HEIGHT - 78
    for time_s in (75, 225):
        found = np.flatnonzero(orange[round(top + time_s / 300 * (bottom - top))])
        place_ms = -1500 + 3000 * (found - 110) / (WIDTH - 150)
        assert place_ms == pytest.approx(np.full(len(found), -600 + 4 * time_s), abs=20)
        assert len(found)

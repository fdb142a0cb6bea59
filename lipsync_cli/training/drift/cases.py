"""Drifts and steps of one person at a time, planted in memory."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from lipsync_cli.sync.model_file import LoadedModel
from lipsync_cli.sync.programme import read_programme
from lipsync_cli.training.drift.benchmark import DriftRow, Log, compared, repair_of
from lipsync_cli.training.drift.programme import Planted
from lipsync_cli.training.drift.talk import Talker, in_turn, loudness_of, put_off, watch

PPM, DRIFT_S = (20.0, 100.0, 500.0), 600.0
# Steps of either sign, by so many ms, that leave an offset the search can reach.
SMALLEST_MS, LARGEST_MS, FURTHEST_MS = 40.0, 400.0, 700.0
STEPS, PIECE_S = 4, 36.0
_MOVED_S = 4.0
_MIN_PROBABILITY = 0.9


def benchmark_drifts(
    model: LoadedModel, people: Iterable[Sequence[Talker]], log: Log
) -> Iterator[DriftRow]:
    """Let each person drift by 20, 100 and 500 ppm for ten minutes."""
    for person in people:
        for ppm in PPM:
            yield _case(model, person, DRIFT_S, Planted(0.0, ppm), log)


def benchmark_steps(
    model: LoadedModel, people: Iterable[Sequence[Talker]], seed: int, log: Log
) -> Iterator[DriftRow]:
    """Let each person's sound make four steps in three minutes."""
    for number, person in enumerate(people):
        planted = random_steps(np.random.default_rng([seed, number]))
        yield _case(model, person, (STEPS + 1) * PIECE_S, planted, log)


def long_programme(length_s: float) -> Planted:
    """A drift and two steps, for a programme of this length."""
    steps = (length_s / 3 + 0.3, 120.0), (2 * length_s / 3 + 0.6, -420.0)
    return Planted(0.0, 120.0, steps)


def random_steps(rng: np.random.Generator) -> Planted:
    """Steps of random sizes at random times."""
    steps: list[tuple[float, float]] = []
    level_ms = 0.0
    for number in range(1, STEPS + 1):
        size_ms = float(rng.choice([-1, 1]) * rng.uniform(SMALLEST_MS, LARGEST_MS))
        if abs(level_ms + size_ms) > FURTHEST_MS:
            size_ms = -size_ms
        level_ms += size_ms
        steps.append((number * PIECE_S + float(rng.uniform(-_MOVED_S, _MOVED_S)), size_ms))
    return Planted(0.0, 0.0, tuple(steps))


def _case(
    model: LoadedModel, person: Sequence[Talker], duration_s: float, planted: Planted, log: Log
) -> DriftRow:
    """Plant, measure, and compute what the repair would leave."""
    began = time.process_time()
    talk = in_turn(person, duration_s)
    sound = put_off(talk.sound, planted)
    measured = read_programme(watch(model, talk, sound), model, _MIN_PROBABILITY)
    heard = loudness_of(sound)
    applied = repair_of(measured, heard)
    spent_s = time.process_time() - began
    row = compared(talk.duration_s, planted, measured, spent_s, applied=applied, heard=heard)
    log(f"{person[0].name}: {row.pattern}, {row.found_ppm} ppm, {len(measured.steps)} steps")
    return replace(row, name=person[0].name)

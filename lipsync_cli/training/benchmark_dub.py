"""Do chosen lips follow new speech? Measured by a judge that shares nothing with our model."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.coverage import coverage_of
from lipsync_cli.dubbing.footage import scan
from lipsync_cli.dubbing.looks import standardised, thumbnails
from lipsync_cli.dubbing.people import choose_person, people
from lipsync_cli.dubbing.select import Weights, select
from lipsync_cli.dubbing.selection import Selection
from lipsync_cli.dubbing.speech import Speech, hear
from lipsync_cli.dubbing.units import Units, collect, frame_step_s, grid
from lipsync_cli.faces.stream import TrackChunk
from lipsync_cli.media.audio import AudioBlock
from lipsync_cli.media.reader import read
from lipsync_cli.sync.model_file import LoadedModel
from lipsync_cli.training.dub_judge import Judge, Verdict, judged

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Log = Callable[[str], None]

MIN_S, MIN_RATE = 10.0, 20.0
RANDOM_RUN = 12  # frames
NEAR_JOIN = 2  # frames on either side
# Least footage for which the fit of the coverage figure is made.
FOOTAGE_S = (0.3, 1.0, 2.0, 5.0, 10.0, 20.0)


@dataclass(frozen=True, eq=False)
class Case:
    """A person and the speech to put into their mouth.

    Attributes:
        crops: uint8 [n, 64, 64], mouth of each row of `units`.
        track: the track to dub.
        sound: the speech, float32 at 16 kHz, from the track's first frame on.
        own_sound, own_t0_s: the clip's own, and the time of its first sample.
        fit: cosine of the mouth with it.
    """

    name: str
    units: Units
    crops: Bytes
    track: int
    speech: Speech
    sound: Floats
    own_sound: Floats
    own_t0_s: float
    fit: float | None

    @property
    def rows(self) -> Rows:
        """The frames to dub."""
        return self.units.rows_of(0, self.track)

    @property
    def start_s(self) -> float:
        """When the speech begins."""
        return float(self.units.time_s[self.rows[0]])


@dataclass(frozen=True)
class Dub:
    """One case, dubbed and judged.

    Attributes:
        real: height of the judge's curve for the clip with its own sound.
        ratio: cosine of sound and chosen mouths over that of the clip's own.
        run_s: mean time from join to join.
        join_change: change of the mouth from frame to frame near joins, dissolved, over that
            of consecutive frames of the footage.
    """

    verdict: Verdict
    real: float
    coverage: float
    ratio: float
    run_s: float
    joins_per_s: float
    join_change: float


def surest_clips(folder: Path, split: str, count: int) -> list[Path]:
    """The long clips whose own offset is clearest, one a speaker."""
    with (folder / "lags.csv").open(newline="") as file:
        margins = {r["file"]: float(r["margin"]) for r in csv.DictReader(file)}
    with (folder / "manifest.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["split"] == split and r["corpus"] == "wild"]
    long = [r for r in rows if float(r["duration_s"]) >= MIN_S and float(r["fps"]) >= MIN_RATE]
    chosen: dict[str, str] = {}
    for row in sorted(long, key=lambda r: -margins.get(r["file"], 0.0)):
        chosen.setdefault(row["speaker"], row["file"])
    return [folder / name for name in list(chosen.values())[:count]]


def benchmark(
    paths: Sequence[Path],
    model: LoadedModel,
    judge: Judge,
    *,
    weights: Weights | None = None,
    footage_s: Sequence[float] = FOOTAGE_S,
    log: Log | None = None,
) -> dict[str, Any]:
    """Dub each clip with the speech of the next, and with less and less footage.

    Returns:
        A row of figures for real clips (round their own lag), for controls (other speech
        undubbed, random runs), for all footage and for each amount of it; and the line
        (slope, intercept) that the coverage figure rests on.
    """
    net, cases = judge.load_net(), prepare(paths, model, log)
    asked = {name: [_ask(judge, net, c, name) for c in cases] for name in CONTROLS}
    table = [_row(name, verdicts) for name, verdicts in asked.items()]
    real = {c.name: v.height(0) for c, v in zip(cases, asked[CONTROLS[0]], strict=True)}
    trials: list[Dub] = []
    for seconds in (None, *sorted(footage_s, reverse=True)):
        some = [limited(c, seconds) for c in cases if seconds is None or _has(c, seconds)]
        dubs = [dub(c, judge, net, real[c.name], weights) for c in some]
        trials += dubs
        name = "all footage" if seconds is None else f"{seconds:g} s of footage"
        table.append(_dubbed_row(name, dubs))
        if log:
            log(str(table[-1]))
    slope, intercept = fitted(trials)
    return {"rows": table, "coverage": {"slope": slope, "intercept": intercept}}


def prepare(paths: Sequence[Path], model: LoadedModel, log: Log | None = None) -> list[Case]:
    """Pair each clip with the speech of the next one."""
    seen = []
    for path in paths:
        seen.append(_Clip.read(path, model))
        if log:
            log(f"{path.stem}: {len(seen[-1].units)} frames")
    cases = []
    for clip, other in zip(seen, [*seen[1:], *seen[:1]], strict=True):
        start_s = float(clip.units.time_s[clip.units.rows_of(0, clip.track)[0]])
        speech = hear(other.path, model, delay_s=start_s - other.t0_s)
        cases.append(
            Case(
                name=clip.path.stem,
                units=clip.units,
                crops=clip.crops,
                track=clip.track,
                speech=speech,
                sound=other.sound,
                own_sound=clip.sound,
                own_t0_s=clip.t0_s,
                fit=clip.fit,
            )
        )
    return cases


@dataclass(frozen=True, eq=False)
class _Clip:
    """One file, read once."""

    path: Path
    units: Units
    crops: Bytes
    track: int
    sound: Floats
    t0_s: float
    fit: float | None

    @classmethod
    def read(cls, path: Path, model: LoadedModel) -> _Clip:
        kept: dict[int, list[Bytes]] = {}

        def keep(chunk: TrackChunk) -> None:
            kept.setdefault(chunk.track, []).append(chunk.mouths)

        footage = scan(path, model, on_chunk=keep)
        person = choose_person(people(footage, model), "speaker")
        tracks = person.tracks
        step_s = frame_step_s(tracks)
        crops = [np.concatenate(kept[t.track])[grid(t.pts_s, step_s)[1]] for t in tracks]
        longest = max(tracks, key=lambda t: t.duration_s)
        blocks = [b for b in read(path, video=False) if isinstance(b, AudioBlock)]
        sound = np.concatenate([b.samples for b in blocks])
        units = collect(tracks, step_s)
        mouths, t0_s = np.concatenate(crops), blocks[0].t0_s
        return cls(path, units, mouths, longest.track, sound, t0_s, person.fit)


def dub(case: Case, judge: Judge, net: Any, real: float, weights: Weights | None = None) -> Dub:
    """Choose the mouths of one case and have them judged."""
    chosen = select(case.units, case.speech, track=case.track, weights=weights)
    mouths = dissolved(case.crops, chosen)
    verdict = judged(judge, net, mouths, chosen.pts_s, case.sound, case.start_s)
    coverage = coverage_of(case.units, [chosen], case.fit)
    joins = np.flatnonzero(np.diff(chosen.unit))
    span_s = len(chosen.rows) * case.units.step_s
    return Dub(
        verdict=verdict,
        real=real,
        coverage=coverage.value,
        ratio=(coverage.similarity or 0.0) / case.fit if case.fit else np.nan,
        run_s=span_s / (len(joins) + 1),
        joins_per_s=len(joins) / span_s,
        join_change=_join_change(case, mouths, joins),
    )


def dissolved(crops: Bytes, chosen: Selection) -> Bytes:
    """The chosen crops, runs dissolved into each other as the picture does it."""
    share = chosen.share[:, None, None]
    mixed = crops[chosen.rows] * (1 - share) + crops[chosen.mixed_rows] * share
    return np.asarray(np.round(mixed), np.uint8)


def limited(case: Case, seconds: float | None, seed: int = 0) -> Case:
    """The same with no more than one stretch of footage to choose from."""
    if seconds is None:
        return case
    units = case.units
    length = min(len(units), round(seconds / units.step_s))
    first = int(np.random.default_rng(seed).integers(0, len(units) - length + 1))
    usable = np.zeros(len(units), np.bool_)
    usable[first : first + length] = units.usable[first : first + length]
    return replace(case, units=replace(units, usable=usable))


def fitted(dubs: Sequence[Dub]) -> tuple[float, float]:
    """Least squares of the judge's height by that of real speech and the ratio of cosines."""
    known = [d for d in dubs if np.isfinite(d.ratio)]
    inputs = np.array([[d.real * d.ratio, d.real] for d in known])
    heights = np.array([d.verdict.height(0) for d in known])
    slope, intercept = np.linalg.lstsq(inputs, heights, rcond=None)[0].tolist()
    return round(slope, 3), round(intercept, 3)


CONTROLS = ("real, own lag", "undubbed, other speech", "random runs")


def _ask(judge: Judge, net: Any, case: Case, control: str) -> Verdict:
    rows, sound, t0_s = case.rows, case.sound, case.start_s
    if control == CONTROLS[0]:
        sound, t0_s = case.own_sound, case.own_t0_s
    mouths = case.crops[_random_rows(case) if control == CONTROLS[2] else rows]
    verdict = judged(judge, net, mouths, case.units.pts_s[rows], sound, t0_s)
    return verdict.centred() if control == CONTROLS[0] else verdict


def _random_rows(case: Case) -> Rows:
    """Runs of twelve frames from anywhere."""
    count, rng = len(case.rows), np.random.default_rng(0)
    starts = rng.integers(0, max(1, len(case.units) - RANDOM_RUN), count // RANDOM_RUN + 1)
    return np.asarray((starts[:, None] + np.arange(RANDOM_RUN)).ravel()[:count], np.int64)


def _join_change(case: Case, mouths: Bytes, joins: Rows) -> float:
    usual = _change(case.crops)[case.units.follows[:-1]].mean()
    near = np.zeros(len(mouths) - 1, np.bool_)
    for join in joins.tolist():
        near[max(0, join - NEAR_JOIN) : join + NEAR_JOIN + 1] = True
    return float(_change(mouths)[near].mean() / usual) if near.any() else 0.0


def _change(mouths: Bytes) -> Floats:
    """Difference of each mouth from the one before it."""
    looks = standardised(thumbnails(mouths))
    return np.asarray(np.linalg.norm(np.diff(looks, axis=0), axis=1), np.float32)


def _has(case: Case, seconds: float) -> bool:
    return len(case.units) * case.units.step_s >= seconds


def _row(name: str, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    lags = np.concatenate([v.windows for v in verdicts])
    return {
        "what": name,
        "clips": len(verdicts),
        "windows": len(lags),
        "follows": round(float((np.abs(lags) <= 1).mean()), 3),
        "height": round(float(np.mean([v.height(0) for v in verdicts])), 4),
    }


def _dubbed_row(name: str, dubs: Sequence[Dub]) -> dict[str, Any]:
    row = _row(name, [d.verdict for d in dubs])
    names = ("real", "coverage", "ratio", "run_s", "joins_per_s", "join_change")
    means = {n: round(float(np.nanmean([getattr(d, n) for d in dubs])), 3) for n in names}
    return {**row, "of_real": round(row["height"] / means["real"], 3), **means}

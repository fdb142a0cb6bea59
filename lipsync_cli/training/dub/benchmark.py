"""Do chosen lips follow new speech? Measured by a judge that shares nothing with our model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.footage.looks import standardised, thumbnails
from lipsync_cli.dubbing.mouths.coverage import coverage_of
from lipsync_cli.dubbing.mouths.select import Weights, select
from lipsync_cli.dubbing.mouths.selection import Selection
from lipsync_cli.sync.model_file import LoadedModel
from lipsync_cli.training.dub.cases import Case, Log, limited, prepare, random_rows
from lipsync_cli.training.dub.coverage import Dub, fitted, refitted
from lipsync_cli.training.dub.judge import Judge, Verdict, judged

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

NEAR_JOIN = 2  # frames on either side
# Least footage for which the fit of the coverage figure is made.
FOOTAGE_S = (0.3, 1.0, 2.0, 5.0, 10.0, 20.0)


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
        undubbed, random runs), for all footage and for each amount of it; and the line that
        the coverage figure rests on, fitted to these clips (`coverage._SLOPE`,
        `_INTERCEPT`). `refitted` is what the line fitted to the other people says.
    """
    net, cases = judge.load_net(), prepare(paths, model, log)
    asked = {name: [_ask(judge, net, c, name) for c in cases] for name in CONTROLS}
    table = [_row(name, verdicts) for name, verdicts in asked.items()]
    real = {c.name: v.height(0) for c, v in zip(cases, asked[CONTROLS[0]], strict=True)}
    trials: dict[str, list[Dub]] = {}
    for seconds in (None, *sorted(footage_s, reverse=True)):
        some = [limited(c, seconds) for c in cases if seconds is None or _has(c, seconds)]
        name = "all footage" if seconds is None else f"{seconds:g} s of footage"
        trials[name] = [dub(c, judge, net, real[c.name], weights) for c in some]
        if log:
            log(str(_dubbed_row(name, trials[name])))
    every = [d for dubs in trials.values() for d in dubs]
    for name, dubs in trials.items():
        row = _dubbed_row(name, dubs)
        table.append({**row, "refitted": round(float(np.nanmean(refitted(dubs, every))), 3)})
    slope, intercept = fitted(every)
    return {"rows": table, "coverage": {"slope": slope, "intercept": intercept}}


def dub(case: Case, judge: Judge, net: Any, real: float, weights: Weights | None = None) -> Dub:
    """Choose the mouths of one case and have them judged."""
    chosen = select(case.units, case.speech, track=case.track, weights=weights)
    mouths = dissolved(case.crops, chosen)
    verdict = judged(judge, net, mouths, chosen.pts_s, case.sound, case.start_s)
    coverage = coverage_of(case.units, [chosen], case.fit)
    joins = np.flatnonzero(np.diff(chosen.unit))
    span_s = len(chosen.rows) * case.units.step_s
    return Dub(
        name=case.name,
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


CONTROLS = ("real, own lag", "undubbed, other speech", "random runs")


def _ask(judge: Judge, net: Any, case: Case, control: str) -> Verdict:
    rows, sound, t0_s = case.rows, case.sound, case.start_s
    if control == CONTROLS[0]:
        sound, t0_s = case.own_sound, case.own_t0_s
    mouths = case.crops[random_rows(case) if control == CONTROLS[2] else rows]
    verdict = judged(judge, net, mouths, case.units.pts_s[rows], sound, t0_s)
    return verdict.centred() if control == CONTROLS[0] else verdict


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

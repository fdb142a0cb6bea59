"""What the benchmark's answers come to, with the uncertainty of so few people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.sync.calibration import Calibration
from lipsync_cli.sync.estimate import NEAR_MS
from lipsync_cli.training.accuracy.benchmark import CLEAN, COST, SHIFTED, TRIALS
from lipsync_cli.training.accuracy.pictures import PICTURE_CONDITIONS
from lipsync_cli.training.accuracy.plot import save_reliability
from lipsync_cli.training.accuracy.sound import sound_conditions
from lipsync_cli.training.accuracy.text import as_text
from lipsync_cli.training.sync.calibrate import SURE, Trial, coverage, even_odds

Floats = NDArray[np.float64]
Table = Mapping[str, NDArray[Any]]
Row = dict[str, Any]

# "Within one frame" of whole 25 fps frames lets pass up to one and a half of them.
ROUNDED_MS = 1.5 * NEAR_MS
TURNED = 0.2  # of the head, see Poses: about 20 degrees
RESAMPLES = 1000
LONG_S, WHOLE_S = 3.0, 5.0  # least length of what counts as a long cut, and as a clip
_EDGES = np.linspace(0, 1, 11)


def write_report(folder: Path, calibration: Calibration, about: Mapping[str, Any]) -> str:
    """Write report.json, report.txt and reliability.png beside the results; return the text."""
    report = make_report(folder, calibration, about)
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    text = as_text(report)
    (folder / "report.txt").write_text(text)
    if report["probability"]:
        save_reliability(report["probability"]["bins"], folder / "reliability.png")
    return text


def make_report(folder: Path, calibration: Calibration, about: Mapping[str, Any]) -> Row:
    """Everything that can be said from the results that are there."""
    clean, shifted = _table(folder / f"{CLEAN}.json"), _table(folder / f"{SHIFTED}.json")
    found = _trials(folder / f"{TRIALS}.json")
    cost = _table(folder / f"{COST}.json")
    return {
        "about": dict(about),
        "accuracy": accuracy(clean, clean["own_ms"]) if clean else [],
        "accuracy_by_whole_clip": _by_whole(clean, shifted) if clean and shifted else [],
        "conditions": dict(_conditions(folder, clean)) if clean else {},
        "probability": probability([t for t in found if not t.whole], calibration) if found else {},
        "refusal": refusal(found, calibration) if found else {},
        "known_shifts": known_shifts(shifted) if shifted else {},
        "cost": {name: float(values[0]) for name, values in cost.items()} if cost else {},
    }


def accuracy(table: Table, own_ms: Floats) -> list[Row]:
    """One row a window length: rates are means over clips, intervals resample clips."""
    rows = []
    for frames in np.unique(table["frames"]).tolist():
        of = table["frames"] == frames
        _, clip = np.unique(table["file"][of], return_inverse=True)
        errors = {n: (table[f"{n}_ms"] - own_ms)[of] for n in ("classifier", "diagonal")}
        row: Row = {"frames": frames, "windows": int(of.sum()), "clips": int(clip.max()) + 1}
        near = {n: _by_clip(np.abs(e) <= NEAR_MS, clip) for n, e in errors.items()}
        for name, error in errors.items():
            row[name] = {
                "within_40_ms": float(near[name].mean()),
                "interval": interval(near[name]),
                "within_60_ms": float(_by_clip(np.abs(error) <= ROUNDED_MS, clip).mean()),
                "median_error_ms": float(np.median(np.abs(error))),
                "bias_ms": float(np.median(error)),
            }
        gain = near["classifier"] - near["diagonal"]
        row["gain"] = {"mean": float(gain.mean()), "interval": interval(gain)}
        rows.append(row)
    return rows


def interval(by_clip: Floats, weight: Floats | None = None) -> tuple[float, float]:
    """95 % interval of a mean over clips, weighted if asked for, by drawing clips again."""
    picks = np.random.default_rng(0).integers(len(by_clip), size=(RESAMPLES, len(by_clip)))
    weights = None if weight is None else weight[picks]
    means = np.average(by_clip[picks], axis=1, weights=weights)
    low, high = np.quantile(means, (0.025, 0.975)).tolist()
    return float(low), float(high)


def probability(found: list[Trial], calibration: Calibration) -> Row:
    """Stated against true, at even odds of own and strangers' sound; and the 95 % interval."""
    p = np.array([t.probability(calibration) for t in found])
    right, weight = np.array([t.right for t in found]), even_odds(found)
    own = np.array([not t.stranger for t in found])
    sure = [t for t in found if not t.stranger and t.sure(calibration) and t.right]
    errors = np.array([t.error_ms for t in sure])
    return {
        "cuts": len(found),
        "strangers": int((~own).sum()),
        "bins": reliability(p, right, weight),
        "reliability_error": reliability_error(p, right, weight),
        "reliability_error_own": reliability_error(p[own], right[own], weight[own]),
        "interval_coverage": coverage([t for t in found if not t.stranger], calibration),
        "median_error_ms": float(np.median(np.abs(errors))),
        "bias_ms": float(np.median(errors)),
    }


def reliability(p: Floats, right: NDArray[np.bool_], weight: Floats) -> list[dict[str, float]]:
    """Mean stated probability and true share in ten bins, with the share of weight in each."""
    rows = []
    for low, high in pairwise(_EDGES.tolist()):
        inside = (p >= low) & ((p < high) | (high == 1))
        if inside.any():
            of = weight[inside]
            stated, true = (float(np.average(v[inside], weights=of)) for v in (p, right))
            share = float(of.sum() / weight.sum())
            row = {"from": low, "n": int(inside.sum()), "share": share}
            rows.append(row | {"stated": stated, "right": true})
    return rows


def reliability_error(p: Floats, right: NDArray[np.bool_], weight: Floats) -> float:
    """Mean distance of stated and true over the bins, each by its weight."""
    rows = reliability(p, right, weight)
    return sum(r["share"] * abs(r["stated"] - r["right"]) for r in rows)


def refusal(found: list[Trial], calibration: Calibration) -> Row:
    """Sure answers about strangers' sound, and refused ones about people's own."""
    rows: Row = {}
    for name, stranger in (("sure_about_strangers", True), ("refused_own", False)):
        some = [t for t in found if t.stranger == stranger]
        cuts = [t for t in some if not t.whole]
        rows[name] = _share(cuts, calibration, stranger)
        long = [t for t in cuts if t.length_s >= LONG_S]
        rows[f"{name}_long"] = _share(long, calibration, stranger)
        whole = [t for t in some if t.whole and t.length_s >= WHOLE_S]
        rows[f"{name}_whole"] = _share(whole, calibration, stranger)
    wrong = [t.sure(calibration) and not t.right for t in found if not t.stranger]
    return rows | {"sure_but_wrong_own": float(np.mean(wrong)), "at_least": SURE}


def _share(some: list[Trial], calibration: Calibration, sure: bool) -> Row:
    """Share of answers that are sure, or not, and its interval over clips."""
    if not some:
        return {"n": 0, "share": float("nan"), "interval": (float("nan"),) * 2}
    flags = np.array([t.sure(calibration) == sure for t in some], float)
    _, clip = np.unique([t.file for t in some], return_inverse=True)
    return {
        "n": len(some),
        "share": float(flags.mean()),
        "interval": interval(_by_clip(flags, clip), np.bincount(clip).astype(np.float64)),
    }


def known_shifts(table: Table) -> Row:
    """Change of the whole clip's answer against the time by which its samples were moved."""
    sure = table["mass"] >= SURE
    errors = (table["after_ms"] - table["before_ms"] - table["moved_ms"])[sure]
    near = np.abs(errors) <= NEAR_MS
    return {
        "clips": len(sure),
        "sure": int(sure.sum()),
        "within_40_ms": float(near.mean()),
        "median_error_ms": float(np.median(np.abs(errors))),
        "bias_ms": float(errors[near].mean()),
        "bias_interval_ms": interval(errors[near]),
    }


def _conditions(folder: Path, clean: Table) -> Iterator[tuple[str, list[Row]]]:
    for name in (c.name for c in sound_conditions()):
        if table := _table(folder / f"{name}.json"):
            yield name, accuracy(table, table["own_ms"])
    same: set[str] = set()
    for name in (c.name for c in PICTURE_CONDITIONS):
        if table := _table(folder / f"{name}.json"):
            same |= set(table["file"].tolist())
            yield name, accuracy(table, table["own_ms"])
    if same:
        chosen = _only(clean, np.isin(clean["file"], sorted(same)))
        yield "those clips as they are", accuracy(chosen, chosen["own_ms"])
    turned = _only(clean, clean["turn"].astype(np.float64) >= TURNED)
    if len(turned["file"]):
        yield "turned head", accuracy(turned, turned["own_ms"])


def _by_whole(clean: Table, shifted: Table) -> list[Row]:
    """Accuracy against what the model says of the whole clip, where it is sure of that."""
    sure = shifted["mass"] >= SURE
    whole = dict(zip(shifted["file"][sure], shifted["before_ms"][sure], strict=True))
    own_ms = np.array([whole.get(file, np.nan) for file in clean["file"]])
    known = np.isfinite(own_ms)
    return accuracy(_only(clean, known), own_ms[known])


def _only(table: Table, rows: NDArray[np.bool_]) -> Table:
    return {name: values[rows] for name, values in table.items()}


def _by_clip(values: NDArray[Any], clip: NDArray[np.int64]) -> Floats:
    """Mean of each clip."""
    return np.asarray(np.bincount(clip, values) / np.bincount(clip), np.float64)


def _table(path: Path) -> Table:
    columns = json.loads(path.read_text()) if path.exists() else {}
    return {name: np.array(values) for name, values in columns.items()}


def _trials(path: Path) -> list[Trial]:
    columns = json.loads(path.read_text()) if path.exists() else {}
    names = list(columns)
    rows = zip(*columns.values(), strict=True)
    return [Trial(**dict(zip(names, row, strict=True))) for row in rows]

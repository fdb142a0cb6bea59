"""Figures of dubbed files as a table, with the bars that they have to pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Bar:
    """What the mean of a column must reach.

    Attributes:
        column: name of the figure.
        least, most: limits; None where there is none.
    """

    column: str
    least: float | None = None
    most: float | None = None

    def passed(self, value: float) -> bool:
        """Whether a value lies within the limits; a missing one does not."""
        over = self.least is None or value >= self.least
        return not math.isnan(value) and over and (self.most is None or value <= self.most)


BARS = (
    Bar("follows", least=0.95),
    Bar("of_real", least=0.9),
    Bar("run_s", least=0.4),
    Bar("sharpness", least=0.95),
    Bar("kept", least=0.95),
    Bar("joins", most=1.5),
    Bar("silence", most=0.2),
)
COLUMNS = (
    "follows",
    "of_real",
    "coverage",
    "run_s",
    "sharpness",
    "kept",
    "joins",
    "joins_worst",
    "trembling",
    "seam",
    "silence",
    "outside_psnr_db",
)


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Mean figures of dubbed files, those by the judge weighted by its windows, and bars.

    `of_real` is the mean height of dubs over that of the same people's real speech.
    """
    judged = [row for row in rows if row.get("windows")]
    means = {name: _mean(rows, name) for name in COLUMNS}
    for name in ("follows", "undubbed_follows", "random_follows"):
        means[name] = _weighted(judged, name)
    for name in ("height", "real", "undubbed", "random"):
        means[name] = _mean(judged, name)
    means["of_real"] = means["height"] / means["real"] if judged else math.nan
    passed = {bar.column: bar.passed(means[bar.column]) for bar in BARS}
    stages = {name: sum(row["stages_s"][name] for row in rows) for name in _stages(rows)}
    filmed_s = sum(row["seconds"] for row in rows)
    return {
        "clips": len(rows),
        "windows": sum(row["windows"] for row in judged),
        "means": {name: _rounded(value) for name, value in means.items()},
        "passed": passed,
        "real_time_factor": {n: _rounded(s / max(filmed_s, 1e-9)) for n, s in stages.items()},
    }


def lines(rows: Sequence[Row]) -> list[str]:
    """A table of text: a line a file, then the means and the bars."""
    whole = summary(rows)
    head = ["clip", *COLUMNS]
    table = [[str(row["clip"])[:24], *(_text(_figure(row, n)) for n in COLUMNS)] for row in rows]
    means = ["mean", *(_text(whole["means"][name]) for name in COLUMNS)]
    bars = {bar.column: bar for bar in BARS}
    limits = ["bar", *(_limit(bars.get(name)) for name in COLUMNS)]
    columns = list(zip(head, *table, means, limits, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]
    return ["  ".join(_padded(line, widths)) for line in zip(*columns, strict=True)]


def _padded(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    place: list[Callable[[str, int], str]] = [str.ljust, *[str.rjust] * (len(cells) - 1)]
    return [put(cell, width) for put, cell, width in zip(place, cells, widths, strict=True)]


def _figure(row: Row, name: str) -> float | None:
    if name == "of_real":
        return row["height"] / row["real"] if row.get("windows") else None
    value: float | None = row.get(name)
    return value


def _stages(rows: Sequence[Row]) -> list[str]:
    return list(rows[0]["stages_s"]) if rows else []


def _mean(rows: Sequence[Row], name: str) -> float:
    values = [v for row in rows if (v := _figure(row, name)) is not None and not math.isnan(v)]
    return sum(values) / len(values) if values else math.nan


def _weighted(rows: Sequence[Row], name: str) -> float:
    total = sum(row["windows"] for row in rows)
    return sum(row[name] * row["windows"] for row in rows) / total if total else math.nan


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _limit(bar: Bar | None) -> str:
    if bar is None:
        return ""
    return f">={bar.least:g}" if bar.least is not None else f"<={bar.most:g}"

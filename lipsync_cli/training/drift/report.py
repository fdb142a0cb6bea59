"""Figures of planted drifts and steps, as tables and as shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from lipsync_cli.training.drift.benchmark import REPAIRED_MS, DriftRow

# What counts as found.
NEAR_S, NEAR_PPM = 0.5, 10.0


def table(rows: Sequence[DriftRow]) -> list[str]:
    """Rows of Markdown, a programme each and a step each."""
    head = (
        "| programme | minutes | planted | found | 95 % | worst offset left | detect | fix | peak |"
    )
    lines = [head, "|---" * 9 + "|"]
    for row in rows:
        found = "none" if row.found_ppm is None else f"{row.found_ppm:+.1f} ppm"
        span = "-" if row.interval_ppm is None else "{:.1f} to {:.1f}".format(*row.interval_ppm)
        left = "-" if row.worst_ms is None else f"{row.worst_ms:.1f} ms"
        fix = "-" if row.fix_s is None else f"{row.fix_s:.0f} s"
        lines.append(
            f"| {row.name} | {row.duration_s / 60:.0f} | {row.planted_ppm:+.0f} ppm | {found}"
            f" | {span} | {left} | {row.detect_s:.0f} s | {fix} | {row.peak_mb:.0f} MB |"
        )
    steps = [step for row in rows for step in row.steps]
    if steps:
        head = (
            "| step at | size | time off by | size off by | wrong after the repair | of it speech |"
        )
        lines += ["", head, "|---" * 6 + "|"]
    for step in steps:
        lines.append(
            f"| {step.time_s:.1f} s | {step.size_ms:+.0f} ms | {_signed(step.error_s, 's')}"
            f" | {_signed(step.error_ms, 'ms')} | {_signed(step.wrong_s, 's')}"
            f" | {_signed(step.wrong_spoken_s, 's')} |"
        )
    return lines


def summary(rows: Sequence[DriftRow]) -> dict[str, Any]:
    """Shares of all planted steps and drifts, those that were not found included."""
    steps = [step for row in rows for step in row.steps]
    drifts = [row for row in rows if row.planted_ppm]
    figures: dict[str, Any] = {
        "drifts": len(drifts),
        "drifts_recovered": sum(_is_recovered(row) for row in drifts),
        "steps": len(steps),
        "steps_found": sum(step.error_s is not None for step in steps),
        "steps_false": sum(row.false_steps for row in rows),
        "steps_in_time": sum(_within(step.error_s, NEAR_S) for step in steps),
        "steps_in_size": sum(_within(step.error_ms, REPAIRED_MS) for step in steps),
    }
    worst = [row.worst_ms for row in rows if row.worst_ms is not None]
    figures["repaired_beside_joints"] = sum(_within(ms, REPAIRED_MS) for ms in worst)
    figures["not_repaired"] = len(rows) - len(worst)
    for name in ("wrong_s", "wrong_spoken_s"):
        values = [getattr(step, name) for step in steps if getattr(step, name) is not None]
        if values:
            median, most = np.percentile(values, [50, 90]).round(2).tolist()
            figures[name] = {"median": median, "p90": most, "max": max(values)}
    return figures


def _is_recovered(row: DriftRow) -> bool:
    """Whether a drift was found within 10 ppm, or lies in the interval that was stated."""
    low, high = row.interval_ppm or (np.inf, np.inf)
    error_ppm = None if row.found_ppm is None else row.found_ppm - row.planted_ppm
    return _within(error_ppm, NEAR_PPM) or low <= row.planted_ppm <= high


def _within(error: float | None, limit: float) -> bool:
    return error is not None and abs(error) <= limit


def record(rows: Sequence[DriftRow]) -> dict[str, Any]:
    """Rows for JSON."""
    return {"programmes": [asdict(row) for row in rows], "summary": summary(rows)}


def _signed(value: float | None, unit: str) -> str:
    return "not found" if value is None else f"{value:.2f} {unit}"

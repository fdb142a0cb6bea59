"""The benchmark's report as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

_ACCURACY = {
    "accuracy": "Against each clip's reference",
    "accuracy_by_whole_clip": "Against the model's answer for the whole clip, where it is sure",
}
_NOTE = """\
A window of n frames compares as many pictures as n frames of 25 fps last with sound, and each
of them sees five more on either side: published figures for 15 frames rest on as many as ours for
5. Candidates: 15 frames on either side, the truth anywhere among them. Rates are shares within
40 ms, means over clips; in brackets 95 % intervals by drawing clips again.
"""


def as_text(report: Row) -> str:
    """All tables of a report."""
    parts = [_NOTE]
    for name, title in _ACCURACY.items():
        if report[name]:
            parts += [f"### {title}\n", _accuracy(report[name])]
    if report["conditions"]:
        parts += ["### Conditions\n", _conditions(report["conditions"], report["accuracy"])]
    if report["probability"]:
        parts += ["### Probability\n", _probability(report["probability"])]
        parts += ["### Refusal\n", _refusal(report["refusal"])]
    if report["known_shifts"]:
        parts += ["### Known shifts\n", _shifts(report["known_shifts"])]
    if report["cost"]:
        parts += ["### Cost\n", _cost(report["cost"], report["about"])]
    return "\n".join(parts)


def _accuracy(rows: Sequence[Row]) -> str:
    header = (
        "frames", "clips", "windows", "classifier", "diagonal mean", "gain",
        "classifier within 60 ms", "median error", "diagonal, median error",
    )  # fmt: skip
    return _table(header, (_accuracy_row(row) for row in rows))


def _accuracy_row(row: Row) -> list[str]:
    classifier, diagonal, gain = row["classifier"], row["diagonal"], row["gain"]
    low, high = gain["interval"]
    return [
        str(row["frames"]),
        str(row["clips"]),
        str(row["windows"]),
        _rate(classifier),
        _rate(diagonal),
        f"{100 * gain['mean']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})",
        f"{100 * classifier['within_60_ms']:.1f} %",
        f"{classifier['median_error_ms']:.1f} ms",
        f"{diagonal['median_error_ms']:.1f} ms",
    ]


def _rate(found: Row) -> str:
    low, high = found["interval"]
    return f"{100 * found['within_40_ms']:.1f} % ({100 * low:.0f}-{100 * high:.0f})"


def _conditions(conditions: Mapping[str, Sequence[Row]], clean: Sequence[Row]) -> str:
    lengths = sorted({row["frames"] for rows in conditions.values() for row in rows})
    shown = [n for n in lengths if n in (5, 15, 25, 75, 250)]
    named = {"clean": clean, **conditions}
    body = (_condition_row(name, rows, shown) for name, rows in named.items())
    return _table(("condition", "clips", *(f"{n} frames" for n in shown), "median error"), body)


def _condition_row(name: str, rows: Sequence[Row], shown: Sequence[int]) -> list[str]:
    by_frames = {row["frames"]: row for row in rows}
    cells = [_short(by_frames.get(n)) for n in shown]
    longest = max(rows, key=lambda row: row["frames"])
    error = f"{longest['classifier']['median_error_ms']:.0f} ms at {longest['frames']}"
    return [name, str(max(row["clips"] for row in rows)), *cells, error]


def _short(row: Row | None) -> str:
    if row is None:
        return "-"
    return f"{100 * row['classifier']['within_40_ms']:.0f} % ({row['clips']})"


def _probability(found: Row) -> str:
    bins = ([f"{b['stated']:.2f}", f"{b['right']:.2f}", str(b["n"])] for b in found["bins"])
    return (
        f"{found['cuts']} cuts of 0.6 to 20 s, {found['strangers']} of them with a stranger's"
        f" sound, weighed to even odds. Reliability error {100 * found['reliability_error']:.1f} %"
        f" ({100 * found['reliability_error_own']:.1f} % on own sound alone). The 95 % interval"
        f" of sure answers holds the reference in {100 * found['interval_coverage']:.1f} %;"
        f" median error {found['median_error_ms']:.1f} ms, bias {found['bias_ms']:+.1f} ms.\n\n"
        + _table(("stated", "right", "n"), bins)
    )


def _refusal(found: Row) -> str:
    names = {
        "sure_about_strangers": "strangers' sound answered",
        "sure_about_strangers_long": "the same, cuts of 3 s and more",
        "sure_about_strangers_whole": "the same, whole clips of 5 s and more",
        "refused_own": "own sound refused",
        "refused_own_long": "the same, cuts of 3 s and more",
        "refused_own_whole": "the same, whole clips of 5 s and more",
    }
    rows = ([text, str(found[name]["n"]), _share(found[name])] for name, text in names.items())
    wrong = f"Own sound, answered wrongly: {100 * found['sure_but_wrong_own']:.1f} %.\n"
    return _table(("", "n", "share"), rows) + "\n" + wrong


def _share(found: Row) -> str:
    if not found["n"]:
        return "-"
    low, high = found["interval"]
    return f"{100 * found['share']:.1f} % ({100 * low:.1f}-{100 * high:.1f})"


def _shifts(found: Row) -> str:
    low, high = found["bias_interval_ms"]
    return (
        f"Samples of {found['clips']} whole clips moved by up to 300 ms; {found['sure']} sure both"
        f" times, the change within 40 ms in {100 * found['within_40_ms']:.1f} %, median error"
        f" {found['median_error_ms']:.2f} ms, bias {found['bias_ms']:+.2f} ms"
        f" ({low:+.2f} to {high:+.2f}).\n"
    )


def _cost(cost: Row, about: Row) -> str:
    return (
        f"CPU time on one core: {cost['visual_ms_per_picture']:.1f} ms a picture,"
        f" {cost['classifier_ms_per_picture']:.2f} ms more for its evidence over 1.5 s on either"
        f" side, {cost['audio_ms_per_second']:.1f} ms a second of sound. Model file"
        f" {about.get('model_bytes', 0) / 1e6:.1f} MB.\n"
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)

"""What reports are made of: one row a file, whether it was scored or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lipsync_cli.errors import LipsyncError
from lipsync_cli.results import Outcome, OutOfLimits, ScoreResult, Verdict
from lipsync_cli.scoring.pictures import FacePicture

State = Literal["pass", "fail", "not_checkable", "measured", "error"]

# From bad to good, as a reader wants to see them.
STATES: tuple[State, ...] = ("error", "fail", "not_checkable", "measured", "pass")
OUTCOMES: tuple[Outcome, ...] = ("pass", "fail", "not_checkable")
WORDS: dict[State | Outcome, str] = {
    "pass": "pass",
    "fail": "fail",
    "not_checkable": "not checkable",
    "measured": "measured",
    "error": "error",
}


@dataclass(frozen=True)
class Row:
    """One file: its result with a few pictures, or the error that stands for it."""

    file: str
    result: ScoreResult | None = None
    error: LipsyncError | None = None
    pictures: tuple[FacePicture, ...] = ()

    @property
    def state(self) -> State:
        """The worst verdict on the file; without verdicts, whether it could be measured."""
        if self.result is None:
            return "error"
        outcomes = {verdict.outcome for verdict in self.result.verdicts.values()}
        for worst in ("fail", "not_checkable", "pass"):
            if worst in outcomes:
                return worst
        known = self.result.offset_ms is not None or self.result.lse_d is not None
        return "measured" if known else "not_checkable"


def stretches(result: ScoreResult) -> list[tuple[OutOfLimits, list[str]]]:
    """Each stretch that is out of any limits, surely where possible, and the names of these."""
    found: dict[tuple[float, float], tuple[OutOfLimits, list[str]]] = {}
    for name, verdict in result.verdicts.items():
        for part in verdict.ranges:
            held, names = found.get((part.start_s, part.end_s), (part, []))
            surer = held if held.certain else part
            found[part.start_s, part.end_s] = (surer, [*names, name])
    return [found[key] for key in sorted(found)]


def words_of(verdict: Verdict) -> str:
    """A verdict in words: "pass", "borderline pass", "fail", ..."""
    return ("borderline " if verdict.borderline else "") + WORDS[verdict.outcome]

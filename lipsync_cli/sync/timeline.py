"""The offset of a programme over time: constant, drifting, in steps, or none of these.

Every second of evidence becomes a likelihood over the lag grid. Viterbi finds the most
probable path through them, whose jumps are the candidates for steps; then lines of a common
slope are fitted between every useful choice of steps, and the Bayesian information
criterion chooses among them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lipsync_cli.results import Pattern, Step
from lipsync_cli.sync.blocks import share_astray
from lipsync_cli.sync.estimate import Logits
from lipsync_cli.sync.evidence import BIN_S, LagEvidence
from lipsync_cli.sync.lag_path import Floats, Seconds, most_probable_path, read_seconds
from lipsync_cli.sync.line_model import (
    LineModel,
    best_model,
    candidate_breaks,
    fit,
    settled,
    slope_error,
)
from lipsync_cli.sync.step_time import step_moments

MIN_SECONDS = 10  # informative seconds below which no pattern can be told
MIN_DRIFT_MS = 10.0  # less over the whole programme is no drift

# However long a programme is, the ends of its line may be off by this much.
_END_MS = 3.0
# With more of the clear answers off the lines, these say nothing.
_MOST_ASTRAY = 0.3
# Several steps that come more often than this on the average are no edits.
_STEP_EVERY_S = 20


@dataclass(frozen=True)
class Timeline:
    """What the offset does over time.

    Attributes:
        pattern: None where there is too little to tell.
        levels_ms: [n + 1], offset of each piece between the n steps, at `middle_s`.
        drift_ppm: > 0 the audio becomes earlier; 0 where there is no drift to speak of.
        drift_interval_ppm: 95 % interval, also where the drift is taken to be 0.
        steps: between the pieces.
        seconds: what all this was read from.
    """

    pattern: Pattern | None
    levels_ms: tuple[float, ...] = ()
    drift_ppm: float = 0.0
    drift_interval_ppm: tuple[float, float] | None = None
    middle_s: float = 0.0
    steps: tuple[Step, ...] = ()
    seconds: Seconds | None = field(default=None, repr=False)

    @property
    def changes(self) -> bool:
        """Whether one number does not describe the programme, but a few do."""
        return self.pattern in ("drift", "steps")

    def offset_ms(self, time_s: Floats) -> Floats:
        """Offset at picture times [n]."""
        piece = np.searchsorted(np.array([s.time_s for s in self.steps]), time_s, side="right")
        drift = self.drift_ppm * 1e-3 * (time_s - self.middle_s)
        return np.asarray(np.array(self.levels_ms)[piece] + drift)


def find_timeline(evidence: LagEvidence, logits: Logits) -> Timeline:
    """Find out what the offset of a programme does over time."""
    if not len(evidence.start_s):
        return Timeline(None)
    seconds = read_seconds(evidence, logits)
    if seconds.informative.sum() < MIN_SECONDS:
        return Timeline(None, seconds=seconds)
    path = most_probable_path(seconds.scores)
    model = best_model(seconds, path, candidate_breaks(seconds, path))
    model = settled(seconds, model)
    return _timeline(seconds, evidence, model)


def _timeline(seconds: Seconds, evidence: LagEvidence, model: LineModel) -> Timeline:
    slope, span_s = model.slope, len(seconds.time_s) * BIN_S
    error = slope_error(seconds, model)
    half = 1.96 * float(np.hypot(error, _END_MS / span_s)) if error is not None else np.inf
    if abs(slope) < half or abs(slope) * span_s < MIN_DRIFT_MS:
        model = fit(seconds, model.curve_ms, model.breaks, drifting=False)
    interval = (slope - half) * 1000, (slope + half) * 1000
    return Timeline(
        pattern=_pattern(seconds, model),
        levels_ms=tuple(model.levels_ms.tolist()),
        drift_ppm=model.slope * 1000,
        drift_interval_ppm=interval if np.isfinite(half) else None,
        middle_s=float(seconds.time_s.mean()),
        steps=tuple(_step(seconds, evidence, model, k) for k in range(len(model.breaks))),
        seconds=seconds,
    )


def _pattern(seconds: Seconds, model: LineModel) -> Pattern:
    crowded = len(model.breaks) > max(1, seconds.informative.sum() / _STEP_EVERY_S)
    if crowded or share_astray(seconds, model.curve_ms, model.breaks) > _MOST_ASTRAY:
        return "unclear"
    if model.breaks:
        return "steps"
    return "drift" if model.slope else "constant"


def _step(seconds: Seconds, evidence: LagEvidence, model: LineModel, k: int) -> Step:
    moments = step_moments(seconds, evidence, model, k)
    earliest_s, latest_s = moments.span_s
    return Step(
        time_s=round(moments.expected_s, 3),
        size_ms=round(float(model.levels_ms[k + 1] - model.levels_ms[k]), 1),
        earliest_s=round(earliest_s, 3),
        latest_s=round(latest_s, 3),
    )

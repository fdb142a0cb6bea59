"""How a head moves while it talks: slow sway, a nod with the voice, blinks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from lipsync_cli.render.speech import STEP_S, Articulation, Track


@dataclass(frozen=True)
class Pose:
    """Head pose at one moment; lengths in pixels of the photograph, all 0 (zoom 1) at rest."""

    x_px: float = 0.0
    y_px: float = 0.0
    roll_rad: float = 0.0
    yaw_px: float = 0.0
    pitch_px: float = 0.0
    zoom: float = 1.0


class Motion:
    """Poses and blinks over time, smooth and repeatable."""

    def __init__(self, articulation: Articulation, seed: int) -> None:
        self._rng = np.random.default_rng([seed, 6])
        self._n = len(articulation.t_s)
        loudness = gaussian_filter1d(articulation.voicing, 0.12 / STEP_S)
        self._tracks = {
            "x_px": 1.8 * self._sway(1.3),
            "y_px": 0.8 * self._sway(1.2) + 0.7 * (loudness - 0.3),
            "roll_rad": 0.022 * self._sway(1.5),
            "yaw_px": 1.9 * self._sway(1.1),
            "pitch_px": 0.7 * self._sway(0.9) + 0.9 * (loudness - 0.3),
            "zoom": 1 + 0.012 * self._sway(2.0),
        }
        self._blink = self._blinks()

    def pose(self, t_s: float) -> Pose:
        i = self._index(t_s)
        return Pose(**{name: float(track[i]) for name, track in self._tracks.items()})

    def blink(self, t_s: float) -> float:
        """Share of the eye that the lid covers."""
        return float(self._blink[self._index(t_s)])

    def _index(self, t_s: float) -> int:
        return min(max(round(t_s / STEP_S), 0), self._n - 1)

    def _sway(self, period_s: float) -> Track:
        """Smooth noise, about unit variance, that changes over `period_s`."""
        step = 0.02
        knots = max(8, int(self._n * STEP_S / step) + 2)
        noise = gaussian_filter1d(self._rng.normal(0, 1, knots + 400), period_s / 3 / step)
        noise = noise[200 : 200 + knots] * np.sqrt(2 * np.sqrt(np.pi) * period_s / 3 / step)
        return np.asarray(np.interp(np.arange(self._n) * STEP_S, np.arange(knots) * step, noise))

    def _blinks(self) -> Track:
        """A blink every 2 to 5 seconds: shut in 70 ms, open again in 160 ms."""
        t = np.arange(self._n) * STEP_S
        out, now = np.zeros(self._n), float(self._rng.uniform(0.6, 2.5))
        while now < self._n * STEP_S:
            closing, opening = (t - now) / 0.07, 1 - (t - now - 0.1) / 0.16
            out = np.maximum(out, np.clip(np.minimum(closing, opening), 0, 1))
            now += float(self._rng.uniform(2.0, 5.0))
        return np.asarray(out * out * (3 - 2 * out))

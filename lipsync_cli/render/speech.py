"""What the mouth and the voice do over time: one score for the picture and the sound.

The mouth moves towards a target per sound and never arrives instantly; the sound is gated by
the very same lip opening (see `voice`), so that lips and voice agree to the millisecond.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from lipsync_cli.render.phones import PAUSE, SENTENCES, Phone

Track = npt.NDArray[np.float64]

STEP_S = 0.001

# Widths of the smoothing (raised cosine) that turns targets into movements, in seconds.
_LIPS_S = 0.105
_FORMANTS_S = 0.060
_VOICING_S = 0.040
_CLOSURE_S = 0.010
_PITCH_S = 0.160

# Lips are ahead of the voice in running speech, by less where they make the sound themselves.
_LIP_LEAD_S = 0.086
_LABIAL_LEAD_S = 0.036

_LEAD_IN_S = 0.35
_BREATH_S = 0.24


@dataclass(frozen=True)
class Articulation:
    """Mouth and voice on one clock.

    All tracks have shape [n] on the grid `t_s` (seconds from the start, 1 ms apart), except
    `formants_hz` [n, 3].

    Attributes:
        opening: lip opening, 0 closed, 1 a wide "ah".
        rounding: -1 spread, 1 rounded.
        tuck: 1 where the lower lip rests on the upper teeth.
        voicing: loudness of the vocal folds.
        aspiration: loudness of the breath noise that runs through the vocal tract.
        frication: loudness of the noise made at the narrowest place, centred on `noise_hz`.
        nasal: 1 where the sound leaves through the nose.
        pitch_hz: fundamental frequency.
    """

    seed: int
    t_s: Track
    opening: Track
    rounding: Track
    tuck: Track
    voicing: Track
    aspiration: Track
    frication: Track
    noise_hz: Track
    nasal: Track
    pitch_hz: Track
    formants_hz: Track

    @property
    def duration_s(self) -> float:
        return len(self.t_s) * STEP_S

    def at(self, name: str, t_s: float | Track) -> Track:
        """Read the track `name` at times `t_s`; beyond the ends it keeps its last value."""
        return np.asarray(np.interp(t_s, self.t_s, getattr(self, name)))


@dataclass(frozen=True)
class _Event:
    """One phone in its place. `stress` scales loudness and lip movement, about 1."""

    phone: Phone
    start_s: float
    end_s: float
    stress: float

    @property
    def release_s(self) -> float:
        """Time at which the closure of a stop gives way."""
        return self.start_s + 0.62 * (self.end_s - self.start_s)


def speak(duration_s: float, seed: int) -> Articulation:
    """Plan speech of `duration_s` seconds that begins and ends with the mouth at rest.

    The same seed always gives the same speech; seeds differ in words, rhythm and voice.
    """
    rng = np.random.default_rng([seed, 1])
    events = _fit(_phrases(rng), duration_s)
    t = _clock(duration_s)
    hold = _Holder(t, events, [event.start_s for event in events])
    lips = _Holder(t, events, _lip_starts(events))
    opening = np.clip(_smooth(lips(_lip_target), _LIPS_S), 0.0, 1.0)
    releases = _releases(events, opening)
    return Articulation(
        seed=seed,
        t_s=t,
        opening=opening,
        rounding=_smooth(lips(lambda e: e.phone.rounding), _LIPS_S),
        tuck=_smooth(lips(lambda e: e.phone.tuck), 0.8 * _LIPS_S),
        voicing=_voicing(hold, t, releases),
        aspiration=_aspiration(hold, t, releases),
        frication=_frication(hold, t, releases),
        noise_hz=_smooth(hold(lambda e: e.phone.noise_hz or 2500.0), 0.02),
        nasal=_smooth(hold(lambda e: float(e.phone.manner == "nasal")), 0.03),
        pitch_hz=_pitch(rng, hold, t),
        formants_hz=_formants(rng, hold),
    )


def rest(duration_s: float, seed: int) -> Articulation:
    """Plan the same length of silence: a mouth at rest that listens."""
    t = _clock(duration_s)
    nothing, rng = np.zeros_like(t), np.random.default_rng([seed, 2])
    idle = 0.02 * (1 + np.sin(2 * np.pi * (0.13 * t + rng.uniform())))
    return Articulation(
        seed=seed,
        t_s=t,
        opening=np.clip(idle - 0.02, 0.0, 1.0),
        rounding=0.1 * np.sin(2 * np.pi * (0.07 * t + rng.uniform())),
        tuck=nothing,
        voicing=nothing,
        aspiration=nothing,
        frication=nothing,
        noise_hz=nothing + 2500.0,
        nasal=nothing,
        pitch_hz=nothing + 150.0,
        formants_hz=np.tile(PAUSE.formants_hz, (len(t), 1)),
    )


def _clock(duration_s: float) -> Track:
    return np.arange(round(duration_s / STEP_S), dtype=np.float64) * STEP_S


def _phrases(rng: np.random.Generator) -> Iterator[list[_Event]]:
    """Yield sentence after sentence, each with the pause and the breath before it."""
    now, order = 0.0, rng.permutation(len(SENTENCES))
    rate = rng.uniform(0.92, 1.1)
    for count in range(10**6):
        gap = _LEAD_IN_S if count == 0 else rng.uniform(0.3, 0.75)
        breath = _Event(PAUSE, now + gap - _BREATH_S, now + gap, 1.0)
        phrase = [_Event(PAUSE, now, breath.start_s, 0.0), breath]
        now = breath.end_s
        for phone, stressed in SENTENCES[order[count % len(order)]]:
            length = _length_s(rng, phone, stressed) / rate
            phrase.append(_Event(phone, now, now + length, _stress(rng, phone, stressed)))
            now += length
        yield phrase


def _length_s(rng: np.random.Generator, phone: Phone, stressed: bool) -> float:
    if phone.manner == "pause":
        return float(rng.uniform(0.14, 0.3))
    longer = 1.3 if stressed else 1.0
    return float(phone.duration_s * longer * rng.lognormal(0.0, 0.14))


def _stress(rng: np.random.Generator, phone: Phone, stressed: bool) -> float:
    if phone.manner == "pause":
        return 0.0
    return float((1.15 if stressed else 0.72) * rng.uniform(0.85, 1.15))


def _fit(phrases: Iterator[list[_Event]], duration_s: float) -> list[_Event]:
    """Take whole phones while they end before the lead-out, then rest to the end."""
    events: list[_Event] = []
    limit = duration_s - 0.25
    for phrase in phrases:
        events += [event for event in phrase if event.end_s <= limit]
        if phrase[-1].end_s > limit:
            break
    end = events[-1].end_s if events else 0.0
    return [*events, _Event(PAUSE, end, duration_s + 1.0, 0.0)]


class _Holder:
    """Draws a value per event as a staircase over the time grid."""

    def __init__(self, t: Track, events: list[_Event], starts: list[float]) -> None:
        self.events = events
        self.index = np.clip(np.searchsorted(starts, t, side="right") - 1, 0, None)

    def __call__(self, value: Callable[[_Event], float]) -> Track:
        return np.array([value(event) for event in self.events], dtype=np.float64)[self.index]


def _smooth(track: Track, width_s: float) -> Track:
    """Move instead of jump: convolve with a raised cosine, edges held, no delay."""
    n = max(3, round(width_s / STEP_S)) | 1
    kernel = np.hanning(n + 2)[1:-1]
    padded = np.pad(track, n // 2, mode="edge")
    return np.convolve(padded, kernel / kernel.sum(), mode="valid")


def _lip_starts(events: list[_Event]) -> list[float]:
    """Lips prepare a sound while the tongue still makes the last one, unless that needs them."""
    starts: list[float] = []
    needed = False
    for event in events:
        needs = event.phone.opening < 0
        lead = _LABIAL_LEAD_S if needs or needed else _LIP_LEAD_S
        starts.append(max(event.start_s - lead, starts[-1] if starts else 0.0))
        needed = needs
    return starts


def _lip_target(event: _Event) -> float:
    """Stress opens the mouth, but pressed lips stay pressed."""
    if event.phone.manner == "pause" and event.stress > 0:
        return 0.16
    target = event.phone.opening
    return target * (0.35 + 0.65 * event.stress) if target > 0.3 else target


def _releases(events: list[_Event], opening: Track) -> list[tuple[_Event, float]]:
    """Pair each stop with its release: where pressed lips part, that very millisecond."""
    pairs = []
    for event in events:
        if event.phone.manner != "stop":
            continue
        release = event.release_s
        if event.phone.opening < 0:
            start = int(event.start_s / STEP_S)
            apart = np.flatnonzero(opening[start : start + 250] > 0)
            closed = np.flatnonzero(opening[start : start + 250] <= 0)
            if len(closed) and len(apart) and apart[-1] > closed[0]:
                release = (start + int(apart[apart > closed[0]][0])) * STEP_S
        pairs.append((event, release))
    return pairs


def _closures(t: Track, releases: list[tuple[_Event, float]]) -> Track:
    """1 where the way out is free, 0 while a stop holds it shut."""
    free = np.ones_like(t)
    for event, release in releases:
        free[(t >= event.start_s) & (t < release)] = 0.0
    return free


def _voicing(hold: _Holder, t: Track, releases: list[tuple[_Event, float]]) -> Track:
    """Vocal folds: each phone's own level, and late again after a voiceless stop."""
    raw = hold(lambda e: e.phone.voicing * (0.4 + 0.6 * e.stress))
    for event, release in releases:
        if event.phone.voicing == 0:
            raw[(t >= event.start_s) & (t < release + 0.028)] = 0.0
    return np.clip(_smooth(raw, _VOICING_S), 0.0, None)


def _aspiration(hold: _Holder, t: Track, releases: list[tuple[_Event, float]]) -> Track:
    """Breath: "h", the puff after a voiceless stop, and the quick breath before a phrase."""
    raw = hold(lambda e: 0.35 * (e.phone.name == "HH"))
    raw += hold(lambda e: 0.05 * (e.phone.manner == "pause" and e.stress > 0))
    for event, release in releases:
        if event.phone.voicing == 0:
            raw[(t >= release) & (t < release + 0.035)] = 0.30
    return _smooth(raw, 0.012) * _closures(t, releases)


def _frication(hold: _Holder, t: Track, releases: list[tuple[_Event, float]]) -> Track:
    """Hiss of the fricatives and the bursts, which start at the release and die in 10 ms."""
    hiss = _smooth(hold(lambda e: e.phone.noise * (e.phone.manner == "fricative")), 0.03)
    bursts = np.zeros_like(t)
    for event, release in releases:
        start = round(release / STEP_S)
        if start < len(t):
            bursts[start] = event.phone.noise * (0.5 + 0.5 * event.stress)
    decay = lfilter([1.0], [1.0, -np.exp(-STEP_S / 0.008)], bursts)
    return np.asarray(hiss * _closures(t, releases) + decay)


def _pitch(rng: np.random.Generator, hold: _Holder, t: Track) -> Track:
    """Pitch falls through a phrase, rises on stressed syllables and wanders a little."""
    base, span = rng.uniform(165.0, 215.0), rng.uniform(0.16, 0.26)
    accent = _smooth(hold(lambda e: e.stress * (e.phone.voicing > 0)), _PITCH_S)
    speaking = hold(lambda e: float(e.phone.manner != "pause"))
    since_pause = lfilter([STEP_S], [1.0, -np.exp(-STEP_S / 1.2)], speaking)
    drift = _smooth(rng.normal(0, 1, len(t)), 0.4) * 0.35
    fall = _smooth(np.asarray(since_pause), _PITCH_S) / 1.2
    contour = span * (accent - 0.5) - 0.22 * fall + 0.1 * span * drift
    return np.asarray(base * np.exp(contour))


def _formants(rng: np.random.Generator, hold: _Holder) -> Track:
    """Resonances glide between phones; one vocal-tract length per voice."""
    scale = rng.uniform(1.08, 1.18)
    columns = [
        _smooth(hold(lambda e, i=k: e.phone.formants_hz[i]), _FORMANTS_S)  # type: ignore[misc]
        for k in range(3)
    ]
    return scale * np.stack(columns, axis=1)

"""The sound of an articulation: vocal folds and noise, shaped by the vocal tract and the lips.

A source-filter synthesiser in the manner of Klatt (J. Acoust. Soc. Am. 67, 1980) with the
glottal pulse of Klatt and Klatt (1990). Every filter is causal, so nothing sounds early.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfilt

from lipsync_cli.render.speech import STEP_S, Articulation, Track

Spectrum = npt.NDArray[np.complex128]

SAMPLE_RATE = 48_000

_PIECE = 384  # samples that share one setting of the moving filters: 8 ms
_DELAY = np.exp(-2j * np.pi * np.arange(1025) / 2048)  # one sample, as a spectrum
_OPEN_QUOTIENT = 0.62
_BANDWIDTHS_HZ = (70.0, 100.0, 150.0)
_PEAK = 0.7
_ROOM_LEVEL = 0.0006

# Lips this far open let the whole voice out; below it is muffled, at 0 there is none.
_LIPS_FREE = 0.12


def synthesise(articulation: Articulation, *, offset_ms: float = 0.0) -> npt.NDArray[np.float32]:
    """Voice an articulation.

    Args:
        offset_ms: > 0 gives the sound EARLY by so much, to the nearest sample; what lies
            beyond the ends is the noise of the room.

    Returns:
        float32 [n] at 48 kHz in [-1, 1], as long as the articulation.
    """
    rng = np.random.default_rng([articulation.seed, 3])
    n = round(articulation.duration_s * SAMPLE_RATE)
    track = _Upsampler(articulation, n)
    voiced = _glottal(rng, track) * track("voicing") * (1 - 0.3 * track("nasal"))
    breath = rng.normal(0, 0.12, n) * track("aspiration")
    tract = _tract(voiced + breath, articulation)
    radiated = tract * np.maximum(_lips(track("opening")), 0.7 * track("nasal"))
    murmur = _murmur(voiced) * (1 - _lips(track("opening"))) * (1 - track("nasal"))
    hiss = _hiss(rng, articulation, n) * track("frication")
    dry = 4.0 * radiated + 0.5 * murmur + 0.35 * hiss
    level = max(float(np.abs(dry).max()), 1.0)
    return _room(rng, _shift(dry * (_PEAK / level), offset_ms))


class _Upsampler:
    """Reads tracks of an articulation at the sample rate."""

    def __init__(self, articulation: Articulation, n: int) -> None:
        self._articulation = articulation
        self._t: Track = np.arange(n) / SAMPLE_RATE

    def __call__(self, name: str) -> Track:
        return self._articulation.at(name, self._t)


def _glottal(rng: np.random.Generator, track: _Upsampler) -> Track:
    """Derivative of the glottal flow: 2x - 3x^2 while the folds are open, then nothing."""
    pitch = track("pitch_hz")
    wander = np.interp(np.arange(len(pitch)), *_jitter(rng, len(pitch)))
    phase = np.cumsum(pitch * (1 + wander) / SAMPLE_RATE)
    x = (phase % 1.0) / _OPEN_QUOTIENT
    pulse = np.where(x < 1, 2 * x - 3 * x**2, 0.0)
    breathy = rng.normal(0, 0.03, len(pitch)) * (x < 1)
    return pulse + breathy


def _jitter(rng: np.random.Generator, n: int) -> tuple[Track, Track]:
    """Knots, 5 ms apart, of the small irregularity of a living voice."""
    knots = np.arange(0, n + 240, 240)
    return knots.astype(np.float64), rng.normal(0, 0.008, len(knots))


def _tract(source: Track, articulation: Articulation) -> Track:
    """Three moving resonances and the fixed ones above them."""
    fixed = np.prod([_resonance(np.array(hz), 0.07 * hz) for hz in range(4000, 22_000, 1150)], 0)

    def response(i: npt.NDArray[np.intp]) -> Spectrum:
        damping = 1 + 2.0 * articulation.nasal[i]
        formants = zip(articulation.formants_hz[i].T, _BANDWIDTHS_HZ, strict=True)
        moving = np.prod([_resonance(hz, width * damping) for hz, width in formants], 0)
        return np.asarray(fixed * moving)

    return _filter(source, response, articulation)


def _hiss(rng: np.random.Generator, articulation: Articulation, n: int) -> Track:
    """White noise around `noise_hz`, loudness 1."""

    def response(i: npt.NDArray[np.intp]) -> Spectrum:
        hz = articulation.noise_hz[i]
        peak = _resonance(hz, 0.35 * hz) * (1 - _DELAY)
        power = np.mean(np.abs(peak) ** 2, axis=1, keepdims=True)
        return np.asarray(peak / np.sqrt(power))

    return _filter(rng.normal(0, 1, n), response, articulation)


def _resonance(hz: Track, bandwidth_hz: Track | float) -> Spectrum:
    """Frequency response [..., bins] of a resonator, 1 at 0 Hz (Klatt 1980, eq. 1)."""
    r = np.exp(-np.pi * np.asarray(bandwidth_hz) / SAMPLE_RATE)[..., None]
    b = 2 * r * np.cos(2 * np.pi * hz[..., None] / SAMPLE_RATE)
    return np.asarray((1 - b + r * r) / (1 - b * _DELAY + r * r * _DELAY**2))


def _filter(
    source: Track, response: Callable[[npt.NDArray[np.intp]], Spectrum], articulation: Articulation
) -> Track:
    """Filter with a response that moves: each short piece rings through its own, causally.

    The pieces overlap by half and add up to the source, so the movement makes no clicks.
    """
    hop, size = _PIECE // 2, 2 * (_DELAY.size - 1)
    padded = np.pad(source, (hop, size))
    starts = np.arange(0, len(source) + hop, hop)
    window = np.hanning(_PIECE + 1)[:-1]
    out = np.zeros(len(padded) + size)
    for batch in np.array_split(starts, len(starts) // 256 + 1):
        pieces = padded[batch[:, None] + np.arange(_PIECE)] * window
        index = (batch / SAMPLE_RATE / STEP_S).astype(np.intp).clip(0, len(articulation.t_s) - 1)
        rung = np.fft.irfft(np.fft.rfft(pieces, size) * response(index), size)
        for start, piece in zip(batch, rung, strict=True):
            out[start : start + size] += piece
    return out[hop : hop + len(source)]


def _lips(opening: Track) -> Track:
    """Share of the voice that the lips let out: none at closure, more the wider they are."""
    gate = np.clip(opening / _LIPS_FREE, 0.0, 1.0)
    return gate * (0.45 + 0.55 * np.sqrt(opening))


def _murmur(voiced: Track) -> Track:
    """What the cheeks let through while the lips are shut: the lowest harmonics."""
    low = butter(2, 250.0, fs=SAMPLE_RATE, output="sos")
    return np.asarray(sosfilt(low, voiced))


def _shift(dry: Track, offset_ms: float) -> Track:
    """Move the sound earlier (offset_ms > 0) or later within the same length."""
    samples = round(offset_ms * SAMPLE_RATE / 1000)
    out = np.zeros_like(dry)
    if samples >= 0:
        out[: len(dry) - samples] = dry[samples:]
    else:
        out[-samples:] = dry[:samples]
    return out


def _room(rng: np.random.Generator, dry: Track) -> npt.NDArray[np.float32]:
    """Put the voice into a quiet room: its noise floor, pink towards the low end."""
    low = butter(1, 400.0, fs=SAMPLE_RATE, output="sos")
    floor = rng.normal(0, 1, len(dry))
    floor = 0.4 * floor + 3.0 * np.asarray(sosfilt(low, floor))
    return np.clip(dry + _ROOM_LEVEL * floor, -1, 1).astype(np.float32)

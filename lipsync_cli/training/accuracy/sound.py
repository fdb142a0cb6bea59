"""Sound as rooms, crowds and codecs leave it, its time kept to the sample."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from lipsync_cli.media.audio import SAMPLE_RATE, AudioReader

Sound = NDArray[np.float32]
Rng = np.random.Generator
Change = Callable[[Sound, Sequence[Sound], Rng], Sound]

RATIOS_DB = (20, 10, 5, 0)
VOICES = 5
REVERB_S = 0.6  # until the tail is 60 dB down
MP3_BITS = 32_000  # per second

_CHORDS_HZ = (
    (110.0, 138.6, 164.8),
    (98.0, 123.5, 146.8),
    (130.8, 164.8, 196.0),
    (87.3, 110, 130.8),
)
_BEAT_S = 0.4
_PARTIALS = 8


@dataclass(frozen=True)
class SoundCondition:
    """What is done to the sound of a clip.

    Attributes:
        change: (sound, other people's sounds, random numbers) -> sound of the same time.
    """

    name: str
    change: Change


def sound_conditions() -> list[SoundCondition]:
    """All of them, in the order of the report."""
    found = []
    for name, added in (("noise", _noise), ("babble", _babble), ("music", _music)):
        found += [
            SoundCondition(f"{name}-{ratio}-dB", _adding(added, ratio)) for ratio in RATIOS_DB
        ]
    return [*found, SoundCondition("reverb", _reverb), SoundCondition("mp3", _mp3)]


def changed(
    condition: SoundCondition, name: str, sound: Sound, others: Sequence[Sound], seed: int
) -> Sound:
    """The sound of the clip `name` under a condition; the same seed gives the same samples."""
    rng = np.random.default_rng([seed, zlib.crc32(f"{condition.name} {name}".encode())])
    return condition.change(sound, others, rng)


def mixed(sound: Sound, added: Sound, ratio_db: float) -> Sound:
    """Add sound so that it is `ratio_db` weaker than the first, over the whole length."""
    power, added_power = float(np.mean(sound**2)), float(np.mean(added**2))
    gain = np.sqrt(power / max(added_power, 1e-12) / 10 ** (ratio_db / 10))
    return np.asarray(sound + gain * added, np.float32)


def _adding(make: Callable[[int, Sequence[Sound], Rng], Sound], ratio_db: float) -> Change:
    def change(sound: Sound, others: Sequence[Sound], rng: Rng) -> Sound:
        return mixed(sound, make(len(sound), others, rng), ratio_db)

    return change


def _noise(n: int, others: Sequence[Sound], rng: Rng) -> Sound:
    """Pink: equal power in every octave."""
    whole = 1 << max(n - 1, 1).bit_length()
    spectrum = np.fft.rfft(rng.normal(0, 1, whole))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    return np.fft.irfft(spectrum, whole)[:n].astype(np.float32)


def _babble(n: int, others: Sequence[Sound], rng: Rng) -> Sound:
    """Several other people at once, equally loud."""
    total = np.zeros(n, np.float32)
    for i in rng.permutation(len(others))[:VOICES].tolist():
        voice = np.roll(others[i], int(rng.integers(len(others[i]))))
        total += np.resize(voice, n) / max(float(np.sqrt(np.mean(voice**2))), 1e-6)
    return total


def _music(n: int, others: Sequence[Sound], rng: Rng) -> Sound:
    """Struck chords on a beat, with overtones, and a hiss on every second beat."""
    beat = int(_BEAT_S * SAMPLE_RATE)
    time_s = np.arange(2 * beat) / SAMPLE_RATE
    total = np.zeros(n + 2 * beat, np.float32)
    for number, first in enumerate(range(0, n, beat)):
        chord = np.array(_CHORDS_HZ[(number // 4) % len(_CHORDS_HZ)]) * 2 ** rng.integers(0, 2)
        tones = chord[:, None] * np.arange(1, _PARTIALS + 1)  # [3, partials]
        phase = rng.uniform(0, 2 * np.pi, tones.shape)
        level = 1 / np.arange(1, _PARTIALS + 1)
        waves = np.sin(2 * np.pi * tones[..., None] * time_s + phase[..., None])
        note = (waves * level[:, None]).sum((0, 1)) * np.exp(-4 * time_s)
        if number % 2:
            note += 2 * rng.normal(0, 1, len(note)) * np.exp(-40 * time_s)
        total[first : first + 2 * beat] += note.astype(np.float32)
    return total[:n]


def _reverb(sound: Sound, others: Sequence[Sound], rng: Rng) -> Sound:
    """A room whose echoes are as strong as the direct sound, which keeps its time."""
    length = int(REVERB_S * SAMPLE_RATE)
    tail = rng.normal(0, 1, length) * 10 ** (-3 * np.arange(length) / length)
    tail[: SAMPLE_RATE // 200] = 0
    tail /= np.sqrt((tail**2).sum())
    tail[0] = 1.0
    size = 1 << (len(sound) + length - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(tail, size), size)
    return wet[: len(sound)].astype(np.float32)


def _mp3(sound: Sound, others: Sequence[Sound], rng: Rng) -> Sound:
    """Encoded and decoded; the decoder takes off what the encoder put in front."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as out:
        stream = out.add_stream("libmp3lame", rate=SAMPLE_RATE, layout="mono")
        stream.bit_rate = MP3_BITS
        frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, 0
        frame.time_base = Fraction(1, SAMPLE_RATE)
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as container:
        reader = AudioReader(container.streams.audio[0].time_base or Fraction(1, SAMPLE_RATE))
        blocks = [b for frame in container.decode(audio=0) for b in reader.push(frame)]
        blocks += reader.flush()
    return np.concatenate([b.samples for b in blocks])

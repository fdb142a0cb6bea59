"""New speech on the time axis of the output: what its sound asks of lips, and where it rests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from lipsync_cli.media.ahead import ahead
from lipsync_cli.media.audio import SAMPLE_RATE, AudioBlock
from lipsync_cli.media.probe import probe
from lipsync_cli.media.reader import read
from lipsync_cli.progress import Progress, tell_time
from lipsync_cli.sync.encoders import DIM, EMBED_RATE
from lipsync_cli.sync.model_file import LoadedModel
from lipsync_cli.sync.sound import SoundEmbeddings

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Times = npt.NDArray[np.float64]

LEVEL_RATE = 100  # levels a second
_LEVEL_HOP = SAMPLE_RATE // LEVEL_RATE
# Sound below this is silence, whatever else the file holds.
_NOTHING_DB = -65.0
# Speech spans about 30 dB below its loud vowels; above the room's noise by a margin.
_RANGE_DB, _OVER_NOISE_DB, _UNDER_LOUD_DB = 28.0, 8.0, 10.0
_HYSTERESIS_DB = 4.0
# Shorter pauses are closures of plosives and breaths; shorter sounds are clicks.
_MIN_SILENCE_S, _MIN_SOUND_S = 0.3, 0.05
# Lips close after the sound has ended, and part before it begins.
_AFTER_S, _BEFORE_S = 0.06, 0.12


@dataclass(frozen=True, eq=False)
class Loudness:
    """Level of a sound, a value each 10 ms.

    Attributes:
        t0_s: time at which the first value's 10 ms begin.
        level_db: float32 [n], dB of full scale.
    """

    t0_s: float
    level_db: Floats

    @property
    def end_s(self) -> float:
        """Time at which the last value's 10 ms end."""
        return self.t0_s + len(self.level_db) / LEVEL_RATE

    @cached_property
    def rests(self) -> Flags:
        """For each value, whether mouths rest then: bool [n]; see `resting`."""
        return resting(self.level_db)

    def silent_at(self, times_s: Times) -> Flags:
        """Tell for each time whether mouths rest then; no sound at all is silence: bool [n]."""
        index = np.floor((times_s - self.t0_s) * LEVEL_RATE + 1e-6).astype(int)
        inside = (index >= 0) & (index < len(self.level_db))
        silent = np.ones(len(times_s), np.bool_)
        silent[inside] = self.rests[index[inside]]
        return silent

    def silent(self, time_s: float) -> bool:
        """Tell for one time whether mouths rest then."""
        return bool(self.silent_at(np.array([time_s]))[0])


class LoudnessMeter:
    """Measures the level of sound that comes in blocks."""

    def __init__(self) -> None:
        self._t0_s: float | None = None
        self._rest = np.zeros(0, np.float32)
        self._levels: list[Floats] = []

    def push(self, block: AudioBlock) -> None:
        """Take the next block; blocks follow each other without gaps."""
        if self._t0_s is None:
            self._t0_s = block.t0_s
        samples = np.concatenate([self._rest, block.samples])
        whole = len(samples) // _LEVEL_HOP
        power = (samples[: whole * _LEVEL_HOP].reshape(whole, _LEVEL_HOP) ** 2).mean(1)
        self._levels.append((10 * np.log10(power + 1e-10)).astype(np.float32))
        self._rest = samples[whole * _LEVEL_HOP :]

    def loudness(self) -> Loudness | None:
        """What was heard so far; None when nothing was."""
        if self._t0_s is None:
            return None
        return Loudness(self._t0_s, np.concatenate(self._levels))


def resting(level_db: Floats) -> Flags:
    """Tell where speech pauses long enough for a mouth to close: bool [n].

    Energy with hysteresis: sound begins where the level, smoothed over 50 ms, rises over
    a threshold between the noise of the room and the loud vowels, and lasts until it falls
    4 dB below. Steady music or noise counts as sound.
    """
    if len(level_db) == 0:
        return np.zeros(0, np.bool_)
    smooth = np.convolve(np.pad(level_db, 2, mode="edge"), np.full(5, 0.2), "valid")
    heard = smooth[smooth > _NOTHING_DB]
    if len(heard) == 0:
        return np.ones(len(level_db), np.bool_)
    noise, loud = np.percentile(smooth, 5), np.percentile(heard, 95)
    start = max(loud - _RANGE_DB, min(noise + _OVER_NOISE_DB, loud - _UNDER_LOUD_DB), _NOTHING_DB)
    sound = _with_hysteresis(smooth, start - _HYSTERESIS_DB, start)
    sound = ~_long(~_long(sound, _MIN_SOUND_S), _MIN_SILENCE_S)
    return ~_widened(sound, _BEFORE_S, _AFTER_S)


def _with_hysteresis(level: Floats, low: float, high: float) -> Flags:
    """The stretches above `low` that somewhere reach `high`."""
    above = level > low
    return _chosen(above, lambda first, end: bool(level[first:end].max() > high))


def _long(flags: Flags, at_least_s: float) -> Flags:
    return _chosen(flags, lambda first, end: end - first >= at_least_s * LEVEL_RATE)


def _chosen(flags: Flags, wanted: Callable[[int, int], bool]) -> Flags:
    """Keep the runs of true values that are wanted."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    kept = np.zeros(len(flags), np.bool_)
    for first, end in edges.reshape(-1, 2).tolist():
        if wanted(first, end):
            kept[first:end] = True
    return kept


def _widened(sound: Flags, before_s: float, after_s: float) -> Flags:
    """Let each run of sound begin and end so much earlier and later."""
    before, after = round(before_s * LEVEL_RATE), round(after_s * LEVEL_RATE)
    padded = np.pad(sound, (after, before))
    windows = np.lib.stride_tricks.sliding_window_view(padded, before + after + 1)
    return np.asarray(windows.any(1), np.bool_)


@dataclass(frozen=True, eq=False)
class Speech:
    """What new speech asks of lips, on the clock of the output.

    Attributes:
        t0_s: time of the first row.
        rows: float16 [R, 256], unit vectors at 50 Hz: 26 kB a second.
        loudness: its level; None where there is no sound.
    """

    t0_s: float
    rows: npt.NDArray[np.float16]
    loudness: Loudness | None

    def at(self, times_s: Times) -> tuple[Floats, Flags]:
        """Unit vectors [n, 256] at any times, by interpolation, and whether there is sound."""
        place = (times_s - self.t0_s) * EMBED_RATE
        known = (place >= 0) & (place <= len(self.rows) - 1)
        if not known.any():
            return np.zeros((len(times_s), DIM), np.float32), known
        low = np.clip(np.floor(place), 0, len(self.rows) - 1).astype(int)
        high = np.minimum(low + 1, len(self.rows) - 1)
        share = np.clip(place - low, 0, 1)[:, None].astype(np.float32)
        mixed = self.rows[low].astype(np.float32) * (1 - share) + self.rows[high] * share
        length = np.linalg.norm(mixed, axis=1, keepdims=True)
        return np.asarray(mixed / np.maximum(length, 1e-6) * known[:, None], np.float32), known

    def silent(self, times_s: Times) -> Flags:
        """Tell for each time whether the mouth rests: bool [n]."""
        if self.loudness is None:
            return np.ones(len(times_s), np.bool_)
        return self.loudness.silent_at(times_s)


class SpeechReader:
    """Embeds sound that comes in blocks; what it keeps is in half precision."""

    def __init__(self, model: LoadedModel) -> None:
        self._sound = SoundEmbeddings(model)
        self._meter = LoudnessMeter()
        self._rows: list[npt.NDArray[np.float16]] = []
        self._drained = 0

    @torch.inference_mode()
    def push(self, block: AudioBlock) -> None:
        """Take the next block."""
        self._meter.push(block)
        self._sound.push(block)
        self._drain(self._sound.end_s)

    @torch.inference_mode()
    def close(self, delay_s: float = 0.0) -> Speech:
        """No more sound will come; on the output's clock it is `delay_s` later."""
        t0_s, heard = self._sound.t0_s, self._meter.loudness()
        if t0_s is None or heard is None:
            return Speech(0.0, np.zeros((0, DIM), np.float16), None)
        self._sound.close()
        self._drain(heard.t0_s + len(heard.level_db) / LEVEL_RATE)
        rows = np.concatenate([np.zeros((0, DIM), np.float16), *self._rows])
        return Speech(t0_s + delay_s, rows, Loudness(heard.t0_s + delay_s, heard.level_db))

    def _drain(self, end_s: float) -> None:
        """Take out the rows that are ready before `end_s`."""
        t0_s = self._sound.t0_s
        if t0_s is None or end_s <= (next_s := t0_s + self._drained / EMBED_RATE):
            return
        # A quarter of a row keeps rounding on the right side.
        rows, known, _ = self._sound.window(next_s + 0.25 / EMBED_RATE, end_s)
        self._rows.append(rows.numpy()[known].astype(np.float16))
        self._drained += int(known.sum())
        self._sound.forget(next_s)


def hear(
    path: str | Path,
    model: LoadedModel,
    *,
    delay_s: float = 0.0,
    audio_track: int = 0,
    progress: Progress | None = None,
) -> Speech:
    """Embed the speech of a file, which plays `delay_s` later on the output's clock.

    Raises:
        MediaNotFound, UnreadableMedia, MissingStream: it cannot be heard.
    """
    reader, info = SpeechReader(model), probe(path)
    with closing(ahead(read(path, audio_track=audio_track, video=False))) as blocks:
        for block in blocks:
            assert isinstance(block, AudioBlock)
            reader.push(block)
            tell_time(progress, block.t0_s, info.duration_s)
    return reader.close(delay_s)

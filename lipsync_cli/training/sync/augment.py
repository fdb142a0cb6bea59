"""What real files do to mouths and voices, done to training samples."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lipsync_cli.sync.encoders import CROP
from lipsync_cli.sync.features import SAMPLE_RATE
from lipsync_cli.training.sync.cache import SIDE

Rng = np.random.Generator
Crops = NDArray[np.uint8]
Sound = NDArray[np.float32]


def plain_crops(crops: Crops) -> Crops:
    """The centre 64 px of stored crops, without augmentation."""
    edge = (SIDE - CROP) // 2
    return crops[:, edge : edge + CROP, edge : edge + CROP]


def augment_crops(crops: Crops, rng: Rng) -> Crops:
    """uint8 [T, 80, 80] -> [T, 64, 64] with one random look for the whole sample."""
    out = _warp(crops, rng)
    if rng.random() < 0.5:
        out = out[:, :, ::-1]
    out = _tone(out, rng)
    if rng.random() < 0.4:
        out = _soften(out, rng)
    if rng.random() < 0.3:
        out = _hide_patch(out, rng)
    if rng.random() < 0.15:
        out = _repeat_frames(out, rng)
    return out


def augment_sound(sound: Sound, rng: Rng, other: Sound) -> Sound:
    """float32 [n] with noise, babble (`other`, another clip's sound), echo, tilt and gain."""
    if rng.random() < 0.3:
        sound = _tilt(sound, rng)
    if rng.random() < 0.15:
        sound = _echo(sound, rng)
    if rng.random() < 0.25:
        sound = _mix(sound, _noise(len(sound), rng), rng.uniform(0, 25))
    if rng.random() < 0.3:
        sound = _mix(sound, _babble(other, rng), rng.uniform(-2, 20))
    gain = 10 ** (rng.uniform(-20, 6) / 20)
    return np.asarray(np.clip(sound * gain, -1, 1), np.float32)


def mask_mel(mel: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    """Blank a band, and now and then a short stretch, of a spectrogram [M, 80]."""
    out = mel.copy()
    if rng.random() < 0.5:
        low, width = rng.integers(0, 70), rng.integers(2, 14)
        out[:, low : low + width] = out.mean()
    if rng.random() < 0.3:
        start, width = rng.integers(0, len(mel)), rng.integers(4, 16)
        out[start : start + width] = out.min()
    return out


def _warp(crops: Crops, rng: Rng) -> Crops:
    angle, scale = rng.normal(0, 5), np.exp(rng.normal(0, 0.08))
    start, drift = rng.normal(0, 2.5, 2), rng.normal(0, 1.2, 2)
    wobble = rng.normal(0, 0.35, (len(crops), 2)) * (rng.random() < 0.5)
    out = np.empty((len(crops), CROP, CROP), np.uint8)
    base = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), angle, scale)
    for i, crop in enumerate(crops):
        matrix = base.copy()
        matrix[:, 2] += start + drift * (i / len(crops)) + wobble[i] - (SIDE - CROP) / 2
        out[i] = cv2.warpAffine(crop, matrix, (CROP, CROP), borderMode=cv2.BORDER_REPLICATE)
    return out


def _tone(crops: Crops, rng: Rng) -> Crops:
    level = np.arange(256) / 255
    curve = level ** np.exp(rng.normal(0, 0.3)) * rng.uniform(0.5, 1.1) * 255
    table = np.clip(curve + rng.normal(0, 15), 0, 255).astype(np.uint8)
    out = table[crops]
    if rng.random() < 0.4:
        grain = rng.normal(0, rng.uniform(1, 8), out.shape)
        out = np.clip(out + grain, 0, 255)
    return np.asarray(out, np.uint8)


def _soften(crops: Crops, rng: Rng) -> Crops:
    """Blur, or the detail of a small face scaled up."""
    out = np.empty_like(crops)
    sigma, small = rng.uniform(0.4, 1.6), int(rng.integers(18, 48))
    shrink = rng.random() < 0.6
    for i, crop in enumerate(crops):
        if shrink:
            tiny = cv2.resize(crop, (small, small), interpolation=cv2.INTER_AREA)
            out[i] = cv2.resize(tiny, (CROP, CROP), interpolation=cv2.INTER_LINEAR)
        else:
            out[i] = cv2.GaussianBlur(crop, (0, 0), sigma)
    return out


def _hide_patch(crops: Crops, rng: Rng) -> Crops:
    out = crops.copy()
    top, left = rng.integers(0, CROP - 8, 2).tolist()
    height, width = rng.integers(6, 22, 2).tolist()
    out[:, top : top + height, left : left + width] = rng.integers(0, 256)
    return out


def _repeat_frames(crops: Crops, rng: Rng) -> Crops:
    """Frames lost by a capture and filled with their predecessor."""
    source = np.arange(len(crops))
    for i in np.flatnonzero(rng.random(len(crops)) < 0.08).tolist():
        source[i] = max(0, i - 1)
    return crops[source]


def _tilt(sound: Sound, rng: Rng) -> Sound:
    """A first-order filter, a dull or a thin microphone."""
    amount = rng.uniform(-0.6, 0.6)
    out = sound.copy()
    out[1:] += amount * sound[:-1]
    return out


def _echo(sound: Sound, rng: Rng) -> Sound:
    """A decaying noise tail after the direct sound, which keeps its time."""
    length = int(rng.uniform(0.05, 0.3) * SAMPLE_RATE)
    tail = rng.normal(0, 1, length) * np.exp(-np.linspace(0, 5, length))
    tail[0] = np.sqrt((tail**2).sum()) * rng.uniform(0.7, 2)
    spectrum = np.fft.rfft(sound, 2 ** int(np.ceil(np.log2(len(sound) + length))))
    wet = np.fft.irfft(spectrum * np.fft.rfft(tail / tail[0], 2 * (len(spectrum) - 1)))
    return wet[: len(sound)].astype(np.float32)


def _noise(n: int, rng: Rng) -> Sound:
    """White to brown."""
    whole = 1 << max(n - 1, 1).bit_length()  # transforms of other lengths take ten times as long
    spectrum = np.fft.rfft(rng.normal(0, 1, whole))
    spectrum *= np.arange(1, len(spectrum) + 1) ** -rng.uniform(0, 1)
    return np.fft.irfft(spectrum, whole)[:n].astype(np.float32)


def _babble(other: Sound, rng: Rng) -> Sound:
    """One to six voices at once: the other one, together with other moments of itself."""
    shifts = rng.integers(0, max(1, len(other)), rng.integers(0, 6)).tolist()
    return np.asarray(sum((np.roll(other, shift) for shift in shifts), other), np.float32)


def _mix(sound: Sound, noise: Sound, ratio_db: float) -> Sound:
    noise = np.resize(noise, len(sound))
    power, noise_power = np.mean(sound**2) + 1e-9, np.mean(noise**2) + 1e-9
    mixed = sound + noise * np.sqrt(power / noise_power / 10 ** (ratio_db / 10))
    return np.asarray(mixed, np.float32)

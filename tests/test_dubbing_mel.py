"""The mel front end: the reference's values, in pieces or at once, at the frames' true times."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from lipsync_cli.dubbing.generator.mel import (
    REFERENCE_LEAD_S,
    MelStream,
    filter_bank,
    wav2lip_mel,
    windows_at,
)


def noise(samples: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)


def test_filter_bank_has_the_reference_values() -> None:
    bank = filter_bank()
    assert bank.shape == (80, 401)
    assert bank.max() == pytest.approx(0.0268788, abs=5e-8)
    assert bank.sum() == pytest.approx(3.99950, abs=5e-6)
    filters = [0, 1, 10, 20, 40, 60, 79]
    assert bank[filters].argmax(axis=1).tolist() == [5, 6, 23, 40, 86, 181, 366]
    spans = [np.flatnonzero(bank[i])[[0, -1]].tolist() for i in (0, 10, 40, 79)]
    assert spans == [[3, 6], [21, 24], [84, 89], [353, 379]]


def test_tone_has_the_reference_values() -> None:
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    mel = wav2lip_mel(tone.astype(np.float32))
    assert mel.shape == (80, 81) and mel.dtype == np.float32
    column = mel[:, 40]
    assert column.argmax() == 25
    assert column[25:27] == pytest.approx([2.5503, 2.1534], abs=1e-4)
    assert np.all(column[27:] == -4)


def test_silence_and_faint_noise() -> None:
    assert np.all(wav2lip_mel(np.zeros(4000, np.float32)) == -4)
    faint = np.random.default_rng(0).normal(0, 1e-4, 16_000)
    assert wav2lip_mel(faint).mean() == pytest.approx(-3.957, abs=1e-3)


@pytest.mark.parametrize("column", [0, 1, 3, 9, 10])
def test_ends_are_reflected(column: int) -> None:
    samples = noise(2000).astype(np.float64)
    emphasised = samples.copy()
    emphasised[1:] -= 0.97 * samples[:-1]
    places = np.abs(200 * column + np.arange(-400, 400))
    places = np.where(places > 1999, 2 * 1999 - places, places)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(800) / 800)
    wave = np.exp(-2j * np.pi * np.outer(np.arange(401), np.arange(800)) / 800)
    bands = filter_bank() @ np.abs(wave @ (emphasised[places] * hann))
    expected = np.clip(8 * (20 * np.log10(np.maximum(1e-5, bands)) - 20 + 100) / 100 - 4, -4, 4)
    np.testing.assert_allclose(wav2lip_mel(samples)[:, column], expected, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 2, 300, 401, 16_000, 123_457])
@pytest.mark.parametrize("piece", [997, 60_000])
def test_pieces_give_what_the_whole_gives(samples: int, piece: int) -> None:
    sound = noise(samples)
    stream = MelStream()
    parts = [stream.push(sound[i : i + piece]) for i in range(0, samples, piece)]
    mel = np.concatenate([*parts, stream.close()], axis=1)
    assert mel.shape == (80, 1 + samples // 200)
    assert np.array_equal(mel, wav2lip_mel(sound))


def test_no_sound_has_no_columns() -> None:
    assert wav2lip_mel(np.zeros(0, np.float32)).shape == (80, 0)


def test_broken_samples_count_as_zeros() -> None:
    sound = noise(8000)
    broken = sound.copy()
    broken[[5, 400, 4001]] = np.nan, np.inf, -np.inf
    sound[[5, 400, 4001]] = 0
    stream = MelStream()
    mel = np.concatenate([stream.push(broken), stream.close()], axis=1)
    assert stream.replaced == 3
    assert np.array_equal(mel, wav2lip_mel(sound))


# Every column holds its own number.
COUNT = np.tile(np.arange(800, dtype=np.float32), (80, 1))


@pytest.mark.parametrize("rate", [25, 24000 / 1001, 30000 / 1001, 50])
def test_constant_rate_gives_the_windows_of_the_reference(rate: float) -> None:
    pts_s = np.arange(int(9.5 * rate)) / rate
    windows = windows_at(COUNT, 0.0, pts_s)
    assert windows.shape == (len(pts_s), 80, 16) and windows.dtype == np.float32
    expected = [int(i * (80.0 / rate)) for i in range(len(pts_s))]
    assert windows[:, 7, 0].tolist() == expected
    assert np.all(np.diff(windows, axis=2) == 1)


def test_variable_rate_follows_the_times() -> None:
    pts_s = np.array([10.0, 10.041, 10.05, 11.3, 15.0])
    windows = windows_at(COUNT, 9.5, pts_s)
    assert windows[:, 0, 0].tolist() == [40, 43, 44, 144, 440]


def test_every_frame_has_a_window_and_beyond_the_sound_is_silence() -> None:
    windows = windows_at(COUNT, 2.0, [0.0, 1.9, 11.9, 12.5])
    assert np.all(windows[[0, 3]] == -4)
    assert windows[1, 0].tolist() == [-4.0] * 8 + [float(i) for i in range(8)]
    assert windows[2, 0].tolist() == [float(i) for i in range(792, 800)] + [-4.0] * 8
    assert np.all(windows_at(COUNT[:, :0], 0.0, [0.0, 1.0]) == -4)


def test_lead_of_the_reference_can_be_taken_back() -> None:
    windows = windows_at(COUNT, 0.0, [1.0], shift_s=-REFERENCE_LEAD_S)
    # As in training: the window begins one frame of 25 per second before its frame.
    assert windows[0, 0, 0] == int(80 * (1.0 - 1 / 25))

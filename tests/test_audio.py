"""Sound: 16 kHz mono placed by timestamps, to a tenth of a millisecond."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from conftest import ClipFactory
from hypothesis import given, settings
from hypothesis import strategies as st
from synth import BEEP_HZ, BEEP_S, TRACK_STEP_HZ, Recipe, beeping

from lipsync_cli.media.audio import SAMPLE_RATE, AudioBlock, AudioReader
from lipsync_cli.media.reader import ReadStats, read

Samples = npt.NDArray[np.float32]
ONSET_S = 0.96


def sound_of(path: Path, **options: object) -> AudioBlock:
    """All the sound of a file as one block; asserts that the blocks leave no gap."""
    items = read(path, video=False, **options)  # type: ignore[arg-type]
    return joined(b for b in items if isinstance(b, AudioBlock))


def joined(blocks: Iterable[AudioBlock]) -> AudioBlock:
    parts = list(blocks)
    lengths = np.array([len(b.samples) for b in parts])
    ends = parts[0].t0_s + np.cumsum(lengths) / SAMPLE_RATE
    np.testing.assert_allclose([b.t0_s for b in parts[1:]], ends[:-1], rtol=0, atol=1e-9)
    assert all(b.samples.dtype == np.float32 for b in parts)
    return AudioBlock(parts[0].t0_s, np.concatenate([b.samples for b in parts]))


def shift_ms(sound: AudioBlock, onset_s: float, tone_hz: float = BEEP_HZ) -> float:
    """How much later than `onset_s` the beep starts.

    The phase of the tone gives the fine part, the energy of the burst the coarse one.
    """
    times_s = sound.t0_s + np.arange(len(sound.samples)) / SAMPLE_RATE - onset_s
    burst = (times_s >= -0.02) & (times_s < BEEP_S + 0.02)
    tone = sound.samples[burst] * np.exp(-2j * np.pi * tone_hz * times_s[burst])
    energy = np.abs(sound.samples[burst]) ** 2
    coarse_s = (energy * times_s[burst]).sum() / energy.sum() - BEEP_S / 2
    fine_s = -(np.angle(tone.sum()) + np.pi / 2) / (2 * np.pi * tone_hz)
    return 1000 * float(fine_s + round((coarse_s - fine_s) * tone_hz) / tone_hz)


@pytest.mark.parametrize("delay_s", [0.0, -0.0237, 0.12034])
def test_the_measure_itself_is_right(delay_s: float) -> None:
    times_s = 0.5 + np.arange(SAMPLE_RATE) / SAMPLE_RATE
    sound = AudioBlock(0.5, beeping(times_s, (ONSET_S + delay_s,)))
    assert shift_ms(sound, ONSET_S + delay_s) == pytest.approx(0, abs=0.02)
    assert shift_ms(sound, ONSET_S + delay_s - 0.003) == pytest.approx(3, abs=0.02)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000])
def test_resampling_does_not_move_the_sound(clip: ClipFactory, rate: int) -> None:
    path = clip(".mov", acodec="pcm_s16le", sample_rate=rate, duration_s=2.0)
    sound = sound_of(path)
    assert sound.t0_s == 0.0
    assert len(sound.samples) == pytest.approx(2 * SAMPLE_RATE, abs=330)
    assert shift_ms(sound, ONSET_S) == pytest.approx(0, abs=0.05)
    assert np.abs(sound.samples).max() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("suffix", "acodec"),
    [
        (".mp4", "aac"),
        (".mp4", "libmp3lame"),
        (".mp4", "ac3"),
        (".mkv", "aac"),
        (".mkv", "flac"),
        (".webm", "libopus"),
        (".ts", "aac"),
        (".mpg", "mp2"),
        (".flv", "libmp3lame"),
        (".avi", "libmp3lame"),
    ],
)
def test_coded_sound_is_where_its_timestamps_say(
    clip: ClipFactory, suffix: str, acodec: str
) -> None:
    path = clip(suffix, acodec=acodec, duration_s=2.0)
    sound = sound_of(path)
    # Containers of broadcasting start their clocks anywhere.
    start_s = first_flash_s(path) - Recipe().flashes_s()[0]
    # Where encoders do not say how much they delay, half a frame may remain.
    limit_ms = 30.0 if acodec == "libmp3lame" and suffix != ".mp4" else 1.0
    assert shift_ms(sound, start_s + ONSET_S) == pytest.approx(0, abs=limit_ms)


def first_flash_s(path: Path) -> float:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if np.frombuffer(frame.planes[0], np.uint8).mean() > 120:  # type: ignore[call-overload]
                assert frame.time is not None
                return frame.time
    raise AssertionError("no flash")


def test_tracks_are_told_apart(clip: ClipFactory) -> None:
    path = clip(audio_tracks=3)
    for track in range(3):
        samples = sound_of(path, audio_track=track).samples
        spectrum = np.abs(np.fft.rfft(samples))
        peak_hz = spectrum.argmax() * SAMPLE_RATE / len(samples)
        assert peak_hz == pytest.approx(BEEP_HZ + track * TRACK_STEP_HZ, abs=20)


@pytest.mark.parametrize("layout", ["stereo", "5.1", "5.1(side)"])
def test_every_main_channel_is_heard(clip: ClipFactory, layout: str) -> None:
    for channel in (0, 1) if layout == "stereo" else (0, 1, 2):
        path = clip(".mkv", acodec="pcm_s16le", layout=layout, channel=channel, duration_s=1.5)
        sound = sound_of(path)
        assert np.abs(sound.samples).max() > 0.05
        assert shift_ms(sound, ONSET_S) == pytest.approx(0, abs=0.1)


def test_late_start_is_kept(clip: ClipFactory) -> None:
    sound = sound_of(clip(".mkv", audio_start_s=0.7, acodec="flac"))
    assert sound.t0_s == pytest.approx(0.7, abs=0.001)
    assert shift_ms(sound, ONSET_S) == pytest.approx(0, abs=0.6)


@pytest.mark.parametrize(("suffix", "acodec"), [(".mp4", "aac"), (".mkv", "libopus")])
def test_hole_becomes_silence(clip: ClipFactory, suffix: str, acodec: str) -> None:
    hole_s = (1.0, 1.6)
    path = clip(suffix, acodec=acodec, audio_hole_s=hole_s)
    with av.open(str(path)) as container:
        plain = sum(f.samples / f.sample_rate for f in container.decode(audio=0))
    assert plain < 3.5, "joining what is there shortens the sound"
    stats = ReadStats()
    sound = sound_of(path, stats=stats)
    assert len(sound.samples) / SAMPLE_RATE == pytest.approx(4.0, abs=0.03)
    assert stats.audio_holes_s == pytest.approx(0.6, abs=0.05)
    for onset_s in (0.96, 1.88, 3.52):
        assert shift_ms(sound, onset_s) == pytest.approx(0, abs=0.6)
    times_s = sound.t0_s + np.arange(len(sound.samples)) / SAMPLE_RATE
    assert not sound.samples[(times_s > 1.05) & (times_s < 1.55)].any()


def tone_frames(
    starts_s: Sequence[float], samples: int = 960, rate: int = 48000
) -> Iterator[av.AudioFrame]:
    """Frames of a steady tone whose timestamps, in microseconds, are given."""
    for i, start_s in enumerate(starts_s):
        times_s = (i * samples + np.arange(samples)) / rate
        wave = 0.5 * np.sin(2 * np.pi * BEEP_HZ * times_s, dtype=np.float64)
        frame = av.AudioFrame.from_ndarray(
            wave[None].astype(np.float32), format="flt", layout="mono"
        )
        frame.sample_rate, frame.pts = rate, round(start_s * 1e6)
        yield frame


def blocks_of(frames: Iterable[av.AudioFrame]) -> list[AudioBlock]:
    reader = AudioReader(Fraction(1, 1000000))
    blocks = [b for frame in frames for b in reader.push(frame)]
    return [*blocks, *reader.flush()]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-0.0019, 0.0019), min_size=60, max_size=60))
def test_jitter_leaves_no_trace(jitter_s: list[float]) -> None:
    jitter_s[0] = 0.0
    sound = joined(blocks_of(tone_frames([0.02 * i + j for i, j in enumerate(jitter_s)])))
    assert len(sound.samples) == pytest.approx(60 * 320, abs=1)
    expected = 0.5 * np.sin(2 * np.pi * BEEP_HZ * np.arange(len(sound.samples)) / SAMPLE_RATE)
    assert np.abs(sound.samples - expected)[50:-50].max() < 0.01


def test_lasting_step_is_followed() -> None:
    # Half a frame: too little for a lost one, too much to be left.
    starts_s = [0.02 * i + (0.01 if i >= 30 else 0.0) for i in range(90)]
    sound = joined(blocks_of(tone_frames(starts_s)))
    assert len(sound.samples) / SAMPLE_RATE == pytest.approx(1.81, abs=0.001)


def test_overlap_is_trimmed() -> None:
    starts_s = [0.02 * i - (0.5 if i >= 50 else 0.0) for i in range(100)]
    sound = joined(blocks_of(tone_frames(starts_s)))
    assert sound.t0_s == 0.0
    assert len(sound.samples) / SAMPLE_RATE == pytest.approx(1.5, abs=0.001)


def test_long_hole_comes_in_small_blocks() -> None:
    blocks = blocks_of(tone_frames([0.0, 600.0]))
    assert max(len(b.samples) for b in blocks) <= SAMPLE_RATE
    assert joined(blocks).samples.size / SAMPLE_RATE == pytest.approx(600.02, abs=0.001)


def test_absurd_leap_is_ignored() -> None:
    blocks = blocks_of(tone_frames([0.0, 0.02, 9e6, 0.06]))
    assert joined(blocks).samples.size / SAMPLE_RATE == pytest.approx(0.08, abs=0.001)


def test_format_may_change_within_a_stream() -> None:
    frames = [
        *tone_frames([0.02 * i for i in range(10)]),
        *tone_frames([0.2 + 0.02 * i for i in range(10)], samples=441, rate=22050),
    ]
    sound = joined(blocks_of(frames))
    assert len(sound.samples) / SAMPLE_RATE == pytest.approx(0.4, abs=0.001)
    assert np.abs(sound.samples[100:-100]).max() == pytest.approx(0.5, abs=0.05)


def test_frame_that_cannot_be_converted_becomes_a_hole() -> None:
    frames = list(tone_frames([0.02 * i for i in range(30)]))
    frames[10].sample_rate = 2**31 - 1
    sound = joined(blocks_of(frames))
    assert len(sound.samples) / SAMPLE_RATE == pytest.approx(0.6, abs=0.001)
    assert not sound.samples[3210:3510].any()
    assert sound.samples[3530:].any()


def test_wild_samples_are_tamed() -> None:
    wave = np.array([[np.nan, np.inf, -np.inf, 3.0, -3.0, 0.25] * 100], np.float32)
    frame = av.AudioFrame.from_ndarray(wave, format="flt", layout="mono")
    frame.sample_rate, frame.pts = SAMPLE_RATE, -1000
    sound = joined(blocks_of([frame]))
    assert sound.t0_s == -0.001
    assert np.isfinite(sound.samples).all()
    assert np.abs(sound.samples).max() <= 1.0

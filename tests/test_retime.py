"""Sound that is moved sample by sample, in any container, and nothing else with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from conftest import ClipFactory
from ruler import beep_times_s, flash_times_s, lead_ms, payloads

from lipsync_cli.errors import OutputError
from lipsync_cli.media.offset_curve import OffsetCurve, Piece
from lipsync_cli.media.resample import Retimer, interpolate
from lipsync_cli.media.retime import plan_retime, retime_audio
from lipsync_cli.media.silence import Loudness, loudness
from lipsync_cli.media.stretch import stretch_video

SAMPLE_MS = 1000 / 44100
# Half a sample of rounding in the ruler itself.
RULER_MS = 0.06
# The same for sound at 16 kHz.
FINE_MS = 0.1
PPM = 1e-6
# (container, how it is made, how far from the asked change the sound may be)
MATRIX: dict[str, tuple[str, dict[str, Any], float]] = {
    "avi-pcm": (".avi", {}, SAMPLE_MS),
    "avi-mp3": (".avi", {"acodec": "libmp3lame", "bframes": 2}, 1.0),
    "avi-ac3": (".avi", {"acodec": "ac3"}, 1.0),
    "mxf-pcm": (".mxf", {}, SAMPLE_MS),
    "mov-pcm": (".mov", {"acodec": "pcm_s24le"}, SAMPLE_MS),
    "mov-alac": (".mov", {"acodec": "alac"}, SAMPLE_MS),
    "mp4-aac": (".mp4", {"sample_rate": 44100}, 1.0),
    "mp4-mp3": (".mp4", {"acodec": "libmp3lame", "layout": "stereo"}, 1.0),
    "mp4-eac3": (".mp4", {"acodec": "eac3", "layout": "5.1"}, 1.0),
    "mkv-flac": (".mkv", {"acodec": "flac"}, 1.0),
    "mkv-late": (".mkv", {"audio_start_s": 0.3, "video_start_s": 0.1}, 1.0),
    "webm": (".webm", {}, 1.0),
    "ts-aac": (".ts", {}, 1.0),
    "mpg": (".mpg", {}, 1.0),
    "flv": (".flv", {"sample_rate": 44100}, 1.0),
}


def pictures(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def pcm(path: Path) -> bytes:
    with av.open(str(path)) as container:
        return b"".join(bytes(p) for p in container.demux(audio=0))


# Containers that cannot store times both ways, the others in turn.
BOTH_WAYS = [(n, ms) for n in ("avi-pcm", "mxf-pcm", "mov-pcm") for ms in (120.0, -120.0)]
ONE_WAY = [(n, 120.0 - 240.0 * (k % 2)) for k, n in enumerate(MATRIX)]


@pytest.mark.parametrize(("name", "offset_ms"), dict.fromkeys([*BOTH_WAYS, *ONE_WAY]))
def test_sound_moves_as_asked_and_pictures_stay(
    name: str, offset_ms: float, clip: ClipFactory, tmp_path: Path
) -> None:
    suffix, recipe, allowed_ms = MATRIX[name]
    source, target = clip(suffix, **recipe), tmp_path / f"out{suffix}"
    _, moved = retime_audio(source, target, OffsetCurve.constant(offset_ms))
    # Every beep, not their median alone.
    changes_ms = leads_ms(source) - leads_ms(target)
    assert len(changes_ms) == 7
    assert changes_ms == pytest.approx(offset_ms, abs=allowed_ms + RULER_MS)
    assert moved.late_ms == pytest.approx(0, abs=allowed_ms)
    assert moved.copies.bit_exact
    assert payloads(target)["video", 0] == payloads(source)["video", 0]
    assert pictures(target) == pictures(source)
    np.testing.assert_allclose(flash_times_s(target), flash_times_s(source), atol=1e-9)
    with av.open(str(source)) as before, av.open(str(target)) as after:
        (was,), (now,) = before.streams.audio, after.streams.audio
        assert now.codec_context.name == was.codec_context.name
        assert (now.rate, now.channels) == (was.rate, was.channels)


@pytest.mark.parametrize("name", ["avi-mp3", "avi-ac3", "mov-pcm", "mov-alac", "mxf-pcm"])
def test_last_sound_before_the_end_is_kept(name: str, clip: ClipFactory, tmp_path: Path) -> None:
    suffix, recipe, allowed_ms = MATRIX[name]
    source, target = clip(suffix, events_s=(0.4, 2.0, 3.8), **recipe), tmp_path / f"out{suffix}"
    retime_audio(source, target, OffsetCurve.constant(120.0))
    # The last beep, of 40 ms, now ends just before the picture does.
    expected_s = beep_times_s(source) + 0.12
    assert 3.9 < expected_s[-1] < 3.95
    assert beep_times_s(target) == pytest.approx(expected_s, abs=(allowed_ms + RULER_MS) / 1000)


@pytest.mark.parametrize("codec", ["u8", "s16be", "s24le", "s32le", "f32le", "alaw"])
def test_pcm_keeps_every_bit(codec: str, clip: ClipFactory, tmp_path: Path) -> None:
    source = clip(".mov", acodec=f"pcm_{codec}", sample_rate=8000)
    retime_audio(source, tmp_path / "late.mov", OffsetCurve.constant(100.0))
    retime_audio(source, tmp_path / "early.mov", OffsetCurve.constant(-100.0))
    before, late, early = (pcm(p) for p in (source, tmp_path / "late.mov", tmp_path / "early.mov"))
    cut = len(before) // 40  # 100 ms of 4 s
    assert late[cut:] == before
    assert len(set(late[:cut])) == 1 or codec == "alaw"
    # What is left is as long as the picture still needs.
    assert early[: len(before) - cut] == before[cut:]
    assert len(early) == len(before)


def test_only_the_chosen_track_moves(clip: ClipFactory, tmp_path: Path) -> None:
    source, target = clip(".mkv", audio_tracks=2), tmp_path / "out.mkv"
    plan, _ = retime_audio(source, target, OffsetCurve.constant(-80.0), audio_tracks=[1])
    assert list(plan.codings) == [2]
    changes = [lead_ms(source, track) - lead_ms(target, track) for track in (0, 1)]
    assert changes == pytest.approx([0, -80], abs=1.1)
    assert payloads(target)["audio", 0] == payloads(source)["audio", 0]


def test_naive_shift_of_mxf_would_lose_the_tail(clip: ClipFactory, tmp_path: Path) -> None:
    """MXF ends with its shorter track: cutting sound at the front cuts pictures at the end."""
    source, naive = clip(".mxf"), tmp_path / "naive.mxf"
    with av.open(str(source)) as reader, av.open(str(naive), "w") as writer:
        streams = [writer.add_stream_from_template(s, opaque=True) for s in reader.streams]
        streams[0].codec_context.framerate = reader.streams.video[0].average_rate
        for packet in reader.demux():
            if packet.size and (packet.stream.type == "video" or packet.pts >= 5760):
                if packet.stream.type == "audio":
                    packet.pts = packet.dts = packet.pts - 5760
                packet.stream = streams[packet.stream.index]
                writer.mux(packet)
    assert pictures(naive) < pictures(source)
    retime_audio(source, tmp_path / "ours.mxf", OffsetCurve.constant(-120.0))
    assert pictures(tmp_path / "ours.mxf") == pictures(source)


@pytest.mark.parametrize("suffix", [".avi", ".mxf"])
def test_tail_of_the_sound_is_kept(suffix: str, clip: ClipFactory, tmp_path: Path) -> None:
    source = clip(suffix)
    before = pcm(source)
    cut = len(before) * 120 // 4000  # 120 ms of 4 s
    retime_audio(source, tmp_path / f"late{suffix}", OffsetCurve.constant(120.0))
    retime_audio(source, tmp_path / f"early{suffix}", OffsetCurve.constant(-120.0))
    late, early = (pcm(tmp_path / f"{name}{suffix}") for name in ("late", "early"))
    # MXF ends with its picture; elsewhere the sound may outlast it.
    kept = before[:-cut] if suffix == ".mxf" else before
    assert late == bytes(cut) + kept
    assert early == before[cut:] + bytes(cut)


@pytest.mark.parametrize(
    ("vcodec", "code"), [("mpeg4", "XVID"), ("mpeg4", "DIVX"), ("libx264", "X264")]
)
def test_four_letter_code_of_avi(vcodec: str, code: str, clip: ClipFactory, tmp_path: Path) -> None:
    """Players choose their decoder by it; a template alone falls back on FMP4 and H264."""
    source, target = tmp_path / "talk.avi", tmp_path / "out.avi"
    copy_with_code(clip(".avi", vcodec=vcodec), source, code)
    assert code_of(source) == code
    retime_audio(source, target, OffsetCurve.constant(80.0))
    assert code_of(target) == code
    assert payloads(target)["video", 0] == payloads(source)["video", 0]
    # Another kind of file has codes of its own.
    other = clip(".mkv", vcodec="mpeg4", acodec="pcm_s16le", bframes=0)
    retime_audio(other, tmp_path / "other.avi", OffsetCurve.constant(80.0))
    assert code_of(tmp_path / "other.avi") == "FMP4"


def copy_with_code(source: Path, target: Path, code: str) -> None:
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        streams = [writer.add_stream_from_template(s, opaque=True) for s in reader.streams]
        streams[0].codec_context.framerate = reader.streams.video[0].average_rate
        streams[0].codec_context.codec_tag = code
        for packet in reader.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                writer.mux(packet)


def code_of(path: Path) -> str:
    with av.open(str(path)) as container:
        return str(container.streams.video[0].codec_context.codec_tag)


def test_sound_that_has_no_encoder_is_named(
    clip: ClipFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("lipsync_cli.media.samples").media.samples._ENCODERS, "aac", "x")
    with pytest.raises(OutputError, match=r"stream 1, aac.*cannot be encoded") as caught:
        plan_retime(clip(".mp4"), tmp_path / "out.mp4")
    assert "--method timestamps" in str(caught.value.hint)


def test_sound_that_is_not_where_it_should_be_is_noticed(
    clip: ClipFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is decoded again: an encoder that delays more than it says is caught by it."""
    monkeypatch.setattr("lipsync_cli.media.retime.priming", lambda coding: 0)
    with pytest.raises(OutputError, match=r"the sound of stream 1 is off by -?\d+\.\d\d ms"):
        retime_audio(
            clip(".avi", acodec="libmp3lame"), tmp_path / "out.avi", OffsetCurve.constant(40.0)
        )


def test_holes_and_late_sound_keep_their_place(clip: ClipFactory, tmp_path: Path) -> None:
    source = clip(".mkv", audio_hole_s=(1.3, 1.8), audio_delay_s=0.05)
    retime_audio(source, tmp_path / "out.mkv", OffsetCurve.constant(60.0))
    change_ms = lead_ms(source) - lead_ms(tmp_path / "out.mkv")
    assert change_ms == pytest.approx(60, abs=1.1)


def leads_ms(path: Path) -> np.ndarray:
    """Time by which each beep comes before its flash."""
    return (flash_times_s(path) - beep_times_s(path)) * 1000


@pytest.fixture(scope="module")
def long(clip: ClipFactory) -> Path:
    """Half a minute of flashes and beeps, with the sound as PCM."""
    recipe = {"fps": 10, "size": (64, 48), "gop": 100, "acodec": "pcm_s24le", "sample_rate": 16000}
    return clip(".mov", duration_s=30.0, events_s=(1.0, 5.5, 12.0, 16.3, 23.0, 28.4), **recipe)


@pytest.mark.parametrize("ppm", [800.0, -800.0])
def test_drift_is_taken_out_with_an_error_that_does_not_grow(
    ppm: float, long: Path, tmp_path: Path
) -> None:
    drifting, repaired = tmp_path / "drifting.mov", tmp_path / "repaired.mov"
    retime_audio(long, drifting, OffsetCurve((Piece(0, 0.05, ppm * PPM),)))
    flashes = flash_times_s(long)
    # The sound at u is taken from u - offset(u): what was at t is now at (t + 0.05) / (1 - p).
    expected = -(50 + ppm * 1e-3 * flashes) / (1 - ppm * PPM)
    assert leads_ms(drifting) - leads_ms(long) == pytest.approx(expected, abs=FINE_MS)
    # The opposite of a line is a line: s = t - 0.05 - p t, so t - s in terms of s.
    inverse = Piece(0, -0.05 / (1 - ppm * PPM), -ppm * PPM / (1 - ppm * PPM))
    _, moved = retime_audio(drifting, repaired, OffsetCurve((inverse,)))
    assert leads_ms(repaired) == pytest.approx(leads_ms(long), abs=FINE_MS)
    assert moved.late_ms == pytest.approx(0, abs=0.07)
    assert payloads(repaired)["video", 0] == payloads(long)["video", 0]


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
def test_picture_can_be_stretched_instead(
    suffix: str, long: Path, clip: ClipFactory, tmp_path: Path
) -> None:
    curve = OffsetCurve((Piece(0, 0.05, 800 * PPM),))
    stretched = tmp_path / f"out{suffix}"
    copies = stretch_video(long, stretched, curve)
    expected = -(50 + 800e-3 * flash_times_s(long))
    tick_ms = 1.0 if suffix == ".mkv" else 0.1
    assert leads_ms(stretched) - leads_ms(long) == pytest.approx(expected, abs=tick_ms)
    assert copies.bit_exact
    assert payloads(stretched) == payloads(long)
    with pytest.raises(OutputError, match="counts its pictures"):
        stretch_video(clip(".avi"), tmp_path / "out.avi", curve)


def test_parts_move_by_their_own_offsets(long: Path, tmp_path: Path) -> None:
    curve = OffsetCurve((Piece(0, 0.12), Piece(8.5, -0.3), Piece(20.1, 0.05, 500 * PPM)))
    target = tmp_path / "out.mov"
    retime_audio(long, target, curve)
    expected = [-1000 * curve.offset_s(t) for t in flash_times_s(long)]
    assert leads_ms(target) - leads_ms(long) == pytest.approx(expected, abs=FINE_MS)


def test_whole_samples_pass_through_and_parts_fade_into_each_other() -> None:
    rng = np.random.default_rng(0)
    source = rng.normal(0, 0.1, (2, 48000))
    retimer = Retimer(OffsetCurve((Piece(0, 0.01), Piece(0.5, -0.02))), 48000, 2, 0.0, 0)
    parts = []
    for block in np.array_split(source, 37, axis=1):
        retimer.push(block)
        while retimer.ready(1000):
            parts.append(retimer.take(1000))
    retimer.finish()
    parts.append(retimer.take(48000 - retimer.next))
    out = np.concatenate(parts, axis=1)
    np.testing.assert_array_equal(out[:, :480], 0)
    np.testing.assert_array_equal(out[:, 480:23760], source[:, : 23760 - 480])
    np.testing.assert_array_equal(out[:, 24240:47040], source[:, 24240 + 960 :])
    # Unlike sounds of one power fade without a dip.
    assert out[:, 23760:24240].std() == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("frequency", [0.02, 0.5, 0.9])
def test_interpolation_is_that_of_band_limited_sound(frequency: float) -> None:
    """Golden value: the sine itself, at shares of the Nyquist frequency."""
    positions = np.arange(100, 3900) * 0.9999 + 0.37
    samples = np.sin(np.pi * frequency * np.arange(4000))[None]
    expected = np.sin(np.pi * frequency * positions)
    error = interpolate(samples, positions)[0] - expected
    assert np.abs(error).max() < 10 ** (-90 / 20)


def test_cut_goes_into_the_silence_where_it_belongs(clip: ClipFactory) -> None:
    """Beeps of 40 ms at 0.96 and 1.2 s: the widest silence between 0.9 and 1.3 s is in between."""
    sound = loudness(clip(".mov", acodec="pcm_s24le"))
    assert sound.joint_s(1.0, (0.95, 1.25), 0.15) == pytest.approx(1.1, abs=0.03)
    # Of equally quiet places, the nearest.
    assert sound.joint_s(0.97, (0.97, 0.97), 0.1) == pytest.approx(0.91, abs=0.02)


def test_cut_leaves_little_speech_out_of_sync() -> None:
    """Golden values: where the silences of a made-up loudness are."""
    power = np.full(2000, 1e-2)
    for first, end in ((900, 930), (1060, 1100), (1350, 1420)):
        power[first:end] = 1e-7
    sound = Loudness(5.0, power)
    # All of a silence is the same moment: nobody hears what is out of sync in it.
    assert sound.joint_s(15.8, (15.4, 16.2), 0.2) == pytest.approx(15.8, abs=0.1)
    # A cut in the sound is better than a second of speech that is wrong.
    assert sound.joint_s(17.2, (17.0, 17.4), 0.2) == pytest.approx(17.2, abs=0.1)
    # Further away the longer silence is worth nothing, even where it lies inside the span.
    assert sound.joint_s(15.6, (13.5, 19.5), 0.2) == pytest.approx(15.7, abs=0.15)
    # Nothing is known beyond the end of the sound.
    assert sound.joint_s(99.0, (98.0, 99.5), 0.2) == 99.0

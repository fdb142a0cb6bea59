"""The beep-and-flash ruler across containers: what was asked for is what is stored."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import av
import pytest
from conftest import ClipFactory
from ruler import lead_ms, payloads

from lipsync_cli.errors import LipsyncError, MissingStream, OutputError
from lipsync_cli.media.remux import plan_shift, shift_audio
from lipsync_cli.media.remux_kept import lost_details


class Case(NamedTuple):
    """A kind of file, and the step in which it can store a time of audio, in ms."""

    suffix: str
    grid_ms: float
    recipe: dict[str, Any]


SAMPLE_MS = 1000 / 44100
MATRIX = {
    "mp4-aac": Case(".mp4", SAMPLE_MS, {}),
    "mp4-aac-44k": Case(".mp4", SAMPLE_MS, {"sample_rate": 44100, "fps": Fraction(30000, 1001)}),
    "mp4-mp3": Case(".mp4", SAMPLE_MS, {"acodec": "libmp3lame"}),
    "mp4-ac3": Case(".mp4", SAMPLE_MS, {"acodec": "ac3"}),
    "mp4-hevc": Case(".mp4", SAMPLE_MS, {"vcodec": "libx265"}),
    "mov-pcm": Case(".mov", SAMPLE_MS, {"acodec": "pcm_s24le"}),
    "mov-alac": Case(".mov", SAMPLE_MS, {"acodec": "alac"}),
    "m4v": Case(".m4v", SAMPLE_MS, {}),
    "3gp": Case(".3gp", SAMPLE_MS, {}),
    "mkv-aac": Case(".mkv", 1.0, {}),
    "mkv-flac": Case(".mkv", 1.0, {"acodec": "flac"}),
    "webm": Case(".webm", 1.0, {}),
    "ts-aac": Case(".ts", 1 / 90, {}),
    "ts-ac3": Case(".ts", 1 / 90, {"vcodec": "mpeg2video", "acodec": "ac3"}),
    "m2ts": Case(".m2ts", 1 / 90, {"acodec": "ac3"}),
    "mpg": Case(".mpg", 1 / 90, {}),
    "flv": Case(".flv", 1.0, {"sample_rate": 44100}),
}
# Half a sample of rounding in the ruler itself.
RULER_MS = 0.06
source_lead_ms, source_payloads = cache(lead_ms), cache(payloads)


@pytest.mark.parametrize("offset_ms", [120.0, -120.0, 7.3])
@pytest.mark.parametrize("name", MATRIX)
def test_shift_is_stored_exactly_and_no_payload_changes(
    name: str, offset_ms: float, clip: ClipFactory, tmp_path: Path
) -> None:
    case = MATRIX[name]
    source = clip(case.suffix, **case.recipe)
    target = tmp_path / f"out{case.suffix}"

    plan, checked = shift_audio(source, target, offset_ms)

    tolerance_ms = case.grid_ms / 2 + RULER_MS
    assert source_lead_ms(source) - lead_ms(target) == pytest.approx(offset_ms, abs=tolerance_ms)
    assert checked.applied_ms == pytest.approx(offset_ms, abs=tolerance_ms)
    assert plan.grid_ms == pytest.approx(case.grid_ms, rel=0.1)
    assert payloads(target) == source_payloads(source)
    assert checked.bit_exact
    assert lost_details(source, target) == []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("offset_ms", [-2300.0, 2300.0])
def test_shift_by_seconds(suffix: str, offset_ms: float, clip: ClipFactory, tmp_path: Path) -> None:
    """An edit list that hides more than a second also hides packets from every reader."""
    source = clip(suffix, duration_s=6.0, events_s=(2.4, 3.0, 3.2))
    _, checked = shift_audio(source, tmp_path / f"out{suffix}", offset_ms)
    assert checked.bit_exact
    assert payloads(tmp_path / f"out{suffix}") == payloads(source)
    moved_ms = lead_ms(source) - lead_ms(tmp_path / f"out{suffix}")
    assert moved_ms == pytest.approx(offset_ms, abs=1.0)
    # Another copy cannot read what lies further outside, and says so.
    _, again = shift_audio(tmp_path / f"out{suffix}", tmp_path / f"again{suffix}", 100.0)
    assert (again.left_out > 0) == (suffix == ".mp4" and offset_ms < 0)


@pytest.mark.parametrize("name", ["mp4-aac", "mov-pcm", "mkv-aac", "ts-aac", "flv"])
def test_shift_back_restores_the_file(name: str, clip: ClipFactory, tmp_path: Path) -> None:
    source = clip(MATRIX[name].suffix, **MATRIX[name].recipe)
    there, back = (tmp_path / f"{way}{source.suffix}" for way in ("there", "back"))
    shift_audio(source, there, -120.0)
    shift_audio(there, back, 120.0)
    assert payloads(back) == payloads(source)
    assert lead_ms(back) == pytest.approx(lead_ms(source), abs=RULER_MS)


def test_default_movie_timescale_would_lose_a_fraction(clip: ClipFactory, tmp_path: Path) -> None:
    """FFmpeg rounds empty edits down to its default tick of 1 ms."""
    source = clip(".mp4", sample_rate=44100)
    naive_ms = lead_ms(source) - lead_ms(naive_copy(source, tmp_path / "naive.mp4", 120))
    assert naive_ms < 119.9
    shift_audio(source, tmp_path / "ours.mp4", 120.0)
    moved_ms = lead_ms(source) - lead_ms(tmp_path / "ours.mp4")
    assert moved_ms == pytest.approx(120.0, abs=RULER_MS)


@pytest.mark.parametrize(("suffix", "remedy"), [(".avi", ".mkv"), (".mxf", ".mov")])
def test_containers_that_lose_the_shift_are_refused(
    suffix: str, remedy: str, clip: ClipFactory, tmp_path: Path
) -> None:
    source = clip(suffix)
    lost_ms = lead_ms(source) - lead_ms(naive_copy(source, tmp_path / f"naive{suffix}", 120))
    assert abs(lost_ms) < 1.0
    target = tmp_path / f"out{suffix}"
    with pytest.raises(OutputError, match="silently lost") as caught:
        shift_audio(source, target, 120.0)
    assert remedy in str(caught.value.hint)
    assert not target.exists()


@pytest.mark.parametrize(
    ("source_suffix", "target_suffix"),
    [(".avi", ".mkv"), (".mxf", ".mov"), (".mkv", ".mp4"), (".mp4", ".mkv"), (".ts", ".mp4"),
     (".mp4", ".ts"), (".flv", ".mp4"), (".mpg", ".ts")],
)  # fmt: skip
def test_change_of_container(
    source_suffix: str, target_suffix: str, clip: ClipFactory, tmp_path: Path
) -> None:
    fields = {"sample_rate": 44100} if source_suffix == ".flv" else {}
    source, target = clip(source_suffix, **fields), tmp_path / f"out{target_suffix}"
    shift_audio(source, target, 120.0)
    assert lead_ms(source) - lead_ms(target) == pytest.approx(120.0, abs=1.1)


def test_avi_counts_mp3_in_packets(clip: ClipFactory, tmp_path: Path) -> None:
    source = clip(".avi", acodec="libmp3lame")
    with av.open(str(source)) as container:
        assert container.streams.audio[0].time_base == Fraction(24, 1000)
    shift_audio(source, tmp_path / "out.mov", 7.3)
    moved_ms = lead_ms(source) - lead_ms(tmp_path / "out.mov")
    assert moved_ms == pytest.approx(7.3, abs=RULER_MS)


def test_pictures_behind_an_edit_list(clip: ClipFactory, tmp_path: Path) -> None:
    """A trimmed mp4 still holds what was cut off; only another container shows it again."""
    source = naive_copy(clip(".mp4"), tmp_path / "trimmed.mp4", -300, kind="video")
    for name, unhidden in (("out.mp4", 0), ("out.mkv", 8)):
        _, checked = shift_audio(source, tmp_path / name, 120.0)
        assert (checked.unhidden, checked.left_out) == (unhidden, 0)
        assert lead_ms(source) - lead_ms(tmp_path / name) == pytest.approx(120.0, abs=1.0)


def test_streams_that_do_not_fit_are_named(clip: ClipFactory, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"webm.*h264") as caught:
        plan_shift(clip(".mp4"), tmp_path / "out.webm", 120.0)
    assert "\n" not in str(caught.value)
    with pytest.raises(OutputError, match="'xyz'"):
        plan_shift(clip(".mp4"), tmp_path / "out.xyz", 120.0)


def test_one_audio_track_of_two(clip: ClipFactory, tmp_path: Path) -> None:
    source = clip(".mkv", audio_tracks=2)
    shift_audio(source, tmp_path / "second.mkv", 120.0, audio_tracks=[1])
    shift_audio(source, tmp_path / "both.mkv", -120.0)
    moved = {
        (name, track): round(lead_ms(source, track) - lead_ms(tmp_path / name, track))
        for name in ("second.mkv", "both.mkv")
        for track in (0, 1)
    }
    assert list(moved.values()) == [0, 120, -120, -120]


def test_late_audio_keeps_its_place(clip: ClipFactory, tmp_path: Path) -> None:
    for suffix in (".mp4", ".mkv", ".ts"):
        source = clip(suffix, audio_start_s=0.3, video_start_s=0.1, audio_delay_s=0.05)
        shift_audio(source, tmp_path / f"late{suffix}", -120.0)
        moved_ms = lead_ms(source) - lead_ms(tmp_path / f"late{suffix}")
        assert moved_ms == pytest.approx(-120.0, abs=1.0)


def test_fragmented_input(clip: ClipFactory, tmp_path: Path) -> None:
    source = clip(".mp4", container_options={"movflags": "frag_keyframe+empty_moov"})
    assert b"moof" in source.read_bytes()
    shift_audio(source, tmp_path / "plain.mp4", 120.0)
    assert b"moof" not in (tmp_path / "plain.mp4").read_bytes()
    moved_ms = lead_ms(source) - lead_ms(tmp_path / "plain.mp4")
    assert moved_ms == pytest.approx(120.0, abs=RULER_MS)


def test_index_stays_in_front(clip: ClipFactory, tmp_path: Path) -> None:
    for place, options in (("front", {"movflags": "faststart"}), ("back", {})):
        source = clip(".mp4", container_options=options)
        shift_audio(source, tmp_path / f"{place}.mp4", -120.0)
        data = (tmp_path / f"{place}.mp4").read_bytes()
        assert (data.index(b"moov") < data.index(b"mdat")) == (place == "front")


def test_audio_or_picture_missing(clip: ClipFactory, tmp_path: Path) -> None:
    for fields, words in (
        ({"acodec": None}, "no audio track"),
        ({"vcodec": None}, "no picture"),
    ):
        with pytest.raises(MissingStream, match=words):
            shift_audio(clip(".mp4", **fields), tmp_path / "out.mp4", 120.0)
    empty = naive_copy(clip(".mkv"), tmp_path / "empty.mkv", 0, without="audio")
    with pytest.raises(MissingStream, match="holds no sound"):
        shift_audio(empty, tmp_path / "out.mkv", 120.0)
    with pytest.raises(MissingStream, match="no audio track 3"):
        shift_audio(clip(".mp4"), tmp_path / "out.mp4", 120.0, audio_tracks=[3])


def test_truncated_matroska_is_copied_as_far_as_it_goes(clip: ClipFactory, tmp_path: Path) -> None:
    whole = clip(".mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    shift_audio(tmp_path / "cut.mkv", tmp_path / "out.mkv", 120.0)
    assert payloads(tmp_path / "out.mkv") == payloads(tmp_path / "cut.mkv")


def test_a_shift_that_was_not_stored_is_noticed(
    clip: ClipFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check reads the file back: a muxer that ignores times is caught by it."""
    monkeypatch.setattr("lipsync_cli.media.remux._Shift.apply", lambda self, packet: None)
    with pytest.raises(LipsyncError, match=r"stream 1 moved by 0\.00 ms"):
        shift_audio(clip(".mkv"), tmp_path / "out.mkv", 120.0)


def test_progress_grows_to_the_end(clip: ClipFactory, tmp_path: Path) -> None:
    seen: list[float] = []
    shift_audio(clip(".mkv"), tmp_path / "out.mkv", 120.0, progress=seen.append)
    assert seen == sorted(seen)
    assert 0 <= seen[0] < 0.2
    assert 0.9 < seen[-1] <= 1


def test_nothing_of_ffmpeg_reaches_the_terminal(
    clip: ClipFactory, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    level = av.logging.get_level()
    shift_audio(clip(".mpg"), tmp_path / "out.mpg", -500.0)
    assert capfd.readouterr() == ("", "")
    assert av.logging.get_level() == level


def naive_copy(
    source: Path, target: Path, delay_ms: int, kind: str = "audio", without: str = ""
) -> Path:
    """What `ffmpeg -itsoffset -c copy` does."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        streams = [writer.add_stream_from_template(s, opaque=True) for s in reader.streams]
        for packet in reader.demux():
            if not packet.size or packet.stream.type == without:
                continue
            if packet.stream.type == kind:
                delay = round(Fraction(delay_ms, 1000) / packet.time_base)
                packet.pts += delay
                packet.dts = None if packet.dts is None else packet.dts + delay
            packet.stream = streams[packet.stream.index]
            writer.mux(packet)
    return target

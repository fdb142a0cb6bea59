"""Measuring windows of a long programme instead of all of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from conftest import ClipFactory
from synth import EVENTS_S

from lipsync_cli import detect, quick
from lipsync_cli.detect import measure
from lipsync_cli.errors import UnreadableMedia
from lipsync_cli.media import reader
from lipsync_cli.media.audio import AudioBlock
from lipsync_cli.media.probe import MediaInfo, probe
from lipsync_cli.media.video import VideoFrame
from lipsync_cli.quick import SampledResult, as_sampled, is_enough, sampling_rounds
from lipsync_cli.render import render_clip
from lipsync_cli.results import OffsetResult

LOOP_S, LOOPS = 8.0, 7
OFFSET_MS = 160.0


@pytest.fixture(scope="module")
def long_talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same 8 s of a talking face again and again, sound 160 ms early."""
    folder = tmp_path_factory.mktemp("long")
    once = render_clip(
        folder / "once.mp4", duration_s=LOOP_S, size=192, audio_offset_ms=OFFSET_MS, seed=3
    ).path
    return repeated(once, folder / "long.mkv")


def test_answer_from_windows(long_talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "WINDOW_S", 4.0)
    monkeypatch.setattr(quick, "FIRST_WINDOWS", 3)
    stats = counted(monkeypatch)
    told: list[float] = []
    result = measure(long_talk, quick=True, progress=told.append).result
    assert isinstance(result, SampledResult)
    assert result.offset_ms == pytest.approx(OFFSET_MS, abs=40)
    assert result.interval_ms is not None
    assert result.interval_ms[0] < OFFSET_MS < result.interval_ms[1]
    assert 0 < sum(s.video_frames for s in stats) < 0.25 * LOOPS * LOOP_S * 25
    assert len(result.segments) == 3
    assert result.sampled_s == pytest.approx(12.0, abs=1.0)
    assert result.to_dict()["sampled_s"] == result.sampled_s
    assert any("sampled: 12 of 56 s" in warning for warning in result.warnings)
    assert not any("cut short" in warning for warning in result.warnings)
    assert told == sorted(told)
    assert [track.track for track in result.tracks] == list(range(len(result.tracks)))


def test_without_an_answer_everything_is_read(
    clip: ClipFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quick, "WINDOW_S", 0.3)
    stats = counted(monkeypatch)
    result = measure(clip(), quick=True).result
    assert (result.status, type(result)) == ("cannot_tell", OffsetResult)
    assert len(stats) > quick.FIRST_WINDOWS
    assert stats[-1].video_frames == 100


def test_what_cannot_be_read_from_the_middle_is_read_whole(
    clip: ClipFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quick, "WINDOW_S", 0.3)
    stats = counted(monkeypatch)

    def refuse(*args: Any) -> None:
        raise UnreadableMedia("cannot be read from the middle")

    monkeypatch.setattr(reader, "_seek", refuse)
    assert type(measure(clip(), quick=True).result) is OffsetResult
    assert [s.video_frames for s in stats] == [0, 100]


def test_short_programmes_are_read_whole(
    clip: ClipFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    stats = counted(monkeypatch)
    measure(clip(), quick=True)
    assert [s.video_frames for s in stats] == [100]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".mpg", ".avi"])
def test_a_span_begins_at_a_key_frame(clip: ClipFactory, suffix: str) -> None:
    # Key frames every second; the flashes at 2.24 and 3.08 s are near.
    path = clip(suffix)
    start_s = probe(path).streams[0].start_s or 0.0
    items = list(reader.read(path, span_s=(start_s + 2.1, start_s + 3.3)))
    frames = [item for item in items if isinstance(item, VideoFrame)]
    times_s = [frame.pts_s - start_s for frame in frames]
    # Formats without an index lead to the key frame after the place, others to the one before.
    assert times_s[0] == pytest.approx(2.1, abs=1.0)
    assert 1.0 <= times_s[-1] - times_s[0] <= 1.45
    flashes_s = [f.pts_s - start_s for f in frames if f.luma.mean() > 128]
    assert flashes_s
    for time_s in flashes_s:
        assert min(abs(time_s - event_s) for event_s in EVENTS_S) < 0.001
    inside_s = [e for e in EVENTS_S if times_s[0] <= e <= times_s[-1] - 0.13]
    assert len(flashes_s) >= len(inside_s)
    loud_s = [
        b.t0_s + float((abs(b.samples) > 0.2).argmax()) / 16000 - start_s
        for b in items
        if isinstance(b, AudioBlock) and abs(b.samples).max() > 0.3
    ]
    for event_s in flashes_s:
        assert min(abs(time_s - event_s) for time_s in loud_s) < 0.03


def test_windows_of_one_key_frame_count_once(
    clip: ClipFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quick, "WINDOW_S", 0.3)
    stats, windows, go = counted(monkeypatch), [], detect._Pass.go

    def watched(run: Any, *args: Any) -> None:
        go(run, *args)
        windows.append(len(run.read_spans))

    monkeypatch.setattr(detect._Pass, "go", watched)
    measure(clip(gop=100), quick=True)
    # Six windows lead to the only key frame: one is taken, then all of the programme.
    assert windows[:6] == [1] * 6
    assert stats[-1].video_frames == 100


@pytest.mark.parametrize("duration_s", [150.0, 600.0, 7200.0])
def test_windows_are_spread_and_never_read_twice(duration_s: float) -> None:
    rounds = list(sampling_rounds(info_of(duration_s)))
    spans = sorted(span for windows in rounds for span in windows)
    assert rounds
    assert sum(end - start for start, end in spans) <= duration_s / 2
    assert all(end - start >= 10 for start, end in spans)
    assert spans[0][0] >= 100.0
    assert spans[-1][1] <= 100.0 + duration_s
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    for count in range(1, len(rounds) + 1):
        sofar = sorted(span[0] for windows in rounds[:count] for span in windows)
        gaps = [b - a for a, b in pairwise(sofar)]
        assert max(gaps) <= 2.05 * duration_s / len(sofar)


def test_nothing_is_sampled_of_what_is_short_or_unknown() -> None:
    assert list(sampling_rounds(info_of(140.0))) == []
    assert list(sampling_rounds(replace(info_of(600.0), duration_s=None))) == []


def test_enough_is_a_narrow_interval() -> None:
    known = OffsetResult("a", "measured", None, 5.0, (-30.0, 40.0), "in sync", 0.99, None, 25.0)
    assert is_enough(known)
    assert not is_enough(replace(known, interval_ms=(-45.0, 45.0)))
    assert not is_enough(replace(known, offset_ms=None, interval_ms=None))
    assert as_sampled(known, [(0.0, 12.0), (20.0, 32.0)]).sampled_s == 24.0


def info_of(duration_s: float) -> MediaInfo:
    """A programme whose clock begins at 100 s."""
    path = Path("programme.ts")
    stream: Any = type("Stream", (), {"kind": "video", "attached_picture": False, "start_s": 100.0})
    return MediaInfo(path, "mpegts", duration_s, 1, (stream,))


def counted(monkeypatch: pytest.MonkeyPatch) -> list[reader.ReadStats]:
    """Collect the books of every pass over a file."""
    kept: list[reader.ReadStats] = []

    def read(*args: Any, stats: reader.ReadStats, **options: Any) -> Any:
        kept.append(stats)
        return reader.read(*args, stats=stats, **options)

    monkeypatch.setattr("lipsync_cli.detect.read", read)
    return kept


def repeated(source: Path, target: Path) -> Path:
    """Copy all packets several times, one after the other."""
    with av.open(str(source)) as old:
        packets = [p for p in old.demux() if p.size and p.pts is not None and p.pts >= 0]
        with av.open(str(target), "w") as new:
            streams = [new.add_stream_from_template(s, opaque=True) for s in old.streams]
            times = [(p, p.pts, p.dts, p.time_base) for p in packets]
            for loop in range(LOOPS):
                for packet, pts, dts, base in times:
                    shift = round(loop * LOOP_S / base)
                    packet.stream = streams[packet.stream_index]
                    packet.pts, packet.dts, packet.time_base = pts + shift, dts + shift, base
                    new.mux_one(packet)
    return target

"""One pass over a file: order, ends, damage, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import ClipFactory

from lipsync_cli.errors import InputError, LipsyncError, MissingStream, UnreadableMedia
from lipsync_cli.media.audio import AudioBlock
from lipsync_cli.media.reader import ReadStats, read
from lipsync_cli.media.video import VideoFrame


def read_all(path: Path, **options: object) -> tuple[list[float], float, ReadStats]:
    """Frame times, seconds of sound and the books of one pass."""
    stats, times_s, sound_s = ReadStats(), [], 0.0
    for item in read(path, stats=stats, **options):  # type: ignore[arg-type]
        if isinstance(item, VideoFrame):
            times_s.append(item.pts_s)
        else:
            sound_s += len(item.samples) / 16000
    return times_s, sound_s, stats


@pytest.mark.parametrize(
    "suffix",
    [
        *(".mp4", ".mov", ".m4v", ".3gp", ".mkv", ".webm"),
        *(".ts", ".m2ts", ".mpg", ".flv", ".avi", ".mxf"),
    ],
)
def test_flash_and_beep_stay_together(clip: ClipFactory, suffix: str) -> None:
    flashes_s, beeps_s, quiet_until_s = [], [], -1.0
    for item in read(clip(suffix)):
        if isinstance(item, VideoFrame):
            if item.luma.mean() > 120:
                flashes_s.append(item.pts_s)
            continue
        for i in np.flatnonzero(np.abs(item.samples) > 0.1):
            at_s = item.t0_s + i / 16000
            if at_s > quiet_until_s:
                beeps_s.append(at_s)
            quiet_until_s = at_s + 0.1
    assert len(flashes_s) == 7
    np.testing.assert_allclose(beeps_s, flashes_s, atol=0.0006)


def test_books_are_kept(clip: ClipFactory) -> None:
    times_s, sound_s, stats = read_all(clip(fps=50))
    assert (stats.video_frames, stats.kept_frames, len(times_s)) == (200, 100, 100)
    assert stats.video_start_s == 0.0
    assert stats.video_end_s == pytest.approx(3.98)
    assert stats.audio_samples == round(sound_s * 16000)
    assert stats.audio_end_s == pytest.approx(sound_s)
    assert stats.corrupt_packets == 0
    assert stats.warnings == ()


def test_badly_interleaved_file_is_read_whole(clip: ClipFactory) -> None:
    path = clip(".mkv", interleaved=False)
    with av.open(str(path)) as container:
        order = [p.stream.type for p in container.demux() if p.size]
    assert order.index("audio") > 90, "the sound comes behind the pictures"
    times_s, sound_s, _ = read_all(path)
    assert len(times_s) == 100
    assert sound_s == pytest.approx(4.0, abs=0.03)


def test_cover_art_is_no_video(clip: ClipFactory, tmp_path: Path) -> None:
    path = with_cover(clip(acodec="aac", vcodec=None), tmp_path / "song.mp4")
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1
    with pytest.raises(MissingStream, match="no video"):
        read_all(path)
    _, sound_s, _ = read_all(path, video=False)
    assert sound_s == pytest.approx(4.0, abs=0.05)


def with_cover(source: Path, target: Path) -> Path:
    """Copy a file and put one attached picture before its streams."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        cover = new.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        copies = {s.index: new.add_stream_from_template(s) for s in old.streams}
        picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))
        for packet in [*cover.encode(picture), *cover.encode(None)]:
            new.mux(packet)
        for packet in old.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                new.mux(packet)
    return target


@pytest.mark.parametrize(
    ("fields", "options", "message"),
    [
        ({"vcodec": None}, {}, "no video stream"),
        ({"acodec": None}, {}, "no audio stream"),
        ({"audio_tracks": 2}, {"audio_track": 2}, "no audio track 2"),
        ({}, {"audio_track": -1}, "no audio track -1"),
    ],
)
def test_missing_streams_are_named(
    clip: ClipFactory, fields: dict[str, object], options: dict[str, int], message: str
) -> None:
    with pytest.raises(MissingStream, match=message) as caught:
        read_all(clip(**fields), **options)
    assert caught.value.hint


def _cut_end(data: bytearray) -> bytearray:
    return data[: len(data) * 6 // 10]


def _zeros_inside(data: bytearray) -> bytearray:
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    return data


def _noise_everywhere(data: bytearray) -> bytearray:
    places = np.random.default_rng(1).integers(3000, len(data) - 3000, 60)
    for place in places:
        data[place] ^= 0xFF
    return data


def noisy(number: int, size: tuple[int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A picture that costs enough bits to be hit."""
    return np.random.default_rng(number).integers(0, 255, size[::-1]).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".flv", ".avi", ".mp4"])
@pytest.mark.parametrize("damage", [_cut_end, _zeros_inside, _noise_everywhere])
def test_damaged_files_give_what_they_hold(
    clip: ClipFactory, tmp_path: Path, suffix: str, damage: Callable[[bytearray], bytearray]
) -> None:
    whole = clip(
        suffix, paint=noisy, size=(64, 48), container_options={"movflags": "+faststart"}
    ).read_bytes()
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(damage(bytearray(whole)))
    times_s, sound_s, stats = read_all(path)
    assert 40 <= len(times_s) <= 101
    assert np.all(np.diff(times_s) > 0)
    assert 2.0 < sound_s < 4.2
    if damage is _cut_end and suffix == ".mp4":
        assert any("cut short" in w or "damaged" in w for w in stats.warnings)


def test_undecodable_pictures_are_an_error(clip: ClipFactory, tmp_path: Path) -> None:
    data = bytearray(clip(acodec=None, container_options={"movflags": "+faststart"}).read_bytes())
    start = data.find(b"mdat") + 4
    data[start:] = bytes(len(data) - start)
    path = tmp_path / "zeros.mp4"
    path.write_bytes(data)
    with pytest.raises(UnreadableMedia, match="pictures"):
        read_all(path, audio=False)


def test_restarted_clock_goes_on(clip: ClipFactory, tmp_path: Path) -> None:
    long = clip(".ts", duration_s=14.0, size=(32, 24), fps=25)
    path = tmp_path / "joined.ts"
    path.write_bytes(long.read_bytes() + clip(".ts").read_bytes())
    times_s, sound_s, _ = read_all(path)
    assert len(times_s) == pytest.approx(450, abs=3)
    np.testing.assert_allclose(np.diff(times_s), 0.04, atol=0.05)
    assert sound_s == pytest.approx(18.0, abs=0.2)


def test_file_is_closed_when_the_reader_is_abandoned(clip: ClipFactory, tmp_path: Path) -> None:
    path = tmp_path / "open.mp4"
    path.write_bytes(clip().read_bytes())
    items = read(path)
    kept = [next(items) for _ in range(12)]
    items.close()
    with pytest.raises(StopIteration):
        next(items)
    path.unlink()
    # What was handed out outlives the file.
    frame = next(i for i in kept if isinstance(i, VideoFrame))
    assert frame.luma.shape == (120, 160)
    assert frame.bgr(0, 0, 8, 8).shape == (8, 8, 3)


@pytest.mark.parametrize(
    "ending", ["", "del items", "items.close()", "raise SystemExit(0)", "sys.modules['x'] = items"]
)
def test_interpreter_ends_with_a_reader_half_way(clip: ClipFactory, ending: str) -> None:
    code = f"""
import sys
from lipsync_cli.media.reader import read
items = read(sys.argv[1])
kept = [next(items) for _ in range(7)]
{ending}
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(clip())], timeout=60, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_error_of_the_consumer_passes_through(clip: ClipFactory) -> None:
    with pytest.raises(ZeroDivisionError):
        for item in read(clip()):
            if isinstance(item, VideoFrame) and item.index == 3:
                raise ZeroDivisionError


def test_nothing_is_opened_before_the_first_item(tmp_path: Path) -> None:
    items = read(tmp_path / "nothing.mp4")
    with pytest.raises(InputError):
        next(items)


@pytest.mark.real
def test_real_oddities_are_read_or_refused(shared: Path) -> None:
    refused = []
    for path in sorted((shared / "clips" / "edge").iterdir()):
        try:
            for item in read(path):
                assert isinstance(item, VideoFrame | AudioBlock)
                if isinstance(item, VideoFrame) and item.index > 30:
                    break
        except LipsyncError as error:
            assert error.hint
            refused.append(path.name)
    assert 0 < len(refused) < 20

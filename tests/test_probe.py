"""What `probe` tells about a file, and how it refuses what is none."""

from __future__ import annotations

import os
import random
from fractions import Fraction
from pathlib import Path

import pytest
from conftest import ClipFactory

from lipsync_cli.errors import InputError, MediaNotFound, UnreadableMedia
from lipsync_cli.media.probe import Orientation, probe


def test_streams_are_described(clip: ClipFactory) -> None:
    info = probe(clip(audio_tracks=2, layout="stereo", sample_rate=44100))
    assert "mp4" in info.container
    assert info.duration_s == pytest.approx(4.0, abs=0.05)
    assert info.size_bytes == info.path.stat().st_size
    assert info.video is not None
    assert (info.video.codec, info.video.width, info.video.height) == ("h264", 160, 120)
    assert info.video.frame_rate == Fraction(25)
    assert [s.kind for s in info.streams] == ["video", "audio", "audio"]
    assert [(s.codec, s.sample_rate, s.channels) for s in info.audio] == [("aac", 44100, 2)] * 2


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotation_is_clockwise(clip: ClipFactory, rotation: int) -> None:
    video = probe(clip(rotation=rotation, acodec=None, duration_s=0.2)).video
    assert video is not None
    assert (video.rotation, video.width) == (rotation, 160)


def test_mirroring_does_not_change_the_rotation() -> None:
    assert Orientation(flip_columns=True).rotation == 0
    assert Orientation(transpose=True, flip_columns=True).rotation == 90
    assert Orientation(transpose=True, flip_rows=True).rotation == 270


def test_sound_alone_has_no_video(clip: ClipFactory) -> None:
    info = probe(clip(vcodec=None))
    assert info.video is None
    assert len(info.audio) == 1


def test_colon_in_a_name_is_no_protocol(clip: ClipFactory, tmp_path: Path) -> None:
    path = tmp_path / "12:30.mp4"
    try:
        path.write_bytes(clip().read_bytes())
    except OSError:
        pytest.skip("this file system allows no colons")
    relative = Path(os.path.relpath(path))
    assert probe(path).video == probe(relative).video == probe(clip()).video


def test_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(MediaNotFound, match="no such file"):
        probe(tmp_path / "nothing.mp4")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"Dear diary,\ntoday was fine.\n" * 50, "not a media file"),
        (b"WEBVTT\n\n00:00.000 --> 00:01.000\nHello\n", None),
        # Not any bytes: some pass for a sound file.
        (random.Random(0).randbytes(1 << 16), "not a media file"),
    ],
)
def test_what_is_no_media_is_refused(tmp_path: Path, content: bytes, message: str | None) -> None:
    path = tmp_path / "renamed.mp4"
    path.write_bytes(content)
    if message is None:
        assert probe(path).video is None
        return
    with pytest.raises(UnreadableMedia, match=message) as caught:
        probe(path)
    assert caught.value.hint
    assert str(path) in str(caught.value)


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableMedia, match="folder"):
        probe(tmp_path)


def test_mp4_without_its_index_is_named_as_such(clip: ClipFactory, tmp_path: Path) -> None:
    whole = clip().read_bytes()
    assert whole.find(b"moov") > len(whole) // 2
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cut short"):
        probe(path)

"""New sound under old pictures: copied where it can be, at its time, cut with the picture."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from conftest import ClipFactory
from PIL import Image
from ruler import beep_times_s, lead_ms, payloads

from lipsync_cli.errors import MediaNotFound, MissingStream, UsageError
from lipsync_cli.media.encoders import EncoderOptions
from lipsync_cli.media.probe import probe
from lipsync_cli.media.rewrite import rewrite
from lipsync_cli.media.soundtrack import Soundtrack

FAST = EncoderOptions(preset="ultrafast", threads=1)
EVENTS = (0.12, 0.36, 0.56)
PICTURES = {"duration_s": 0.8, "events_s": EVENTS, "size": (32, 32)}
SPEECH = {"duration_s": 1.0, "events_s": EVENTS, "vcodec": None}
# Half a sample of rounding in the ruler itself, and the step of a container's clock.
RULER_MS = 0.06


def audio_of(path: Path) -> list[tuple[str, int, str | None]]:
    """Codec, flags and title of all audio streams."""
    with av.open(str(path)) as container:
        tags = [s.metadata.get("title", s.metadata.get("name")) for s in container.streams.audio]
        flags = [int(s.disposition) for s in container.streams.audio]
        names = [s.codec_context.name for s in container.streams.audio]
    return list(zip(names, flags, tags, strict=True))


@pytest.mark.parametrize(
    ("suffix", "speech", "codec", "how", "grid_ms"),
    [
        (".mp4", (".m4a", "aac"), "aac", "copied", 0.0),
        (".mp4", (".mp3", "libmp3lame"), "mp3", "copied", 0.0),
        (".mp4", (".wav", "pcm_s24le"), "aac", "encoded", 0.0),
        (".mov", (".wav", "pcm_s24le"), "pcm_s24le", "copied", 0.0),
        (".mov", (".flac", "flac"), "alac", "encoded", 0.0),
        (".mkv", (".m4a", "aac"), "aac", "copied", 0.5),
        (".mkv", (".wav", "pcm_s16le"), "pcm_s16le", "copied", 0.5),
        (".webm", (".m4a", "aac"), "libopus", "encoded", 0.6),
        (".ts", (".m4a", "aac"), "aac", "copied", 0.0),
        (".mpg", (".wav", "pcm_s16le"), "mp2", "encoded", 0.0),
    ],
)
def test_sound_starts_with_the_first_picture(
    suffix: str,
    speech: tuple[str, str],
    codec: str,
    how: str,
    grid_ms: float,
    clip: ClipFactory,
    tmp_path: Path,
) -> None:
    """Beeps of the one file meet the flashes of the other; nothing moves the pictures."""
    source = clip(suffix, **PICTURES, acodec=None)
    new = clip(speech[0], **SPEECH, acodec=speech[1])
    video = None if suffix in (".webm", ".mpg") else FAST
    result = rewrite(source, tmp_path / f"out{suffix}", sound=Soundtrack(new), video=video)
    assert (result.sound, result.sound_codec) == (how, codec)
    assert result.lifted_ms == 0.0
    assert lead_ms(tmp_path / f"out{suffix}") == pytest.approx(0.0, abs=RULER_MS + grid_ms)


def test_copied_packets_are_those_of_the_speech(clip: ClipFactory, tmp_path: Path) -> None:
    source, new = clip(".mp4", **PICTURES), clip(".m4a", **{**SPEECH, "duration_s": 0.7})
    rewrite(source, tmp_path / "out.mp4", sound=Soundtrack(new), video=FAST)
    assert payloads(tmp_path / "out.mp4")["audio", 0] == payloads(new)["audio", 0]
    assert payloads(source)["audio", 0] != payloads(new)["audio", 0]


def test_sound_ends_with_the_picture(clip: ClipFactory, tmp_path: Path) -> None:
    source, new = clip(".mp4", **PICTURES), clip(".m4a", **{**SPEECH, "duration_s": 3.0})
    rewrite(source, tmp_path / "out.mp4", sound=Soundtrack(new), video=FAST)
    with av.open(str(tmp_path / "out.mp4")) as container:
        ends = [frame.time + frame.samples / 48000 for frame in container.decode(audio=0)]
    assert 0.8 <= max(ends) <= 0.8 + 1024 / 48000


@pytest.mark.parametrize("delay_s", [0.15, -0.15])
@pytest.mark.parametrize("copied", [True, False])
def test_delay(delay_s: float, copied: bool, clip: ClipFactory, tmp_path: Path) -> None:
    source = clip(".mp4", **PICTURES, video_start_s=0.5)
    new = clip(".m4a", **{**SPEECH, "events_s": (0.2, 0.28)})
    before_s = beep_times_s(new)
    sound = Soundtrack(new, delay_s=delay_s, copy=copied)
    rewrite(source, tmp_path / "out.mp4", sound=sound, video=FAST)
    heard_s = beep_times_s(tmp_path / "out.mp4")
    assert heard_s == pytest.approx(before_s + 0.5 + delay_s, abs=1e-3)


def test_original_is_kept_as_second_track(clip: ClipFactory, tmp_path: Path) -> None:
    source, new = clip(".mkv", **PICTURES, audio_tracks=2), clip(".m4a", **SPEECH)
    rewrite(source, tmp_path / "out.mkv", sound=Soundtrack(new), keep_original=True, video=FAST)
    default, original = Disposition.default | Disposition.dub, Disposition.original
    assert [(flags, title) for _, flags, title in audio_of(tmp_path / "out.mkv")] == [
        (default, None),
        (original, "original"),
        (audio_of(source)[1][1], None),
    ]
    kept, had = payloads(tmp_path / "out.mkv"), payloads(source)
    assert kept["audio", 1] == had["audio", 0]
    assert kept["audio", 2] == had["audio", 1]
    rewrite(source, tmp_path / "only.mkv", sound=Soundtrack(new), video=FAST)
    assert payloads(tmp_path / "only.mkv")["audio", 1] == had["audio", 1]
    assert len(audio_of(tmp_path / "only.mkv")) == 2


def test_track_of_a_video_as_speech(clip: ClipFactory, tmp_path: Path) -> None:
    new = clip(".mp4", **{**PICTURES, "size": (48, 32)}, audio_tracks=2)
    rewrite(clip(".mp4", **PICTURES), tmp_path / "out.mp4", sound=Soundtrack(new, 1), video=FAST)
    assert payloads(tmp_path / "out.mp4")["audio", 0] == payloads(new)["audio", 1]
    with pytest.raises(MissingStream, match="no audio track 2"):
        rewrite(clip(".mp4", **PICTURES), tmp_path / "no.mp4", sound=Soundtrack(new, 2))


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png"])
def test_photograph(name: str, clip: ClipFactory, tmp_path: Path) -> None:
    """Of odd size, and lying on its side with a note that says so (EXIF)."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.fromarray(np.full((37, 51, 3), (200, 60, 40), np.uint8))
    picture.save(tmp_path / name, exif=exif)
    new, seen = clip(".wav", **SPEECH, acodec="pcm_s16le"), list[float]()

    def edit(picture: av.VideoFrame, pts_s: float) -> av.VideoFrame:
        seen.append(pts_s)
        return picture

    rewrite(tmp_path / name, tmp_path / "out.mp4", edit, sound=Soundtrack(new))
    video = probe(tmp_path / "out.mp4").video
    assert video is not None
    assert (video.codec, video.width, video.height) == ("h264", 50, 36)
    assert video.rotation == 90
    assert seen == pytest.approx(np.arange(25) / 25)
    with av.open(str(tmp_path / "out.mp4")) as container:
        frame = next(container.decode(video=0))
        assert frame.format.name == "yuv420p"
        colour = frame.to_ndarray(format="rgb24").mean((0, 1))
    assert colour == pytest.approx([200, 60, 40], abs=4)
    with pytest.raises(UsageError, match="no duration"):
        rewrite(tmp_path / name, tmp_path / "silent.mp4")


def test_odd_sound(tmp_path: Path, clip: ClipFactory) -> None:
    """Stereo of 96 kHz with values that are no numbers becomes sound that plays."""
    path = tmp_path / "broken.wav"
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("pcm_f32le", rate=96000, layout="stereo")
        samples = np.full((1, 2 * 96000), 0.1, np.float32)
        samples[0, 100:200] = np.nan
        frame = av.AudioFrame.from_ndarray(samples, format="flt", layout="stereo")
        frame.sample_rate = 96000
        out.mux([*stream.encode(frame), *stream.encode(None)])
    rewrite(clip(".mp4", **PICTURES), tmp_path / "out.mp4", sound=Soundtrack(path), video=FAST)
    with av.open(str(tmp_path / "out.mp4")) as container:
        blocks = [frame.to_ndarray() for frame in container.decode(audio=0)]
    assert np.isfinite(np.concatenate(blocks, axis=1)).all()


def test_files_without_sound_are_refused(clip: ClipFactory, tmp_path: Path) -> None:
    source, silent = clip(".mp4", **PICTURES), clip(".mp4", **PICTURES, acodec=None)
    with pytest.raises(MissingStream, match="no sound"):
        rewrite(source, tmp_path / "out.mp4", sound=Soundtrack(silent))
    with pytest.raises(MediaNotFound):
        rewrite(source, tmp_path / "out.mp4", sound=Soundtrack(tmp_path / "missing.wav"))
    assert os.listdir(tmp_path) == []

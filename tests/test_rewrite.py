"""Rewritten programmes: every picture at its time, nothing else touched, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from conftest import ClipFactory
from rewrite_media import (
    FAST,
    LOSSLESS,
    SMALL,
    Picture,
    grain,
    inverted,
    same,
    source_payloads,
    source_stills,
    stills,
    tagged,
)
from ruler import payloads
from test_remux_rich import decorate, describe

from lipsync_cli.media.extend import extension
from lipsync_cli.media.pictures import Shown
from lipsync_cli.media.provenance import SOURCE_TYPE, Provenance
from lipsync_cli.media.rewrite import rewrite

VFR_S = (0.0, 0.04, 0.1, 0.13, 0.2, 0.35, 0.36, 0.5, 0.7, 0.9)
MATRIX: dict[str, tuple[str, dict[str, Any]]] = {
    "mp4 b-frames": (".mp4", {}),
    "mp4 29.97": (".mp4", {"fps": Fraction(30000, 1001)}),
    "mp4 vfr": (".mp4", {"pts_s": VFR_S}),
    "mp4 delayed start": (".mp4", {"video_start_s": 0.5}),
    "mp4 phone": (".mp4", {"rotation": 90}),
    "mp4 hevc": (".mp4", {"vcodec": "libx265"}),
    "mkv vfr 10 bit": (".mkv", {"pts_s": VFR_S, "pix_fmt": "yuv420p10le"}),
    "mkv ffv1 4:2:2": (".mkv", {"vcodec": "ffv1", "pix_fmt": "yuv422p"}),
    "mov prores": (
        ".mov",
        {"vcodec": "prores_ks", "acodec": "pcm_s24le", "pix_fmt": "yuv422p10le"},
    ),
    "webm": (".webm", {}),
    "ts without room for b-frames": (".ts", {"bframes": 0}),
    "ts": (".ts", {}),
    "mp4 odd size": (".mp4", {"vcodec": "mpeg4", "size": (35, 37)}),
}


@pytest.mark.parametrize("name", MATRIX)
def test_all_but_the_edit_stays(name: str, clip: ClipFactory, tmp_path: Path) -> None:
    """Lossless: times and untouched pictures are the same to the tick and to the bit."""
    suffix, recipe = MATRIX[name]
    source = clip(suffix, **{**SMALL, **recipe}, paint=grain)
    target = tmp_path / f"out{suffix}"

    def edit(picture: av.VideoFrame, pts_s: float) -> av.VideoFrame:
        return inverted(picture, pts_s) if 0.6 > pts_s % 1.0 > 0.3 else picture

    result = rewrite(source, target, edit, video=LOSSLESS)

    before, after = source_stills(source), stills(target)
    assert after.times == before.times
    assert after.colours == before.colours
    unchanged = [same(a, b) for a, b in zip(before.planes, after.planes, strict=True)]
    assert result.frames == len(unchanged)
    assert 0 < result.changed == unchanged.count(False) < result.frames
    for a, b in zip(before.planes, after.planes, strict=True):
        half = a[0].shape[1] // 2
        np.testing.assert_array_equal(a[0][:, half:], b[0][:, half:])
    kept = payloads(target)
    assert {key: kept[key] for key in kept if key[0] != "video"} == {
        key: value for key, value in source_payloads(source).items() if key[0] != "video"
    }
    assert result.warnings == result.dropped == ()


@pytest.mark.parametrize(
    ("suffix", "vcodec", "encoder"),
    [
        (".mp4", "libx264", "libx264"),
        (".mp4", "libx265", "libx265"),
        (".mp4", "mpeg4", "mpeg4"),
        (".webm", "libvpx-vp9", "libvpx-vp9"),
        (".mkv", "ffv1", "ffv1"),
        (".mpg", "mpeg2video", "mpeg2video"),
    ],
)
def test_the_codec_of_the_source_is_kept(
    suffix: str, vcodec: str, encoder: str, clip: ClipFactory, tmp_path: Path
) -> None:
    source = clip(suffix, **SMALL, vcodec=vcodec)
    result = rewrite(source, tmp_path / f"out{suffix}", inverted)
    assert result.encoder == encoder
    assert result.changed == result.frames == 15
    left = [p[0][:, :8].mean() for p in stills(tmp_path / f"out{suffix}").planes]
    right = [p[0][:, -8:].mean() for p in stills(tmp_path / f"out{suffix}").planes]
    assert np.add(left, right) == pytest.approx(255, abs=8)


def test_defaults_are_near_the_source(clip: ClipFactory, tmp_path: Path) -> None:
    source = clip(".mp4", **SMALL, paint=lambda i, size: np.roll(ramp(size), i, axis=1))
    rewrite(source, tmp_path / "out.mp4")
    pairs = zip(stills(source).planes, stills(tmp_path / "out.mp4").planes, strict=True)
    errors = [(a[0].astype(float) - b[0]) ** 2 for a, b in pairs]
    assert 10 * np.log10(255**2 / np.mean(errors)) > 44


def ramp(size: tuple[int, int]) -> Picture:
    return np.tile(np.linspace(20, 235, size[0]).astype(np.uint8), (size[1], 1))


def test_shape_and_colour_tags(tmp_path: Path) -> None:
    source, target = tagged(tmp_path / "wide.mp4", (1, 9, 14, 9)), tmp_path / "out.mp4"
    rewrite(source, target, video=FAST)
    for path in (source, target):
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
            assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
            tags = frame.color_range, frame.color_primaries, frame.color_trc, frame.colorspace
            assert tags == (1, 9, 14, 9)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_rich_files(suffix: str, clip: ClipFactory, tmp_path: Path) -> None:
    """Chapters, tags, languages, flags, subtitles, covers, fonts and codes survive."""
    how: dict[str, Any] = {"subtitles": "subrip", "cover": "attachment"}
    if suffix == ".mp4":
        how = {"subtitles": "mov_text", "cover": "stream", "codec_tag": "hvc1"}
        how["metadata"] = {"timecode": "01:02:03:04"}
    source = decorate(
        clip(suffix, audio_tracks=2, vcodec="libx265", size=(64, 48)),
        tmp_path / f"rich{suffix}",
        **how,
    )
    before, target = describe(source), tmp_path / f"out{suffix}"
    result = rewrite(source, target, video=FAST)
    assert result.dropped == result.warnings == ()
    assert describe(target) == before
    # Empty samples between subtitles of MP4 are the muxer's own.
    kept, had = (
        {key: value for key, value in payloads(path).items() if key[0] not in ("subtitle", "data")}
        for path in (target, source)
    )
    assert kept.keys() == had.keys()
    assert [key[0] for key in had if kept[key] != had[key]] == ["video"]
    if suffix == ".mp4":
        with av.open(str(target)) as container:
            assert "01:02:03:04" in [s.metadata.get("timecode") for s in container.streams]


def test_part_of_a_programme(clip: ClipFactory, tmp_path: Path) -> None:
    source = clip(".mp4", **{**SMALL, "duration_s": 2.0}, paint=grain)
    whole = source_stills(source)
    rewrite(source, tmp_path / "preview.mp4", video=LOSSLESS, end_s=0.5)
    preview = stills(tmp_path / "preview.mp4")
    assert preview.times == [t for t in whole.times if t < 0.5]
    result = rewrite(source, tmp_path / "part.mp4", video=LOSSLESS, start_s=0.4, end_s=0.8)
    part = stills(tmp_path / "part.mp4")
    assert part.times == [t - whole.times[10] for t in whole.times[10:20]]
    assert all(same(a, b) for a, b in zip(whole.planes[10:20], part.planes, strict=True))
    assert result.end_s == pytest.approx(0.4)
    with av.open(str(tmp_path / "part.mp4")) as container:
        assert float(container.duration or 0) / 1e6 == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize(
    ("how", "shown"),
    [("freeze", [3, 3, 3, 3]), ("loop", [0, 1, 2, 3]), ("pingpong", [2, 1, 0, 1])],
)
def test_pictures_that_follow_the_last(
    how: Any, shown: list[int], clip: ClipFactory, tmp_path: Path
) -> None:
    source = clip(".mp4", **{**SMALL, "duration_s": 0.16}, paint=grain, acodec=None)
    seen: list[tuple[float, float]] = []

    def edit(picture: av.VideoFrame, pts_s: float) -> av.VideoFrame:
        seen.append((pts_s, float(picture.time)))
        return picture

    more = extension(source, how, until_s=0.32)
    result = rewrite(source, tmp_path / "out.mp4", edit, video=LOSSLESS, extra=more)
    before, after = source_stills(source), stills(tmp_path / "out.mp4")
    assert after.times == [Fraction(i, 25) for i in range(8)]
    assert result.end_s == pytest.approx(0.32)
    for number, planes in zip([0, 1, 2, 3, *shown], after.planes, strict=True):
        assert same(planes, before.planes[number])
    assert [round(source_s * 25) for _, source_s in seen] == [0, 1, 2, 3, *shown]


def test_edits_of_several_pictures_at_a_time(clip: ClipFactory, tmp_path: Path) -> None:
    def in_pairs(pictures: Iterator[Shown]) -> Iterator[Shown]:
        for first in pictures:
            second = next(pictures, None)
            yield replace(first, picture=inverted(first.picture, first.pts_s))
            if second is not None:
                yield second

    source = clip(".mp4", **SMALL, paint=grain)
    result = rewrite(source, tmp_path / "out.mp4", edit_stream=in_pairs, video=LOSSLESS)
    pairs = zip(source_stills(source).planes, stills(tmp_path / "out.mp4").planes, strict=True)
    assert [same(a, b) for a, b in pairs] == [bool(i % 2) for i in range(result.frames)]


def test_provenance(clip: ClipFactory, tmp_path: Path) -> None:
    source = decorate(
        clip(".mp4", audio_tracks=2), tmp_path / "rich.mp4", subtitles=None, cover="stream"
    )
    said = Provenance("lipsync 9.9")
    for name in ("out.mp4", "out.mkv"):
        rewrite(source, tmp_path / name, video=FAST, provenance=said, end_s=0.2)
        with av.open(str(tmp_path / name)) as container:
            tags = {key.lower(): value for key, value in container.metadata.items()}
        assert tags["comment"].startswith("with a comment\n")
        assert SOURCE_TYPE in tags["comment"]
        assert "lipsync 9.9" in tags["comment"]
        assert tags["title"] == "A talk"
    assert b'DigitalSourceType="' + SOURCE_TYPE.encode() in (tmp_path / "out.mp4").read_bytes()
    assert tags["digital_source_type"] == SOURCE_TYPE


def test_captions_go_with_an_edited_picture(clip: ClipFactory, tmp_path: Path) -> None:
    """They are notes on the pictures, which an edited copy does not have."""
    source = captioned(clip(".ts", **SMALL, bframes=0), tmp_path / "captioned.ts")
    assert captions(source) == 15
    rewrite(source, tmp_path / "out.ts", inverted, video=FAST)
    assert captions(tmp_path / "out.ts") == 15


def captioned(source: Path, target: Path) -> Path:
    """Put a message with closed captions (ATSC A/53, CEA-708) before every picture."""
    said = bytes([0xB5, 0, 0x31, *b"GA94", 3, 0xC1, 0xFF, 0xFC, 0x94, 0x20, 0xFF])
    unit = b"\x00\x00\x00\x01\x06" + bytes([4, len(said)]) + said + b"\x80"
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0], opaque=True)
        for packet in reader.demux(reader.streams.video[0]):
            if packet.size:
                payload = bytes(packet)
                # Behind the delimiter and the parameter sets, before the picture.
                place = max(payload.find(b"\x00\x00\x01" + kind) for kind in (b"\x65", b"\x41"))
                new: Any = av.Packet(payload[:place] + unit + payload[place:])
                new.pts, new.dts, new.time_base = packet.pts, packet.dts, packet.time_base
                new.is_keyframe, new.stream = packet.is_keyframe, stream
                writer.mux(new)
    return target


def captions(path: Path) -> int:
    with av.open(str(path)) as container:
        kinds = [[d.type.name for d in f.side_data] for f in container.decode(video=0)]
    return sum("A53_CC" in each for each in kinds)


def test_failing_edit_leaves_nothing(clip: ClipFactory, tmp_path: Path) -> None:
    def edit(picture: av.VideoFrame, pts_s: float) -> av.VideoFrame:
        if pts_s > 0.3:
            raise KeyboardInterrupt
        return picture

    with pytest.raises(KeyboardInterrupt):
        rewrite(clip(".mp4", **SMALL), tmp_path / "out.mp4", edit, video=FAST)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="needs limits on files")
def test_full_disk_leaves_nothing(clip: ClipFactory, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    code = (
        "import sys\n"
        "from lipsync_cli.errors import OutputError\n"
        "from lipsync_cli.media.rewrite import rewrite\n"
        "try:\n"
        "    rewrite(sys.argv[1], sys.argv[2])\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    source = clip(".mkv", **SMALL, paint=grain)
    done = subprocess.run(
        [sys.executable, "-c", code, str(source), str(tmp_path / "out.mkv")],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)),
    )
    assert done.stderr == ""
    assert "out.mkv: could not be written: File too large (free some space" in done.stdout
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_signals_leave_nothing(clip: ClipFactory, tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from lipsync_cli.media.rewrite import rewrite\n"
        "def edit(picture, pts_s):\n"
        "    print('editing', flush=True)\n"
        "    time.sleep(0.1)\n"
        "    return picture\n"
        "rewrite(sys.argv[1], sys.argv[2], edit)\n"
    )
    source = clip(".mp4", **{**SMALL, "duration_s": 4.0})
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(source), str(tmp_path / "out.mp4")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"editing\n"
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 143
    assert os.listdir(tmp_path) == []


def test_progress(clip: ClipFactory, tmp_path: Path) -> None:
    told: list[float] = []
    rewrite(clip(".mp4", **SMALL), tmp_path / "out.mp4", video=FAST, progress=told.append)
    assert told == sorted(told)
    assert 0.0 <= told[0] < 0.1
    assert told[-1] == pytest.approx(1.0, abs=0.05)


def test_pictures_at_one_time_push_no_others(tmp_path: Path) -> None:
    """Pairs of pictures with one time: each pair moves by a tick, and nothing adds up."""
    path = tmp_path / "pairs.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(40):
            luma = np.full((48, 64, 3), number * 6, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(luma, format="rgb24")):
                packet.pts = packet.dts = 2 * (number // 2)
                container.mux(packet)
    with av.open(str(path)) as container:
        before = [float(frame.time or 0) for frame in container.decode(video=0)]
    assert sum(np.diff(before) == 0) == 20
    rewrite(path, tmp_path / "out.mkv", lambda picture, pts_s: picture)
    with av.open(str(tmp_path / "out.mkv")) as container:
        after = [float(frame.time or 0) for frame in container.decode(video=0)]
    np.testing.assert_allclose(after, before, atol=0.0015)
    assert (np.diff(after) > 0).all()

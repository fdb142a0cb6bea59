"""Everything beside pictures and sound survives a shift too, or is named."""

from __future__ import annotations

import io
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.packet import Packet
from av.stream import Disposition
from conftest import ClipFactory
from PIL import Image
from ruler import lead_ms, payloads

from lipsync_cli.errors import OutputError
from lipsync_cli.media.probe import probe
from lipsync_cli.media.remux import plan_shift, shift_audio
from lipsync_cli.media.remux_kept import lost_details

MS = Fraction(1, 1000)
FONT = b"\x00\x01\x00\x00 not really a font"
TAGS = {"title": "A talk", "comment": "with a comment"}


def png() -> bytes:
    memory = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(memory, "png")
    return memory.getvalue()


def decorate(
    source: Path, target: Path, *, subtitles: str | None, cover: str, **video: Any
) -> Path:
    """Copy a clip and add chapters, tags, languages, flags, subtitles and a cover."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        streams = [writer.add_stream_from_template(s, opaque=True) for s in reader.streams]
        for stream, language in zip(streams[1:], ("fra", "eng"), strict=False):
            stream.metadata.update(language=language, title=f"In {language}")
        streams[1].disposition = Disposition(0)
        streams[2].disposition = Disposition.default | Disposition.visual_impaired
        streams[0].codec_context.framerate = reader.streams.video[0].average_rate
        if "codec_tag" in video:
            streams[0].codec_context.codec_tag = video["codec_tag"]
        streams[0].metadata.update(video.get("metadata", {}))
        text = None if subtitles is None else writer.add_mux_stream(subtitles, time_base=MS)
        if text is not None:
            text.metadata["language"] = "deu"
        picture = add_cover(writer, cover)
        writer.metadata.update(TAGS)
        writer.set_chapters([chapter(1, 0, 1500), chapter(2, 1500, 4000)])
        for packet in reader.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                writer.mux(packet)
        if picture is not None:
            writer.mux(timed(png(), picture, 0, 0))
        if text is not None:
            payload = b"Hello" if subtitles == "subrip" else b"\x00\x05Hello"
            writer.mux(timed(payload, text, 1000, 800))
    return target


def add_cover(writer: Any, how: str) -> Any:
    if how == "attachment":
        writer.add_attachment("font.ttf", "font/ttf", FONT)
        writer.add_attachment("cover.png", "image/png", png())
        return None
    picture = writer.add_mux_stream("png", width=16, height=16, time_base=MS)
    picture.disposition = Disposition.attached_pic
    return picture


def chapter(number: int, start: int, end: int) -> Any:
    title = {"title": f"Part {number}"}
    return {"id": number, "start": start, "end": end, "time_base": MS, "metadata": title}


def timed(payload: bytes, stream: Any, start: int, duration: int) -> Packet[Any]:
    packet: Packet[Any] = Packet(payload)
    packet.pts = packet.dts = start
    packet.duration, packet.time_base, packet.stream = duration, MS, stream
    packet.is_keyframe = True
    return packet


def describe(path: Path) -> dict[str, Any]:
    """What an editor would see in the file, apart from times."""
    with av.open(str(path)) as container:
        return {
            "streams": [
                (
                    stream.type,
                    stream.disposition,
                    stream.language,
                    stream.metadata.get("title", stream.metadata.get("name")),
                    stream.codec_context and stream.codec_context.codec_tag,
                )
                for stream in container.streams
            ],
            "tags": {key.lower(): container.metadata.get(key) for key in container.metadata
                     if key.lower() in TAGS},
            "chapters": [c["metadata"]["title"] for c in container.chapters()],
        }  # fmt: skip


def chapter_times_s(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(c["start"] * (c["time_base"] or 0)) for c in container.chapters()]


def subtitle_times_s(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.subtitles[0])
        return [float(p.pts * p.time_base) for p in packets if p.size > 2 and p.pts is not None]


KINDS: Mapping[str, dict[str, Any]] = {
    ".mkv": {"subtitles": "subrip", "cover": "attachment"},
    ".mp4": {"subtitles": "mov_text", "cover": "stream", "codec_tag": "hvc1"},
}


@pytest.fixture(scope="module")
def rich(clip: ClipFactory, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("rich")
    return {
        suffix: decorate(
            clip(suffix, audio_tracks=2, vcodec="libx265"), folder / f"rich{suffix}", **how
        )
        for suffix, how in KINDS.items()
    }


@pytest.mark.parametrize("offset_ms", [120.0, -120.0])
@pytest.mark.parametrize("suffix", KINDS)
def test_everything_survives(
    suffix: str, offset_ms: float, rich: dict[str, Path], tmp_path: Path
) -> None:
    source, target = rich[suffix], tmp_path / f"out{suffix}"
    before = describe(source)
    assert before["chapters"] == ["Part 1", "Part 2"]
    assert before["tags"] == TAGS
    assert len(before["streams"]) >= 5

    plan, checked = shift_audio(source, target, offset_ms)

    assert plan.dropped == ()
    assert checked.bit_exact
    assert describe(target) == before
    assert lost_details(source, target) == []
    assert lead_ms(source, 1) - lead_ms(target, 1) == pytest.approx(offset_ms, abs=1.0)
    kept = payloads(target)
    assert {key: kept[key] for key in kept if key[0] != "subtitle"} == {
        key: value for key, value in payloads(source).items() if key[0] != "subtitle"
    }


@pytest.mark.parametrize("suffix", KINDS)
def test_chapters_and_subtitles_stay_with_the_picture(
    suffix: str, rich: dict[str, Path], tmp_path: Path
) -> None:
    """Matroska has no negative times, so an advance of the audio moves all the rest."""
    source, target = rich[suffix], tmp_path / f"out{suffix}"
    _, checked = shift_audio(source, target, -120.0)
    assert checked.lifted_ms == (120.0 if suffix == ".mkv" else 0.0)
    for times_s in (chapter_times_s, subtitle_times_s):
        moved_s = [b - a for a, b in zip(times_s(source), times_s(target), strict=True)]
        assert moved_s == pytest.approx([checked.lifted_ms / 1000] * len(moved_s), abs=1e-3)


def test_fonts_and_covers_of_matroska(rich: dict[str, Path], tmp_path: Path) -> None:
    shift_audio(rich[".mkv"], tmp_path / "out.mkv", 120.0)
    data = (tmp_path / "out.mkv").read_bytes()
    assert FONT in data
    assert png() in data
    assert b"cover.png" in data


def test_subtitles_that_do_not_fit_are_refused(rich: dict[str, Path], tmp_path: Path) -> None:
    for suffix, target, codec in ((".mkv", "out.mp4", "srt"), (".mp4", "out.mkv", "mov_text")):
        with pytest.raises(OutputError, match=f"does not support '{codec}'"):
            shift_audio(rich[suffix], tmp_path / target, 120.0)


def test_fonts_and_covers_that_do_not_fit_are_named(clip: ClipFactory, tmp_path: Path) -> None:
    source = decorate(
        clip(".mkv", audio_tracks=2), tmp_path / "rich.mkv", subtitles=None, cover="attachment"
    )
    for name in ("out.mp4", "out.mkv", "out.ts"):
        plan = plan_shift(source, tmp_path / name, 120.0)
        named = " ".join(plan.dropped)
        assert ("font.ttf" in named) == (not name.endswith(".mkv"))
        assert ("cover picture" in named) == name.endswith(".ts")


def test_what_the_packets_do_not_show_is_compared(clip: ClipFactory, tmp_path: Path) -> None:
    """Transport streams hold neither rotation nor chapters nor free tags."""
    source = decorate(
        clip(".mp4", audio_tracks=2, rotation=90),
        tmp_path / "rich.mp4",
        subtitles=None,
        cover="stream",
    )
    plan, _ = shift_audio(source, tmp_path / "out.ts", 120.0)
    assert any("cover picture" in dropped for dropped in plan.dropped)
    lost = "; ".join(lost_details(source, tmp_path / "out.ts"))
    for words in ("tags of the file: comment, title", "2 of 2 chapters", "rotation by 90"):
        assert words in lost


def test_apple_code_of_hevc(clip: ClipFactory, tmp_path: Path) -> None:
    """PyAV's templates forget hvc1, and players of Apple refuse what is then written."""
    source = clip(".mkv", vcodec="libx265")
    shift_audio(source, tmp_path / "out.mp4", 120.0)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"


def test_timecode_track_is_written_again(clip: ClipFactory, tmp_path: Path) -> None:
    video = {"metadata": {"timecode": "01:02:03:04"}, "codec_tag": "avc1"}
    source = decorate(
        clip(".mov", audio_tracks=2),
        tmp_path / "rich.mov",
        subtitles="mov_text",
        cover="stream",
        **video,
    )
    shift_audio(source, tmp_path / "out.mov", -120.0)
    for path in (source, tmp_path / "out.mov"):
        with av.open(str(path)) as container:
            codes = [s.metadata.get("timecode") for s in container.streams if s.type == "data"]
            assert "01:02:03:04" in codes, path
    assert describe(tmp_path / "out.mov") == describe(source)


def test_prores_with_timecode(clip: ClipFactory, tmp_path: Path) -> None:
    source = clip(".mov", vcodec="prores_ks", acodec="pcm_s24le", pix_fmt="yuv422p10le")
    _, checked = shift_audio(source, tmp_path / "out.mov", 7.3)
    assert checked.bit_exact
    with av.open(str(source)) as before, av.open(str(tmp_path / "out.mov")) as after:
        tags = [[s.codec_context.codec_tag for s in c.streams] for c in (before, after)]
    assert tags[0] == tags[1]


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation(rotation: int, clip: ClipFactory, tmp_path: Path) -> None:
    source = clip(".mp4", rotation=rotation)
    shift_audio(source, tmp_path / "out.mp4", 120.0)
    video = probe(tmp_path / "out.mp4").video
    assert video is not None
    assert video.rotation == rotation

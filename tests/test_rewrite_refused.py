"""Pictures that cannot be edited truly, and requests that cannot be met, leave no file."""

from __future__ import annotations

import os
from pathlib import Path

import av
import pytest
from conftest import ClipFactory
from rewrite_media import FAST, SMALL, grain, inverted, tagged

from lipsync_cli.errors import InputError, MissingStream, OutputError, UsageError
from lipsync_cli.media.encoders import EncoderOptions
from lipsync_cli.media.rewrite import rewrite


@pytest.mark.parametrize(("transfer", "kind"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused(transfer: int, kind: str, tmp_path: Path) -> None:
    source = tagged(tmp_path / "hdr.mp4", (1, 9, transfer, 9))
    with pytest.raises(InputError, match=f"HDR \\({kind}\\)"):
        rewrite(source, tmp_path / "out.mp4")
    assert os.listdir(tmp_path) == ["hdr.mp4"]


def test_interlaced_pictures_are_refused(tmp_path: Path) -> None:
    source = tagged(tmp_path / "tv.mp4", (1, 1, 1, 1), options={"x264-params": "tff=1"})
    with av.open(str(source)) as container:
        assert next(container.decode(video=0)).interlaced_frame
    with pytest.raises(InputError, match="interlaced") as caught:
        rewrite(source, tmp_path / "out.mp4")
    assert "bwdif" in str(caught.value.hint)


def test_transparency_is_kept_or_refused(clip: ClipFactory, tmp_path: Path) -> None:
    source = clip(".mkv", **SMALL, vcodec="ffv1", pix_fmt="yuva420p", paint=grain)
    result = rewrite(source, tmp_path / "out.mkv", inverted)
    assert result.pix_fmt == "yuva420p"
    with pytest.raises(InputError, match="transparency"):
        rewrite(source, tmp_path / "out.mp4")


def test_rgb_is_converted_and_said_so(clip: ClipFactory, tmp_path: Path) -> None:
    source = clip(".mkv", **SMALL, vcodec="ffv1", pix_fmt="bgr0", paint=grain, acodec=None)
    result = rewrite(source, tmp_path / "out.mkv", inverted)
    assert (result.encoder, result.pix_fmt, result.changed) == ("ffv1", "yuv444p", 15)
    assert "converted from bgr0 to yuv444p" in result.warnings[0]


def test_a_picture_that_changes_its_size_is_refused(clip: ClipFactory, tmp_path: Path) -> None:
    sizes = (64, 48), (96, 64)
    small, large = (clip(".ts", **{**SMALL, "size": size, "acodec": None}) for size in sizes)
    source = tmp_path / "joined.ts"
    source.write_bytes(small.read_bytes() + large.read_bytes())
    with pytest.raises(InputError, match="changes from 64x48 yuv420p to 96x64"):
        rewrite(source, tmp_path / "out.ts", video=FAST)
    assert os.listdir(tmp_path) == ["joined.ts"]


def test_impossible_requests(clip: ClipFactory, tmp_path: Path) -> None:
    source, target = clip(".mp4", **SMALL), tmp_path / "out.mp4"
    for options, words in (
        (EncoderOptions(codec="cinepak"), "cannot be encoded"),
        (EncoderOptions(codec="prores"), "cannot hold"),
        (EncoderOptions(codec="mpeg4", lossless=True), "losslessly"),
        (EncoderOptions(lossless=True, crf=12), "takes no quality"),
        (EncoderOptions(codec="mpeg4", preset="slow"), "no presets"),
    ):
        with pytest.raises(UsageError, match=words):
            rewrite(source, target, video=options)
    with pytest.raises(OutputError, match="avi' files"):
        rewrite(source, tmp_path / "out.avi")
    with pytest.raises(OutputError, match="no picture lies"):
        rewrite(source, target, start_s=100.0)
    with pytest.raises(MissingStream):
        rewrite(clip(".wav", vcodec=None), target)
    with pytest.raises(ValueError, match="neither the size"):
        rewrite(source, target, lambda picture, _: av.VideoFrame(32, 32, "yuv420p"))
    assert os.listdir(tmp_path) == []

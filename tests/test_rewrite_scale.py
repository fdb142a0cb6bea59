"""Programmes written smaller: their size and nothing else."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from conftest import ClipFactory
from rewrite_media import LOSSLESS, inverted, source_stills, stills, tagged
from test_rewrite import captioned, captions

from lipsync_cli.errors import UsageError
from lipsync_cli.media.encoders import EncoderOptions
from lipsync_cli.media.probe import probe
from lipsync_cli.media.rewrite import rewrite

CLIP = {"duration_s": 0.4, "size": (128, 96), "events_s": (0.2,)}


def smaller(rows: int) -> EncoderOptions:
    return EncoderOptions(preset="ultrafast", threads=1, max_height=rows)


@pytest.mark.parametrize(("rotation", "size"), [(0, (64, 48)), (90, (48, 36)), (180, (64, 48))])
def test_rows_are_those_of_the_upright_picture(
    rotation: int, size: tuple[int, int], clip: ClipFactory, tmp_path: Path
) -> None:
    source, target = clip(**CLIP, rotation=rotation), tmp_path / "out.mp4"
    result = rewrite(source, target, video=smaller(48))
    before, after = stills(source), stills(target)
    assert after.times == before.times
    assert all(planes[0].shape == size[::-1] for planes in after.planes)
    info, was = probe(target).video, probe(source).video
    assert info is not None and was is not None and info.rotation == was.rotation == rotation
    (warning,) = result.warnings
    assert "every picture" in warning and "{}x{} instead of 128x96".format(*size) in warning
    # Flash and dark stay flash and dark.
    levels = [planes[0].mean() for planes in before.planes]
    np.testing.assert_allclose([p[0].mean() for p in after.planes], levels, atol=3)
    assert max(levels) - min(levels) > 100


def test_odd_limits_give_even_sizes_of_the_same_shape(clip: ClipFactory, tmp_path: Path) -> None:
    rewrite(clip(**CLIP), tmp_path / "out.mp4", video=smaller(61))
    assert stills(tmp_path / "out.mp4").planes[0][0].shape == (60, 80)


def test_what_fits_already_stays_to_the_bit(clip: ClipFactory, tmp_path: Path) -> None:
    source, target = clip(**CLIP), tmp_path / "out.mp4"
    options = EncoderOptions(lossless=True, threads=1, max_height=96)
    assert rewrite(source, target, video=options).warnings == ()
    rewrite(source, tmp_path / "plain.mp4", video=LOSSLESS)
    assert target.read_bytes() == (tmp_path / "plain.mp4").read_bytes()
    known = source_stills(source).planes
    assert all(
        np.array_equal(a, b)
        for old, new in zip(known, stills(target).planes, strict=True)
        for a, b in zip(old, new, strict=True)
    )


def test_shape_and_colour_tags_go_with_smaller_pictures(tmp_path: Path) -> None:
    source, target = tagged(tmp_path / "wide.mp4", (1, 9, 14, 9)), tmp_path / "out.mp4"
    rewrite(source, target, inverted, video=smaller(32))
    with av.open(str(target)) as container:
        stream, frame = container.streams.video[0], next(container.decode(video=0))
        assert (frame.width, frame.height) == (42, 32)
        assert float(stream.sample_aspect_ratio or 1) == pytest.approx(4 / 3)
        tags = frame.color_range, frame.color_primaries, frame.color_trc, frame.colorspace
        assert tags == (1, 9, 14, 9)


def test_captions_go_with_smaller_pictures(clip: ClipFactory, tmp_path: Path) -> None:
    small = {"duration_s": 0.6, "size": (64, 48), "events_s": (0.2,)}
    source = captioned(clip(".ts", **small, bframes=0), tmp_path / "captioned.ts")
    rewrite(source, tmp_path / "out.ts", inverted, video=smaller(36))
    assert captions(tmp_path / "out.ts") == captions(source) == 15


def test_too_few_rows(clip: ClipFactory, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="16 rows"):
        rewrite(clip(**CLIP), tmp_path / "out.mp4", video=smaller(16))
    assert not list(tmp_path.iterdir())

"""The speed benchmark: its media are what they say, its clocks count what they should."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import av
import pytest

from lipsync_cli.errors import UsageError
from lipsync_cli.training.speed.benchmark import Cost, stage, timed
from lipsync_cli.training.speed.dub import _STEPS
from lipsync_cli.training.speed.media import Material, can_encode, synthesise_media
from lipsync_cli.training.speed.raw import copy_packets, decode_only
from lipsync_cli.training.speed.run import Asked


@pytest.mark.parametrize("codec", ["h264", "prores"])
def test_loops_follow_each_other_without_a_gap(tmp_path: Path, codec: str) -> None:
    if not can_encode(codec):
        pytest.skip(f"this FFmpeg has no encoder for {codec}")
    material = Material(90, codec, faces=0, duration_s=10.0)
    path = synthesise_media(material, tmp_path)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == codec
        frames = [float(frame.time) for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        sound = [(float(f.time), f.samples / f.sample_rate) for f in container.decode(audio=0)]
    assert len(frames) == material.frames == 256
    assert all(b - a == pytest.approx(0.04, abs=1e-6) for a, b in pairwise(frames))
    assert all(b[0] - a[0] == pytest.approx(a[1], abs=1e-4) for a, b in pairwise(sound))
    assert sound[-1][0] + sound[-1][1] == pytest.approx(10.24, abs=0.03)
    # Made once only.
    before = path.stat().st_mtime_ns
    assert synthesise_media(material, tmp_path).stat().st_mtime_ns == before


def test_limits_do_the_whole_work(tmp_path: Path) -> None:
    path = synthesise_media(Material(90, faces=0, duration_s=5.0), tmp_path)
    decode_only(path, sound=True)
    copy_packets(path, tmp_path / "copy.mp4")
    packets = []
    for each in (path, tmp_path / "copy.mp4"):
        with av.open(str(each)) as container:
            packets.append([bytes(packet) for packet in container.demux()])
    assert packets[0] == packets[1]


def test_cost_is_per_picture() -> None:
    def work() -> None:
        end_s = time.process_time() + 0.02
        while time.process_time() < end_s:
            pass

    cost = timed(work)
    assert 0.02 <= cost.cpu_s <= cost.wall_s + 0.02
    row = stage("work", Cost(2.0, 3.0), 100, "less", Cost(1.0, 0.5))
    assert (row.cpu_ms, row.wall_ms, row.limit_cpu_ms, row.limit_wall_ms) == (20, 30, 10, 5)
    assert stage("work", Cost(2.0, 3.0), 100).limit_cpu_ms is None


def test_media_are_named_by_size_and_codec() -> None:
    def asked(*media: str) -> Asked:
        return Asked(media, frozenset(), 10.0, (), (), 360)

    assert [m.name for m in asked("360p-h264").materials()] == ["360p h264"]
    with pytest.raises(UsageError, match="no media"):
        asked("1080i-h264").materials()


def test_every_step_of_a_dub_that_is_timed_exists() -> None:
    """A renamed one would be left out of the table without a word."""
    for home, name in _STEPS.values():
        assert callable(getattr(import_module(f"lipsync_cli.{home}"), name))


def test_clocks_tell_the_steps_apart() -> None:
    benchmark = pytest.importorskip("lipsync_cli.training.speed.dub")
    clocks = benchmark._Clocks()

    def pictures() -> Iterator[int]:
        for number in range(3):
            time.sleep(0.02)
            yield number

    def edit(items: Iterator[int]) -> Iterator[int]:
        for item in items:
            time.sleep(0.04)
            yield item

    edited = clocks.items("edited", edit(clocks.items("decoded", pictures())))
    assert list(edited) == [0, 1, 2]
    assert clocks.spent["decoded"].wall_s >= 0.06
    assert clocks.spent["edited"].wall_s >= 0.18
    compositing = clocks.minus("edited", "decoded").wall_s
    assert 0.12 <= compositing <= clocks.spent["edited"].wall_s - 0.06

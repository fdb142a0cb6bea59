"""Measurements as markers that editing programs read."""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from lipsync_cli.cli.main import app
from lipsync_cli.errors import DependencyError, OutputError, UsageError
from lipsync_cli.markers import export_markers, markers_of
from lipsync_cli.results import OffsetResult, Segment, Step

STEPS = OffsetResult(
    file="talks/day 1.mp4",
    status="measured",
    reason=None,
    offset_ms=10.0,
    interval_ms=(-20.0, 40.0),
    direction="audio early",
    probability=0.98,
    offset_frames=0.3,
    frame_rate=30000 / 1001,
    duration_s=180.0,
    pattern="steps",
    segments=(
        Segment(0.0, 60.5, 120.0, (112.0, 128.0), 0.99),
        Segment(60.5, 80.0, None, None, 0.0),
        Segment(80.0, 180.0, -80.0, (-90.0, -70.0), 0.97),
    ),
    steps=(Step(60.5, -200.0, 59.5, 80.0),),
)


def test_steps_stand_between_the_segments() -> None:
    kinds = [(m.kind, m.colour, m.text) for m in markers_of(STEPS)]
    assert kinds == [
        ("segment", "BLUE", "audio early by 120 ms"),
        ("step", "RED", "audio 200 ms later from here"),
        ("segment", "YELLOW", "not measurable"),
        ("segment", "BLUE", "audio late by 80 ms"),
    ]


def test_a_file_without_segments_is_one(tmp_path: Path) -> None:
    (marker,) = markers_of(replace(STEPS, segments=(), steps=()))
    assert (marker.start_s, marker.end_s, marker.text) == (0.0, 180.0, "audio early by 10 ms")


def test_csv(tmp_path: Path) -> None:
    export_markers(STEPS, tmp_path / "markers.csv")
    text = (tmp_path / "markers.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["kind"] for row in rows] == ["segment", "step", "segment", "segment"]
    # SMPTE 12M: 1813 frames of 29.97 fps have passed after 60.5 s; two numbers are dropped.
    assert rows[1]["start"] == "00:01:00;15"
    assert (rows[0]["offset_ms"], rows[0]["low_ms"], rows[0]["high_ms"]) == (
        "120.0",
        "112.0",
        "128.0",
    )
    assert (rows[2]["offset_ms"], rows[2]["text"]) == ("", "not measurable")


def test_edl(tmp_path: Path) -> None:
    export_markers(replace(STEPS, frame_rate=25.0), tmp_path / "markers.EDL")
    assert (tmp_path / "markers.EDL").read_text(encoding="utf-8").splitlines()[:11] == [
        "TITLE: day 1",
        "FCM: NON-DROP FRAME",
        "",
        "001  001      V     C        00:00:00:00 00:00:00:01 00:00:00:00 00:00:00:01",
        " |C:ResolveColorBlue |M:audio early by 120 ms |D:1512",
        "* LOC: 00:00:00:00 BLUE    audio early by 120 ms",
        "",
        "002  001      V     C        00:01:00:12 00:01:00:13 00:01:00:12 00:01:00:13",
        " |C:ResolveColorRed |M:audio 200 ms later from here |D:1",
        "* LOC: 00:01:00:12 RED     audio 200 ms later from here",
        "",
    ]
    export_markers(STEPS, tmp_path / "drop.edl")
    assert "FCM: DROP FRAME" in (tmp_path / "drop.edl").read_text(encoding="utf-8")


def test_otio_holds_the_markers_and_the_repair(tmp_path: Path) -> None:
    otio = pytest.importorskip("opentimelineio", reason="the extra [edit] is not installed")
    export_markers(STEPS, tmp_path / "talk.otio")
    timeline = otio.adapters.read_from_file(str(tmp_path / "talk.otio"))
    picture, sound = timeline.tracks
    assert [m.name for m in picture[0].markers] == [m.text for m in markers_of(STEPS)]
    assert picture[0].media_reference.target_url.endswith("/talks/day%201.mp4")
    # The first part is delayed by 120 ms, so silence comes first; the second starts 80 ms
    # further into the file than its picture.
    gap, first, second = sound
    assert gap.duration().to_seconds() == pytest.approx(0.12, abs=1e-6)
    assert first.source_range.start_time.to_seconds() == 0
    assert first.duration().to_seconds() == pytest.approx(60.5 - 0.12, abs=1e-6)
    assert second.source_range.start_time.to_seconds() == pytest.approx(60.58, abs=1e-6)
    drift = replace(STEPS, pattern="drift", steps=(), drift_ppm=500.0)
    export_markers(drift, tmp_path / "drift.otio")
    warped = otio.adapters.read_from_file(str(tmp_path / "drift.otio")).tracks[1]
    assert warped[-1].effects[0].time_scalar == pytest.approx(1 - 500e-6)


def test_what_cannot_be_exported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"cannot export to '.xml'"):
        export_markers(STEPS, tmp_path / "markers.xml")
    (tmp_path / "old.csv").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        export_markers(STEPS, tmp_path / "old.csv")
    monkeypatch.setitem(sys.modules, "opentimelineio", None)
    with pytest.raises(DependencyError, match="OpenTimelineIO") as caught:
        export_markers(STEPS, tmp_path / "markers.otio")
    assert "[edit]" in str(caught.value.hint)
    assert [p.name for p in tmp_path.iterdir()] == ["old.csv"]


def test_command_line_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("lipsync_cli.detect")
    module.measure = lambda path, **options: SimpleNamespace(result=STEPS, evidence=None)
    monkeypatch.setitem(sys.modules, "lipsync_cli.detect", module)
    monkeypatch.setattr("lipsync_cli.media.probe.probe", lambda path: None)
    (tmp_path / "a.mp4").write_bytes(b"stands in for a film")
    runner, where = CliRunner(env={"COLUMNS": "200"}), str(tmp_path / "a.mp4")
    target = tmp_path / "a.csv"
    found = runner.invoke(app, ["detect-offset", where, "--export", str(target)])
    assert found.exit_code == 0, found.output
    assert target.read_text(encoding="utf-8").startswith("kind,start,end")
    # Steps are shown without being asked for.
    assert "00:01:00;15" in found.stdout and "200 ms later" in found.stdout
    again = runner.invoke(app, ["detect-offset", where, "--export", str(target)])
    assert again.exit_code == 1 and "exists already" in again.stderr
    two = runner.invoke(app, ["detect-offset", where, where, "--export", str(target)])
    assert two.exit_code == 2
    assert runner.invoke(app, ["detect-offset", where, "--export", "a.doc"]).exit_code == 2

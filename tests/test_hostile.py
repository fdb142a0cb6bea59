"""Files that mean harm: names, tags, playlists, links. None of it reaches terminal or network."""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import av
import pytest
from conftest import ClipFactory
from ruler import lead_ms
from typer.testing import CliRunner, Result

from lipsync_cli.cli.main import app
from lipsync_cli.errors import LipsyncError, OutputError, UnreadableMedia
from lipsync_cli.fix import fix_sync
from lipsync_cli.markers import export_markers
from lipsync_cli.media.probe import probe
from lipsync_cli.media.reader import read
from lipsync_cli.report.rows import Row
from lipsync_cli.report.table import write_table
from lipsync_cli.results import OffsetResult, Segment

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b[31m\x9b6n\u202e"
FORMULAS = ("=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "|cmd", "%0")
NAMES = (
    "two words.mp4",
    'it\'s "quoted".mp4',
    "line\nbreak.mp4",
    "-rf.mp4",
    "--offset=9.mp4",
    "$(touch owned);`touch owned`.mp4",
    "12:30 http:.mp4",
    "frame%03d*?[a].mp4",
    "\u202egpm.mp4",
    "x" * 240 + ".mp4",
    b"not utf-8 \xff\xfe.mp4",
    ESCAPES.encode() + b".mp4",
)

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run `lipsync ARGS...` in this process, in an empty folder, with a measurement in hand."""
    module: Any = ModuleType("lipsync_cli.detect")
    module.measure = lambda path, **_: SimpleNamespace(result=measured(path), evidence=None)
    monkeypatch.setitem(sys.modules, "lipsync_cli.detect", module)
    monkeypatch.chdir(tmp_path)
    runner = CliRunner(env={"COLUMNS": "200", "TERM": "xterm-256color"})
    return lambda *args: runner.invoke(app, [os.fsdecode(arg) for arg in args])


def measured(path: Path) -> OffsetResult:
    return OffsetResult(
        file=str(path),
        status="measured",
        reason=None,
        offset_ms=120.0,
        interval_ms=(110.0, 130.0),
        direction="audio early",
        probability=0.99,
        offset_frames=3.0,
        frame_rate=25.0,
        duration_s=4.0,
        warnings=(f"a warning {ESCAPES}",),
    )


def harmless(text: str) -> bool:
    """Whether a terminal shows it without doing anything."""
    return all(char.isprintable() or char == "\n" for char in text)


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_names_of_files(
    run: Run,
    clip: ClipFactory,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    name: str | bytes,
) -> None:
    source = tmp_path / os.fsdecode(name)
    shutil.copy(clip(), source)
    repaired = run("fix-sync", "--offset", "120", "--", name)
    assert repaired.exit_code == 0, repaired.output
    target = source.with_name(f"{source.stem}.synced.mp4")
    assert sorted(os.listdir(tmp_path)) == sorted([source.name, target.name])
    moved = lead_of(source, tmp_path_factory) - lead_of(target, tmp_path_factory)
    assert moved == pytest.approx(120, abs=0.1)
    shown = run("detect-offset", "-v", "--", name)
    refused = run("fix-sync", "--offset", "120", "--", name)
    assert (shown.exit_code, refused.exit_code) == (0, 1)
    for result in (repaired, shown, refused):
        assert harmless(result.stdout)
        assert harmless(result.stderr)
    record = json.loads(run("detect-offset", "--json", "--", name).stdout)
    assert record["file"] == source.name


def test_tags(run: Run, clip: ClipFactory, tmp_path: Path) -> None:
    source = tmp_path / "tagged.mkv"
    tags = {"title": f"../../etc/{ESCAPES}", "comment": "x" * 300_000, "artist": "=1+1"}
    copy_with_tags(clip(), source, tags)
    assert probe(source).streams[0].title == tags["title"]
    for args in (("fix-sync", "--offset", "90", "-v"), ("detect-offset", "-v")):
        result = run(*args, source.name)
        assert result.exit_code == 0, result.output
        assert harmless(result.stdout)
        assert harmless(result.stderr)
    assert sorted(os.listdir(tmp_path)) == ["tagged.mkv", "tagged.synced.mkv"]
    with av.open(str(tmp_path / "tagged.synced.mkv")) as repaired:
        kept = {key.lower(): value for key, value in repaired.metadata.items()}
    assert {key: kept[key] for key in tags} == tags


@pytest.fixture
def visits() -> Iterator[tuple[int, list[object]]]:
    """The port of a server, and who came to it."""
    came: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, address = server.accept()
                except OSError:
                    return
                came.append(address)
                connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1], came
        server.shutdown(socket.SHUT_RDWR)


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{url}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{url}'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT9S"><Period><AdaptationSet mimeType="video/mp4">'
    '<Representation id="1" bandwidth="9"><BaseURL>{url}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_playlists_lead_nowhere(
    tmp_path: Path, kind: str, clip: ClipFactory, visits: tuple[int, list[object]]
) -> None:
    port, came = visits
    secret = Path(shutil.copy(clip(), tmp_path / "secret.mp4"))
    for url in (f"http://127.0.0.1:{port}/a.mp4", secret.name, secret.as_uri()):
        disguised = tmp_path / "clip.mp4"
        disguised.write_text(PLAYLISTS[kind].format(url=url))
        with pytest.raises(UnreadableMedia):
            probe(disguised)
        with pytest.raises(UnreadableMedia):
            list(read(disguised))
    assert came == []


def test_tables_hold_no_formulas(tmp_path: Path) -> None:
    errors = [LipsyncError(formula, hint=formula) for formula in FORMULAS]
    table = tmp_path / "table.csv"
    write_table([Row(f, error=e) for f, e in zip(FORMULAS, errors, strict=True)], table)
    named = measured(tmp_path / "=1+1.mp4")
    segments = (Segment(0.0, 4.0, -80.0, (-90.0, -70.0), 0.9),)
    markers = tmp_path / "markers.csv"
    export_markers(replace(named, segments=segments), markers)
    for path in (table, markers):
        with path.open(encoding="utf-8", newline="") as stream:
            cells = [cell for row in csv.reader(stream) for cell in row]
        assert len(cells) > len(FORMULAS)
        assert [
            cell for cell in cells if cell.startswith(tuple("=+-@\t\r\n|%")) and not number(cell)
        ] == []


def lead_of(path: Path, folders: pytest.TempPathFactory) -> float:
    """`lead_ms` of a file whose name the ruler need not understand."""
    return lead_ms(shutil.copy(path, folders.mktemp("ruler") / "plain.mp4"))


def number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def test_links_as_outputs(clip: ClipFactory, tmp_path: Path) -> None:
    source = Path(shutil.copy(clip(), tmp_path / "talk.mp4"))
    before = source.read_bytes()
    (tmp_path / "soft.mp4").symlink_to(source)
    os.link(source, tmp_path / "hard.mp4")
    for name in ("soft.mp4", "hard.mp4", "talk.mp4"):
        with pytest.raises(OutputError, match="same file"):
            fix_sync(source, output=tmp_path / name, offset_ms=120, overwrite=True)
    (tmp_path / "lost.mp4").symlink_to(tmp_path / "new.mp4")
    fix_sync(source, output=tmp_path / "lost.mp4", offset_ms=120)
    assert (tmp_path / "lost.mp4").is_symlink()
    assert source.read_bytes() == before == (tmp_path / "hard.mp4").read_bytes()
    # In place, the other name keeps the original.
    fix_sync(source, offset_ms=120, in_place=True)
    assert source.read_bytes() == (tmp_path / "new.mp4").read_bytes()
    assert (tmp_path / "hard.mp4").read_bytes() == before


def copy_with_tags(source: Path, target: Path, tags: dict[str, str]) -> None:
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        streams: dict[int, Any] = {}
        for stream in old.streams:
            streams[stream.index] = new.add_stream_from_template(stream, opaque=True)
            streams[stream.index].metadata["title"] = tags["title"]
        new.metadata.update(tags)
        for packet in old.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                new.mux(packet)

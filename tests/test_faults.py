"""What happens to files in real life: kills, full disks, lost folders, damage of every kind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import ClipFactory

from lipsync_cli.errors import OutputError, UnreadableMedia
from lipsync_cli.fix import fix_sync
from lipsync_cli.media.copying import read_packets
from lipsync_cli.media.output import atomic
from lipsync_cli.media.probe import probe
from lipsync_cli.repair.task import Method

pytest.importorskip("resource", reason="limits of POSIX systems")

from lipsync_cli.training.faults.fuzz import Findings, fuzz
from lipsync_cli.training.faults.kill import Job, Outcomes, Trial
from lipsync_cli.training.faults.media import mutate, seed_media
from lipsync_cli.training.faults.worker import answer

KILLED_WHILE_WRITING = """
import os, signal, sys
from lipsync_cli.media.output import atomic
with atomic(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half a film")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_next_run_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    target = tmp_path / "film.mp4"
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(target)], check=False)
    assert killed.returncode == -9
    assert len(os.listdir(tmp_path)) == 1
    with atomic(target) as temporary:
        assert os.listdir(tmp_path) == [temporary.name]
        temporary.write_bytes(b"film")
    assert os.listdir(tmp_path) == ["film.mp4"]


def test_only_what_is_surely_left_behind_is_removed(tmp_path: Path) -> None:
    target, gone = tmp_path / "film.mp4", dead_process()
    kept = {
        f".film.{os.getppid()}.part.mp4": b"its process lives",
        f".film.{gone}.part.mov": b"another output",
        f".film 2.{gone}.part.mp4": b"another output",
        ".film.old.part.mp4": b"not one of ours",
        f"film.{gone}.part.mp4": b"not hidden",
    }
    for name, data in kept.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / f".film.{gone}.part.mp4").write_bytes(b"left behind")
    (tmp_path / f".film.{gone}-2.part.mp4").write_bytes(b"left behind")
    with atomic(target) as temporary:
        temporary.write_bytes(b"film")
    assert set(os.listdir(tmp_path)) == {*kept, "film.mp4"}


def test_a_file_that_somebody_holds_is_not_removed(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    # In another container the process has a number that is free here.
    held = tmp_path / f".film.{dead_process()}.part.mp4"
    with held.open("wb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with atomic(tmp_path / "film.mp4") as temporary:
            temporary.write_bytes(b"film")
        assert held.exists()


def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_bytes(b"precious")
    (tmp_path / f".film.{os.getpid()}.part.mp4").symlink_to(precious)
    with atomic(tmp_path / "film.mp4") as temporary:
        temporary.write_bytes(b"film")
    assert precious.read_bytes() == b"precious"
    assert (tmp_path / "film.mp4").read_bytes() == b"film"


def test_of_many_that_write_one_file_only_one_succeeds(tmp_path: Path) -> None:
    target, ready = tmp_path / "film.mp4", threading.Barrier(8)
    written: list[bytes] = []

    def write(data: bytes) -> None:
        try:
            with atomic(target) as temporary:
                temporary.write_bytes(data)
                ready.wait(timeout=60)
            written.append(data)
        except OutputError as error:
            assert "exists already" in error.message

    threads = [threading.Thread(target=write, args=(b"%d" % i * 1000,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [target.read_bytes()] == written
    assert os.listdir(tmp_path) == ["film.mp4"]


@pytest.mark.parametrize("lost", ["folder", "file"])
def test_folder_that_is_removed_while_it_is_written_to(tmp_path: Path, lost: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    lose = pytest.raises(OutputError, match="was removed while it was written")
    with lose as caught, atomic(folder / "film.mp4") as temporary:
        temporary.write_bytes(b"film")
        temporary.unlink()
        if lost == "folder":
            folder.rmdir()
    assert caught.value.path == str(folder / "film.mp4")


def test_nothing_is_left_in_a_folder_that_was_renamed(tmp_path: Path) -> None:
    folder, renamed = tmp_path / "out", tmp_path / "renamed"
    folder.mkdir()
    with pytest.raises(OutputError), atomic(folder / "film.mp4") as temporary:
        temporary.write_bytes(b"film")
        folder.rename(renamed)
    assert os.listdir(tmp_path) == ["renamed"]
    assert os.listdir(renamed) == []


def test_repair_without_room_on_the_disk(clip: ClipFactory) -> None:
    outcomes = Outcomes()
    trial = repair_of(clip(), outcomes)
    trial.fill_disk(trial.size // 2)
    trial.fill_disk(trial.size)
    assert outcomes.ends == {"exit 1": 1, "exit 0": 1}
    assert outcomes.problems == []


def test_the_trial_sees_what_is_wrong(clip: ClipFactory, tmp_path: Path) -> None:
    outcomes = Outcomes()
    trial = repair_of(clip(), outcomes)
    (tmp_path / trial.job.files[0].name).write_bytes(b"changed")
    (tmp_path / "fixed.mp4").write_bytes(b"half")
    (tmp_path / "rest.part").write_bytes(b"")
    trial._judge("trial", tmp_path, 7, b"Traceback (most", (0,))
    words = " ".join(outcomes.problems)
    for problem in ("ended with 7", "traceback", "left behind", "original lost", "partial output"):
        assert problem in words


def test_damaged_files_of_every_container(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    ends: set[str] = set()
    for number, sound in enumerate(seed_media(tmp_path)):
        data = sound.read_bytes()
        kind, damaged = mutate(data, number + 6)
        assert (kind, damaged) == mutate(data, number + 6)
        sound.write_bytes(damaged)
        told = answer({"file": str(sound), "folder": str(results)})
        assert told["problems"] == [], f"{sound.name}, {kind}"
        ends |= set(told["ends"].values())
    # The damage is neither harmless nor total.
    assert {"ok", "unreadable"} <= ends


@pytest.mark.parametrize("method", ["auto", "timestamps"])
def test_sound_of_an_unknown_format(clip: ClipFactory, tmp_path: Path, method: Method) -> None:
    source = tmp_path / "odd.mov"
    data = clip(".mov", acodec="pcm_s16le").read_bytes()
    assert data.count(b"sowt") == 1
    source.write_bytes(data.replace(b"sowt", b"zq9x"))
    assert probe(source).audio[0].codec == "unknown"
    with pytest.raises(UnreadableMedia, match="its audio stream 1 is not known"):
        fix_sync(source, offset_ms=120, method=method)
    assert os.listdir(tmp_path) == ["odd.mov"]


def test_streams_that_were_not_announced_are_damage() -> None:
    class Source:
        format, size = SimpleNamespace(name="mpegts"), 10

        def demux(self) -> Any:
            # What PyAV does at the first packet of a stream that begins in the middle.
            raise IndexError("list index out of range")

    source: Any = Source()
    with pytest.raises(UnreadableMedia, match="damaged near byte 0"):
        list(read_packets(source, Path("talk.ts"), [], None))


def test_fuzzing_watches_the_process(clip: ClipFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lipsync_cli.training.faults.fuzz.seed_media", lambda _: [clip()])
    monkeypatch.setattr("lipsync_cli.training.faults.fuzz.PATIENCE_S", 0.0)
    findings = fuzz(0, lambda count: count < 1)
    assert isinstance(findings, Findings)
    assert ["hangs" in problem for problem in findings.problems] == [True]


def repair_of(path: Path, outcomes: Outcomes) -> Trial:
    arguments = ("fix-sync", "--offset", "120", path.name, "-o", "fixed.mp4")
    return Trial(Job("fix-sync", (path,), arguments, "fixed.mp4"), outcomes)


def dead_process() -> int:
    """The number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid

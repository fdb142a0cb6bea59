"""The contract of the command line: streams, exit codes, many files.

Answers come from a stand-in for the measurement, so that no model is needed; repairs with
a given offset are real.
"""

from __future__ import annotations

import inspect
import json
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import av.logging
import pytest
from typer.testing import CliRunner, Result

from lipsync_cli import weights
from lipsync_cli.cli.main import app
from lipsync_cli.cli.options import Measuring
from lipsync_cli.errors import NotTrustworthy, UnreadableMedia
from lipsync_cli.results import OffsetResult, TrackOffset, direction_of

Run = Callable[..., Result]


def answer(path: Path, offset_ms: float | None = 120.0, **fields: Any) -> OffsetResult:
    measured = offset_ms is not None
    return OffsetResult(
        file=str(path),
        status="measured" if measured else "cannot_tell",
        reason=None if measured else "no face found",
        offset_ms=offset_ms,
        interval_ms=None if offset_ms is None else (offset_ms - 8, offset_ms + 8),
        direction=None if offset_ms is None else direction_of(offset_ms),
        probability=0.999 if measured else 0.2,
        offset_frames=None if offset_ms is None else offset_ms / 40,
        frame_rate=25.0,
        **fields,
    )


@pytest.fixture(autouse=True)
def _leave_the_process_as_it_was() -> Iterator[None]:
    logger = logging.getLogger("lipsync_cli")
    before = (logger.handlers[:], logger.level, logger.propagate, av.logging.get_level())
    yield
    logger.handlers[:], logger.level, logger.propagate = before[:3]
    av.logging.set_level(before[3])
    weights.prefer(None)
    weights.use_store(None)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run `lipsync ARGS...` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("LIPSYNC_DEVICE", "LIPSYNC_THREADS", "LIPSYNC_WEIGHTS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})
    return lambda *args: runner.invoke(app, [str(arg) for arg in args], catch_exceptions=False)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Replace the measurement: {file name: result, or exception}; 120 ms for all others."""
    answers: dict[str, Any] = {}
    module: Any = ModuleType("lipsync_cli.detect")

    def measure(path: Path, **options: Any) -> SimpleNamespace:
        print("a chatty library")
        options["progress"](0.5)
        answers["options"] = options
        found = answers.get(Path(path).name, answer(path))
        if isinstance(found, Exception):
            raise found
        return SimpleNamespace(result=found, evidence=None)

    module.measure = measure
    monkeypatch.setitem(sys.modules, "lipsync_cli.detect", module)
    return answers


@pytest.fixture
def clips(clip: Callable[..., Path], tmp_path: Path) -> list[Path]:
    """Three copies of one clip: a.mp4, b.mp4, c.mp4."""
    data = clip().read_bytes()
    paths = [tmp_path / f"{name}.mp4" for name in "abc"]
    for path in paths:
        path.write_bytes(data)
    return paths


def records(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_answers_in_one_line(run: Run, measured: dict[str, Any], clips: list[Path]) -> None:
    result = run("detect-offset", clips[0].name)
    assert result.exit_code == 0
    assert result.stdout == (
        "a.mp4: audio early by 120 ms (112..128 ms, 3.0 frames at 25 fps, p = 0.99)\n"
    )


def test_keeps_stdout_for_the_answer(run: Run, measured: dict[str, Any], clips: list[Path]) -> None:
    measured["a.mp4"] = answer(clips[0], warnings=("one packet is damaged",))
    result = run("detect-offset", "--json", clips[0])
    assert result.stdout.count("\n") == 1
    assert "a chatty library" in result.stderr
    record = json.loads(result.stdout)
    required = {
        *("schema", "file", "ok", "status", "reason", "offset_ms", "interval_ms", "direction"),
        *("probability", "offset_frames", "frame_rate", "tracks", "segments", "warnings"),
    }
    assert required <= record.keys()
    assert record["interval_ms"] == [112.0, 128.0]
    assert record["warnings"] == ["one packet is damaged"]


def test_passes_the_options_on(run: Run, measured: dict[str, Any], clips: list[Path]) -> None:
    run(
        *("detect-offset", clips[0], "--search-ms", "3000", "--audio-track", "1"),
        *("--min-probability", "0.5", "--face-detector", "sfd", "--device", "cpu"),
    )
    options = measured["options"]
    options.pop("progress")
    assert options == {
        "search_ms": 3000.0,
        "audio_track": 1,
        "min_probability": 0.5,
        "face_detector": "sfd",
        "device": "cpu",
        "evidence": False,
    }


def test_the_stand_in_takes_what_the_measurement_takes() -> None:
    from lipsync_cli.detect import measure

    how = Measuring(1500.0, 0, 0.9, "own", "auto")
    inspect.signature(measure).bind("a.mp4", evidence=True, progress=None, **asdict(how))


def test_says_that_it_cannot_tell(run: Run, measured: dict[str, Any], clips: list[Path]) -> None:
    measured["a.mp4"] = answer(clips[0], None)
    result = run("detect-offset", clips[0])
    assert result.exit_code == 3
    assert result.stdout == f"{clips[0]}: cannot tell: no face found\n"


def test_goes_on_after_a_failure(run: Run, measured: dict[str, Any], clips: list[Path]) -> None:
    measured["b.mp4"] = UnreadableMedia("is damaged", path=clips[1], hint="copy it again")
    measured["c.mp4"] = answer(clips[2], None)
    result = run("detect-offset", "--json", *clips)
    assert result.exit_code == 1
    first, second, third = records(result)
    assert (first["ok"], third["status"]) == (True, "cannot_tell")
    assert second["file"] == str(clips[1])
    assert second["error"] == {
        "code": "unreadable",
        "message": "is damaged",
        "hint": "copy it again",
    }


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ((120.0, 0.0, 0.0), 4),
        ((120.0, None, 0.0), 3),
        ((120.0, None, UnreadableMedia("is damaged")), 1),
        ((0.0, 0.0, 0.0), 0),
    ],
)
def test_ends_with_the_worst_code(
    run: Run,
    measured: dict[str, Any],
    clips: list[Path],
    answers: tuple[Any, ...],
    code: int,
) -> None:
    for path, value in zip(clips, answers, strict=True):
        measured[path.name] = value if isinstance(value, Exception) else answer(path, value)
    assert run("detect-offset", "--tolerance", "ebu", *clips).exit_code == code


def test_fail_fast_stops(run: Run, measured: dict[str, Any], clips: list[Path]) -> None:
    measured["a.mp4"] = UnreadableMedia("is damaged")
    result = run("detect-offset", "--json", "--fail-fast", *clips)
    assert (result.exit_code, len(records(result))) == (1, 1)


def test_judges_by_a_tolerance(run: Run, measured: dict[str, Any], clips: list[Path]) -> None:
    measured["a.mp4"] = answer(clips[0], -55.0)
    late = run("detect-offset", "--tolerance", "ebu", clips[0])
    assert late.exit_code == 0
    assert "within ebu tolerance (40 ms early to 60 ms late)" in late.stdout
    record = records(run("detect-offset", "--json", "--tolerance", "60,40", clips[0]))[0]
    assert record["tolerance"] == {
        "name": "custom",
        "early_ms": 60.0,
        "late_ms": 40.0,
        "within": False,
    }


def test_shows_tables_when_verbose(run: Run, measured: dict[str, Any], clips: list[Path]) -> None:
    track = TrackOffset(0, 0.0, 61.4, (0, 0, 9, 9), 1500, 120.0, (112.0, 128.0), 0.98, 119.0)
    measured["a.mp4"] = answer(clips[0], tracks=(track,))
    assert "00:01:01:10" not in run("detect-offset", clips[0]).stdout
    assert "00:01:01:10" in run("detect-offset", "-v", clips[0]).stdout


def test_escapes_hostile_file_names(run: Run, measured: dict[str, Any], clips: list[Path]) -> None:
    name = "evil\x1b]0;owned\x07\u202egpm.mp4"
    clips[0].rename(name)
    (clips[0].parent / "gone\x1b[2J").mkdir()
    result = run("detect-offset", name, "gone\x1b[2J")
    assert "\\x1b]0;owned\\x07\\u202egpm.mp4: audio early" in result.stdout
    assert not {"\x1b", "\x07", "\u202e"} & set(result.output)
    assert records(run("detect-offset", "--json", name))[0]["file"] == name


def test_saves_the_evidence(
    run: Run,
    measured: dict[str, Any],
    clips: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module: Any = ModuleType("lipsync_cli.plot")
    module.save_evidence = lambda measurement, path: Path(path).write_text("a picture")
    monkeypatch.setitem(sys.modules, "lipsync_cli.plot", module)
    assert run("detect-offset", clips[0], "--plot", "a.png").exit_code == 0
    assert measured["options"]["evidence"] is True
    assert "exists already" in run("detect-offset", clips[0], "--plot", "a.png").stderr
    assert run("detect-offset", *clips, "--plot", "pictures").exit_code == 0
    assert sorted(p.name for p in Path("pictures").iterdir()) == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize("command", [("detect-offset",), ("fix-sync", "--offset", "40")])
@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "--recursive"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_text("Dear diary,\n" * 99), ""),
        (lambda path: path.write_bytes(b"\0\0\0\x18ftypisom" + bytes(999)), ""),
    ],
    ids=["missing", "folder", "empty", "text", "no index"],
)
def test_bad_input_is_one_line_with_a_remedy(
    run: Run,
    command: tuple[str, ...],
    make: Callable[[Path], object],
    expected: str,
    tmp_path: Path,
) -> None:
    make(tmp_path / "bad.mp4")
    result = run(*command, "bad.mp4")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: bad.mp4: ")
    assert result.stderr.endswith(")\n")
    assert expected in result.stderr
    assert [p.name for p in tmp_path.iterdir()] in ([], ["bad.mp4"])


def test_a_defect_is_one_line_too(run: Run, measured: dict[str, Any], clips: list[Path]) -> None:
    measured["a.mp4"] = ZeroDivisionError("by zero")
    result = run("detect-offset", *clips[:2])
    assert result.exit_code == 1
    assert "unexpected ZeroDivisionError: by zero (this is a defect" in result.stderr
    assert "Traceback" not in result.stderr
    assert "b.mp4: audio early" in result.stdout
    assert "Traceback" in run("detect-offset", "-vv", clips[0]).stderr


def test_a_library_that_cannot_be_loaded_is_named(
    run: Run, measured: dict[str, Any], clips: list[Path]
) -> None:
    measured["a.mp4"] = ImportError("libGL.so.1: cannot open shared object file")
    result = run("detect-offset", clips[0])
    assert result.exit_code == 1
    assert "(apt install libgl1)" in result.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("detect-offset", "--search-ms", "soon", "a.mp4"),
        ("detect-offset", "--json"),
        ("detect-offset", "--tolerance", "strict", "a.mp4"),
        ("detect-offset", "--device", "gpu", "a.mp4"),
        ("detect-offset", "--plot", "one.png", "a.mp4", "b.mp4"),
        ("fix-sync", "--offset", "nan", "a.mp4"),
        ("fix-sync", "-o", "out.mp4", "a.mp4", "b.mp4"),
        ("fix-sync", "-o", "out.mp4", "--out-dir", "out", "a.mp4"),
        ("fix-sync", "-o", "out.mp4", "--in-place", "a.mp4"),
        ("fix-sync", "-o", ".", "a.mp4"),
        ("fix-sync", "-o", "a.mp4", "a.mp4"),
        ("fix-sync", "--out-dir", "out", "a.mp4", "sub/a.mp4"),
        ("fix-sync", "--out-dir", ".", "a.mp4"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_before_any_work(
    run: Run, measured: dict[str, Any], clips: list[Path], args: tuple[str, ...], tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    result = run(*args)
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr
    assert "options" not in measured
    assert sorted(tmp_path.iterdir()) == before


def test_reads_lists_and_folders(run: Run, measured: dict[str, Any], clips: list[Path]) -> None:
    folder = clips[0].parent / "deep" / "er"
    folder.mkdir(parents=True)
    clips[2].rename(folder / "c.MP4")
    (folder / "notes.txt").write_text("no video")
    (folder / ".hidden.mp4").write_text("no video")
    found = run("detect-offset", "--json", "--recursive", "deep", "a.mp4")
    assert [record["file"] for record in records(found)] == ["deep/er/c.MP4", "a.mp4"]
    for separator in ("\n", "\0"):
        Path("list").write_text(separator.join(["a.mp4", "b.mp4", ""]))
        listed = run("detect-offset", "--json", "--files-from", "list")
        assert [record["file"] for record in records(listed)] == ["a.mp4", "b.mp4"]
    assert run("detect-offset", "--files-from", "no-list").exit_code == 1


def test_repairs_by_a_given_offset(run: Run, clips: list[Path]) -> None:
    result = run("fix-sync", "--offset", "120", "a.mp4")
    assert result.exit_code == 0
    assert result.stdout.startswith("a.mp4: audio is delayed by 120 ms -> a.synced.mp4")
    assert Path("a.synced.mp4").is_file()
    again = run("fix-sync", "--offset", "120", "a.mp4")
    assert (again.exit_code, again.stdout) == (1, "")
    assert "exists already" in again.stderr
    assert run("fix-sync", "--offset", "120", "a.mp4", "-y").exit_code == 0


def test_repairs_many_in_processes(run: Run, clips: list[Path]) -> None:
    Path("bad.mp4").write_text("no video")
    result = run(
        *("fix-sync", "--json", "--offset", "-40", "--jobs", "2", "--out-dir", "out"),
        *("c.mp4", "bad.mp4", "a.mp4"),
    )
    assert result.exit_code == 1
    assert [record["file"] for record in records(result)] == ["c.mp4", "bad.mp4", "a.mp4"]
    assert sorted(p.name for p in Path("out").iterdir()) == ["a.mp4", "c.mp4"]


def test_plans_without_writing(run: Run, clips: list[Path]) -> None:
    result = run("fix-sync", "--dry-run", "--offset", "-40", "--out-dir", "out", *clips)
    assert result.exit_code == 0
    assert "audio would be advanced by 40 ms -> out/a.mp4" in result.stdout
    assert not Path("out").exists()


def test_writes_nothing_it_cannot_trust(
    run: Run, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **options: Any) -> None:
        raise NotTrustworthy("cannot tell: no face found", path=path)

    monkeypatch.setattr("lipsync_cli.fix.fix_sync", refuse)
    result = run("fix-sync", "a.mp4")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == "error: a.mp4: cannot tell: no face found\n"


def test_demo_reports_what_was_put_in_and_what_is_left(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lipsync_cli.demo import DemoResult

    def run_demo(folder: Path, **options: Any) -> DemoResult:
        files = (str(folder / name) for name in ("talking.mp4", "talking.synced.mp4", "e.png"))
        numbers: Any = (
            options["seed"],
            12.0,
            options["error_ms"] or 150.0,
            131.2,
            (124.0, 139.0),
            0.987,
        )
        return DemoResult(*files, *numbers, -0.4, (-6.0, 5.0), -131.0, (1.0, 2.0, 3.0))

    monkeypatch.setattr("lipsync_cli.demo.run_demo", run_demo)
    result = run("demo", "tour", "--error", "137")
    assert result.exit_code == 0
    assert result.stdout.startswith(
        "tour/talking.mp4: +137 ms put in, +131 ms found, -0.4 ms left after the repair\n"
    )
    assert "6 ms late to 5 ms early" in result.stdout
    assert "tour/talking.synced.mp4\n" in result.stdout
    assert records(run("demo", "--json"))[0]["measured_ms"] == 131.2


def test_names_versions(run: Run) -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("lipsync 0.1.0 (Python 3.")

"""`lipsync score`: answers, exit codes, summaries and reports of many files."""

from __future__ import annotations

import csv
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lipsync_cli import weights
from lipsync_cli.cli.main import app
from lipsync_cli.errors import NotTrustworthy, UnreadableMedia
from lipsync_cli.results import ScoreResult, ScoreTrack, Segment
from lipsync_cli.score import Scored, ScoreOptions
from lipsync_cli.scoring.verdict import judged

Run = Callable[..., Result]


def result(path: Path, offset_ms: float | None = 5.0, **fields: Any) -> ScoreResult:
    known = offset_ms is not None
    values: dict[str, Any] = {
        "file": str(path),
        "status": "measured" if known else "cannot_tell",
        "reason": None if known else "no face found",
        "offset_ms": offset_ms,
        "interval_ms": None if offset_ms is None else (offset_ms - 8, offset_ms + 8),
        "direction": None,
        "probability": 0.99,
        "offset_frames": None,
        "frame_rate": 30000 / 1001,
        "probability_in_sync": 0.97 if known else None,
        "duration_s": 70.0,
        "lse_reason": "the public SyncNet v2 file is not there",
    }
    return ScoreResult(**{**values, **fields})


@pytest.fixture(autouse=True)
def _leave_the_process_as_it_was() -> Iterator[None]:
    logger = logging.getLogger("lipsync_cli")
    before = (logger.handlers[:], logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.level, logger.propagate = before
    weights.prefer(None)
    weights.use_store(None)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run `lipsync score ARGS...` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("LIPSYNC_DEVICE", "LIPSYNC_THREADS", "LIPSYNC_WEIGHTS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LIPSYNC_STORE", str(tmp_path / "store"))
    runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})
    return lambda *args: runner.invoke(
        app, ["score", *(str(arg) for arg in args)], catch_exceptions=False
    )


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Replace the scoring: {file name: result, or exception}; 5 ms for all others."""
    answers: dict[str, Any] = {"seen": []}

    def examine(path: Path, options: ScoreOptions, **rest: Any) -> Scored:
        answers["seen"].append(path.name)
        answers["options"], answers["rest"] = options, rest
        found = answers.get(path.name, result(path))
        if isinstance(found, Exception):
            raise found
        return Scored(judged(replace(found, file=str(path)), options.tolerances))

    monkeypatch.setattr("lipsync_cli.cli.score_batch.examine", examine)
    return answers


def records(answer: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.stdout.splitlines()]


def test_answers_in_one_line(run: Run, scores: dict[str, Any]) -> None:
    track = ScoreTrack(0, 0.0, 4.0, 101, 3, 7.125, 6.5)
    scores["a.mp4"] = result(
        Path("a.mp4"),
        120.0,
        spread_ms=4.0,
        measurable_share=0.98,
        protocol="tracked",
        tracks=(track,),
        lse_d=7.125,
        lse_c=6.5,
        av_offset=3,
        probability_in_sync=0.0,
    )
    answer = run("a.mp4")
    assert answer.exit_code == 0
    assert answer.stdout == (
        "a.mp4: in sync with p = 0.00, audio early by 120 ms (112..128 ms, spread 4 ms, "
        "98% measurable); LSE-D 7.125, LSE-C 6.500, AV offset +3 (tracked)\n"
    )
    assert "LSE by face track" in run("-v", "a.mp4").stdout


def test_verdicts_name_the_stretches_that_are_out(run: Run, scores: dict[str, Any]) -> None:
    parts = (Segment(0, 60.06, 0.0, (-8, 8), 0.99), Segment(60.06, 70, 120.0, (112, 128), 0.99))
    scores["a.mp4"] = result(Path("a.mp4"), 20.0, segments=parts)
    answer = run("-t", "ebu", "--tolerance", "itu", "-t", "EBU", "a.mp4")
    assert answer.exit_code == 4
    # Drop-frame timecode: minute 1 begins with number 02.
    assert "ebu FAIL 00:01:00;02-00:01:10;00; itu FAIL" in answer.stdout
    verdicts = records(run("--json", "-t", "ebu", "-t", "0,0", "a.mp4"))[0]["verdicts"]
    assert list(verdicts) == ["ebu", "0,0"]
    assert verdicts["ebu"]["ranges"][0]["start"] == "00:01:00;02"


@pytest.mark.parametrize(
    ("found", "options", "code"),
    [
        ({"offset_ms": 5.0}, (), 0),
        ({"offset_ms": 5.0}, ("-t", "ebu"), 0),
        ({"offset_ms": 90.0}, ("-t", "ebu"), 4),
        ({"offset_ms": 0.0}, ("-t", "5,5"), 3),
        # A file that fails one standard and cannot be checked by another has failed.
        ({"offset_ms": 20.0, "interval_ms": (2.0, 38.0)}, ("-t", "1,1", "-t", "15,15"), 4),
        ({"offset_ms": None}, (), 3),
        ({"offset_ms": None, "lse_d": 7.0, "lse_c": 6.0}, (), 0),
        ({"offset_ms": None, "lse_d": 7.0, "lse_c": 6.0}, ("-t", "ebu"), 3),
        (UnreadableMedia("is damaged"), ("-t", "ebu"), 1),
    ],
)
def test_exit_codes(
    run: Run, scores: dict[str, Any], found: Any, options: tuple[str, ...], code: int
) -> None:
    known = isinstance(found, Exception)
    scores["a.mp4"] = found if known else result(Path("a.mp4"), **found)
    assert run(*options, "a.mp4").exit_code == code


def test_many_files_end_with_a_summary(run: Run, scores: dict[str, Any]) -> None:
    scores["b.mp4"] = UnreadableMedia("is damaged", path="b.mp4", hint="copy it again")
    scores["c.mp4"] = result(Path("c.mp4"), 95.0)
    answer = run("--json", "-t", "ebu", "a.mp4", "b.mp4", "c.mp4")
    assert answer.exit_code == 1
    first, second, third, summary = records(answer)
    assert [each["file"] for each in (first, second, third)] == ["a.mp4", "b.mp4", "c.mp4"]
    assert (second["ok"], second["error"]["code"]) == (False, "unreadable")
    assert (summary["summary"], summary["files"], summary["failed"]) == (True, 3, 1)
    assert summary["verdicts"] == {"ebu": {"pass": 1, "fail": 1, "not_checkable": 0}}
    assert summary["offset_ms"] == 50.0
    told = run("-t", "ebu", "a.mp4", "b.mp4", "c.mp4").stdout.splitlines()[-1]
    assert told == "3 files: in sync with p = 0.97 on average; ebu: 1 pass, 1 fail; 1 failed"


def test_writes_reports(run: Run, scores: dict[str, Any], tmp_path: Path) -> None:
    scores["bad.mp4"] = UnreadableMedia("is damaged")
    asked = ("--csv", "scores.csv", "--html", "report.html")
    assert run(*asked, "bad.mp4", "a.mp4").exit_code == 1
    with (tmp_path / "scores.csv").open(newline="") as stream:
        assert [line["file"] for line in csv.DictReader(stream)] == ["bad.mp4", "a.mp4"]
    assert "Lip-sync report" in (tmp_path / "report.html").read_text()
    assert scores["options"].pictures is True
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "scores.csv"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_text("mine"), "exists already"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.parent.rmdir(), "does not exist"),
    ],
)
def test_a_report_that_cannot_be_written_is_refused_before_any_work(
    run: Run, scores: dict[str, Any], tmp_path: Path, make: Callable[[Path], Any], message: str
) -> None:
    (tmp_path / "out").mkdir()
    make(tmp_path / "out" / "report.html")
    answer = run("--html", "out/report.html", "a.mp4")
    assert answer.exit_code == 1
    assert message in answer.stderr
    assert (answer.stdout, scores["seen"]) == ("", [])


def test_a_full_disk_costs_the_report_but_no_answer(
    run: Run, scores: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lipsync_cli.report.page.write_page", full)
    answer = run("--html", "report.html", "a.mp4")
    assert answer.exit_code == 1
    assert answer.stdout.startswith("a.mp4: in sync")
    assert "report.html: could not be written" in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_fail_fast_reports_what_was_done(run: Run, scores: dict[str, Any], tmp_path: Path) -> None:
    scores["a.mp4"] = UnreadableMedia("is damaged")
    answer = run("--fail-fast", "--csv", "scores.csv", "a.mp4", "b.mp4")
    assert (answer.exit_code, scores["seen"]) == (1, ["a.mp4"])
    assert (tmp_path / "scores.csv").read_text().count("\n") == 2


def test_passes_the_options_on(run: Run, scores: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "net.model").touch()
    run(
        *("a.mp4", "--protocol", "lrs", "--valid-overlap", "--min-track", 50, "--min-face", 60),
        *("--crop-scale", 0.5, "--max-failed", 10, "--vshift", 20, "--reference-codec"),
        *("--syncnet", "net.model", "--search-ms", 900, "--audio-track", 1, "--device", "cpu"),
        *("--face-detector", "sfd", "--min-probability", 0.8),
    )
    options: ScoreOptions = scores["options"]
    assert (options.lse.protocol, options.lse.valid_overlap, options.lse.vshift) == (
        "lrs",
        True,
        20,
    )
    assert (options.lse.min_track, options.lse.min_face_px, options.lse.crop_scale) == (50, 60, 0.5)
    assert (options.lse.max_failed, options.lse.reference_codec) == (10, True)
    assert (options.syncnet, options.search_ms, options.audio_track) == (Path("net.model"), 900, 1)
    assert (options.face_detector, options.device, options.min_probability) == ("sfd", "cpu", 0.8)


def test_takes_earlier_results_over(run: Run, scores: dict[str, Any], tmp_path: Path) -> None:
    assert run("--skip-existing", "results.ndjson", "a.mp4").exit_code == 0
    assert scores["rest"]["earlier"].lines == {}
    record = {**result(Path("a.mp4")).to_dict(), "sha256": "12", "settings": "34"}
    (tmp_path / "old.ndjson").write_text(json.dumps(record) + "\n{cut sho")
    answer = run("--skip-existing", "old.ndjson", "a.mp4")
    assert list(scores["rest"]["earlier"].lines) == [("12", "34")]
    assert "1 lines hold no result" in answer.stderr


def test_a_pair_list_and_its_distance_are_one_command(
    run: Run, scores: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "results").mkdir()
    for name in ("0.mp4", "2.mp4"):
        (tmp_path / "results" / name).touch()
    (tmp_path / "inception.pth").touch()
    (tmp_path / "lrs2.txt").write_text("s1/1 s2/2\ns3/3 s4/4\ns5/5 s6/6\n")
    asked: list[Any] = []

    def measure(self: Any, videos: list[Path], references: Any) -> float:
        asked.extend((video, references.of(video)) for video in videos)
        return 4.446

    monkeypatch.setattr("lipsync_cli.cli.score_batch.Fid.measure", measure)
    listed = ("--filelist", "lrs2.txt", "--data-root", "corpus", "results")
    answer = run("--protocol", "lrs", "--fid-weights", "inception.pth", *listed)
    assert answer.exit_code == 0
    assert "1 of 3 pairs have no result" in answer.stderr
    assert "FID 4.446" in answer.stdout.splitlines()[-1]
    assert [str(real) for _, real in asked] == ["corpus/s2/2.mp4", "corpus/s6/6.mp4"]
    # Pictures of another speech are not to be compared one by one.
    assert scores["options"].reference is None

    def fail(*_: Any) -> float:
        raise NotTrustworthy("too few pictures")

    monkeypatch.setattr("lipsync_cli.cli.score_batch.Fid.measure", fail)
    failed = run("--json", "--fid-weights", "inception.pth", *listed)
    assert failed.exit_code == 3
    assert records(failed)[-1]["fid"] is None


def test_distances_without_weights_are_refused_with_the_remedy(
    run: Run, scores: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "real.mp4").touch()
    answer = run("--fid", "--reference", "real.mp4", "a.mp4")
    assert (answer.exit_code, scores["seen"]) == (1, [])
    assert "inception" in answer.stderr and "lipsync weights" in answer.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("-t", "strict", "a.mp4"),
        ("--protocol", "mine", "a.mp4"),
        ("--cluster", "somewhere", "a.mp4"),
        ("--cluster", "local:2", "--jobs", "2", "a.mp4"),
        ("--csv", "x", "--html", "x", "a.mp4"),
        ("--fid", "a.mp4"),
        ("--reference", "real.mp4", "a.mp4", "b.mp4"),
        ("--reference", "real.mp4", "--filelist", "list.txt", "a.mp4"),
        ("--filelist", "list.txt", "a.mp4"),
        ("--vshift", "0", "a.mp4"),
        ("--device", "gpu", "a.mp4"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_before_any_work(
    run: Run, scores: dict[str, Any], tmp_path: Path, args: tuple[str, ...]
) -> None:
    (tmp_path / "real.mp4").touch()
    (tmp_path / "list.txt").write_text("a b\n")
    answer = run(*args)
    assert (answer.exit_code, scores["seen"]) == (2, [])
    assert "Traceback" not in answer.stderr


def test_missing_model_files_are_refused_at_once(run: Run, scores: dict[str, Any]) -> None:
    answer = run("--syncnet", "gone.model", "a.mp4")
    assert (answer.exit_code, scores["seen"]) == (1, [])
    assert "gone.model: there is no such file" in answer.stderr


def test_a_defect_is_a_record_too(run: Run, scores: dict[str, Any]) -> None:
    scores["a.mp4"] = ZeroDivisionError("by zero")
    answer = run("--json", "a.mp4", "b.mp4")
    assert answer.exit_code == 1
    assert "unexpected ZeroDivisionError" in records(answer)[0]["error"]["message"]
    assert records(answer)[1]["ok"] is True


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_an_answer_that_cannot_be_written_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        child = subprocess.run(
            [sys.executable, "-m", "lipsync_cli", "score", "--json", "gone.mp4"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    assert child.returncode == 1
    assert child.stderr == "error: the answer could not be written: No space left on device\n"


def test_help_loads_no_model_libraries() -> None:
    code = (
        "import sys\nfrom lipsync_cli.cli.main import app\ntry:\n app()\nfinally:\n"
        " print({'torch', 'cv2', 'scipy', 'distributed'} & sys.modules.keys(), file=sys.stderr)"
    )
    child = subprocess.run(
        [sys.executable, "-c", code, "score", "--help"], capture_output=True, text=True, timeout=120
    )
    assert (child.returncode, child.stderr) == (0, "set()\n")

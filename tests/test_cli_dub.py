"""`lipsync dub` on the command line: answers, exit codes, and nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import ClipFactory
from PIL import Image
from test_cli import Run, _leave_the_process_as_it_was, run  # noqa: F401

from lipsync_cli.render import render_clip


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("talking") / "talking.mp4"
    return render_clip(path, duration_s=3.0, size=128, seed=3).path


def test_a_preview_is_written_and_described(run: Run, talking: Path, tmp_path: Path) -> None:  # noqa: F811
    out, sheet = tmp_path / "out.mp4", tmp_path / "sheet.jpg"
    less = ("--no-verify", "--start", "1", "--preview", "1", "--max-height", "96")
    done = run("dub", *less, "--sheet", sheet, "--face", "30,20,80,90", talking, talking, "-o", out)
    assert done.exit_code == 0, done.stderr
    assert "of 25 pictures -> " in done.stdout and "rewrite" in done.stdout
    assert "encoded again at another size: 96x96 instead of 128x128" in done.stderr
    with Image.open(sheet) as picture:
        assert picture.format == "JPEG" and picture.width > 1200
    again = run("dub", "--json", "--no-verify", talking, talking, "-o", out)
    assert again.exit_code == 1
    assert json.loads(again.stdout)["error"]["code"] == "output"


def test_nobody_to_dub(run: Run, clip: ClipFactory, talking: Path, tmp_path: Path) -> None:  # noqa: F811
    done = run("dub", "--json", clip(".mp4", duration_s=2.0), talking, "-o", tmp_path / "no.mp4")
    assert done.exit_code == 3
    record = json.loads(done.stdout)
    assert not record["ok"] and "face" in record["error"]["message"]
    assert not list(tmp_path.glob("*.mp4"))
    assert run("dub", "--start", "2", "--end", "1", talking, talking).exit_code == 2


def test_wrong_usage_is_said_before_any_work(run: Run, talking: Path, tmp_path: Path) -> None:  # noqa: F811
    out = tmp_path / "out.mp4"
    for wrong, said in (
        (("--sheet", tmp_path / "sheet.txt"), "sheet.txt"),
        (("--sheet", talking), "same file"),
        (("--face", "1,2,3"), "no place"),
        (("--face", "left"), "names no face"),
        (("--max-height", "8"), "max-height"),
        (("--adapt", "--engine", "rewrite"), "needs a generator"),
        (("--adapt-steps", "0"), "adapt-steps"),
    ):
        done = run("dub", *wrong, talking, talking, "-o", out)
        assert done.exit_code == 2 and said in done.stderr
    nobody = run("dub", "--json", "--face", "900,900,9,9", talking, talking, "-o", out)
    assert nobody.exit_code == 2
    assert "face 0 at " in json.loads(nobody.stdout)["error"]["hint"]
    assert not list(tmp_path.glob("*.*"))

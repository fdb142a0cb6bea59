"""The contract of `lipsync weights`: streams, exit codes, the user's folder."""

from __future__ import annotations

import json
import logging
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import state_dicts
import torch
from typer.testing import CliRunner, Result

from lipsync_cli import weights
from lipsync_cli.cli import process
from lipsync_cli.cli.main import app
from lipsync_cli.errors import WeightsError
from lipsync_cli.faces import backends
from lipsync_cli.weights import search

Run = Callable[..., Result]

LIGHT = """
import sys
from lipsync_cli.cli.main import app
for args in (["weights", "list"], ["weights", "verify"], ["weights", "import", "--help"]):
    try:
        app(args)
    except SystemExit as end:
        assert not end.code, end.code
print("heavy:", *sorted({"torch", "cv2", "scipy"} & sys.modules.keys()), file=sys.stderr)
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, store: Path) -> Iterator[Run]:
    """Run `lipsync weights ARGS...` in this process, with a store of its own."""
    logger = logging.getLogger("lipsync_cli")
    before = (logger.handlers[:], logger.level, logger.propagate)
    monkeypatch.setenv("LIPSYNC_STORE", str(store))
    monkeypatch.delenv("LIPSYNC_WEIGHTS", raising=False)
    monkeypatch.setattr(process, "set_threads", lambda count: None)
    runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})
    yield lambda *args: runner.invoke(app, ["weights", *map(str, args)], catch_exceptions=False)
    logger.handlers[:], logger.level, logger.propagate = before
    weights.use_store(None)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A small generator, in a file whose name would turn the terminal red."""
    state = {name: torch.ones(shape) for name, shape in state_dicts.wav2lip(width=2).items()}
    torch.save(state, tmp_path / "wav2lip\x1b[31m.pth")
    return tmp_path / "wav2lip\x1b[31m.pth"


def records(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_lists_what_there_is_and_what_there_could_be(run: Run, store: Path) -> None:
    result = run("list")
    assert result.exit_code == 0
    assert all(name in result.stdout for name in ("sync", *weights.PUBLIC, str(store)))
    assert "non-commercial" in result.stdout
    listed = {record["name"]: record for record in records(run("list", "--json"))}
    assert listed["sync"]["own"] and listed["sync"]["present"]
    assert not listed["wav2lip"]["present"]
    keys = ("schema", "file", "ok", "purpose", "licence", "bytes", "sha256", "origin", "remedy")
    assert all(key in record for record in listed.values() for key in keys)


def test_imports_and_says_so(run: Run, store: Path, checkpoint: Path) -> None:
    result = run("import", checkpoint)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Wav2Lip generator, 96 px" in result.stdout
    assert "non-commercial" in result.stdout
    assert "\x1b" not in result.stdout
    (record,) = records(run("import", checkpoint, "--name", "mine", "--json"))
    assert (record["ok"], record["name"], record["size_px"]) == (True, "mine", 96)
    assert record["path"] == str(store / f"mine-{record['source_sha256'][:10]}.pt")
    listed = {each["name"]: each for each in records(run("list", "--json"))}
    assert listed["mine"]["present"] and listed["wav2lip"]["file"].startswith(str(store))


def test_a_wrong_file_is_an_error(run: Run, tmp_path: Path) -> None:
    wrong = tmp_path / "a\x1b[31m.pth"
    wrong.write_bytes(b"<html>")
    result = run("import", wrong)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is a web page" in result.stderr and "\x1b" not in result.stderr
    result = run("import", wrong, "--json")
    (record,) = records(result)
    assert (result.exit_code, record["ok"], record["file"]) == (1, False, str(wrong))
    assert run("import", wrong, "--name", "sync").exit_code == 2


def test_verify_names_the_damaged_file(run: Run, store: Path, checkpoint: Path) -> None:
    run("import", checkpoint)
    assert run("verify").exit_code == 0
    (copy,) = store.glob("*.pt")
    copy.write_bytes(copy.read_bytes()[:-1])
    result = run("verify")
    assert result.exit_code == 1
    assert str(copy) in result.stderr and "expected SHA-256" in result.stderr
    assert "lipsync weights import FILE" in result.stderr
    assert "sync: intact" in result.stdout
    found = records(run("verify", "--json"))
    assert [record["ok"] for record in found].count(False) == 1


def test_fetch_wants_the_terms_accepted(run: Run, store: Path) -> None:
    result = run("fetch", "syncnet_v2")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--yes" in result.stderr and "robots.ox.ac.uk" in result.stderr
    assert run("fetch", "wav2lip", "--yes").exit_code == 1
    assert run("fetch", "wav2lip", "--yes", "--url", "ftp://localhost/a").exit_code == 2
    result = run("fetch", "wav2lip", "--yes", "--json", "--url", "http://127.0.0.1:1/a")
    (record,) = records(result)
    assert (result.exit_code, record["error"]["code"]) == (1, "weights")
    assert "cannot be reached" in record["error"]["message"]
    assert list(store.iterdir()) == []


def test_the_usual_data_folder_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LIPSYNC_STORE", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    home = Path("/home/u")
    monkeypatch.setattr(Path, "home", lambda: home)
    for platform, folder in (
        ("linux", home / ".local" / "share" / "lipsync"),
        ("darwin", home / "Library" / "Application Support" / "lipsync"),
        ("win32", home / "AppData" / "Local" / "lipsync"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "platform", platform)
            assert process.user_store() == folder
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert process.user_store() == home / ".local" / "share" / "lipsync"
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert process.user_store() == Path("/data/lipsync")
    monkeypatch.setenv("LIPSYNC_STORE", "/mine")
    assert process.user_store() == Path("/mine")


def test_the_store_travels_to_every_process(
    run: Run, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("list")
    sent = pickle.dumps(process.Setup())
    monkeypatch.setenv("LIPSYNC_STORE", "/elsewhere")
    weights.use_store(None)
    process.apply(pickle.loads(sent), logging.NullHandler())
    assert search._store == [store]


def test_imported_detectors_are_used(run: Run, store: Path) -> None:
    run("list")
    with pytest.raises(WeightsError) as caught:
        backends.create("sfd")
    assert "lipsync weights fetch s3fd" in (caught.value.hint or "")
    store.mkdir()
    (store / "s3fd.pt").write_bytes(b"not really")
    weights.register(store / "s3fd.pt", name="s3fd", kind="state_dict")
    with pytest.raises(WeightsError, match="is no network") as caught:
        backends.create("sfd")
    assert caught.value.path == str(store / "s3fd.pt")


def test_looking_needs_no_model_libraries() -> None:
    child = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True)
    assert (child.returncode, child.stderr.splitlines()[-1]) == (0, "heavy:")

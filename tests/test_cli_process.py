"""The command as a process of its own: signals, closed pipes, what it imports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import lipsync_cli

# Only a hang takes as long, however busy the machine.
PATIENCE_S = 120
PACKAGE_ROOT = Path(lipsync_cli.__file__).resolve().parents[1]

# A measurement that takes for ever, in place of the real one.
STUCK = """
import sys, time, types
def measure(path, **options):
    print("working", file=sys.stderr, flush=True)
    time.sleep(60)
sys.modules["lipsync_cli.detect"] = types.SimpleNamespace(measure=measure)
from lipsync_cli.cli.main import main
main()
"""

# Jobs that leave a file behind unless they are unwound.
UNWOUND = """
import time
from pathlib import Path
from lipsync_cli.cli import batch, process
from lipsync_cli.cli.report import Report

def job(path, progress):
    path.touch()
    try:
        time.sleep(60)
    finally:
        path.unlink()

if __name__ == "__main__":
    process.unwind_on_sigterm()
    paths = [Path(f"part{i}") for i in range(4)]
    try:
        batch.run(paths, job, lambda value: 0, Report(), batch.Plan(jobs=2))
    except KeyboardInterrupt:
        raise SystemExit(130)
"""

NO_HEAVY_IMPORTS = """
import sys
from lipsync_cli.cli.main import app
try:
    app()
finally:
    print("heavy:", *sorted({"torch", "cv2"} & sys.modules.keys()), file=sys.stderr)
"""

Start = Callable[..., subprocess.Popen[str]]

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and pipes")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `python ARGS...` in an empty folder; what still runs at the end is killed."""
    path = os.pathsep.join([str(PACKAGE_ROOT), os.environ.get("PYTHONPATH", "")])
    with ExitStack() as stack:

        def start(*args: str) -> subprocess.Popen[str]:
            child = subprocess.Popen(
                [sys.executable, *args],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": path},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            stack.enter_context(child)
            stack.callback(child.kill)
            return child

        yield start


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@posix
@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_ends_quietly_when_interrupted(
    start: Start, clip: Callable[..., Path], sent: signal.Signals, code: int
) -> None:
    child = start("-c", STUCK, "detect-offset", "--json", str(clip()))
    assert child.stderr is not None
    assert child.stderr.readline() == "working\n"
    child.send_signal(sent)
    out, err = child.communicate(timeout=PATIENCE_S)
    assert (child.returncode, out) == (code, "")
    assert "Traceback" not in err


@posix
@pytest.mark.parametrize(
    ("send", "code"),
    [
        (lambda child: child.terminate(), 143),
        # A terminal sends Ctrl-C to the workers too.
        (lambda child: os.killpg(child.pid, signal.SIGINT), 130),
    ],
    ids=["SIGTERM", "Ctrl-C"],
)
def test_workers_clean_up_when_interrupted(
    start: Start, tmp_path: Path, send: Callable[[subprocess.Popen[str]], None], code: int
) -> None:
    (tmp_path / "unwound.py").write_text(UNWOUND)
    child = start("unwound.py")
    wait_for(lambda: len(list(tmp_path.glob("part*"))) == 2)
    send(child)
    _, err = child.communicate(timeout=PATIENCE_S)
    assert (child.returncode, err) == (code, "")
    assert list(tmp_path.glob("part*")) == []


@posix
def test_a_closed_pipe_is_quiet(start: Start) -> None:
    missing = [f"{i}.mp4" for i in range(2000)]
    child = start("-m", "lipsync_cli", "fix-sync", "--offset", "9", "--json", *missing)
    assert child.stdout is not None
    assert '"not_found"' in child.stdout.readline()
    child.stdout.close()
    child.stdout = None
    _, err = child.communicate(timeout=PATIENCE_S)
    assert (child.returncode, err) == (141, "")


@pytest.mark.parametrize(
    "args",
    [("--help",), ("detect-offset", "--help"), ("fix-sync", "--offset", "40", "clip.mp4")],
    ids=["help", "help of a command", "repair by a given offset"],
)
def test_loads_no_model_libraries(
    start: Start, clip: Callable[..., Path], tmp_path: Path, args: tuple[str, ...]
) -> None:
    (tmp_path / "clip.mp4").write_bytes(clip().read_bytes())
    child = start("-c", NO_HEAVY_IMPORTS, *args)
    _, err = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 0
    assert err.splitlines()[-1] == "heavy:"


def test_help_loads_only_what_it_shows(start: Start) -> None:
    unused = {"lipsync_cli.results", "lipsync_cli.score", "multiprocessing", "numpy"}
    code = NO_HEAVY_IMPORTS.replace('{"torch", "cv2"}', repr(unused | {"rich.progress"}))
    child = start("-c", code, "--help")
    out, err = child.communicate(timeout=PATIENCE_S)
    assert "detect-offset" in out
    assert err.splitlines()[-1] == "heavy:"

"""Files appear complete or not at all, whatever ends the writing."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lipsync_cli.errors import OutputError
from lipsync_cli.media.output import TERMINATED, atomic

posix_only = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and users")


def test_target_appears_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "film.mp4"
    with atomic(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name == f".film.{os.getpid()}.part.mp4"
        temporary.write_bytes(b"film")
        assert not target.exists()
    assert target.read_bytes() == b"film"
    assert os.listdir(tmp_path) == ["film.mp4"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_when_writing_fails(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), atomic(tmp_path / "film.mp4") as temporary:
        temporary.write_bytes(b"half a film")
        raise error
    assert os.listdir(tmp_path) == []


def test_existing_target(tmp_path: Path) -> None:
    target = tmp_path / "film.mp4"
    target.write_bytes(b"old")
    with pytest.raises(OutputError, match="exists already"), atomic(target):
        raise AssertionError("must be refused before any work")
    with pytest.raises(ValueError, match="half-way"), atomic(target, overwrite=True) as temporary:
        temporary.write_bytes(b"new")
        raise ValueError("half-way")
    assert target.read_bytes() == b"old"
    with atomic(target, overwrite=True) as temporary:
        temporary.write_bytes(b"new")
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["film.mp4"]


def test_target_that_appears_meanwhile_is_not_lost(tmp_path: Path) -> None:
    target = tmp_path / "film.mp4"
    with pytest.raises(OutputError, match="exists already"), atomic(target) as temporary:
        temporary.write_bytes(b"ours")
        target.write_bytes(b"theirs")
    assert target.read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["film.mp4"]


def test_impossible_targets(tmp_path: Path) -> None:
    for target, words in (
        (tmp_path, "is a folder"),
        (tmp_path / "missing" / "film.mp4", "folder does not exist"),
        (Path(os.devnull), "not a regular file"),
    ):
        with pytest.raises(OutputError, match=words), atomic(target, overwrite=True):
            raise AssertionError("must be refused before any work")
    assert os.listdir(tmp_path) == []


@posix_only
def test_read_only_folder() -> None:
    # Root may write everywhere, so the test becomes somebody else for a moment.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        refused = pytest.raises(OutputError, match="Permission denied")
        with ordinary_user(), refused, atomic(Path(folder, "film.mp4")):
            raise AssertionError("must be refused before any work")
        assert os.listdir(folder) == []
        os.chmod(folder, 0o755)


def test_long_names(tmp_path: Path) -> None:
    target = tmp_path / f"{'ü' * 125}.mp4"
    with atomic(target) as temporary:
        temporary.write_bytes(b"film")
    assert target.read_bytes() == b"film"


@posix_only
def test_permissions_and_links_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "real.mp4", tmp_path / "link.mp4"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link.symlink_to(real)
    with atomic(link, overwrite=True) as temporary:
        temporary.write_bytes(b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_disk_names_file_and_remedy(tmp_path: Path, code: int) -> None:
    with pytest.raises(OutputError) as caught, atomic(tmp_path / "film.mp4") as temporary:
        temporary.write_bytes(b"half a film")
        raise OSError(code, os.strerror(code))
    assert str(tmp_path / "film.mp4") in str(caught.value)
    assert "free some space" in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_other_errors_of_the_system_pass(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError), atomic(tmp_path / "film.mp4"):
        raise TimeoutError(errno.ETIMEDOUT, "slow")


@posix_only
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, TERMINATED), (signal.SIGINT, -signal.SIGINT)]
)
def test_signals_leave_nothing(tmp_path: Path, number: signal.Signals, code: int) -> None:
    script = (
        "import sys, time\n"
        "from lipsync_cli.media.output import atomic\n"
        "with atomic(sys.argv[1]) as temporary:\n"
        "    temporary.write_bytes(b'half a film')\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "film.mp4")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        assert len(os.listdir(tmp_path)) == 1
        process.send_signal(number)
    assert process.returncode == code
    assert os.listdir(tmp_path) == []


def test_signal_handler_is_put_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with atomic(tmp_path / "film.mp4") as temporary:
        assert signal.getsignal(signal.SIGTERM) is not before
        temporary.write_bytes(b"film")
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_can_write(tmp_path: Path) -> None:
    def write() -> None:
        with atomic(tmp_path / "film.mp4") as temporary:
            temporary.write_bytes(b"film")

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    assert (tmp_path / "film.mp4").read_bytes() == b"film"


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Drop root's rights for a moment; nothing to drop for anybody else."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)

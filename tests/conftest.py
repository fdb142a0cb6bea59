"""Fixtures that make clips, once per set of arguments and session."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from synth import make_clip

ClipFactory = Callable[..., Path]


def pytest_configure(config: pytest.Config) -> None:
    # Started in the background, a shell has Ctrl-C ignored, and programs under test inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not any(line.startswith("real") for line in config.getini("markers")):
        config.addinivalue_line("markers", "real: needs the real clips in ../shared")


@pytest.fixture(autouse=True)
def _single_thread() -> None:
    # Only for tests that use torch: importing it here would slow down all the others.
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_user_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # What a developer has imported must not decide a test.
    monkeypatch.setenv("LIPSYNC_STORE", str(tmp_path / "no store"))
    monkeypatch.setenv("LIPSYNC_CACHE", str(tmp_path / "no cache"))


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ClipFactory:
    """`clip(suffix=".mp4", **fields)` -> path of a shared, read-only beep-and-flash clip."""
    folder = tmp_path_factory.mktemp("clips")
    made: dict[str, Path] = {}

    def make(suffix: str = ".mp4", **fields: Any) -> Path:
        key = repr((suffix, sorted(fields.items())))
        if key not in made:
            made[key] = make_clip(folder / f"clip{len(made)}{suffix}", **fields)
        return made[key]

    return make


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real clips beside the repository; skips where it is absent."""
    folder = Path(__file__).resolve().parents[1].parent / "shared"
    if not (folder / "clips").is_dir():
        pytest.skip("the real clips of ../shared are not on this machine")
    return folder

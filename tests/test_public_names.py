"""The public names of the package: complete, sorted, cheap to import."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import lipsync_cli

PACKAGE_ROOT = Path(lipsync_cli.__file__).resolve().parents[1]


def test_are_sorted_and_complete() -> None:
    names = lipsync_cli.__all__
    assert names == sorted(names)
    assert dir(lipsync_cli) == names
    assert set(names) == {"__version__", *lipsync_cli._HOME_OF}


@pytest.mark.parametrize("name", [n for n in lipsync_cli.__all__ if n != "__version__"])
def test_can_be_imported(name: str) -> None:
    assert getattr(lipsync_cli, name).__name__ == name


def test_unknown_names_fail_as_usual() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = lipsync_cli.nonsense


def test_version_is_that_of_the_installation() -> None:
    try:
        installed = importlib.metadata.version("lipsync")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("runs from a source checkout that is not installed")
    assert installed == lipsync_cli.__version__


def test_the_package_imports_nothing_heavy() -> None:
    code = "import sys, lipsync_cli; print({'av', 'cv2', 'numpy', 'torch'} & sys.modules.keys())"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=PACKAGE_ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout == "set()\n"


def test_measuring_is_imported_without_the_seconds_that_torch_takes() -> None:
    """Pictures are decoded while it loads."""
    code = "import sys, lipsync_cli.detect; print({'torch', 'scipy', 'cv2'} & sys.modules.keys())"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=PACKAGE_ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout == "set()\n"

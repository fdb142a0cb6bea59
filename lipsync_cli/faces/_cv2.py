"""OpenCV, loaded when first needed, with a remedy where it cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from lipsync_cli.errors import DependencyError


def load_cv2() -> ModuleType:
    """Import OpenCV.

    Raises:
        DependencyError: it is missing, or a system library that it needs is.
    """
    try:
        import cv2
    except ImportError as error:
        raise DependencyError(_what(error), hint=_remedy(error)) from error
    return cv2


def _what(error: ImportError) -> str:
    return f"OpenCV, which finds the faces, cannot be loaded: {error}"


def _remedy(error: ImportError) -> str:
    if "libGL" in str(error):
        return "apt install libgl1"
    if "libgthread" in str(error) or "libglib" in str(error):
        return "apt install libglib2.0-0"
    return "pip install --force-reinstall opencv-python-headless"


@contextmanager
def quiet_cv2() -> Iterator[None]:
    """Hold back OpenCV's warnings while a network is loaded; its errors still show."""
    logging = load_cv2().utils.logging
    before = logging.setLogLevel(logging.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        logging.setLogLevel(before)

"""Where the models run, and how much they are given at once."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from lipsync_cli.errors import LipsyncError, UsageError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

_NAME = re.compile(r"auto|cpu|cuda(:\d+)?")


def check_name(name: str) -> str:
    """Return a device name if it is well-formed, without importing torch.

    Raises:
        UsageError: it is none of auto, cpu, cuda, cuda:N.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no device", hint="use auto, cpu, cuda or cuda:0")
    return name


def choose(name: str = "auto") -> torch.device:
    """Turn "auto", "cpu", "cuda" or "cuda:N" into a device that exists.

    Raises:
        UsageError: the name is malformed, or this machine has no such device.
    """
    import torch

    if check_name(name) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"this machine has no device {name!r}", hint="use --device cpu")
    return device


def halve_on_oom(run: Callable[[int], T], batch: int) -> tuple[T, int]:
    """Call `run(batch)`, halving the batch for as long as memory runs out.

    Returns:
        What `run` returned, and the batch that fitted, to go on with.

    Raises:
        LipsyncError: not even a batch of one fits.
    """
    while True:
        try:
            return run(batch), batch
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            if batch <= 1:
                raise LipsyncError(
                    "out of memory even one item at a time", hint="use --device cpu"
                ) from error
        # Outside the handler: the exception's frames keep tensors alive.
        batch //= 2
        _release()


def _out_of_memory(error: MemoryError | RuntimeError) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # The CPU allocator of torch has no exception class of its own.
    return "can't allocate memory" in str(error) or "out of memory" in str(error)


def _release() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()

"""Jobs that workers of a cluster can import."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from lipsync_cli.errors import UnreadableMedia


def troublesome(path: Path, progress: object) -> str:
    """Do what the name of the file says; leaves a mark so that it happens only once."""
    mark = path.with_suffix(".mark")
    first = not mark.exists()
    if path.stem in ("dies", "full"):
        mark.touch()
    if path.stem == "dies" and first:
        os.kill(os.getpid(), signal.SIGKILL)
    if path.stem == "full" and first:
        raise OSError(28, "No space left on device")
    if path.stem == "bad":
        with path.with_suffix(".tries").open("a") as tries:
            tries.write("x")
        raise UnreadableMedia("is damaged", path=path, hint="copy it again")
    return f"{path} done"

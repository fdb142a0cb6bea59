"""A process that does everything to files whose names it is told, and says how each ended.

One JSON object a line goes in ({"file", "folder", "measure"}) and one comes out; whoever started
it watches the clock, because what hangs cannot tell.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from lipsync_cli.errors import LipsyncError
from lipsync_cli.fix import fix_sync, plan_fix
from lipsync_cli.media.probe import probe
from lipsync_cli.media.reader import read

OFFSET_MS = 120.0


def serve(memory_bytes: int) -> None:
    """Work until there are no more names."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    # Answers alone go to stdout, whatever a library prints.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line))) + "\n")
        answers.flush()


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """How each step with one file ended: "ok", the code of an error, or a traceback."""
    path, folder = Path(asked["file"]), Path(asked["folder"])
    before = path.read_bytes()
    start_s = time.monotonic()
    ends = {name: _end(step, path, folder) for name, step in _steps(asked).items()}
    problems = [f"{name}: {end}" for name, end in ends.items() if end.startswith("Traceback")]
    if path.read_bytes() != before:
        problems.append("the original was changed")
    problems += [f"left behind: {name}" for name in os.listdir(folder)]
    return {
        "ends": ends,
        "problems": problems,
        "seconds": round(time.monotonic() - start_s, 3),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _steps(asked: dict[str, Any]) -> dict[str, Callable[[Path, Path], object]]:
    steps: dict[str, Callable[[Path, Path], object]] = {
        "probe": lambda path, _: probe(path),
        "decode": lambda path, _: _decode(path),
        "window": lambda path, _: _decode(path, (0.4, 0.8)),
        "plan": lambda path, _: plan_fix(path, OFFSET_MS),
        "timestamps": lambda path, folder: _fix(path, folder, "auto"),
        "samples": lambda path, folder: _fix(path, folder, "samples"),
    }
    if asked.get("measure"):
        steps["measure"] = _measure
    return steps


def _end(step: Callable[[Path, Path], object], path: Path, folder: Path) -> str:
    try:
        step(path, folder)
    except LipsyncError as error:
        return error.code
    except Exception:
        return traceback.format_exc()
    return "ok"


def _decode(path: Path, span_s: tuple[float, float] | None = None) -> None:
    with closing(read(path, span_s=span_s)) as items:
        for _ in items:
            pass


def _fix(path: Path, folder: Path, method: Any) -> None:
    target = folder / f"fixed{path.suffix}"
    fix_sync(path, output=target, offset_ms=OFFSET_MS, method=method)
    # Only now there may be a result, and then it must be complete.
    probe(target)
    target.unlink()


def _measure(path: Path, folder: Path) -> None:
    import torch

    from lipsync_cli.detect import measure

    torch.set_num_threads(1)
    measure(path)


if __name__ == "__main__":
    serve(int(sys.argv[1]))

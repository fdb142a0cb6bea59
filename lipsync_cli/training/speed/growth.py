"""Whole commands in processes of their own: time, memory, and how both grow."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lipsync_cli.training.speed.media import Material
from lipsync_cli.training.speed.raw import decode_only

# A process of its own, because a child's peak memory begins with that of its parent.
_LAUNCHER = """
import json, os, subprocess, sys, time
start = time.perf_counter()
quiet = subprocess.DEVNULL
child = subprocess.Popen(
    [sys.executable, "-m", "lipsync_cli", *sys.argv[1:]], stdout=quiet, stderr=quiet
)
_, status, usage = os.wait4(child.pid, 0)
wall = time.perf_counter() - start
cpu = usage.ru_utime + usage.ru_stime
print(json.dumps([os.waitstatus_to_exitcode(status), cpu, wall, usage.ru_maxrss]))
"""


@dataclass(frozen=True)
class CommandCost:
    """What one run of the command took, its start included.

    Attributes:
        cpu_s: of the process and all its threads.
        peak_mb: most memory that was resident; of the largest process where there are several.
        decode_wall_s: decoding the same pictures and nothing else; None for no media.
        times_real_time: seconds of programme for each second.
    """

    name: str
    code: int
    cpu_s: float
    wall_s: float
    peak_mb: float
    decode_wall_s: float | None = None
    times_real_time: float | None = None


def command_cost(name: str, arguments: Sequence[str]) -> CommandCost:
    """Run `lipsync ARGUMENTS` and say what it took."""
    command = [sys.executable, "-c", _LAUNCHER, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    code, cpu_s, wall_s, peak = json.loads(done.stdout)
    kilobytes = peak / (1024 if sys.platform == "darwin" else 1)
    return CommandCost(name, int(code), cpu_s, wall_s, kilobytes / 1024)


def detect_cost(path: Path, material: Material, name: str) -> CommandCost:
    """`detect-offset` on one file, beside decoding it."""
    start_s = time.perf_counter()
    decode_only(path)
    decode_s = time.perf_counter() - start_s
    cost = command_cost(name, ["detect-offset", "--json", str(path)])
    seconds = material.loops * 5.12
    return CommandCost(
        *(cost.name, cost.code, cost.cpu_s, cost.wall_s, cost.peak_mb),
        decode_wall_s=decode_s,
        times_real_time=seconds / cost.wall_s,
    )


def start_costs(path: Path, target: Path) -> list[CommandCost]:
    """What it takes before any work is done: help, and a repair by a given offset."""
    repair = ["fix-sync", "--offset", "120", "--overwrite", "-o", str(target), str(path)]
    return [
        command_cost("lipsync --help", ["--help"]),
        command_cost("lipsync detect-offset --help", ["detect-offset", "--help"]),
        command_cost("lipsync fix-sync --offset 120", repair),
    ]

"""Damaged files, one after the other, in a process whose time and memory are watched."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lipsync_cli.training.faults.media import mutate, seed_media

# A sound file of this size takes a second; ten times the slowest that was ever seen.
PATIENCE_S = 60.0
_ADDRESS_SPACE = 6 << 30
MOST_MB = 1500
# Every so manyth file is measured too, which takes longer than all the rest.
_MEASURE_EVERY = 12


@dataclass
class Findings:
    """What was tried, and what should not have happened.

    Attributes:
        tried: files by kind of damage.
        ends: how each step ended, as in "decode: unreadable".
        problems: tracebacks, hangs, changed originals and files left behind, with the seed.
        slowest_s, peak_mb: of one file, and of the whole process.
    """

    tried: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    peak_mb: int = 0

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "files": self.tried.total(),
            "tried": dict(sorted(self.tried.items())),
            "ends": dict(sorted(self.ends.items())),
            "problems": self.problems,
            "slowest_s": self.slowest_s,
            "peak_mb": self.peak_mb,
        }


def fuzz(first_seed: int, goes_on: Callable[[int], bool]) -> Findings:
    """Try damaged files for as long as `goes_on(number of files)` says so."""
    findings = Findings()
    with tempfile.TemporaryDirectory() as temporary, _Worker() as worker:
        folder = Path(temporary)
        seeds = [(path.suffix, path.read_bytes()) for path in seed_media(folder)]
        count = 0
        while goes_on(count):
            seed = first_seed + count
            suffix, data = seeds[seed % len(seeds)]
            kind, damaged = mutate(data, seed)
            findings.tried[kind] += 1
            _try(worker, findings, folder, f"seed {seed}{suffix} {kind}", suffix, damaged, seed)
            count += 1
    return findings


def _try(
    worker: _Worker,
    findings: Findings,
    folder: Path,
    label: str,
    suffix: str,
    damaged: bytes,
    seed: int,
) -> None:
    source = folder / "damaged" / f"file{suffix}"
    results = folder / "results"
    for each in (source.parent, results):
        each.mkdir(exist_ok=True)
    source.write_bytes(damaged)
    told = worker.ask(
        {
            "file": str(source),
            "folder": str(results),
            "measure": seed % _MEASURE_EVERY == 0,
        }
    )
    for each in (*source.parent.iterdir(), *results.iterdir()):
        each.unlink()
    if told is None:
        findings.problems.append(f"{label}: hangs or kills the process")
        return
    findings.problems += [f"{label}: {problem}" for problem in told["problems"]]
    findings.ends.update(f"{step}: {end.split()[0]}" for step, end in told["ends"].items())
    findings.slowest_s = max(findings.slowest_s, told["seconds"])
    findings.peak_mb = max(findings.peak_mb, told["peak_mb"])


class _Worker:
    """The process that does the work; a new one where it has hung or died."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def ask(self, question: dict[str, Any]) -> dict[str, Any] | None:
        """Its answer; None where none came in time."""
        child = self._running()
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps(question) + "\n")
            child.stdin.flush()
            ready, _, _ = select.select([child.stdout], [], [], PATIENCE_S)
            line = child.stdout.readline() if ready else ""
        except BrokenPipeError:
            line = ""
        if not line:
            self._end()
            return None
        answer: dict[str, Any] = json.loads(line)
        if answer["peak_mb"] > MOST_MB:
            answer["problems"].append(f"took {answer['peak_mb']} MB")
            self._end()
        return answer

    def _running(self) -> subprocess.Popen[str]:
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "lipsync_cli.training.faults.worker", str(_ADDRESS_SPACE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        return self._child

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

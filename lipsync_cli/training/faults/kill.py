"""Runs of the command that are stopped, run out of disk or lose their folder half-way."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE_S = 120.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
# What the command may return when it is stopped: by itself, or killed.
_STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}
# Python itself, before the command has taken the signal over.
_EARLY = {signal.SIGINT: -2, signal.SIGTERM: -15, signal.SIGKILL: -9}


@dataclass
class Outcomes:
    """What was tried, how it ended, and what should not have happened."""

    tried: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "runs": self.tried.total(),
            "tried": dict(sorted(self.tried.items())),
            "ends": dict(sorted(self.ends.items())),
            "problems": self.problems,
        }


@dataclass(frozen=True)
class Job:
    """A command that writes one file, the same whenever it is run.

    Attributes:
        files: what it reads, copied into the folder in which it runs.
        arguments: of `lipsync`; names are relative to that folder.
        output: the file it writes; the first of `files` where it works in place.
    """

    name: str
    files: tuple[Path, ...]
    arguments: tuple[str, ...]
    output: str


class Trial:
    """One job again and again, each time in a folder of its own."""

    def __init__(self, job: Job, outcomes: Outcomes) -> None:
        self.job, self.outcomes = job, outcomes
        with tempfile.TemporaryDirectory() as temporary:
            folder = self._folder(temporary)
            start_s = time.monotonic()
            done = self._start(folder)
            _, err = done.communicate()
            self.duration_s = time.monotonic() - start_s
            if done.returncode != 0:
                raise RuntimeError(f"{job.name} does not work at all: {err.decode()}")
            self.whole = _digests(folder)
            self.size = (folder / job.output).stat().st_size
        self.originals = {path.name: _digest(path) for path in job.files}

    def kill(self, sent: signal.Signals, after_s: float) -> None:
        """Send a signal so many seconds after the start; where it kills, start once more."""
        with tempfile.TemporaryDirectory() as temporary:
            folder = self._folder(temporary)
            child = self._start(folder)
            time.sleep(after_s)
            child.send_signal(sent)
            _, err = child.communicate(timeout=PATIENCE_S)
            label = f"{self.job.name}, {sent.name} after {after_s:.2f} s"
            expected = (0, _STOPPED[sent], _EARLY[sent])
            self._judge(label, folder, child.returncode, err, expected)
            if sent == signal.SIGKILL:
                self._again(label, folder)

    def fill_disk(self, most_bytes: int) -> None:
        """Let no file grow beyond a size, as on a disk that is full."""

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

        with tempfile.TemporaryDirectory() as temporary:
            folder = self._folder(temporary)
            child = self._start(folder, limit)
            _, err = child.communicate(timeout=PATIENCE_S)
            label = f"{self.job.name}, disk full at {most_bytes} bytes"
            self._judge(label, folder, child.returncode, err, (0, 1))

    def remove_folder(self, after_s: float) -> None:
        """Take the folder away while the command works in it."""
        with tempfile.TemporaryDirectory() as temporary:
            folder = self._folder(temporary)
            moved = folder.with_name("moved")
            child = self._start(folder)
            time.sleep(after_s)
            folder.rename(moved)
            _, err = child.communicate(timeout=PATIENCE_S)
            label = f"{self.job.name}, folder renamed after {after_s:.2f} s"
            self._judge(label, moved, child.returncode, err, (0, 1))

    def _folder(self, temporary: str) -> Path:
        folder = Path(temporary, "work")
        folder.mkdir()
        for path in self.job.files:
            shutil.copy(path, folder)
        return folder

    def _start(
        self, folder: Path, limit: Callable[[], None] | None = None
    ) -> subprocess.Popen[bytes]:
        def before() -> None:
            # A shell lets what it runs in the background ignore Ctrl-C, and so its children.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if limit is not None:
                limit()

        return subprocess.Popen(
            [sys.executable, "-m", "lipsync_cli", *self.job.arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            preexec_fn=before,
        )

    def _judge(
        self, label: str, folder: Path, code: int, err: bytes, expected: Sequence[int]
    ) -> None:
        """Nothing is lost, nothing half-written, nothing left, and nobody sees a traceback."""
        found = _digests(folder)
        self.outcomes.tried[label.split(" after ")[0].split(" at ")[0]] += 1
        self.outcomes.ends[f"exit {code}"] += 1
        problems = []
        if code not in expected:
            problems.append(f"ended with {code}: {err.decode(errors='replace')[-200:]}")
        if b"Traceback" in err and code not in _EARLY.values():
            problems.append(f"traceback: {err.decode(errors='replace')[-400:]}")
        if code != -signal.SIGKILL:
            extra = found.keys() - self.whole.keys()
            problems += [f"left behind: {name}" for name in extra]
        problems += self._damaged(found)
        self.outcomes.problems += [f"{label}: {problem}" for problem in problems]

    def _damaged(self, found: dict[str, str]) -> list[str]:
        problems = []
        for name, original in self.originals.items():
            if found.get(name) not in (original, self.whole[name]):
                problems.append(f"original lost: {name}")
        output = found.get(self.job.output)
        known = (self.whole[self.job.output], self.originals.get(self.job.output))
        if output is not None and output not in known:
            problems.append(f"partial output: {self.job.output}")
        return problems

    def _again(self, label: str, folder: Path) -> None:
        """What a killed run left behind is gone after the next one, which succeeds."""
        left = len(_digests(folder).keys() - self.whole.keys())
        self.outcomes.ends[f"files left by a kill: {left}"] += 1
        if self.job.output in os.listdir(folder) and self.job.output not in self.originals:
            (folder / self.job.output).unlink()
        if _digests(folder).get(self.job.output) == self.whole[self.job.output]:
            # In place, and it was done: a second repair would be another one.
            return
        child = self._start(folder)
        _, err = child.communicate(timeout=PATIENCE_S)
        if child.returncode != 0 or _digests(folder) != self.whole:
            names = ", ".join(sorted(os.listdir(folder)))
            self.outcomes.problems.append(
                f"{label}: the next run ended with {child.returncode} and left {names}:"
                f" {err.decode(errors='replace')[-200:]}"
            )


def stop_at_random(
    jobs: Sequence[Job], seed: int, goes_on: Callable[[int], bool], outcomes: Outcomes
) -> None:
    """Stop the jobs in every way, at random times, for as long as `goes_on(runs)` says so."""
    chance = random.Random(seed)
    trials: list[Trial] = []
    count = 0
    while goes_on(count):
        if len(trials) < len(jobs):
            trials.append(Trial(jobs[len(trials)], outcomes))
        trial = trials[count % len(trials)]
        moment_s = chance.uniform(0.0, 1.05 * trial.duration_s)
        way = chance.choice((*SIGNALS, "disk", "folder"))
        if way == "disk":
            trial.fill_disk(chance.randrange(1, trial.size))
        elif way == "folder":
            trial.remove_folder(moment_s)
        else:
            assert isinstance(way, signal.Signals)
            trial.kill(way, moment_s)
        count += 1


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: _digest(path) for path in folder.iterdir()}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

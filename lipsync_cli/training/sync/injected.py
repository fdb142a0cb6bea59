"""The whole product on files: shift the sound by a known amount, measure the change."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lipsync_cli.detect import detect_offset
from lipsync_cli.errors import LipsyncError
from lipsync_cli.fix import fix_sync

MAX_SHIFT_MS = 600.0


@dataclass(frozen=True)
class Injected:
    """One file, measured as it is and with its sound shifted.

    Attributes:
        injected_ms: offset that was added (> 0 audio early).
        before_ms, after_ms: what was measured; None where it could not tell.
    """

    file: str
    duration_s: float
    injected_ms: float
    before_ms: float | None
    after_ms: float | None

    @property
    def error_ms(self) -> float | None:
        """Measured change minus injected change."""
        if self.before_ms is None or self.after_ms is None:
            return None
        return self.after_ms - self.before_ms - self.injected_ms


def injected_shifts(
    files: Sequence[Path], *, seed: int = 0, log: Callable[[str], None] | None = None
) -> list[Injected]:
    """Remux each file with its sound shifted by up to 600 ms, and detect in both."""
    rng = np.random.default_rng(seed)
    found = []
    for path in files:
        shift = round(float(rng.uniform(-MAX_SHIFT_MS, MAX_SHIFT_MS)), 1)
        try:
            found.append(_measure(path, shift))
        except LipsyncError as error:
            if log:
                log(str(error))
            continue
        if log:
            log(f"{path.name}: injected {shift:+.1f} ms, error {found[-1].error_ms}")
    return found


def _measure(path: Path, shift_ms: float) -> Injected:
    before = detect_offset(path)
    with tempfile.TemporaryDirectory() as folder:
        # Containers whose sound cannot be moved by timestamps are measured in Matroska.
        suffix = path.suffix if path.suffix in (".mp4", ".mov", ".mkv", ".webm") else ".mkv"
        # A repair by -shift makes the sound early by shift.
        shifted = Path(folder) / f"shifted{suffix}"
        fix_sync(path, output=shifted, offset_ms=-shift_ms)
        after = detect_offset(shifted)
    return Injected(
        path.name, before.duration_s or 0.0, shift_ms, before.offset_ms, after.offset_ms
    )


def summary(found: Sequence[Injected]) -> dict[str, float]:
    """Shares and medians over files that could be measured both times, and how many could not."""
    errors = np.abs([f.error_ms for f in found if f.error_ms is not None])
    return {
        "files": float(len(found)),
        "measured": float(len(errors)),
        "within_40_ms": float((errors <= 40).mean()) if len(errors) else float("nan"),
        "median_error_ms": float(np.median(errors)) if len(errors) else float("nan"),
        "worst_ms": float(errors.max()) if len(errors) else float("nan"),
    }

"""demo: the whole way on a clip whose error is known, because it was put in on purpose."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import av
import numpy as np

from lipsync_cli.errors import OutputError
from lipsync_cli.fix import default_output, fix_sync
from lipsync_cli.media.output import atomic
from lipsync_cli.progress import Progress, part_of
from lipsync_cli.results import SCHEMA_VERSION, FixResult, OffsetResult

DURATION_S = 12.0
_SIZE = 640  # pixels
MADE_BY = "lipsync demo"  # comment in the file by which a later demo knows its own
_CLIP, _PICTURE = "talking.mp4", "evidence.png"
# Shares of the work at which rendering and measuring are done.
_RENDERED, _MEASURED = 0.5, 0.75


@dataclass(frozen=True)
class DemoResult:
    """What the demo put in, what it found, and what was left after the repair.

    Attributes:
        clip, fixed, picture: the files that were left.
        duration_s: length of the clip.
        injected_ms: the error put in; > 0 audio early.
        measured_ms, interval_ms, probability: what was found.
        residual_ms, residual_interval_ms: the same, measured again after the repair.
        applied_ms: shift found by reopening the repaired file.
        seconds: wall time of rendering, of measuring, and of repairing with its check.
    """

    clip: str
    fixed: str
    picture: str
    seed: int
    duration_s: float
    injected_ms: float
    measured_ms: float | None
    interval_ms: tuple[float, float] | None
    probability: float
    residual_ms: float | None
    residual_interval_ms: tuple[float, float] | None
    applied_ms: float | None
    seconds: tuple[float, float, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record; keys are only ever added."""
        return {"schema": SCHEMA_VERSION, "ok": True, **asdict(self)}


def run_demo(
    folder: str | Path,
    *,
    seed: int = 0,
    error_ms: float | None = None,
    progress: Progress | None = None,
) -> DemoResult:
    """Render a talking face with a known error, measure it, repair it and measure again.

    Args:
        folder: made where it is missing; holds talking.mp4, talking.synced.mp4 and
            evidence.png afterwards. Those of an earlier demo are replaced.
        seed: makes another clip, with another error.
        error_ms: the error to put in, > 0 audio early; None takes one from the seed.
        progress: told the share that is done, 0 to 1.

    Raises:
        OutputError: the folder cannot be written to, or holds other files of these names.
        DependencyError, WeightsError: the tool is not complete.
        NotTrustworthy: the error was not found surely enough to be repaired.
    """
    clip, picture = _prepare(Path(folder))
    injected_ms = error_ms if error_ms is not None else error_of(seed)
    laps = [perf_counter()]
    _render(clip, injected_ms, seed, part_of(progress, 0.0, _RENDERED))
    laps.append(perf_counter())
    found = _measure(clip, picture, part_of(progress, _RENDERED, _MEASURED))
    laps.append(perf_counter())
    fixed = _repair(clip, found, part_of(progress, _MEASURED, 1.0))
    laps.append(perf_counter())
    return DemoResult(
        clip=str(clip),
        fixed=fixed.output or str(clip),
        picture=str(picture),
        seed=seed,
        duration_s=DURATION_S,
        injected_ms=injected_ms,
        measured_ms=found.offset_ms,
        interval_ms=found.interval_ms,
        probability=found.probability,
        residual_ms=fixed.residual_ms,
        residual_interval_ms=fixed.residual_interval_ms,
        applied_ms=fixed.applied_ms,
        seconds=(laps[1] - laps[0], laps[2] - laps[1], laps[3] - laps[2]),
    )


def _repair(clip: Path, found: OffsetResult, progress: Progress | None) -> FixResult:
    fixed = fix_sync(clip, measured=found, overwrite=True, verify=True, progress=progress)
    if progress is not None:
        progress(1.0)
    return fixed


def error_of(seed: int) -> float:
    """The error that belongs to a seed: 120 to 200 ms, early or late."""
    rng = np.random.default_rng([seed, 7])
    return float(rng.choice([-1, 1]) * rng.integers(120, 201))


def _prepare(folder: Path) -> tuple[Path, Path]:
    """Make the folder and see that nothing of anybody else's is replaced."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot be made: {error.strerror}", path=folder, hint="name another folder"
        ) from error
    clip, picture = folder / _CLIP, folder / _PICTURE
    present = [path for path in (clip, default_output(clip), picture) if path.exists()]
    if present and not _ours(clip):
        raise OutputError(
            "exists already and was not made by the demo",
            path=present[0],
            hint="name another folder",
        )
    return clip, picture


def _ours(clip: Path) -> bool:
    """Whether an earlier demo rendered this file; the file says so."""
    try:
        with av.open(str(clip)) as container:
            return container.metadata.get("comment") == MADE_BY
    except (OSError, av.FFmpegError):
        return False


def _render(clip: Path, injected_ms: float, seed: int, progress: Progress | None) -> None:
    from lipsync_cli.faces._cv2 import load_cv2

    # Says what to install where OpenCV cannot be loaded.
    load_cv2()
    from lipsync_cli.render import render_clip

    with atomic(clip, overwrite=True) as temporary:
        render_clip(
            temporary,
            duration_s=DURATION_S,
            size=_SIZE,
            audio_offset_ms=injected_ms,
            seed=seed,
            comment=MADE_BY,
            progress=progress,
        )


def _measure(clip: Path, picture: Path, progress: Progress | None) -> OffsetResult:
    # The heavy half of the tool, which `lipsync --help` does without.
    from lipsync_cli.detect import measure
    from lipsync_cli.plot import save_evidence

    measurement = measure(clip, evidence=True, progress=progress)
    save_evidence(measurement, picture)
    return measurement.result

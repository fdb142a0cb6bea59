"""Measure, repair and score the sync of voice and lips in talking-head clips, and dub them.

Names load on first use, so that `import lipsync_cli` stays cheap:

    >>> from lipsync_cli import detect_offset, dub_video, fix_sync, score_file
    >>> detect_offset("clip.mp4").offset_ms      # > 0: the audio is early
    >>> fix_sync("clip.mp4", offset_ms=120.0)    # needs no model
    >>> score_file("clip.mp4").probability_in_sync
    >>> dub_video("clip.mp4", "speech.wav").follows
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lipsync_cli.demo import DemoResult, run_demo
    from lipsync_cli.detect import Evidence, Measurement, detect_offset, measure
    from lipsync_cli.dub import DubOptions, dub_video
    from lipsync_cli.errors import (
        DependencyError,
        InputError,
        LipsyncError,
        MediaNotFound,
        MissingStream,
        NotTrustworthy,
        OutputError,
        UnreadableMedia,
        UsageError,
        WeightsError,
    )
    from lipsync_cli.fix import MeasureOptions, fix_sync, plan_fix
    from lipsync_cli.markers import export_markers
    from lipsync_cli.media.probe import MediaInfo, StreamInfo, probe
    from lipsync_cli.results import (
        DubResult,
        FixPlan,
        FixResult,
        OffsetResult,
        ScoreResult,
        Segment,
        Step,
        TrackOffset,
        Verdict,
    )
    from lipsync_cli.score import ScoreOptions, score_file
    from lipsync_cli.scoring.lse_options import LseOptions
    from lipsync_cli.scoring.tolerance import Tolerance

__version__ = "0.1.0"

__all__ = [
    "DemoResult",
    "DependencyError",
    "DubOptions",
    "DubResult",
    "Evidence",
    "FixPlan",
    "FixResult",
    "InputError",
    "LipsyncError",
    "LseOptions",
    "MeasureOptions",
    "Measurement",
    "MediaInfo",
    "MediaNotFound",
    "MissingStream",
    "NotTrustworthy",
    "OffsetResult",
    "OutputError",
    "ScoreOptions",
    "ScoreResult",
    "Segment",
    "Step",
    "StreamInfo",
    "Tolerance",
    "TrackOffset",
    "UnreadableMedia",
    "UsageError",
    "Verdict",
    "WeightsError",
    "__version__",
    "detect_offset",
    "dub_video",
    "export_markers",
    "fix_sync",
    "measure",
    "plan_fix",
    "probe",
    "run_demo",
    "score_file",
]

_HOMES = {
    "demo": ("DemoResult", "run_demo"),
    "detect": ("Evidence", "Measurement", "detect_offset", "measure"),
    "dub": ("DubOptions", "dub_video"),
    "errors": (
        "DependencyError",
        "InputError",
        "LipsyncError",
        "MediaNotFound",
        "MissingStream",
        "NotTrustworthy",
        "OutputError",
        "UnreadableMedia",
        "UsageError",
        "WeightsError",
    ),
    "fix": ("MeasureOptions", "fix_sync", "plan_fix"),
    "markers": ("export_markers",),
    "media.probe": ("MediaInfo", "StreamInfo", "probe"),
    "results": (
        "DubResult",
        "FixPlan",
        "FixResult",
        "OffsetResult",
        "ScoreResult",
        "Segment",
        "Step",
        "TrackOffset",
        "Verdict",
    ),
    "score": ("ScoreOptions", "score_file"),
    "scoring.lse_options": ("LseOptions",),
    "scoring.tolerance": ("Tolerance",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__

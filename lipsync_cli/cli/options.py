"""The options that commands share, each declared once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from lipsync_cli.device import check_name

MANY = "Many files"
_MODEL = "Model and machine"

Files = Annotated[
    list[Path] | None,
    typer.Argument(metavar="FILE", help="Videos to work on.", show_default=False),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", metavar="", help="Answer in JSON: one object a line, one line a file."),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", metavar="", help="No progress bar, no warnings.")
]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        metavar="",
        show_default=False,
        help="Add tables of faces and segments; [cyan]-vv[/] adds the log of FFmpeg.",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", "-y", metavar="", help="Replace outputs that exist already.")
]

Tolerance = Annotated[
    str | None,
    typer.Option(
        metavar="LIMITS",
        show_default=False,
        help="Exit with 4 when out of [cyan]ebu[/] (40 ms early, 60 late), [cyan]itu[/] "
        "(90, 185), [cyan]atsc[/] (15, 45), [cyan]netflix[/] (1 frame) or [cyan]E,L[/].",
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option(
        metavar="OUT.png",
        show_default=False,
        help="Save a picture of the evidence; for several files a folder of them.",
    ),
]
Export = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        show_default=False,
        help="Write the segments as markers for an editing program: [cyan].csv[/], "
        "[cyan].edl[/] or [cyan].otio[/].",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT",
        show_default=False,
        help="File to write; NAME.synced.EXT beside the input if left out.",
    ),
]
OutDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", show_default=False, help="Folder to write to, under the same names."
    ),
]
InPlace = Annotated[
    bool,
    typer.Option("--in-place", metavar="", help="Replace the input, once the result is verified."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", "-n", metavar="", help="Say what would be done; write nothing.")
]
Offset = Annotated[
    float | None,
    typer.Option(
        metavar="MS",
        show_default=False,
        help="What detect-offset reported: [cyan]120[/] = the audio is 120 ms early and "
        "will be delayed. Measured if left out.",
    ),
]
MinOffset = Annotated[
    float,
    typer.Option(min=0.0, metavar="MS", help="Leave files alone that are out by less."),
]
Verify = Annotated[
    bool | None,
    typer.Option(
        "--verify/--no-verify",
        metavar="",
        show_default="when measured",
        help="Measure the lips of the result again.",
    ),
]

Method = Annotated[
    Literal["auto", "timestamps", "samples"],
    typer.Option(
        metavar="HOW",
        help="[cyan]timestamps[/] copies every stream; [cyan]samples[/] moves the sound itself, "
        "for AVI, MXF and players that ignore edit lists; [cyan]auto[/] takes the first that "
        "the container allows.",
    ),
]
Drift = Annotated[
    Literal["audio", "video"],
    typer.Option(
        metavar="WHAT",
        help="Take a drift out by resampling the [cyan]audio[/], or without any loss out of "
        "the times of the [cyan]video[/].",
    ),
]
Piecewise = Annotated[
    bool,
    typer.Option(
        "--piecewise",
        metavar="",
        help="Where the offset changes in steps, move each part by its own.",
    ),
]
OnlyTrack = Annotated[
    list[int] | None,
    typer.Option(
        min=0,
        metavar="N",
        show_default=False,
        help="Repair only this audio track, counted from 0; may be repeated. All if left out.",
    ),
]

SearchMs = Annotated[
    float,
    typer.Option(min=100.0, max=15000.0, metavar="MS", help="Search offsets from -MS to +MS."),
]
AudioTrack = Annotated[
    int, typer.Option(min=0, metavar="N", help="Audio track to measure, counted from 0.")
]
MinProbability = Annotated[
    float,
    typer.Option(
        min=0.0, max=1.0, metavar="P", help="Below this the answer is [yellow]cannot tell[/]."
    ),
]
Quick = Annotated[
    bool,
    typer.Option(
        "--quick",
        metavar="",
        help="Read windows of a long programme, until the interval is at most 80 ms wide.",
    ),
]

FaceDetector = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        rich_help_panel=_MODEL,
        help="own, or one of face-alignment's: sfd, blazeface, yunet, ...",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        envvar="LIPSYNC_DEVICE", metavar="NAME", rich_help_panel=_MODEL, help="auto, cpu, cuda[:N]."
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        envvar="LIPSYNC_THREADS",
        metavar="N",
        rich_help_panel=_MODEL,
        show_default=False,
        help="Threads of the numeric libraries, per process; half of the cores unless given.",
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        envvar="LIPSYNC_WEIGHTS",
        metavar="DIR",
        rich_help_panel=_MODEL,
        show_default=False,
        help="Folder of model files to look into first.",
    ),
]

Recursive = Annotated[
    bool,
    typer.Option("--recursive", "-r", metavar="", rich_help_panel=MANY, help="Enter folders."),
]
FilesFrom = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel=MANY,
        show_default=False,
        help="Read more paths from FILE, one a line or NUL-separated; [cyan]-[/] is stdin.",
    ),
]
FailFast = Annotated[
    bool,
    typer.Option(
        "--fail-fast", metavar="", rich_help_panel=MANY, help="Stop at the first file that fails."
    ),
]
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs",
        "-j",
        min=1,
        metavar="N",
        rich_help_panel=MANY,
        help="Files worked on at the same time, in processes of their own.",
    ),
]


@dataclass(frozen=True)
class Measuring:
    """How an offset is measured; the fields are the keywords of the library's `measure`."""

    search_ms: float
    audio_track: int
    min_probability: float
    face_detector: str
    device: str

    def __post_init__(self) -> None:
        check_name(self.device)

"""The options of `lipsync dub`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

_PICTURE = "Picture"
_RANGE = "Part of the programme"


class Engine(StrEnum):
    """Who makes the lips."""

    auto = "auto"
    rewrite = "rewrite"
    wav2lip = "wav2lip"


class Extend(StrEnum):
    """What follows the last picture when the speech goes on."""

    cut = "cut"
    freeze = "freeze"
    loop = "loop"
    pingpong = "pingpong"


Video = Annotated[
    Path, typer.Argument(metavar="VIDEO", show_default=False, help="Who is to be dubbed.")
]
Speech = Annotated[
    Path,
    typer.Argument(metavar="SPEECH", show_default=False, help="Any file with the new sound."),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT",
        show_default=False,
        help="File to write; NAME.dubbed.EXT beside the video if left out.",
    ),
]
EngineName = Annotated[
    Engine,
    typer.Option(
        help="[cyan]rewrite[/] borrows the speaker's own mouth from other moments, "
        "[cyan]wav2lip[/] draws it with an imported generator; [cyan]auto[/] draws where "
        "there is one.",
    ),
]
Footage = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE", show_default=False, help="More video of the same person; repeatable."
    ),
]
GeneratorFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", show_default=False, help="A Wav2Lip checkpoint to draw with."),
]
Adapt = Annotated[
    bool,
    typer.Option(
        "--adapt",
        metavar="",
        help="wav2lip: first learn from VIDEO itself how this face looks, some minutes without "
        "a graphics card; kept only where held-out seconds show that it helps.",
    ),
]
AdaptSteps = Annotated[
    int, typer.Option(min=1, metavar="N", help="Most steps of --adapt; time goes with them.")
]
Face = Annotated[
    str,
    typer.Option(
        metavar="WHO",
        help="[cyan]speaker[/] of the original, [cyan]largest[/], a number in order of "
        "appearance, from 0, or a place in the picture as [cyan]x,y,w,h[/] in pixels, also "
        "with a time in seconds: [cyan]x,y,w,h@12.5[/].",
    ),
]
KeepOriginal = Annotated[
    bool,
    typer.Option(
        "--keep-original-audio-track", metavar="", help="Keep the old sound as a second track."
    ),
]
SpeechTrack = Annotated[
    int, typer.Option(min=0, metavar="N", help="Audio track of SPEECH, from 0.")
]
AudioShift = Annotated[
    float,
    typer.Option(metavar="MS", help="wav2lip: > 0 moves the lips later, < 0 earlier."),
]
VerifyLips = Annotated[
    bool, typer.Option("--verify/--no-verify", metavar="", help="Measure the result's lips.")
]
KeepFindings = Annotated[
    bool,
    typer.Option(
        "--cache/--no-cache",
        metavar="",
        help="Keep what was found in the video, so that the next dub of it need not look again.",
    ),
]
Start = Annotated[
    float | None,
    typer.Option(
        metavar="S", rich_help_panel=_RANGE, show_default=False, help="Write from this second."
    ),
]
End = Annotated[
    float | None,
    typer.Option(
        metavar="S", rich_help_panel=_RANGE, show_default=False, help="Write up to this second."
    ),
]
Preview = Annotated[
    float | None,
    typer.Option(
        min=0.5,
        metavar="S",
        rich_help_panel=_RANGE,
        show_default=False,
        help="Write only so many seconds.",
    ),
]
ExtendHow = Annotated[
    Extend,
    typer.Option(
        rich_help_panel=_RANGE, help="What is shown when the speech outlasts the picture."
    ),
]
Codec = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=_PICTURE,
        show_default="as the source",
        help="Video format: h264, hevc, vp9, prores, ...",
    ),
]
Crf = Annotated[
    float | None,
    typer.Option(
        metavar="Q",
        rich_help_panel=_PICTURE,
        show_default="near the source",
        help="Quality on the encoder's scale; smaller is better.",
    ),
]
Lossless = Annotated[
    bool,
    typer.Option(
        "--lossless",
        metavar="",
        rich_help_panel=_PICTURE,
        help="Untouched pixels stay exactly as decoded.",
    ),
]
MaxHeight = Annotated[
    int | None,
    typer.Option(
        min=32,
        metavar="N",
        rich_help_panel=_PICTURE,
        show_default=False,
        help="Scale larger pictures down to so many rows; every pixel is encoded anew then.",
    ),
]
Sheet = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel=_PICTURE,
        show_default=False,
        help="Also draw source, dub and what changed beside each other, as .png or .jpg.",
    ),
]

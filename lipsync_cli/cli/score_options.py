"""The options of `lipsync score` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lipsync_cli.cli.options import MANY

_LSE = "LSE-D and LSE-C (need the SyncNet v2 file)"
_REAL = "Comparison with real videos"

Tolerances = Annotated[
    list[str] | None,
    typer.Option(
        "--tolerance",
        "-t",
        metavar="LIMITS",
        show_default=False,
        help="Judge by [cyan]ebu[/], [cyan]ebu-production[/], [cyan]ebu-exchange[/], "
        "[cyan]ebu-distribution[/], [cyan]itu[/], [cyan]itu-detect[/], [cyan]atsc[/], "
        "[cyan]netflix[/] or [cyan]EARLY,LATE[/] in ms; may be given several times.",
    ),
]
Csv = Annotated[
    Path | None,
    typer.Option("--csv", metavar="FILE", show_default=False, help="Write a table of all files."),
]
Html = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        show_default=False,
        help="Write a report: one page that needs nothing else.",
    ),
]
SyncNet = Annotated[
    Path | None,
    typer.Option(
        "--syncnet",
        metavar="FILE",
        rich_help_panel=_LSE,
        show_default=False,
        help="SyncNet v2; found by itself once it was imported with [cyan]lipsync weights[/].",
    ),
]
Protocol = Annotated[
    Literal["tracked", "lrs"],
    typer.Option(
        rich_help_panel=_LSE,
        metavar="NAME",
        help="[cyan]tracked[/]: each face followed and cut out; [cyan]lrs[/]: the whole frame, "
        "as the papers do it on LRS2.",
    ),
]
ValidOverlap = Annotated[
    bool,
    typer.Option(
        "--valid-overlap",
        metavar="",
        rich_help_panel=_LSE,
        help="Add the figures without the bias of the reference's zero padding.",
    ),
]
MinTrack = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="N",
        rich_help_panel=_LSE,
        help="Leave out faces that are not found in more than N frames at 25/s.",
    ),
]
MinFace = Annotated[
    float,
    typer.Option(
        min=0.0, metavar="PX", rich_help_panel=_LSE, help="Leave out faces that are not larger."
    ),
]
CropScale = Annotated[
    float,
    typer.Option(
        min=0.0, max=2.0, metavar="S", rich_help_panel=_LSE, help="Margin around the face."
    ),
]
MaxFailed = Annotated[
    int,
    typer.Option(
        min=1, max=250, metavar="N", rich_help_panel=_LSE, help="Frames a face may be lost for."
    ),
]
VShift = Annotated[
    int,
    typer.Option(
        "--vshift",
        min=1,
        max=250,
        metavar="N",
        rich_help_panel=_LSE,
        help="Search offsets from -N to +N frames.",
    ),
]
ReferenceCodec = Annotated[
    bool,
    typer.Option(
        "--reference-codec",
        metavar="",
        rich_help_panel=_LSE,
        help="Send pictures through JPEG, as the reference does.",
    ),
]
Reference = Annotated[
    Path | None,
    typer.Option(
        metavar="REAL",
        rich_help_panel=_REAL,
        show_default=False,
        help="Add PSNR and SSIM against this video, or the one of the same name in this folder.",
    ),
]
FidWeights = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel=_REAL,
        show_default=False,
        help="Inception weights of pytorch-fid; found by itself once they were imported.",
    ),
]
Fid = Annotated[
    bool,
    typer.Option(
        "--fid", metavar="", rich_help_panel=_REAL, help="Add the FID of all files together."
    ),
]
FileList = Annotated[
    Path | None,
    typer.Option(
        "--filelist",
        metavar="LIST",
        rich_help_panel=_REAL,
        show_default=False,
        help="FILE is a folder of results 0.mp4, 1.mp4, ... made from the pairs of this list.",
    ),
]
Style = Annotated[
    Literal["lrw", "lrs2", "lrs3", "resynced"],
    typer.Option(rich_help_panel=_REAL, metavar="NAME", help="lrw, lrs2, lrs3 or resynced."),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        rich_help_panel=_REAL,
        show_default=False,
        help="Folder from which the names of the list start; that of the list if left out.",
    ),
]
SkipExisting = Annotated[
    Path | None,
    typer.Option(
        metavar="NDJSON",
        rich_help_panel=MANY,
        show_default=False,
        help="Take over what these results of [cyan]--json[/] hold about unchanged files.",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="WHERE",
        rich_help_panel=MANY,
        show_default=False,
        help="Work on a Dask cluster: [cyan]tcp://host:8786[/], the file of a scheduler, or "
        "[cyan]local:N[/]; answers come as they arrive.",
    ),
]

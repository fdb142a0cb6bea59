"""`lipsync dub`: new speech on an old picture, only the lips change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lipsync_cli.cli import batch, dub_options, inputs, options, wording
from lipsync_cli.cli.process import Setup, user_cache
from lipsync_cli.cli.report import Report
from lipsync_cli.device import check_name
from lipsync_cli.errors import UsageError
from lipsync_cli.text import printable

if TYPE_CHECKING:
    from lipsync_cli.results import Adaptation, DubResult

EPILOG = """[bold]Examples[/]
[cyan]lipsync dub clip.mp4 spanish.wav[/]  writes clip.dubbed.mp4 and measures its lips
[cyan]lipsync dub --footage rushes.mp4 clip.mp4 retake.wav[/]  more of the same person to use
[cyan]lipsync dub --sheet look.png clip.mp4 retake.wav[/]  and a picture of what changed
[cyan]lipsync dub --engine wav2lip photo.jpg speech.mp3 -o out.mp4[/]  needs a generator: \
lipsync weights import wav2lip_gan.pth

[bold]Exit codes[/]  0 written · 1 a file failed · 2 wrong usage · 3 nobody to dub, or the lips of \
the result do not follow"""

DOES_NOT_FOLLOW = 3


def _line(result: DubResult) -> str:
    """One line: `clip.mp4: new lips in 240 of 250 pictures -> clip.dubbed.mp4 (...)`."""
    made = f"new lips in {result.frames_changed} of {result.frames} pictures"
    notes: list[str] = [result.engine]
    if result.coverage is not None:
        notes.append(f"footage covers {result.coverage:.0%}")
    if result.adaptation is not None and result.adaptation.kept:
        notes.append(_adapted(result.adaptation))
    if result.offset_ms_after is not None:
        notes.append(f"measured: {wording.early_or_late(result.offset_ms_after)}")
    elif result.follows is False:
        notes.append("measured: the lips do not follow")
    target = printable(result.output)
    return f"{printable(result.file)}: {made} -> {target} ({', '.join(notes)})"


def _adapted(adaptation: Adaptation) -> str:
    before, after = adaptation.mouth_error_before, adaptation.mouth_error_after
    fell = f", error in the mouth {after / before - 1:+.0%}" if before and after else ""
    return f"adapted to this face{fell}"


def _show(result: DubResult, report: Report) -> int:
    report.answer(_line(result), result.to_dict())
    for warning in result.warnings:
        report.warning(f"{result.file}: {warning}")
    return DOES_NOT_FOLLOW if result.follows is False else 0


def dub(
    *,
    video: dub_options.Video,
    speech: dub_options.Speech,
    output: dub_options.Output = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    engine: dub_options.EngineName = dub_options.Engine.auto,
    footage: dub_options.Footage = None,
    generator: dub_options.GeneratorFile = None,
    adapt: dub_options.Adapt = False,
    adapt_steps: dub_options.AdaptSteps = 600,
    face: dub_options.Face = "speaker",
    keep_original: dub_options.KeepOriginal = False,
    audio_track: dub_options.SpeechTrack = 0,
    audio_shift: dub_options.AudioShift = -40.0,
    verify: dub_options.VerifyLips = True,
    start: dub_options.Start = None,
    end: dub_options.End = None,
    preview: dub_options.Preview = None,
    extend: dub_options.ExtendHow = dub_options.Extend.freeze,
    codec: dub_options.Codec = None,
    crf: dub_options.Crf = None,
    lossless: dub_options.Lossless = False,
    max_height: dub_options.MaxHeight = None,
    sheet: dub_options.Sheet = None,
    cache: dub_options.KeepFindings = True,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    face_detector: options.FaceDetector = "own",
    device: options.Device = "auto",
    threads: options.Threads = None,
    weights: options.Weights = None,
) -> None:
    """Put new speech on a video and give the speaker [bold]lips that follow it[/].

    Only the lower face of one person changes; every other pixel, the times of the pictures,
    their size, and all other streams stay. The file says that its picture was composed.
    Dub people only with their consent.
    """
    check_name(device)
    inputs.refuse_folder(video)
    report = Report(as_json=as_json, quiet=quiet, verbose=verbose)
    if preview is not None:
        end = _earlier(end, (start or 0.0) + preview)

    def job(path: Path, progress: batch.Progress | None) -> DubResult:
        from lipsync_cli.dub import DubOptions, dub_video
        from lipsync_cli.media.encoders import EncoderOptions

        how = DubOptions(
            engine=engine.value,
            generator=generator,
            adapt=adapt,
            adapt_steps=adapt_steps,
            footage=tuple(footage or ()),
            face=face,
            start_s=start,
            end_s=end,
            extend=extend.value,
            keep_original=keep_original,
            audio_track=audio_track,
            audio_shift_ms=audio_shift,
            verify=verify,
            face_detector=face_detector,
            device=device,
            video=EncoderOptions(codec=codec, crf=crf, lossless=lossless, max_height=max_height),
            sheet=sheet,
            cache=user_cache() if cache else None,
        )
        return dub_video(path, speech, output, options=how, overwrite=overwrite, progress=progress)

    if start is not None and end is not None and end <= start:
        raise UsageError(f"--end {end:g} is not after --start {start:g}")
    plan = batch.Plan(setup=Setup(threads, weights, report.verbose))
    raise typer.Exit(batch.run([video], job, lambda done: _show(done, report), report, plan))


def _earlier(first: float | None, second: float) -> float:
    return second if first is None else min(first, second)

"""One video on its way to be dubbed: what both engines share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lipsync_cli.dubbing.compositing.gate import Gate
from lipsync_cli.dubbing.compositing.kept import Ledger, Moment, in_words
from lipsync_cli.dubbing.compositing.showing import Cuts, Marked, Showing
from lipsync_cli.dubbing.footage.cache import cached_scan
from lipsync_cli.dubbing.footage.covered import covered
from lipsync_cli.dubbing.footage.face_path import Faces
from lipsync_cli.dubbing.footage.people import Person
from lipsync_cli.dubbing.footage.scan import Footage, scan
from lipsync_cli.dubbing.mouths.slots import Window
from lipsync_cli.dubbing.options import DubOptions
from lipsync_cli.dubbing.speech import Loudness
from lipsync_cli.errors import UsageError
from lipsync_cli.faces.detect import create_detector
from lipsync_cli.media.extend import Extra, extension
from lipsync_cli.media.provenance import Provenance
from lipsync_cli.media.rewrite import EditStream, rewrite
from lipsync_cli.media.soundtrack import Soundtrack
from lipsync_cli.progress import Progress, part_of
from lipsync_cli.results import DubResult
from lipsync_cli.sync.model_file import LoadedModel
from lipsync_cli.weights import locate, sha256_of

# Shares of the work: looking at the video, at the speech, collecting mouths, writing, checking.
SCAN, HEAR, GATHER, WRITE = 0.15, 0.22, 0.3, 0.87


@dataclass(frozen=True, eq=False)
class Made:
    """A dub and what a picture of its evidence needs.

    Attributes:
        moments: pictures with new lips; their `pts_s` are those of the written file.
    """

    result: DubResult
    moments: tuple[Moment, ...]


@dataclass(frozen=True, eq=False)
class Lips:
    """New lips of one engine.

    Attributes:
        edit: puts them into pictures.
        gate: decides how much of them is seen.
        faces: where they go.
        showing: when they may be seen.
    """

    engine: Literal["rewrite", "wav2lip"]
    edit: EditStream
    gate: Gate
    faces: Faces
    showing: Showing


@dataclass
class Job:
    """What is to be done."""

    video: Path
    speech: Path
    target: Path
    options: DubOptions
    overwrite: bool
    progress: Progress | None

    def scan(self, path: Path, model: LoadedModel, source: int = 0) -> Footage:
        """Look at the video, or at more footage."""
        options, part = self.options, self.part(0.0, SCAN) if source == 0 else None
        if options.cache is None:
            detector = create_detector(options.face_detector)
            return scan(path, model, source=source, detector=detector, progress=part)
        return cached_scan(
            path,
            model,
            options.cache,
            model_id=sha256_of(locate("sync")),
            detector=options.face_detector,
            source=source,
            progress=part,
        )

    def window(self, footage: Footage) -> Window:
        """What is written, before the length of the speech is known.

        Raises:
            UsageError: nothing of the video lies in the part that was asked for.
        """
        options = self.options
        first_s, end_s = footage.start_s, footage.end_s
        start_s = max(first_s, options.start_s) if options.start_s is not None else first_s
        stop_s = min(end_s, options.end_s) if options.end_s is not None else end_s
        if stop_s <= start_s:
            raise UsageError(
                f"there is no picture between {start_s:g} and {stop_s:g} s",
                path=self.video,
                hint=f"its pictures lie between {first_s:.2f} and {end_s:.2f} s",
            )
        # A part that was asked for is not made longer.
        extend = options.extend if options.end_s is None else "cut"
        return Window(start_s, stop_s, stop_s, extend)

    def part(self, start: float, stop: float) -> Progress | None:
        """A part of the progress bar."""
        return part_of(self.progress, start, stop)

    def write(self, lips: Lips, window: Window, loudness: Loudness) -> Made:
        """Write the video with new lips and the new sound.

        Args:
            loudness: of the speech, on the clock of the output.
        """
        options = self.options
        ledger = Ledger(lips.edit, lips.gate, lips.faces, lips.showing, loudness.silent)
        written = rewrite(
            self.video,
            self.target,
            edit_stream=ledger,
            sound=Soundtrack(self.speech, options.audio_track),
            keep_original=options.keep_original,
            video=options.video,
            start_s=options.start_s,
            end_s=options.end_s,
            extra=_extra(self.video, window),
            provenance=_provenance(),
            overwrite=self.overwrite,
            progress=self.part(GATHER, WRITE if options.verify else 1.0),
        )
        result = DubResult(
            file=str(self.video),
            speech=str(self.speech),
            output=str(self.target),
            engine=lips.engine,
            frames=written.frames,
            frames_changed=written.changed,
            tracks=(0,),
            kept_s={reason: round(s, 3) for reason, s in ledger.kept_s.items()},
            warnings=(*written.warnings, *in_words(ledger.kept_s)),
        )
        moved_s = written.lifted_ms / 1000 - written.shift_s
        moments = (replace(each, pts_s=each.pts_s + moved_s) for each in ledger.moments)
        return Made(result, tuple(moments))


def spoken_until(window: Window, end_s: float) -> Window:
    """The window when it is known when the speech ends."""
    if window.extend == "cut":
        return window
    return replace(window, until_s=max(window.end_s, end_s))


def cuts_of(footage: Footage) -> Cuts:
    """When any face of a file comes into view and leaves it."""
    spans = [(float(t.pts_s[0]), float(t.pts_s[-1])) for t in footage.tracks]
    return Cuts(tuple(first for first, _ in spans), tuple(last for _, last in spans))


def covers_of(person: Person, window: Window) -> Marked:
    """When something lies before a person's mouth."""
    return Marked(person.tracks, [covered(track) for track in person.tracks], window)


def placed(loudness: Loudness, start_s: float) -> Loudness:
    """The level of the speech when it begins with the first picture."""
    return replace(loudness, t0_s=start_s)


def _extra(video: Path, window: Window) -> Extra | None:
    if window.extend == "cut" or window.until_s <= window.end_s:
        return None
    return extension(video, window.extend, window.until_s)


def _provenance() -> Provenance:
    from lipsync_cli import __version__

    return Provenance(f"lipsync {__version__}")

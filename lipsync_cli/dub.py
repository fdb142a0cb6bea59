"""dub: new speech on an old picture; only the lips change."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from lipsync_cli import weights
from lipsync_cli.device import choose
from lipsync_cli.dubbing.borrow import BorrowedLips, Score, all_wanted
from lipsync_cli.dubbing.compose import Look
from lipsync_cli.dubbing.coverage import Coverage, coverage_of
from lipsync_cli.dubbing.draw import DrawnLips, Driving
from lipsync_cli.dubbing.face_path import FacePath, Faces, find_still_face
from lipsync_cli.dubbing.fitting import Fitter
from lipsync_cli.dubbing.footage import Footage, scan
from lipsync_cli.dubbing.gallery import Gallery, gather
from lipsync_cli.dubbing.generator import load_generator
from lipsync_cli.dubbing.mel import REFERENCE_LEAD_S, MelStream
from lipsync_cli.dubbing.people import Person, choose_person, matching, people
from lipsync_cli.dubbing.select import select_slots
from lipsync_cli.dubbing.slots import Extend, Window, slots_of
from lipsync_cli.dubbing.speech import Speech, hear
from lipsync_cli.dubbing.units import collect, frame_step_s
from lipsync_cli.errors import NotTrustworthy, UsageError
from lipsync_cli.faces.detect import create_detector
from lipsync_cli.media.audio import AudioBlock
from lipsync_cli.media.encoders import EncoderOptions
from lipsync_cli.media.extend import Extra, extension
from lipsync_cli.media.output import check_target
from lipsync_cli.media.pictures import is_still
from lipsync_cli.media.probe import MediaInfo, probe
from lipsync_cli.media.provenance import Provenance
from lipsync_cli.media.reader import read
from lipsync_cli.media.rewrite import EditStream, rewrite
from lipsync_cli.media.soundtrack import Soundtrack
from lipsync_cli.media.upright import read_upright
from lipsync_cli.progress import Progress, part_of
from lipsync_cli.results import DubResult, OffsetResult
from lipsync_cli.sync.model_file import LoadedModel, load_model

Engine = Literal["auto", "rewrite", "wav2lip"]
GENERATORS = ("wav2lip_gan", "wav2lip")

# Shares of the work: looking at the video, at the speech, collecting mouths, writing, checking.
_SCAN, _HEAR, _GATHER, _WRITE = 0.25, 0.3, 0.45, 0.85
# Detail of the original that a generator's soft picture gets back.
_DETAIL = 0.8
# Lips that follow are measured within a frame.
_FOLLOWS_MS = 60.0


@dataclass(frozen=True)
class DubOptions:
    """How a video is dubbed.

    Attributes:
        engine: "rewrite" borrows the speaker's own mouth from other moments, "wav2lip" lets a
            generator draw it; "auto" draws where a generator was imported.
        generator: a Wav2Lip checkpoint instead of the imported one.
        footage: more video of the same person to borrow from.
        face: "speaker", "largest", or a number in order of appearance.
        start_s, end_s: write only this part of the programme.
        extend: what is shown where the speech is longer than the picture; "cut" ends it.
        keep_original: keep the old sound as a second track.
        audio_track: of the speech, from 0.
        audio_shift_ms: of what the generator hears; > 0 makes its lips later.
        verify: measure the lips of the result.
        min_probability: below it the result is not trusted.
    """

    engine: Engine = "auto"
    generator: Path | None = None
    footage: tuple[Path, ...] = ()
    face: str = "speaker"
    start_s: float | None = None
    end_s: float | None = None
    extend: Extend = "freeze"
    keep_original: bool = False
    audio_track: int = 0
    audio_shift_ms: float = -1000 * REFERENCE_LEAD_S
    verify: bool = True
    min_probability: float = 0.9
    face_detector: str = "own"
    device: str = "auto"
    video: EncoderOptions = field(default_factory=EncoderOptions)


def default_output(video: Path) -> Path:
    """`clip.mp4` -> `clip.dubbed.mp4`, beside it; a photograph becomes MP4."""
    suffix = ".mp4" if video.suffix.lower() in (".jpg", ".jpeg", ".png") else video.suffix
    return video.with_name(f"{video.stem}.dubbed{suffix}")


def dub_video(
    video: str | Path,
    speech: str | Path,
    output: str | Path | None = None,
    *,
    options: DubOptions | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> DubResult:
    """Put new speech on a video and give the speaker lips that follow it.

    Outside of the lower face of the chosen person every picture stays as it is, at its own
    time; all other streams are kept. With the rewrite engine the lips are the speaker's own,
    from moments whose sound was alike; with a Wav2Lip generator they are drawn.

    Args:
        video: a video, or for a generator a photograph.
        speech: any file with sound; it begins with the first picture.
        output: `default_output` if left out.
        progress: told the share that is done, 0 to 1.

    Raises:
        MediaNotFound, UnreadableMedia, MissingStream: a file cannot be read.
        InputError: pictures of a kind that cannot be edited (HDR, interlaced, alpha).
        OutputError: the result exists or cannot be written.
        WeightsError, DependencyError: a model is missing or of the wrong kind.
        UsageError: options exclude each other, or there is no such face.
        NotTrustworthy: nobody to dub is in view, or there is too little to borrow from.
    """
    options = options or DubOptions()
    video, speech = Path(video), Path(speech)
    target = Path(output) if output is not None else default_output(video)
    _refuse_same(target, video, speech)
    check_target(target, overwrite=overwrite)
    job = _Dub(video, speech, target, options, overwrite, progress)
    return job.run()


def _refuse_same(target: Path, *sources: Path) -> None:
    for source in sources:
        if target.exists() and source.exists() and target.samefile(source):
            raise UsageError("input and output are the same file", path=source)


@dataclass
class _Dub:
    """One file on its way."""

    video: Path
    speech: Path
    target: Path
    options: DubOptions
    overwrite: bool
    progress: Progress | None

    def run(self) -> DubResult:
        options = self.options
        info, _ = probe(self.video), probe(self.speech)
        generator = _generator(options)
        model = load_model(weights.locate("sync"), choose(options.device))
        if is_still(info.container):
            return self._verified(self._draw_photograph(model, generator))
        footage = self._scan(self.video, model, 0)
        person = choose_person(people(footage, model), options.face)
        window = self._window(footage, info)
        speech = self._hear(model, window)
        window = _until(window, _spoken(speech)[1])
        if generator is None:
            made = self._borrow(footage, person, model, speech, window)
        else:
            faces = FacePath(person.tracks, footage.end_s)
            made = self._draw(faces, speech, window, generator)
            made = replace(made, tracks=_numbers(person))
        return self._verified(made)

    def _draw_photograph(self, model: LoadedModel, generator: Path | None) -> DubResult:
        if generator is None:
            raise NotTrustworthy(
                "a photograph has no other moments to borrow a mouth from",
                path=self.video,
                hint="import a generator: lipsync weights import FILE",
            )
        face = find_still_face(self.video, create_detector(self.options.face_detector))
        window = Window(0.0, float("inf"), float("inf"))
        return self._draw(face, self._hear(model, window), window, generator)

    def _scan(self, path: Path, model: LoadedModel, source: int) -> Footage:
        detector = create_detector(self.options.face_detector)
        part = part_of(self.progress, 0.0, _SCAN) if source == 0 else None
        return scan(path, model, source=source, detector=detector, progress=part)

    def _window(self, footage: Footage, info: MediaInfo) -> Window:
        """What is written, before the length of the speech is known."""
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

    def _hear(self, model: LoadedModel, window: Window) -> Speech:
        """The speech on the clock of the video: its first sample plays with the first picture."""
        part = part_of(self.progress, _SCAN, _HEAR)
        track = self.options.audio_track
        speech = hear(self.speech, model, audio_track=track, progress=part)
        if speech.loudness is None:
            raise NotTrustworthy("there is no sound in it", path=self.speech)
        delay_s = window.start_s - speech.loudness.t0_s
        return replace(
            speech,
            t0_s=speech.t0_s + delay_s,
            loudness=replace(speech.loudness, t0_s=window.start_s),
        )

    def _borrow(
        self,
        footage: Footage,
        person: Person,
        model: LoadedModel,
        speech: Speech,
        window: Window,
    ) -> DubResult:
        """Dub with the speaker's own mouth."""
        more = [self._scan(p, model, i) for i, p in enumerate(self.options.footage, 1)]
        others = {m.source: _same_person(m, person, model) for m in more}
        persons = {0: person, **others}
        tracks = [track for each in persons.values() for track in each.tracks]
        units = collect(tracks, frame_step_s(person.tracks))
        files = {0: footage, **{m.source: m for m in more}}
        faces = {n: FacePath(persons[n].tracks, file.end_s) for n, file in files.items()}
        slots = slots_of(person.tracks, units, faces[0], window, _spoken(speech))
        selections = [select_slots(units, speech, s.rows, s.times_s) for s in slots]
        covered = coverage_of(units, selections, person.fit)
        score = Score(selections, units.step_s)
        paths = {number: file.path for number, file in files.items()}
        wanted = all_wanted(score, {n: _frame_rate(path) for n, path in paths.items()})
        with Gallery() as gallery:
            gather(gallery, paths, faces, wanted, part_of(self.progress, _HEAR, _GATHER))
            fitter = Fitter(read_upright(self.video))
            lips = BorrowedLips(score, gallery, faces[0], fitter)
            result = self._write(lips, window, "rewrite")
        warnings = (*footage.warnings, *result.warnings, *_doubts(covered))
        return replace(result, tracks=_numbers(person), coverage=covered.value, warnings=warnings)

    def _draw(self, faces: Faces, speech: Speech, window: Window, generator: Path) -> DubResult:
        """Dub with a generator."""
        loaded = load_generator(generator, choose(self.options.device))
        upright = read_upright(self.video)
        driving = Driving(
            self._mel(), window.start_s, _spoken(speech), self.options.audio_shift_ms / 1000
        )
        fitter = Fitter(upright, Look(detail=_DETAIL), redrawn=True)
        lips = DrawnLips(loaded, driving, faces, fitter, upright)
        return self._write(lips, window, "wav2lip")

    def _mel(self) -> npt.NDArray[np.float32]:
        stream, columns = MelStream(), []
        blocks = read(self.speech, audio_track=self.options.audio_track, video=False)
        with closing(blocks):
            for block in blocks:
                if isinstance(block, AudioBlock):
                    columns.append(stream.push(block.samples))
        return np.concatenate([*columns, stream.close()], axis=1)

    def _write(
        self,
        lips: BorrowedLips | DrawnLips,
        window: Window,
        engine: Literal["rewrite", "wav2lip"],
    ) -> DubResult:
        options = self.options
        stream: EditStream = lips
        written = rewrite(
            self.video,
            self.target,
            edit_stream=stream,
            sound=Soundtrack(self.speech, options.audio_track),
            keep_original=options.keep_original,
            video=options.video,
            start_s=options.start_s,
            end_s=options.end_s,
            extra=_extra(self.video, window),
            provenance=_provenance(),
            overwrite=self.overwrite,
            progress=part_of(self.progress, _GATHER, _WRITE if options.verify else 1.0),
        )
        return DubResult(
            file=str(self.video),
            speech=str(self.speech),
            output=str(self.target),
            engine=engine,
            frames=written.frames,
            frames_changed=written.changed,
            tracks=(0,),
            warnings=written.warnings,
        )

    def _verified(self, made: DubResult) -> DubResult:
        """Measure the lips of the result, where that is asked for."""
        if not self.options.verify:
            return made
        from lipsync_cli.detect import measure

        found = measure(
            self.target,
            min_probability=self.options.min_probability,
            face_detector=self.options.face_detector,
            device=self.options.device,
            progress=part_of(self.progress, _WRITE, 1.0),
        ).result
        return replace(
            made,
            follows=_follow(found),
            offset_ms_after=found.offset_ms,
            interval_ms_after=found.interval_ms,
            probability_after=found.probability,
        )


def _follow(found: OffsetResult) -> bool:
    return found.offset_ms is not None and abs(found.offset_ms) <= _FOLLOWS_MS


def _generator(options: DubOptions) -> Path | None:
    """The checkpoint to draw with; None for the rewrite engine."""
    if options.engine == "rewrite":
        return None
    if options.generator is not None:
        return options.generator
    for name in GENERATORS:
        path = weights.find(name)
        if path is not None:
            return path
    return weights.locate(GENERATORS[0]) if options.engine == "wav2lip" else None


def _doubts(covered: Coverage) -> tuple[str, ...]:
    return () if covered.reason is None else (f"{covered.reason}; {covered.hint}",)


def _numbers(person: Person) -> tuple[int, ...]:
    return tuple(track.track for track in person.tracks)


def _same_person(footage: Footage, person: Person, model: LoadedModel) -> Person:
    found = matching(people(footage, model), person)
    if found is None:
        raise NotTrustworthy(
            "nobody in it looks like the person to dub",
            path=footage.path,
            hint="give footage of the same person",
        )
    return found


def _spoken(speech: Speech) -> tuple[float, float]:
    assert speech.loudness is not None
    return speech.loudness.t0_s, speech.loudness.end_s


def _until(window: Window, end_s: float) -> Window:
    if window.extend == "cut":
        return window
    return replace(window, until_s=max(window.end_s, end_s))


def _extra(video: Path, window: Window) -> Extra | None:
    if window.extend == "cut" or window.until_s <= window.end_s:
        return None
    return extension(video, window.extend, window.until_s)


def _frame_rate(path: Path) -> float | None:
    stream = probe(path).video
    return float(stream.frame_rate) if stream is not None and stream.frame_rate else None


def _provenance() -> Provenance:
    from lipsync_cli import __version__

    return Provenance(f"lipsync {__version__}")

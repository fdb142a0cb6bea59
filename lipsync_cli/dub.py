"""dub: new speech on an old picture; only the lips change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from lipsync_cli import weights
from lipsync_cli.device import choose
from lipsync_cli.dubbing.footage.people import Person, check_face, choose_person, people
from lipsync_cli.dubbing.generator.adapt import adapt
from lipsync_cli.dubbing.generator.adapt_learning import AdaptPlan
from lipsync_cli.dubbing.generator.drawing import draw, draw_photograph
from lipsync_cli.dubbing.generator.expert import load_expert
from lipsync_cli.dubbing.generator.loading import LoadedGenerator, load_generator
from lipsync_cli.dubbing.generator.network import Generator
from lipsync_cli.dubbing.job import SCAN, WRITE, Job, Made
from lipsync_cli.dubbing.mouths.rewriting import borrow
from lipsync_cli.dubbing.options import DubOptions, Engine
from lipsync_cli.errors import NotTrustworthy, UsageError
from lipsync_cli.media.output import check_target
from lipsync_cli.media.pictures import is_still
from lipsync_cli.media.probe import probe
from lipsync_cli.progress import Progress, part_of, with_room
from lipsync_cli.results import Adaptation, DubResult, OffsetResult
from lipsync_cli.sync.model_file import LoadedModel, load_model

__all__ = ["GENERATORS", "DubOptions", "Engine", "default_output", "dub_video"]

GENERATORS = ("wav2lip_gan", "wav2lip")
# A baseline of our own, which draws only where it is asked for and nothing is imported.
OWN_GENERATOR = "generator"

# Lips that follow are measured within a frame.
_FOLLOWS_MS = 60.0
# Guards what is learnt with --adapt, where it was imported.
_EXPERT = "lipsync_expert"
# Share of the progress bar that learning takes.
_LEARNING = 0.5
_STILLS = (".jpg", ".jpeg", ".png")


def default_output(video: Path) -> Path:
    """`clip.mp4` -> `clip.dubbed.mp4`, beside it; a photograph becomes MP4."""
    suffix = ".mp4" if video.suffix.lower() in _STILLS else video.suffix
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
    check_face(options.face)
    _refuse_same(target, video, speech)
    check_target(target, overwrite=overwrite)
    if options.sheet is not None:
        from lipsync_cli.sheet import check_sheet

        _refuse_same(options.sheet, video, speech)
        check_sheet(options.sheet, overwrite=overwrite)
    return _Dub(Job(video, speech, target, options, overwrite, progress)).run()


def _refuse_same(target: Path, *sources: Path) -> None:
    for source in sources:
        if target.exists() and source.exists() and target.samefile(source):
            raise UsageError("input and output are the same file", path=source)


@dataclass
class _Dub:
    """One file on its way."""

    job: Job

    def run(self) -> DubResult:
        job = self.job
        info, _ = probe(job.video), probe(job.speech)
        checkpoint, still = _checkpoint(job.options), is_still(info.container)
        if job.options.adapt:
            _check_adaptable(checkpoint, still, job)
        device = choose(job.options.device)
        generator = None if checkpoint is None else load_generator(checkpoint, device)
        made = self._photograph(generator) if still else self._video(generator, checkpoint)
        return self._verified(self._on_sheet(made))

    def _on_sheet(self, made: Made) -> DubResult:
        """Draw what changed, where that is asked for."""
        job, sheet = self.job, self.job.options.sheet
        if sheet is None:
            return made.result
        from lipsync_cli.sheet import save_sheet

        save_sheet(job.video, job.target, made.moments, sheet, overwrite=job.overwrite)
        return replace(made.result, sheet=str(sheet))

    def _photograph(self, generator: LoadedGenerator | None) -> Made:
        if generator is None:
            raise NotTrustworthy(
                "a photograph has no other moments to borrow a mouth from",
                path=self.job.video,
                hint="import a generator: lipsync weights import FILE",
            )
        return draw_photograph(self.job, generator)

    def _video(self, generator: LoadedGenerator | None, checkpoint: Path | None) -> Made:
        job = self.job
        learn_from = checkpoint if job.options.adapt else None
        learning = None if learn_from is None else self._room_for_learning()
        model: LoadedModel = load_model(weights.locate("sync"), choose(job.options.device))
        footage = job.scan(job.video, model)
        person = choose_person(people(footage, model), job.options.face)
        adaptation = None
        if learn_from is not None:
            network, adaptation = self._adapted(learn_from, person, model, learning)
            if network is not None:
                generator = LoadedGenerator(network, network.topology, model.device)
        if generator is None:
            made = borrow(job, footage, person, model)
        else:
            made = draw(job, footage, person, generator)
        tracks = tuple(track.track for track in person.tracks)
        warnings = (*footage.warnings, *_doubts(adaptation), *made.result.warnings)
        result = replace(made.result, tracks=tracks, warnings=warnings, adaptation=adaptation)
        return replace(made, result=result)

    def _room_for_learning(self) -> Progress | None:
        """Make room in the progress bar, behind the look at the video."""
        self.job.progress, learning = with_room(self.job.progress, SCAN, _LEARNING)
        return learning

    def _adapted(
        self, checkpoint: Path, person: Person, model: LoadedModel, progress: Progress | None
    ) -> tuple[Generator | None, Adaptation]:
        """Let the generator learn how the person looks; None where that does not help."""
        options, file = self.job.options, weights.find(_EXPERT)
        expert = None if file is None else load_expert(file)
        plan = AdaptPlan(
            steps=options.adapt_steps,
            shift_s=options.audio_shift_ms / 1000,
            min_probability=options.min_probability,
        )
        video = self.job.video
        made = adapt(checkpoint, video, person, model, plan, expert=expert, progress=progress)
        if progress is not None:
            progress(1.0)
        return made

    def _verified(self, made: DubResult) -> DubResult:
        """Measure the lips of the result, where that is asked for."""
        options = self.job.options
        if not options.verify:
            return made
        from lipsync_cli.detect import measure

        found = measure(
            self.job.target,
            min_probability=options.min_probability,
            face_detector=options.face_detector,
            device=options.device,
            progress=part_of(self.job.progress, WRITE, 1.0),
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


def _doubts(adaptation: Adaptation | None) -> tuple[str, ...]:
    if adaptation is None or adaptation.reason is None:
        return ()
    return (f"the generator was not adapted: {adaptation.reason}",)


def _check_adaptable(checkpoint: Path | None, still: bool, job: Job) -> None:
    if still:
        raise UsageError(
            "a photograph shows no speech to learn from", path=job.video, hint="leave out --adapt"
        )
    if checkpoint is None:
        raise UsageError(
            "--adapt needs a generator, and these lips are borrowed from other moments",
            hint="give --engine wav2lip, or leave out --adapt",
        )


def _checkpoint(options: DubOptions) -> Path | None:
    """The generator to draw with; None for the rewrite engine."""
    if options.engine == "rewrite":
        return None
    if options.generator is not None:
        return Path(options.generator)
    for name in GENERATORS:
        path = weights.find(name)
        if path is not None:
            return path
    if options.engine != "wav2lip":
        return None
    return weights.find(OWN_GENERATOR) or weights.locate(GENERATORS[0])

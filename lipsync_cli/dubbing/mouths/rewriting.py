"""The rewrite engine as a job: the speaker's own mouth, from other moments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lipsync_cli.dubbing.compositing.fitting import Fitter
from lipsync_cli.dubbing.compositing.gate import Gate
from lipsync_cli.dubbing.compositing.showing import plan_showing
from lipsync_cli.dubbing.footage.face_path import FacePath
from lipsync_cli.dubbing.footage.people import Person, matching, people
from lipsync_cli.dubbing.footage.scan import Footage
from lipsync_cli.dubbing.job import (
    GATHER,
    HEAR,
    SCAN,
    Job,
    Lips,
    Made,
    covers_of,
    cuts_of,
    spoken_until,
)
from lipsync_cli.dubbing.mouths.borrow import BorrowedLips, Score, all_wanted
from lipsync_cli.dubbing.mouths.coverage import Coverage, coverage_of
from lipsync_cli.dubbing.mouths.gallery import Gallery, gather
from lipsync_cli.dubbing.mouths.select import select_slots
from lipsync_cli.dubbing.mouths.selection import Selection
from lipsync_cli.dubbing.mouths.slots import Window, slots_of
from lipsync_cli.dubbing.mouths.units import Units, collect, frame_step_s
from lipsync_cli.dubbing.speech import Loudness, Speech, hear
from lipsync_cli.errors import NotTrustworthy
from lipsync_cli.media.probe import probe
from lipsync_cli.media.upright import read_upright
from lipsync_cli.sync.model_file import LoadedModel


def borrow(job: Job, footage: Footage, person: Person, model: LoadedModel) -> Made:
    """Dub with the speaker's own mouth.

    Raises:
        NotTrustworthy: there is no sound in the speech, or other footage shows others.
    """
    window = job.window(footage)
    speech, loudness = _heard(job, model, window)
    window = spoken_until(window, loudness.end_s)
    cast = _Cast.of(job, footage, person, model)
    score, covered = cast.score(window, speech, loudness)
    wanted = all_wanted(score, {n: _frame_rate(path) for n, path in cast.paths.items()})
    showing = plan_showing(
        cast.faces[0],
        window,
        (loudness.t0_s, loudness.end_s),
        cuts=cuts_of(footage),
        covered=covers_of(person, window),
    )
    gate = Gate(planned=showing.at)
    with Gallery() as gallery:
        gather(gallery, cast.paths, cast.faces, wanted, job.part(HEAR, GATHER))
        fitter = Fitter(read_upright(job.video), gate=gate)
        edit = BorrowedLips(score, gallery, cast.faces[0], fitter)
        lips = Lips("rewrite", edit, gate, cast.faces[0], showing)
        made = job.write(lips, window, loudness)
    warnings = (*made.result.warnings, *_doubts(covered, loudness))
    coverage = None if covered.similarity is None else covered.value
    result = replace(made.result, coverage=coverage, warnings=warnings)
    return replace(made, result=result)


def _heard(job: Job, model: LoadedModel, window: Window) -> tuple[Speech, Loudness]:
    """The speech on the clock of the video: its first sample plays with the first picture."""
    track = job.options.audio_track
    speech = hear(job.speech, model, audio_track=track, progress=job.part(SCAN, HEAR))
    if speech.loudness is None:
        raise NotTrustworthy("there is no sound in it", path=job.speech)
    delay_s = window.start_s - speech.loudness.t0_s
    loudness = replace(speech.loudness, t0_s=window.start_s)
    return replace(speech, t0_s=speech.t0_s + delay_s, loudness=loudness), loudness


@dataclass(frozen=True, eq=False)
class _Cast:
    """The person to dub in all files that show them, by number of the file."""

    person: Person
    units: Units
    faces: Mapping[int, FacePath]
    paths: Mapping[int, Path]

    @classmethod
    def of(cls, job: Job, footage: Footage, person: Person, model: LoadedModel) -> _Cast:
        files, persons = {0: footage}, {0: person}
        for number, path in enumerate(job.options.footage, 1):
            files[number] = job.scan(path, model, number)
            persons[number] = _same_person(files[number], person, model)
        tracks = [track for each in persons.values() for track in each.tracks]
        return cls(
            person,
            collect(tracks, frame_step_s(person.tracks)),
            {n: FacePath(persons[n].tracks, file.end_s) for n, file in files.items()},
            {n: file.path for n, file in files.items()},
        )

    def score(self, window: Window, speech: Speech, loudness: Loudness) -> tuple[Score, Coverage]:
        """Choose the mouths, and say how well they will do."""
        units, tracks = self.units, self.person.tracks
        spoken = loudness.t0_s, loudness.end_s
        slots = slots_of(tracks, units, self.faces[0], window, spoken)
        selections: list[Selection] = [
            select_slots(units, speech, each.rows, each.times_s) for each in slots
        ]
        covered = coverage_of(units, selections, self.person.fit)
        return Score(selections, units.step_s), covered


def _same_person(footage: Footage, person: Person, model: LoadedModel) -> Person:
    found = matching(people(footage, model), person)
    if found is None:
        raise NotTrustworthy(
            "nobody in it looks like the person to dub",
            path=footage.path,
            hint="give footage of the same person",
        )
    return found


def _doubts(covered: Coverage, loudness: Loudness) -> tuple[str, ...]:
    if loudness.rests.all():
        return ("the speech is silent throughout: the mouth rests",)
    return () if covered.reason is None else (f"{covered.reason}; {covered.hint}",)


def _frame_rate(path: Path) -> float | None:
    stream = probe(path).video
    return float(stream.frame_rate) if stream is not None and stream.frame_rate else None

"""The Wav2Lip engine as a job: a generator draws the lower face."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.compose import Look
from lipsync_cli.dubbing.compositing.fitting import Fitter
from lipsync_cli.dubbing.compositing.gate import Gate
from lipsync_cli.dubbing.compositing.showing import Cuts, Showing, plan_showing
from lipsync_cli.dubbing.footage.face_path import FacePath, Faces, find_still_face
from lipsync_cli.dubbing.footage.people import Person
from lipsync_cli.dubbing.footage.scan import Footage
from lipsync_cli.dubbing.generator.closed import OriginalRests, closed_references
from lipsync_cli.dubbing.generator.draw import DrawnLips, Driving, References
from lipsync_cli.dubbing.generator.listen import Heard, listen
from lipsync_cli.dubbing.generator.wav2lip import Draws
from lipsync_cli.dubbing.job import (
    GATHER,
    HEAR,
    SCAN,
    Job,
    Lips,
    Made,
    covers_of,
    cuts_of,
    placed,
    spoken_until,
)
from lipsync_cli.dubbing.mouths.gallery import Gallery, gather
from lipsync_cli.dubbing.mouths.slots import Window
from lipsync_cli.dubbing.speech import Loudness
from lipsync_cli.faces.detect import create_detector
from lipsync_cli.media.upright import read_upright

Flags = npt.NDArray[np.bool_]

# Detail of the original that a generator's soft picture gets back.
_DETAIL = 0.8


def draw(job: Job, footage: Footage, person: Person, generator: Draws) -> Made:
    """Dub a video with a generator.

    In silence the picture stays as it was filmed where its mouth is closed; elsewhere the
    generator is shown a closed mouth of the same person.
    """
    window = job.window(footage)
    heard = _heard(job)
    loudness = placed(heard.loudness, window.start_s)
    window = spoken_until(window, loudness.end_s)
    faces = FacePath(person.tracks, footage.end_s)
    rests = OriginalRests(person.tracks, window, loudness)
    spoken = loudness.t0_s, loudness.end_s
    showing = plan_showing(
        faces,
        window,
        spoken,
        cuts=cuts_of(footage),
        covered=covers_of(person, window),
        resting=rests,
    )
    frames_s, closed_s = closed_references(person.tracks, rests.closed, rests.moving())
    with ExitStack() as stack:
        references = None
        if len(closed_s):
            gallery = stack.enter_context(Gallery())
            wanted = {0: np.unique(closed_s)}
            gather(gallery, {0: job.video}, {0: faces}, wanted, job.part(HEAR, GATHER))
            references = References(gallery, faces, frames_s, closed_s, loudness)
        driving = _driving(job, heard, loudness)
        made = _written(job, faces, showing, driving, references, window, generator, loudness)
    return _with_doubts(made, job)


def draw_photograph(job: Job, generator: Draws) -> Made:
    """Let a photograph speak.

    Raises:
        NotTrustworthy: there is no face in it, or no sound in the speech.
    """
    detector = create_detector(job.options.face_detector)
    face = find_still_face(job.video, detector, job.options.face)
    heard = _heard(job)
    loudness = placed(heard.loudness, 0.0)
    window = Window(0.0, loudness.end_s, loudness.end_s)
    showing = plan_showing(face, window, (0.0, loudness.end_s), cuts=Cuts())
    driving = _driving(job, heard, loudness)
    made = _written(job, face, showing, driving, None, window, generator, loudness)
    return _with_doubts(made, job)


def _heard(job: Job) -> Heard:
    track = job.options.audio_track
    return listen(job.speech, audio_track=track, progress=job.part(SCAN, HEAR))


def _with_doubts(made: Made, job: Job) -> Made:
    if not job.options.footage:
        return made
    unused = "the other footage was not used: a generator draws the lips"
    return replace(made, result=replace(made.result, warnings=(*made.result.warnings, unused)))


def _driving(job: Job, heard: Heard, loudness: Loudness) -> Driving:
    return Driving(heard.mel, loudness.t0_s, job.options.audio_shift_ms / 1000)


def _written(
    job: Job,
    faces: Faces,
    showing: Showing,
    driving: Driving,
    references: References | None,
    window: Window,
    generator: Draws,
    loudness: Loudness,
) -> Made:
    upright, gate = read_upright(job.video), Gate(planned=showing.at)
    edit = DrawnLips(
        generator,
        driving,
        faces,
        Fitter(upright, Look(detail=_DETAIL), redrawn=True, gate=gate),
        upright,
        showing,
        references,
    )
    return job.write(Lips("wav2lip", edit, gate, faces, showing), window, loudness)

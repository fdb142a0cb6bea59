"""Who is who: the tracks of one person over all shots, and the person to dub."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.footage.looks import standardised
from lipsync_cli.dubbing.footage.place import FacePlace, parse_place
from lipsync_cli.dubbing.footage.scan import FaceTrack, Footage
from lipsync_cli.errors import NotTrustworthy, UsageError
from lipsync_cli.sync.estimate import estimate
from lipsync_cli.sync.evidence import merged
from lipsync_cli.sync.model_file import LoadedModel

Floats = npt.NDArray[np.float32]

# Correlation of mean mouth crops from which two tracks are one person: 80 % of pairs of
# recordings of one speaker reach it, 5 % of pairs of two.
_SAME = 0.7
# What the same place and size in the frame adds to it.
_SAME_PLACE = 0.15
_PLACE, _SIZE = 0.6, 1.35
# Faces that are in view together for longer are two people.
_TOGETHER_S = 0.4
# A moment that was asked for lies at most this far from a frame of the face.
_IN_VIEW_S = 0.25
# Surer than this is no more a speaker.
_SURE = 0.999
# People who are listed in a message.
_LISTED = 6
SPEAKER, LARGEST = "speaker", "largest"


@dataclass(frozen=True, eq=False)
class Person:
    """One face of a file, in all shots where it was recognised.

    Attributes:
        index: in order of first appearance, from 0.
        tracks: in order of time; no two at once.
        seconds: time in view.
        size: mean side of the face over the side of the frame.
        speaks: probability that the lips follow the file's own sound; None without sound.
        speech_s: seconds' worth of evidence for that.
        fit: mean cosine of mouth and own speech; None where the lips do not follow it.
    """

    index: int
    tracks: tuple[FaceTrack, ...]
    seconds: float
    size: float
    speaks: float | None
    speech_s: float
    fit: float | None = None


def people(footage: Footage, model: LoadedModel) -> tuple[Person, ...]:
    """Link the tracks of a file into people.

    Longest track first, each joins the person whose mean mouth crop is most like its own
    (and whose place and size in the frame are the same, as in a shot and its continuation),
    unless both are in view at once. Cautious about splitting: one face at a time that looks
    roughly the same is one person.
    """
    groups: list[list[FaceTrack]] = []
    for track in sorted(footage.tracks, key=lambda t: -t.duration_s):
        scores = [_likeness(group, track) for group in groups]
        best = int(np.argmax(scores)) if scores else 0
        if scores and scores[best] >= _SAME:
            groups[best].append(track)
        else:
            groups.append([track])
    groups = [sorted(group, key=lambda t: t.pts_s[0]) for group in groups]
    groups.sort(key=lambda group: float(group[0].pts_s[0]))
    return tuple(_person(i, group, model) for i, group in enumerate(groups))


def check_face(face: str) -> None:
    """Raise UsageError where `choose_person` could never find a person by this name."""
    if parse_place(face) is None and face not in (SPEAKER, LARGEST) and not face.isdecimal():
        raise UsageError(
            f"{face!r} names no face",
            hint="give speaker, largest, a number from 0, or a place as x,y,w,h",
        )


def choose_person(found: Sequence[Person], face: str) -> Person:
    """The person to dub: a number, "largest", "speaker" or a place, see `place.parse_place`.

    The speaker is the one whose lips follow the original sound for longest and most surely:
    those of a listener may seem to follow it a little. Where nobody's do, or there is no sound,
    it is the one who fills most of the picture for longest. At a place it is the one whose face
    overlaps it best, then or over all the time in view.

    Raises:
        NotTrustworthy: there is no face.
        UsageError: there is no such person; the hint lists who is there.
    """
    if not found:
        raise NotTrustworthy("no face is in view for a second", hint="check the video")
    place = parse_place(face)
    if place is not None:
        return _person_at(found, place, face)
    if face == SPEAKER:
        speaking = [p for p in found if p.speaks is not None and p.speaks > 0.5]
        if speaking:
            return max(speaking, key=_follows)
    if face in (SPEAKER, LARGEST):
        return max(found, key=lambda p: p.seconds * p.size**2)
    if not face.isdecimal() or int(face) >= len(found):
        raise UsageError(f"there is no face {face!r}", hint=_who_is_there(found))
    return found[int(face)]


def _follows(person: Person) -> float:
    """Seconds of speech, weighed by the log odds that the lips follow it."""
    speaks = min(person.speaks or 0.0, _SURE)
    return person.speech_s * math.log(speaks / (1 - speaks))


def _person_at(found: Sequence[Person], place: FacePlace, face: str) -> Person:
    overlaps = [sum(_overlap(track, place) for track in p.tracks) for p in found]
    best = int(np.argmax(overlaps))
    if overlaps[best] <= 0:
        raise UsageError(f"there is no face at {face}", hint=_who_is_there(found))
    return found[best]


def _overlap(track: FaceTrack, place: FacePlace) -> float:
    """Overlap of a track with a place at its time, or the sum over all of its frames."""
    overlap = place.overlap(track.boxes)
    if place.time_s is None:
        return float(overlap.sum())
    nearest = int(np.abs(track.pts_s - place.time_s).argmin())
    in_view = abs(float(track.pts_s[nearest]) - place.time_s) <= _IN_VIEW_S
    return float(overlap[nearest]) if in_view else 0.0


def _who_is_there(found: Sequence[Person]) -> str:
    """List people by number, with their places and times."""
    named = [f"face {p.index}{_seen(p)}" for p in found[:_LISTED]]
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    return f"there {'is' if len(found) == 1 else 'are'} {'; '.join(named)}{more}"


def _seen(person: Person) -> str:
    """Where a person is in the middle of their longest stretch in view, and when they are."""
    if not person.tracks:
        return ""
    longest = max(person.tracks, key=lambda track: track.duration_s)
    middle = len(longest.pts_s) // 2
    x0, y0, x1, y1 = longest.boxes[middle].tolist()
    first_s, last_s = person.tracks[0].pts_s[0], person.tracks[-1].pts_s[-1]
    place = f"{x0:.0f},{y0:.0f},{x1 - x0:.0f},{y1 - y0:.0f}@{longest.pts_s[middle]:.1f}"
    return f" at {place} (seen from {first_s:.1f} to {last_s:.1f} s)"


def matching(found: Sequence[Person], person: Person) -> Person | None:
    """The one in other footage who looks most like `person`; None when nobody does."""
    usual = _usual(person.tracks)
    likeness = [float(usual @ _usual(p.tracks)) for p in found]
    best = int(np.argmax(likeness)) if likeness else 0
    return found[best] if likeness and likeness[best] >= _SAME - _SAME_PLACE else None


def _person(index: int, tracks: list[FaceTrack], model: LoadedModel) -> Person:
    size = np.concatenate([_sizes(t) / max(t.frame_size) for t in tracks])
    parts = [t.evidence for t in tracks if t.evidence is not None]
    evidence = merged(parts) if parts else None
    reading = evidence and estimate(evidence, model.logits, model.calibration)
    speaks = float(1 - reading.posterior[-1]) if reading else None
    return Person(
        index=index,
        tracks=tuple(tracks),
        seconds=sum(t.duration_s for t in tracks),
        size=float(size.mean()),
        speaks=speaks,
        speech_s=reading.weight / 25 if reading else 0.0,
        fit=float(np.nanmax(evidence.diagonal())) if evidence and (speaks or 0) > 0.5 else None,
    )


def _likeness(group: Sequence[FaceTrack], track: FaceTrack) -> float:
    """How surely a track shows the person of a group: below -1 when it cannot."""
    if any(_together_s(other, track) > _TOGETHER_S for other in group):
        return -2.0
    alike = float(_usual(group) @ _usual([track]))
    return alike + _SAME_PLACE * any(_in_place(other, track) for other in group)


def _together_s(first: FaceTrack, second: FaceTrack) -> float:
    start = max(first.pts_s[0], second.pts_s[0])
    return float(min(first.pts_s[-1], second.pts_s[-1]) - start)


def _usual(tracks: Sequence[FaceTrack]) -> Floats:
    """Median mouth crop, as a unit vector."""
    thumbs = np.concatenate([t.thumbnails[:: max(1, len(t.thumbnails) // 100)] for t in tracks])
    usual = np.median(standardised(thumbs), axis=0)
    return np.asarray(usual / max(float(np.linalg.norm(usual)), 1e-6), np.float32)


def _in_place(first: FaceTrack, second: FaceTrack) -> bool:
    centres = [np.median(t.boxes.reshape(-1, 2, 2).mean(1), axis=0) for t in (first, second)]
    sizes = sorted(float(np.median(_sizes(t))) for t in (first, second))
    near = float(np.linalg.norm(centres[0] - centres[1])) < _PLACE * sizes[0]
    return near and sizes[1] < _SIZE * sizes[0]


def _sizes(track: FaceTrack) -> Floats:
    """Geometric mean of each box's sides, in px."""
    sides = np.maximum(track.boxes[:, 2:] - track.boxes[:, :2], 1.0)
    return np.asarray(np.sqrt(sides.prod(1)), np.float32)

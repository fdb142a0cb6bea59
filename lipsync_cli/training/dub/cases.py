"""People to dub, each paired with somebody else's speech; and their footage, cut short."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.footage.people import choose_person, people
from lipsync_cli.dubbing.footage.scan import scan
from lipsync_cli.dubbing.mouths.units import Units, collect, frame_step_s, grid
from lipsync_cli.dubbing.speech import Speech, hear
from lipsync_cli.faces.stream import TrackChunk
from lipsync_cli.media.audio import AudioBlock
from lipsync_cli.media.reader import read
from lipsync_cli.sync.model_file import LoadedModel

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Log = Callable[[str], None]

MIN_S, MIN_RATE = 10.0, 20.0
RANDOM_RUN = 12  # frames


@dataclass(frozen=True, eq=False)
class Case:
    """A person and the speech to put into their mouth.

    Attributes:
        crops: uint8 [n, 64, 64], mouth of each row of `units`.
        track: the track to dub.
        sound: the speech, float32 at 16 kHz, from the track's first frame on.
        own_sound, own_t0_s: the clip's own, and the time of its first sample.
        fit: cosine of the mouth with it.
    """

    name: str
    units: Units
    crops: Bytes
    track: int
    speech: Speech
    sound: Floats
    own_sound: Floats
    own_t0_s: float
    fit: float | None

    @property
    def rows(self) -> Rows:
        """The frames to dub."""
        return self.units.rows_of(0, self.track)

    @property
    def start_s(self) -> float:
        """When the speech begins."""
        return float(self.units.time_s[self.rows[0]])


def surest_clips(folder: Path, split: str, count: int) -> list[Path]:
    """The long clips whose own offset is clearest, one a speaker."""
    with (folder / "lags.csv").open(newline="") as file:
        margins = {r["file"]: float(r["margin"]) for r in csv.DictReader(file)}
    with (folder / "manifest.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["split"] == split and r["corpus"] == "wild"]
    long = [r for r in rows if float(r["duration_s"]) >= MIN_S and float(r["fps"]) >= MIN_RATE]
    chosen: dict[str, str] = {}
    for row in sorted(long, key=lambda r: -margins.get(r["file"], 0.0)):
        chosen.setdefault(row["speaker"], row["file"])
    return [folder / name for name in list(chosen.values())[:count]]


def prepare(paths: Sequence[Path], model: LoadedModel, log: Log | None = None) -> list[Case]:
    """Pair each clip with the speech of the next one."""
    seen = []
    for path in paths:
        seen.append(_Clip.read(path, model))
        if log:
            log(f"{path.stem}: {len(seen[-1].units)} frames")
    cases = []
    for clip, other in zip(seen, [*seen[1:], *seen[:1]], strict=True):
        start_s = float(clip.units.time_s[clip.units.rows_of(0, clip.track)[0]])
        speech = hear(other.path, model, delay_s=start_s - other.t0_s)
        cases.append(
            Case(
                name=clip.path.stem,
                units=clip.units,
                crops=clip.crops,
                track=clip.track,
                speech=speech,
                sound=other.sound,
                own_sound=clip.sound,
                own_t0_s=clip.t0_s,
                fit=clip.fit,
            )
        )
    return cases


@dataclass(frozen=True, eq=False)
class _Clip:
    """One file, read once."""

    path: Path
    units: Units
    crops: Bytes
    track: int
    sound: Floats
    t0_s: float
    fit: float | None

    @classmethod
    def read(cls, path: Path, model: LoadedModel) -> _Clip:
        kept: dict[int, list[Bytes]] = {}

        def keep(chunk: TrackChunk) -> None:
            kept.setdefault(chunk.track, []).append(chunk.mouths)

        footage = scan(path, model, on_chunk=keep)
        person = choose_person(people(footage, model), "speaker")
        tracks = person.tracks
        step_s = frame_step_s(tracks)
        crops = [np.concatenate(kept[t.track])[grid(t.pts_s, step_s)[1]] for t in tracks]
        longest = max(tracks, key=lambda t: t.duration_s)
        blocks = [b for b in read(path, video=False) if isinstance(b, AudioBlock)]
        sound = np.concatenate([b.samples for b in blocks])
        units = collect(tracks, step_s)
        mouths, t0_s = np.concatenate(crops), blocks[0].t0_s
        return cls(path, units, mouths, longest.track, sound, t0_s, person.fit)


def limited(case: Case, seconds: float | None, seed: int = 0) -> Case:
    """The same with no more than one stretch of footage to choose from."""
    if seconds is None:
        return case
    units = case.units
    length = min(len(units), round(seconds / units.step_s))
    first = int(np.random.default_rng(seed).integers(0, len(units) - length + 1))
    usable = np.zeros(len(units), np.bool_)
    usable[first : first + length] = units.usable[first : first + length]
    return replace(case, units=replace(units, usable=usable))


def random_rows(case: Case) -> Rows:
    """Runs of twelve frames from anywhere."""
    count, rng = len(case.rows), np.random.default_rng(0)
    starts = rng.integers(0, max(1, len(case.units) - RANDOM_RUN), count // RANDOM_RUN + 1)
    return np.asarray((starts[:, None] + np.arange(RANDOM_RUN)).ravel()[:count], np.int64)

"""Dubs as files: written by `dub_video`, then looked at and listened to like any other."""

from __future__ import annotations

import json
import math
import time
import wave
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lipsync_cli.dub import DubOptions, dub_video
from lipsync_cli.dubbing.footage.face_path import FacePath
from lipsync_cli.dubbing.footage.people import Person, choose_person, people
from lipsync_cli.dubbing.footage.scan import scan
from lipsync_cli.dubbing.job import GATHER, HEAR, SCAN, WRITE
from lipsync_cli.dubbing.mouths.borrow import Score
from lipsync_cli.dubbing.mouths.select import select_slots
from lipsync_cli.dubbing.mouths.selection import Selection
from lipsync_cli.dubbing.mouths.slots import Window, slots_of
from lipsync_cli.dubbing.mouths.units import collect, frame_step_s
from lipsync_cli.dubbing.speech import hear
from lipsync_cli.errors import LipsyncError
from lipsync_cli.media.audio import SAMPLE_RATE
from lipsync_cli.media.output import atomic
from lipsync_cli.results import DubResult
from lipsync_cli.sync.model_file import LoadedModel
from lipsync_cli.training.dub.cases import RANDOM_RUN, Log
from lipsync_cli.training.dub.judge import FileJudge, Verdict, Watched, watch
from lipsync_cli.training.dub.pictures import compare, figures
from lipsync_cli.weights import sha256_of

Times = npt.NDArray[np.float64]

# Raised when figures change their meaning: files of another version are measured again.
_VERSION = 1
_SILENCE_S = 6.0
_STAGES = (("scan", SCAN), ("hear", HEAR), ("gather", GATHER), ("write", WRITE), ("verify", 1.0))


@dataclass(frozen=True)
class FilesOptions:
    """What is dubbed and how long of it is measured.

    Attributes:
        seconds: of each video, from its start.
        silence: also dub with silence and see whether the mouth rests.
        dub: options of the dub; its end is set to `seconds`.
    """

    seconds: float = 20.0
    silence: bool = True
    dub: DubOptions = field(default_factory=lambda: DubOptions(engine="rewrite", extend="cut"))


def benchmark_files(
    paths: Sequence[Path],
    folder: Path,
    model: LoadedModel,
    judge: FileJudge,
    *,
    model_id: str,
    options: FilesOptions | None = None,
    log: Log | None = None,
) -> list[dict[str, Any]]:
    """Dub each video with the speech of the next into `folder`, and measure the files.

    What was measured before by the same model, in the same way, is read from the folder. A
    video that cannot be dubbed, say for its transparency, is left out and told to `log`.

    Args:
        folder: holds the dubs, and a JSON file of figures for each.
        model_id: what tells models apart, such as the hash of their file.
    """
    options = options or FilesOptions()
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    panel = Panel(judge, judge.load_net())
    for path, speech in zip(paths, [*paths[1:], *paths[:1]], strict=True):
        key = f"{_VERSION} {model_id[:16]} {options} {sha256_of(path)[:16]} {speech.name}"
        report = folder / f"{path.stem}.json"
        row = _kept(report, key)
        if row is None:
            try:
                measured = _Trial(path, speech, folder, options, model).row(panel)
            except LipsyncError as error:
                if log:
                    log(f"left out: {error}")
                continue
            row = {"key": key, **measured}
            with atomic(report, overwrite=True) as target:
                target.write_text(json.dumps(row, indent=1) + "\n")
        found.append({name: value for name, value in row.items() if name != "key"})
        if log:
            log(json.dumps(found[-1]))
    return found


def _kept(report: Path, key: str) -> dict[str, Any] | None:
    try:
        row: dict[str, Any] = json.loads(report.read_text())
    except (OSError, ValueError):
        return None
    return row if row.get("key") == key else None


@dataclass(frozen=True)
class Panel:
    """A judge and its loaded network."""

    judge: FileJudge
    net: Any

    def figures(self, dubbed: Path, original: Path, most_s: float) -> dict[str, Any]:
        """What is said of a dub, of the original, and of controls with the dub's sound."""
        new, old = (watch(self.judge, path, most_s) for path in (dubbed, original))
        if new is None or old is None:
            return {"windows": 0}
        verdict, real = self.of(new), self.of(old).centred()
        undubbed = Watched(old.mouths, new.sound)
        control, random = self.of(undubbed), self.of(undubbed.shuffled(RANDOM_RUN))
        return {
            "windows": len(verdict.windows),
            "follows": verdict.follows,
            "height": round(verdict.height(0), 4),
            "real": round(real.height(0), 4),
            "undubbed_follows": control.follows,
            "undubbed": round(control.height(0), 4),
            "random_follows": random.follows,
            "random": round(random.height(0), 4),
        }

    def of(self, watched: Watched) -> Verdict:
        """The judge's verdict."""
        return watched.verdict(self.judge, self.net)


@dataclass(frozen=True)
class _Trial:
    """One video and the speech to put into its mouth."""

    path: Path
    speech: Path
    folder: Path
    options: FilesOptions
    model: LoadedModel

    def row(self, panel: Panel) -> dict[str, Any]:
        """Every figure of one dub."""
        target = self.folder / f"{self.path.stem}.mp4"
        footage = scan(self.path, self.model)
        person = choose_person(people(footage, self.model), self.options.dub.face)
        faces = FacePath(person.tracks, footage.end_s)
        stop_s = min(footage.end_s, footage.start_s + self.options.seconds)
        window = Window(footage.start_s, stop_s, stop_s, "cut")
        chosen, step_s = self._chosen(person, faces, window)
        result, stages_s = self._dubbed(self.speech, target, stop_s)
        seen = compare(self.path, target, faces)
        score = Score(chosen, step_s)
        shown = [score.at(time_s) for time_s in seen.pts_s.tolist()]
        own_s = zip(shown, seen.pts_s.tolist(), strict=True)
        taken_s = np.array([t if each is None else each.time_s for each, t in own_s])
        return {
            "clip": self.path.stem,
            "seconds": round(stop_s - window.start_s, 2),
            **panel.figures(target, self.path, self.options.seconds),
            "offset_ms": result.offset_ms_after,
            "probability": result.probability_after,
            "coverage": result.coverage,
            "run_s": round(mean_run_s(chosen, step_s), 3),
            **_known(asdict(figures(seen, joins_s(chosen), taken_s))),
            "silence": self._silence(faces) if self.options.silence else None,
            "stages_s": stages_s,
        }

    def _chosen(
        self, person: Person, faces: FacePath, window: Window
    ) -> tuple[list[Selection], float]:
        """The frames that `dub_video` chooses, and the time from one to the next."""
        units = collect(person.tracks, frame_step_s(person.tracks))
        speech = hear(self.speech, self.model)
        assert speech.loudness is not None
        delay_s = window.start_s - speech.loudness.t0_s
        loudness = replace(speech.loudness, t0_s=window.start_s)
        speech = replace(speech, t0_s=speech.t0_s + delay_s, loudness=loudness)
        spoken = loudness.t0_s, loudness.end_s
        slots = slots_of(person.tracks, units, faces, window, spoken)
        chosen = [select_slots(units, speech, each.rows, each.times_s) for each in slots]
        return chosen, units.step_s

    def _dubbed(
        self, speech: Path, target: Path, stop_s: float
    ) -> tuple[DubResult, dict[str, float]]:
        """Dub, and time the stages by the progress that is told."""
        begun, marks = time.perf_counter(), [(0.0, 0.0)]

        def note(share: float) -> None:
            marks.append((share, time.perf_counter() - begun))

        options = replace(self.options.dub, end_s=stop_s)
        result = dub_video(
            self.path, speech, target, options=options, overwrite=True, progress=note
        )
        note(1.0)
        return result, stages_of(marks)

    def _silence(self, faces: FacePath) -> float:
        """Variance of the mouth's opening with silent speech, over the original's."""
        speech, target = self.folder / "silence.wav", self.folder / f"{self.path.stem}.silent.mp4"
        write_silence(speech, _SILENCE_S)
        options = replace(self.options.dub, end_s=_SILENCE_S, verify=False)
        dub_video(self.path, speech, target, options=options, overwrite=True)
        return figures(compare(self.path, target, faces), np.zeros(0)).opening


def _known(values: dict[str, float]) -> dict[str, float | None]:
    """JSON has no NaN."""
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def joins_s(chosen: Sequence[Selection]) -> Times:
    """Times of the first pictures of new runs."""
    starts = [each.pts_s[1:][np.diff(each.unit) > 0] for each in chosen]
    return np.sort(np.concatenate([np.zeros(0), *starts]))


def mean_run_s(chosen: Sequence[Selection], step_s: float) -> float:
    """Mean time from join to join."""
    runs = sum(int(each.unit[-1]) + 1 for each in chosen if len(each.unit))
    return sum(len(each.unit) for each in chosen) * step_s / max(1, runs)


def stages_of(marks: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Seconds of each stage, from (share that is done, seconds since the start), ascending."""
    spent, before_s = {}, 0.0
    for name, share in _STAGES:
        end_s = next((s for done, s in marks if done >= share - 1e-6), before_s)
        spent[name], before_s = round(end_s - before_s, 2), end_s
    return spent


def write_silence(path: Path, seconds: float) -> None:
    """Write digital silence as a WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(bytes(2 * round(seconds * SAMPLE_RATE)))

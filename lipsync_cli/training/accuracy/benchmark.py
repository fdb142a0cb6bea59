"""Answers of a sync model about people it never saw, under one condition after the other.

Every answer is about a window whose sound was moved by a known time: the truth lies anywhere
in the search range of 15 frames of 25 fps on either side. Windows are counted in pictures
that are compared; each of them also looks at five on either side.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lipsync_cli.sync.estimate import mass_near, peak_ms, refined_ms, softmax
from lipsync_cli.sync.evidence import offsets_ms
from lipsync_cli.sync.features import SAMPLE_RATE
from lipsync_cli.training.accuracy.pictures import PICTURE_CONDITIONS, Poses
from lipsync_cli.training.accuracy.sound import SoundCondition, changed, sound_conditions
from lipsync_cli.training.sync.cache import Clip, as_float, load_clips
from lipsync_cli.training.sync.calibrate import logits_of, trials
from lipsync_cli.training.sync.evaluate import (
    Compared,
    Heard,
    Network,
    Seen,
    compare,
    covered,
    embed_pictures,
    hear,
    hear_clip,
    see,
    seen_as,
)

Log = Callable[[str], None]
Columns = dict[str, list[Any]]

FRAMES = (5, 7, 9, 11, 13, 15, 25, 50, 75, 125, 250)  # of 25 fps
FEW_FRAMES = (5, 15, 25, 75, 250)
FRAME_S = 0.04
REACH = 60
FURTHEST_MS = 560.0  # one frame short of the search range
MOST_SPEECHLESS = 0.5
CLEAN, SHIFTED, TRIALS, COST = "clean", "shifted", "trials", "cost"

_TRIES = 4  # for each window wanted
_STRANGERS = 3.0


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        clips: of unseen people, with their own offsets.
        pictures: folder of `prepare_conditions`.
        results: a file a condition is kept here; those that are there are not repeated.
        windows, few_windows: of each length from each clip, clean and otherwise.
    """

    clips: Sequence[Clip]
    pictures: Path
    results: Path
    poses: Mapping[str, Poses] = field(default_factory=dict)
    seed: int = 0
    windows: int = 12
    few_windows: int = 6


def run(model: Network, plan: Plan, log: Log | None = None) -> None:
    """Measure every condition that `plan.results` does not hold yet."""
    plan.results.mkdir(parents=True, exist_ok=True)
    people: list[Seen] | None = None
    for name, measure in _measurements(model, plan):
        path = plan.results / f"{name}.json"
        if path.exists():
            continue
        begun = time.monotonic()
        people = _embedded(model, plan) if people is None else people
        answer = measure(people)
        if answer is None:
            continue
        path.with_suffix(".tmp").write_text(json.dumps(answer))
        path.with_suffix(".tmp").replace(path)
        if log:
            log(f"{name}: {time.monotonic() - begun:.0f} s")


Measure = Callable[[Sequence[Seen]], Columns | None]


def _measurements(model: Network, plan: Plan) -> Iterator[tuple[str, Measure]]:
    yield CLEAN, partial(_clean, model, plan)
    yield TRIALS, partial(_trials, model, plan)
    yield SHIFTED, partial(_shifted, model, plan)
    yield COST, partial(_cost, model)
    for sound in sound_conditions():
        yield sound.name, partial(_noisy, model, plan, sound)
    for condition in PICTURE_CONDITIONS:
        yield condition.name, partial(_converted, model, plan, condition.name)


def _embedded(model: Network, plan: Plan) -> list[Seen]:
    """Pictures of all clips; kept beside the results, for a run that goes on."""
    path = plan.results / "visual.pt"
    if path.exists():
        known = torch.load(path, weights_only=True)
        return [seen_as(c, known[c.file]) for c in plan.clips if c.file in known]
    people = [seen for c in plan.clips if (seen := see(model, c)) is not None]
    torch.save({s.clip.file: s.visual for s in people}, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)
    return people


def _clean(model: Network, plan: Plan, people: Sequence[Seen]) -> Columns:
    rows: Columns = {}
    for seen in people:
        heard = hear_clip(model, seen.clip)
        if heard is not None:
            _add_windows(rows, model, plan, (seen, heard), clean=True)
    return rows


def _noisy(
    model: Network, plan: Plan, condition: SoundCondition, people: Sequence[Seen]
) -> Columns:
    rows: Columns = {}
    sounds = {s.clip.file: as_float(s.clip.sound) for s in people}
    for seen in people:
        clip = seen.clip
        others = [sounds[s.clip.file] for s in people if s.clip.group != clip.group]
        sound = changed(condition, clip.file, sounds[clip.file], others, plan.seed)
        heard = hear(model, sound, clip.t0_s)
        if heard is not None:
            _add_windows(rows, model, plan, (seen, heard))
    return rows


def _converted(model: Network, plan: Plan, name: str, people: Sequence[Seen]) -> Columns | None:
    own_ms = {s.clip.file: s.clip.offset_ms for s in people}
    rows: Columns = {}
    for clip in load_clips(plan.pictures, name):
        if clip.file not in own_ms:
            continue
        seen = see(model, replace(clip, offset_ms=own_ms[clip.file]))
        heard = hear_clip(model, clip)
        if seen is not None and heard is not None:
            _add_windows(rows, model, plan, (seen, heard))
    return rows or None


def _add_windows(
    rows: Columns, model: Network, plan: Plan, heard: tuple[Seen, Heard], clean: bool = False
) -> None:
    """Append answers about random windows of one clip; the same ones for any sound."""
    seen, sound = heard
    file, own_ms = seen.clip.file, seen.clip.offset_ms
    turn = _turn(seen, plan.poses.get(file))
    for frames in FRAMES if clean else FEW_FRAMES:
        rng = np.random.default_rng([plan.seed, zlib.crc32(f"{file} {frames}".encode())])
        count = plan.windows if clean else plan.few_windows
        for stretch, moved_ms in _windows(seen, sound, frames, count, rng):
            found = compare(model, seen, sound, stretch, REACH, moved_ms / 1000)
            answers = classified(model, found)[0], diagonal_ms(found)
            classifier, diagonal = (round(ms - moved_ms, 2) for ms in answers)
            row = {"file": file, "frames": frames, "own_ms": own_ms, "moved_ms": moved_ms}
            row |= {"classifier_ms": classifier, "diagonal_ms": diagonal}
            _append(rows, row | {"turn": _mean(turn[stretch])})


def _windows(
    seen: Seen, heard: Heard, frames: int, count: int, rng: np.random.Generator
) -> list[tuple[slice, float]]:
    """Stretches of speech all of whose candidates exist, and how far to move the sound."""
    length = max(1, round(frames * FRAME_S * seen.rate))
    last, found = len(seen.pts_s) - length, list[tuple[slice, float]]()
    for _ in range(_TRIES * count if last >= 0 else 0):
        start = int(rng.integers(last + 1))
        stretch = slice(start, start + length)
        moved_ms = float(rng.uniform(-FURTHEST_MS, FURTHEST_MS)) - seen.clip.offset_ms
        spoken = seen.speech[stretch].mean() > MOST_SPEECHLESS
        if spoken and covered(seen, heard, stretch, REACH, moved_ms / 1000):
            found.append((stretch, moved_ms))
        if len(found) == count:
            break
    return found


def classified(model: Network, found: Compared) -> tuple[float, float]:
    """(offset, posterior within 40 ms of it) by the classifier."""
    scores, weight = found.evidence.sum(0)[None].numpy(), found.weight.sum()[None].numpy()
    posterior = softmax(logits_of(model, scores, weight)[:, :-1])[0]
    grid = offsets_ms(len(posterior) // 2)
    mass = mass_near(posterior, grid)
    peak = int(mass.argmax())
    return refined_ms(posterior, grid, peak), float(mass[peak])


def diagonal_ms(found: Compared) -> float:
    """Offset by the plain mean along each diagonal."""
    count = found.valid.sum(0)
    mean = (found.matrix.sum(0) / count.clamp(min=1)).masked_fill(count == 0, -2.0)
    return peak_ms(mean.numpy(), offsets_ms(len(mean) // 2))


def _shifted(model: Network, plan: Plan, people: Sequence[Seen]) -> Columns:
    """Whole clips, and what the answer becomes when samples are moved by a known time."""
    rows: Columns = {}
    for seen in people:
        clip = seen.clip
        rng = np.random.default_rng([plan.seed, zlib.crc32(clip.file.encode())])
        # Other samples then begin each window of the spectrogram.
        cut, moved_s = int(rng.integers(1, 320)), float(rng.uniform(-0.3, 0.3))
        before = hear_clip(model, clip)
        after = hear(model, as_float(clip.sound[cut:]), clip.t0_s + cut / SAMPLE_RATE - moved_s)
        if before is None or after is None:
            continue
        first, second = (_whole(model, seen, heard) for heard in (before, after))
        row = {"file": clip.file, "own_ms": clip.offset_ms, "moved_ms": 1000 * moved_s}
        row |= {"before_ms": first[0], "after_ms": second[0], "mass": min(first[1], second[1])}
        _append(rows, row)
    return rows


def _whole(model: Network, seen: Seen, heard: Heard) -> tuple[float, float]:
    return classified(model, compare(model, seen, heard, slice(None), 2 * REACH))


def _append(rows: Columns, row: Mapping[str, Any]) -> None:
    for name, value in row.items():
        rows.setdefault(name, []).append(value)


def _trials(model: Network, plan: Plan, people: Sequence[Seen]) -> Columns:
    found = [asdict(t) for t in trials(model, people, seed=plan.seed, strangers=_STRANGERS)]
    return {name: [row[name] for row in found] for name in found[0]}


def _cost(model: Network, people: Sequence[Seen]) -> Columns:
    """CPU time of each stage over some seconds, on as many threads as are set."""
    seen = max(people, key=lambda s: len(s.pts_s))
    pictures = min(len(seen.pts_s), 500)
    clip = replace(
        seen.clip, crops=seen.clip.crops[: pictures + 10], pts_s=seen.clip.pts_s[: pictures + 10]
    )
    heard = hear_clip(model, clip)
    if heard is None:
        return {}
    # Once without a clock: TorchScript compiles at first use.
    embed_pictures(model, clip)
    visual_s = _cpu_s(lambda: embed_pictures(model, clip))
    audio_s = _cpu_s(lambda: hear_clip(model, clip))
    whole = seen_as(clip, seen.visual[:pictures])
    classify_s = _cpu_s(lambda: compare(model, whole, heard, slice(None), 150))
    seconds = len(clip.sound) / SAMPLE_RATE
    return {
        "visual_ms_per_picture": [1000 * visual_s / pictures],
        "audio_ms_per_second": [1000 * audio_s / seconds],
        "classifier_ms_per_picture": [1000 * classify_s / pictures],
    }


def _cpu_s(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _turn(seen: Seen, poses: Poses | None) -> NDArray[np.float64]:
    """Turn of the head in each picture, NaN where it was not followed."""
    if poses is None or not len(poses.pts_s):
        return np.full(len(seen.pts_s), np.nan)
    return np.interp(seen.pts_s, poses.pts_s, poses.turn, left=np.nan, right=np.nan)


def _mean(values: NDArray[np.float64]) -> float | None:
    mean = float(values.mean())
    return round(mean, 3) if np.isfinite(mean) else None

"""How well an expert tells windows that belong together from others, on people it never saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lipsync_cli.dubbing.generator.expert import SyncExpert
from lipsync_cli.errors import InputError
from lipsync_cli.training.expert.augment import plain_pairs
from lipsync_cli.training.expert.samples import FRAMES, Stretches, heard, is_steady
from lipsync_cli.training.faces.pack import PackedClip

LENGTHS = (1, 5, 10, 15, 25)
# 12 shifts to either side and none: chance is 4 %.
_REACH = 12
# Windows nearer than this are neither in sync nor out of it.
_APART = 2
_AT_ONCE = 128
_SEED = 29

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Accuracy:
    """What an expert answered.

    Attributes:
        clips, people, windows: that were asked about.
        by_length: for scores averaged over so many consecutive windows: `pair`, right
            answers in or off sync, half of the pairs off, at the threshold that calls half
            of all in sync; `preferred`, the right sound scores more than a random other one
            of the clip; `way_25`, it scores most of 25 shifts; `near_25`, it or the next.
    """

    clips: int
    people: int
    windows: int
    by_length: dict[int, dict[str, float]]


def evaluate_expert(
    expert: SyncExpert,
    clips: Sequence[PackedClip],
    *,
    windows: Sequence[int] = LENGTHS,
    most_s: float = 30.0,
) -> Accuracy:
    """Ask about every window of the first `most_s` seconds of each clip.

    Only windows whose shifts all lie inside of the clip are asked about. The same others are
    drawn each time.

    Raises:
        InputError: no clip is long enough.
    """
    asked = [c for c in clips if is_steady(c, FRAMES + 2 * _REACH)]
    if not asked:
        raise InputError("no clip is long enough to evaluate with", hint="pack longer clips")
    matrices = [cosines(expert, clip, most_s) for clip in asked]
    found: dict[int, dict[str, float]] = {}
    for length in windows:
        rng = np.random.default_rng(_SEED)
        answers = [a for m in matrices for a in _answers(m, length, rng)]
        if answers:
            found[length] = _figures(np.array(answers, np.float32))
    shown = sum(len(m) for m in matrices)
    return Accuracy(len(asked), len({c.group for c in asked}), shown, found)


def cosines(expert: SyncExpert, clip: PackedClip, most_s: float) -> Floats:
    """Cosines [n, n] of the windows at a clip's pictures with the sounds that begin at them.

    NaN where the sound is not wholly known.
    """
    count = int(np.searchsorted(clip.pts_s, clip.pts_s[0] + most_s))
    starts_s = clip.pts_s[: count - FRAMES + 1]
    device = next(expert.parameters()).device
    mel, columns, known = heard(clip, starts_s)
    seen, sound = [], []
    for first in range(0, len(starts_s), _AT_ONCE):
        part = slice(first, min(first + _AT_ONCE, len(starts_s)))
        faces = clip.faces[part.start : part.stop + FRAMES - 1]
        whole = (faces, mel, columns[part], starts_s[part], known[part])
        pairs = plain_pairs(Stretches(*(torch.from_numpy(a[None].copy()) for a in whole)))
        with torch.inference_mode():
            answer = expert.eval()(pairs.halves.to(device), pairs.mel.to(device))
        seen.append(answer[0].float().cpu().numpy())
        sound.append(answer[1].float().cpu().numpy())
    matrix = np.concatenate(seen) @ np.concatenate(sound).T
    matrix[:, ~known] = np.nan
    return np.asarray(matrix, np.float32)


def _answers(
    matrix: Floats, length: int, rng: np.random.Generator
) -> Iterator[tuple[float, float, float]]:
    """Of every run of windows: its score, that of a random other sound, and the best shift."""
    count = len(matrix) - length + 1
    if count <= 2 * _REACH:
        return
    means = _means(matrix, length)  # [count, count]
    shifts = np.arange(-_REACH, _REACH + 1)
    for i in range(_REACH, count - _REACH):
        near = means[i, i + shifts]
        far = np.flatnonzero(np.abs(np.arange(count) - i) >= _APART)
        other = means[i, rng.choice(far)]
        if not np.isnan(near).any() and not np.isnan(other):
            yield float(means[i, i]), float(other), float(shifts[near.argmax()])


def _means(matrix: Floats, length: int) -> Floats:
    """Means over so many steps down the diagonals."""
    count = len(matrix) - length + 1
    parts = [matrix[i : i + count, i : i + count] for i in range(length)]
    return np.asarray(np.mean(parts, axis=0), np.float32)


def _figures(answers: Floats) -> dict[str, float]:
    own, other, shift = answers.T
    threshold = np.median(answers[:, :2])
    right = ((own > threshold).mean() + (other <= threshold).mean()) / 2
    return {
        "pair": round(float(right), 4),
        "preferred": round(float((own > other).mean()), 4),
        "way_25": round(float((shift == 0).mean()), 4),
        "near_25": round(float((np.abs(shift) <= 1).mean()), 4),
    }

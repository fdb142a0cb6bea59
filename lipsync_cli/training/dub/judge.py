"""Independent judges of lip sync: models that share neither data nor weights with ours."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lipsync_cli.errors import WeightsError
from lipsync_cli.media.audio import SAMPLE_RATE

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Times = npt.NDArray[np.float64]

RATE = 25  # pictures a second that the judge looks at
REACH = 15  # lags on either side, in such pictures
BORDER = 5  # pictures at either end whose neighbourhood reaches padding
WINDOW = 125  # pictures: 5 s
SPEECH_SHARE = 0.5


class Judge(Protocol):
    """What a judge of mouths and sound has to define."""

    def load_net(self) -> Any: ...

    def log_mel(self, samples: Floats) -> Floats: ...

    def lag_matrix(self, net: Any, mouths: Bytes, mel: Floats) -> Floats: ...


class FileJudge(Judge, Protocol):
    """What a judge's file has to define."""

    def read(self, path: str, max_s: float) -> tuple[list[Any], Floats]: ...

    def landmarks(self, frames: list[Any]) -> Floats: ...

    def mouths(self, frames: list[Any], lm: Floats) -> Bytes | None: ...


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a judge says of one sequence of mouths.

    Attributes:
        curve: [31], mean cosine of picture t with sound t + k, k from -15.
        windows: lag in pictures of each window of 5 s with speech in it, > 0 sound late.
    """

    curve: Floats
    windows: npt.NDArray[np.int64]

    @property
    def own(self) -> int:
        """Lag of the whole."""
        return int(self.curve.argmax()) - REACH

    def centred(self) -> Verdict:
        """The same round its own lag."""
        return Verdict(np.roll(self.curve, -self.own), self.windows - self.own)

    @property
    def follows(self) -> float | None:
        """Share of the windows whose lag is within a picture; None where there are none."""
        within = np.abs(self.windows) <= 1
        return round(float(within.mean()), 3) if len(within) else None

    def height(self, lag: int) -> float:
        """The mean curve at a lag, over its median."""
        return float(self.curve[lag + REACH] - np.median(self.curve))


def load_judge(path: Path) -> FileJudge:
    """Import a judge's file.

    Raises:
        WeightsError: it is no judge.
    """
    spec = importlib.util.spec_from_file_location("judge", path)
    if spec is None or spec.loader is None:
        raise WeightsError("is no judge", path=path, hint="give a Python file")
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    judge: FileJudge = module
    return judge


def judged(
    judge: Judge, net: Any, mouths: Bytes, pts_s: Times, sound: Floats, t0_s: float
) -> Verdict:
    """Show mouths at their times, with sound that starts at `t0_s`, to a judge.

    It sees 25 pictures a second, each the first at or after its tick, as when it reads files.
    """
    ticks = pts_s[0] + np.arange(int((pts_s[-1] - pts_s[0]) * RATE + 1e-6) + 1) / RATE
    shown = np.minimum(np.searchsorted(pts_s, ticks - 1e-6), len(pts_s) - 1)
    ahead = round((t0_s - pts_s[0]) * SAMPLE_RATE)
    sound = np.pad(sound, (max(ahead, 0), 0))[max(-ahead, 0) :]
    each = SAMPLE_RATE // RATE
    count = min(len(ticks), len(sound) // each)
    sound = sound[: count * each]
    mel = judge.log_mel(sound)[: 4 * count]
    lags = judge.lag_matrix(net, mouths[shown[:count]], mel)  # [T, 31]
    level = np.sqrt((sound.reshape(count, each) ** 2).mean(1))
    spoken = level > max(0.1 * float(np.percentile(level, 95)), 1e-3)
    starts = range(REACH + BORDER, count - REACH - BORDER - WINDOW + 1, RATE)
    wanted = [s for s in starts if spoken[s : s + WINDOW].mean() >= SPEECH_SHARE]
    found = [int(lags[s : s + WINDOW].mean(0).argmax()) - REACH for s in wanted]
    return Verdict(np.nanmean(lags, axis=0), np.array(found, np.int64))


@dataclass(frozen=True, eq=False)
class Watched:
    """A file as a judge sees it, with its own detector.

    Attributes:
        mouths: uint8 [n, 64, 64], 25 a second.
        sound: float32 at 16 kHz, from the first picture on.
    """

    mouths: Bytes
    sound: Floats

    def verdict(self, judge: Judge, net: Any) -> Verdict:
        """Have it judged."""
        pts_s = np.arange(len(self.mouths)) / RATE
        return judged(judge, net, self.mouths, pts_s, self.sound, 0.0)

    def shuffled(self, run: int, seed: int = 0) -> Watched:
        """The same mouths in runs of so many, from anywhere."""
        count, rng = len(self.mouths), np.random.default_rng(seed)
        starts = rng.integers(0, max(1, count - run), count // run + 1)
        order = (starts[:, None] + np.arange(run)).ravel()[:count]
        return Watched(self.mouths[np.minimum(order, count - 1)], self.sound)


def watch(judge: FileJudge, path: Path, most_s: float) -> Watched | None:
    """Read the first seconds of a file; None where the judge finds no face in most pictures."""
    frames, sound = judge.read(str(path), most_s)
    count = min(len(frames), len(sound) * RATE // SAMPLE_RATE, round(most_s * RATE))
    mouths = judge.mouths(frames[:count], judge.landmarks(frames[:count]))
    return None if mouths is None else Watched(mouths, sound[: count * SAMPLE_RATE // RATE])

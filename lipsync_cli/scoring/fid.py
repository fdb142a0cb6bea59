"""Frechet Inception Distance between the frames of generated and of real videos."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lipsync_cli.device import halve_on_oom
from lipsync_cli.errors import NotTrustworthy, UsageError, WeightsError
from lipsync_cli.media.reader import ReadStats
from lipsync_cli.scoring.frames import full_frames, share_read
from lipsync_cli.scoring.inception import FEATURES, HINT, load_inception, network_input

Array = npt.NDArray[np.float64]
Progress = Callable[[float], None]

_BATCH = 32


@dataclass(frozen=True)
class Fid:
    """A distance, and what it rests on.

    Attributes:
        value: >= 0; 0 for equal statistics.
        frames, reference_frames: pictures of the generated and of the real videos.
        warnings: what limits the figure, in words.
    """

    value: float
    frames: int
    reference_frames: int
    warnings: tuple[str, ...] = ()


def fid(
    videos: Sequence[str | Path],
    references: Sequence[str | Path],
    inception: Path,
    device: torch.device | str = "cpu",
    *,
    every: int = 1,
    progress: Progress | None = None,
) -> float:
    """Return the distance alone; see `measure_fid`."""
    return measure_fid(videos, references, inception, device, every=every, progress=progress).value


def measure_fid(
    videos: Sequence[str | Path],
    references: Sequence[str | Path],
    inception: Path,
    device: torch.device | str = "cpu",
    *,
    every: int = 1,
    progress: Progress | None = None,
) -> Fid:
    """Measure the FID of two sets of videos, as pytorch-fid does on their dumped frames.

    All pictures of a set count alike, whatever file they are from. Memory grows neither
    with their number nor with their length.

    Args:
        videos, references: the generated and the real files.
        inception: pytorch-fid's file (`weights.locate("inception")`).
        every: take every so manyth picture of each file.
        progress: told the share that is done, 0 to 1.

    Raises:
        UsageError: a set is empty, or `every` is less than 1.
        MediaNotFound, UnreadableMedia, MissingStream: a file has no pictures.
        WeightsError: `inception` is not that file.
        NotTrustworthy: a set has fewer than two pictures, and so no covariance.
    """
    if not videos or not references:
        raise UsageError("FID compares two sets of videos", hint="give files on both sides")
    if every < 1:
        raise UsageError(f"cannot take every {every}th picture", hint="give 1 or more")
    reader = _Reader(_Extractor(load_inception(inception, device), device), every, progress)
    total = len(videos) + len(references)
    made = reader.read(videos, 0.0, len(videos) / total)
    real = reader.read(references, len(videos) / total, 1.0)
    for moments in (made, real):
        _check(moments, inception)
    value = frechet_distance(made.mean, made.covariance(), real.mean, real.covariance())
    return Fid(value, made.count, real.count, tuple(_warnings(made.count, real.count)))


def frechet_distance(mean_a: Array, cov_a: Array, mean_b: Array, cov_b: Array) -> float:
    """Frechet distance of two Gaussians with means [d] and covariances [d, d].

    |m_a - m_b|^2 + tr(C_a + C_b - 2 sqrt(C_a C_b)) (Heusel et al. 2017, arXiv 1706.08500).
    The trace of the root is that of sqrt(sqrt(C_a) C_b sqrt(C_a)), which has the
    same eigenvalues, is symmetric and exists for singular covariances too. So nothing has
    to be added to their diagonals, as pytorch-fid does where scipy's sqrtm fails on them.
    """
    from scipy import linalg

    values, vectors = linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    squares = linalg.eigvalsh(root @ cov_b @ root)
    shared = float(np.sqrt(np.maximum(squares, 0.0)).sum())
    apart = float(np.sum((mean_a - mean_b) ** 2))
    # Rounding may leave less than nothing of equal statistics.
    return max(0.0, apart + float(np.trace(cov_a) + np.trace(cov_b)) - 2 * shared)


class Moments:
    """Mean and covariance of vectors that come in batches, in float64.

    Pairwise update of Chan, Golub, LeVeque 1983, "Algorithms for computing the sample
    variance", The American Statistician 37(3).
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Array = np.zeros(0)
        self._scatter: Array = np.zeros((0, 0))

    def add(self, vectors: npt.ArrayLike) -> None:
        """Take in vectors [n, size]; all batches are of one size."""
        batch = np.asarray(vectors, np.float64)
        if not self.count:
            size = batch.shape[1]
            self.mean, self._scatter = np.zeros(size), np.zeros((size, size))
        centre = batch.mean(axis=0)
        inside = batch - centre  # [n, size]
        step = centre - self.mean
        total = self.count + len(batch)
        self._scatter += inside.T @ inside
        self._scatter += np.outer(step, step) * (self.count * len(batch) / total)
        self.mean = self.mean + step * (len(batch) / total)
        self.count = total

    def covariance(self) -> Array:
        """Unbiased covariance [size, size]; of at least two vectors."""
        return np.asarray(self._scatter / (self.count - 1))


class _Extractor:
    """Runs the network on as many pictures at once as memory holds."""

    def __init__(self, network: nn.Module, device: torch.device | str) -> None:
        self._network = network
        self._device = device
        self._batch = _BATCH

    def features(self, pictures: list[Tensor]) -> Array:
        """Pictures of [3, 299, 299] -> [n, 2048]."""

        def run(batch: int) -> list[Tensor]:
            starts = range(0, len(pictures), batch)
            parts = (torch.stack(pictures[at : at + batch]) for at in starts)
            return [self._network(part.to(self._device)).cpu() for part in parts]

        # TensorFloat-32 would make the figure depend on the device.
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            parts, self._batch = halve_on_oom(run, self._batch)
        return np.asarray(torch.cat(parts).numpy(), np.float64)


@dataclass(frozen=True)
class _Reader:
    """Reads sets of videos into the moments of their features."""

    extractor: _Extractor
    every: int
    progress: Progress | None

    def read(self, paths: Sequence[str | Path], begin: float, end: float) -> Moments:
        """Read one set, telling progress from `begin` to `end`."""
        moments, waiting = Moments(), list[Tensor]()
        share = (end - begin) / len(paths)
        for number, path in enumerate(paths):
            for picture, done in self._pictures(path):
                waiting.append(picture)
                if len(waiting) == _BATCH:
                    moments.add(self.extractor.features(waiting))
                    waiting.clear()
                if self.progress is not None:
                    self.progress(begin + share * (number + done))
        if waiting:
            moments.add(self.extractor.features(waiting))
        return moments

    def _pictures(self, path: str | Path) -> Iterator[tuple[Tensor, float]]:
        """Pictures as the network takes them, with the share of the file that is read."""
        stats = ReadStats()
        with closing(full_frames(path, stats)) as coming:
            for frame in coming:
                if frame.index % self.every == 0:
                    height, width = frame.luma.shape
                    rgb = frame.bgr(0, 0, width, height)[..., ::-1]  # [H, W, 3]
                    yield network_input(rgb), share_read(frame.pts_s, stats)


def _check(moments: Moments, inception: Path) -> None:
    if moments.count < 2:
        raise NotTrustworthy(
            "FID needs at least two pictures on either side", hint="give longer videos"
        )
    if not np.isfinite(moments.covariance()).all():
        raise WeightsError("gives features that are no numbers", path=inception, hint=HINT)


def _warnings(frames: int, reference_frames: int) -> Iterator[str]:
    for count, name in ((frames, "generated"), (reference_frames, "real")):
        if count < FEATURES:
            yield (
                f"FID rests on {count} {name} pictures; with fewer than {FEATURES} the"
                " covariance is incomplete and the figure is too high"
            )

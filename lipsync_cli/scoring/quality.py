"""How near generated pictures come to the real ones: PSNR and SSIM, of all and of the mouth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from lipsync_cli.errors import InputError
from lipsync_cli.faces._cv2 import load_cv2
from lipsync_cli.faces.crop import cut_mouth, mouth_geometry
from lipsync_cli.faces.detect import FaceDetector, create_detector
from lipsync_cli.media.video import VideoFrame
from lipsync_cli.scoring.frames import Side, share_read, simultaneous

Luma = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

# PSNR of equal pictures, which would be infinite, and the limit of all others.
PSNR_CAP_DB = 100.0
# From here on it is worth telling: half a tick of the coarsest common clock is 0.5 ms.
_TELL_APART_S = 0.002
# Side in px of the window of SSIM, and the standard deviation of its Gaussian.
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
# Rows that are worked on at a time: float64 pictures of them stay in the cache.
_BAND = 64
_MIN_FACE_PX = 40.0
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG


@dataclass(frozen=True)
class Quality:
    """How near a generated video comes to the real one; means over the pictures compared.

    Attributes:
        frames: pairs of pictures shown at the same time.
        psnr, mouth_psnr: dB, mean of the pictures' own PSNR, each at most `PSNR_CAP_DB`.
        ssim, mouth_ssim: mean structural similarity, 1 for equal pictures.
        mouth_frames: pairs with a face in the reference; without any, the mouth's are None.
        warnings: what limits the comparison, in words.
    """

    frames: int
    psnr: float
    ssim: float
    mouth_psnr: float | None
    mouth_ssim: float | None
    mouth_frames: int
    warnings: tuple[str, ...] = ()


def compare(
    path: str | Path,
    reference: str | Path,
    *,
    face_detector: str = "own",
    progress: Callable[[float], None] | None = None,
) -> Quality:
    """Compare a generated video with the real one, picture by picture, on 8-bit luma.

    Pictures are paired by presentation time: each is the other's nearest, at most
    20 ms apart. A generated picture of another size is resized to the reference.
    The mouth is that of the largest face of the reference picture: a square level with its
    eyes, at the reference's resolution, cut out of both pictures at the same place.

    Args:
        path: the generated video.
        reference: the real video.
        progress: told the share that is done, 0 to 1.

    Raises:
        MediaNotFound, UnreadableMedia, MissingStream: a file has no pictures to compare.
        InputError: no two pictures are shown at the same time, or they are too small.
        UsageError, WeightsError, DependencyError: there is no such face detector.
    """
    tally = _Tally(create_detector(face_detector))
    with Side(path) as generated, Side(reference) as real:
        for picture, original in simultaneous(generated, real):
            if min(original.luma.shape) < _WINDOW:
                raise InputError(
                    f"its pictures are smaller than the {_WINDOW} px that SSIM looks at",
                    path=reference,
                    hint="compare larger videos",
                )
            tally.add(picture, original)
            if progress is not None:
                progress(share_read(original.pts_s, real.stats))
        if not tally.whole.count:
            raise InputError(
                f"none of its pictures is shown at the time of a picture of {reference}",
                path=path,
                hint="both videos have to show the same moments at the same times",
            )
        span_s = tally.first_s, tally.last_s
        warnings = (*tally.warnings(), *generated.warnings("generated video", span_s))
        return tally.quality((*warnings, *real.warnings("reference", span_s)))


def psnr(first: Luma, second: Luma) -> float:
    """Peak signal-to-noise ratio of two pictures [H, W] in dB, at most `PSNR_CAP_DB`.

    10 log10(255^2 / MSE).
    """
    cv2: Any = load_cv2()
    mse = float(cv2.norm(first, second, cv2.NORM_L2SQR)) / first.size
    return min(PSNR_CAP_DB, 10 * math.log10(255**2 / mse)) if mse else PSNR_CAP_DB


def ssim(first: Luma, second: Luma) -> float:
    """Mean structural similarity of two pictures [H, W] of at least 11 x 11 px, -1 to 1.

    Wang et al. 2004, IEEE TIP 13(4), eq. 13 with K1 = .01, K2 = .03, L = 255, a Gaussian
    window of 11 x 11 with sigma 1.5 and no shrinking; the mean is over all places where the
    window lies inside the picture.
    """
    margin = _WINDOW - 1
    total, windows = 0.0, 0
    for top in range(0, first.shape[0] - margin, _BAND):
        rows = slice(top, top + _BAND + margin)
        index = _similarity(first[rows], second[rows])
        total += float(index.sum())
        windows += index.size
    return total / windows


def _similarity(first: Luma, second: Luma) -> Floats:
    """SSIM in all windows inside two pictures [H, W]: [H - 10, W - 10]."""
    x, y = first.astype(np.float64), second.astype(np.float64)
    mean_x, mean_y = _windowed(x), _windowed(y)
    both = mean_x * mean_y
    energy = mean_x * mean_x + mean_y * mean_y
    variances = _windowed(x * x + y * y) - energy
    covariance = _windowed(x * y) - both
    return (2 * both + _C1) * (2 * covariance + _C2) / ((energy + _C1) * (variances + _C2))


def _windowed(image: Floats) -> Floats:
    """Weighted means in all windows inside the image: [H - 10, W - 10]."""
    cv2: Any = load_cv2()
    margin = _WINDOW // 2
    blurred = cv2.GaussianBlur(image, (_WINDOW, _WINDOW), _SIGMA)
    return cast(Floats, blurred[margin:-margin, margin:-margin])


@dataclass
class _Sums:
    """Running sums of the figures of pairs of pictures."""

    count: int = 0
    psnr: float = 0.0
    ssim: float = 0.0

    def add(self, picture: Luma, original: Luma) -> None:
        self.count += 1
        self.psnr += psnr(picture, original)
        self.ssim += ssim(picture, original)


class _Format(NamedTuple):
    """Width and height, and whether luma spans 0 to 255 instead of 16 to 235."""

    size: tuple[int, int]
    full_range: bool

    @classmethod
    def of(cls, frame: VideoFrame) -> _Format:
        source = frame.source
        full = source is not None and source.picture.color_range == _FULL_RANGE
        return cls((frame.luma.shape[1], frame.luma.shape[0]), full)


@dataclass
class _Tally:
    """The comparison so far."""

    detector: FaceDetector
    whole: _Sums = field(default_factory=_Sums)
    mouth: _Sums = field(default_factory=_Sums)
    first_s: float = 0.0
    last_s: float = 0.0
    apart_s: float = 0.0
    changed: dict[str, None] = field(default_factory=dict)

    def add(self, picture: VideoFrame, original: VideoFrame) -> None:
        self.first_s = self.first_s if self.whole.count else original.pts_s
        self.last_s = original.pts_s
        self.apart_s += abs(picture.pts_s - original.pts_s)
        luma = self._fitted(picture, _Format.of(original))
        self.whole.add(luma, original.luma)
        self._add_mouth(luma, original.luma)

    def _fitted(self, picture: VideoFrame, wanted: _Format) -> Luma:
        """The luma of the generated picture in the reference's range and size."""
        cv2: Any = load_cv2()
        luma, given = picture.luma, _Format.of(picture)
        if given.full_range != wanted.full_range:
            self.changed["the generated video's range of luma was converted"] = None
            luma = cv2.LUT(luma, _range_table(to_full=wanted.full_range))
        if given.size != wanted.size:
            sizes = "{} x {} to {} x {} px".format(*given.size, *wanted.size)
            self.changed[f"the generated pictures were resized from {sizes}"] = None
            shrinks = given.size[0] >= wanted.size[0] and given.size[1] >= wanted.size[1]
            method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            luma = cv2.resize(luma, wanted.size, interpolation=method)
        return luma

    def _add_mouth(self, luma: Luma, original: Luma) -> None:
        faces = [f for f in self.detector.detect(original) if f.size >= _MIN_FACE_PX]
        if faces:
            geometry = mouth_geometry(max(faces, key=lambda face: face.size).landmarks)
            side = max(_WINDOW, round(geometry.side))
            self.mouth.add(
                cut_mouth(luma, geometry, side=side), cut_mouth(original, geometry, side=side)
            )

    def warnings(self) -> Iterator[str]:
        """What a user should know about the pairs."""
        yield from self.changed
        apart_s = self.apart_s / self.whole.count
        if apart_s > _TELL_APART_S:
            yield f"the pictures compared are shown {apart_s * 1000:.0f} ms apart on average"
        if not self.mouth.count:
            yield "no face was found in the reference: no figures of the mouth"

    def quality(self, warnings: tuple[str, ...]) -> Quality:
        """The means."""
        whole, mouth = self.whole, self.mouth
        return Quality(
            frames=whole.count,
            psnr=whole.psnr / whole.count,
            ssim=whole.ssim / whole.count,
            mouth_psnr=mouth.psnr / mouth.count if mouth.count else None,
            mouth_ssim=mouth.ssim / mouth.count if mouth.count else None,
            mouth_frames=mouth.count,
            warnings=warnings,
        )


def _range_table(*, to_full: bool) -> Luma:
    """Every luma value in the other range (ITU-R BT.601: 219 steps from 16)."""
    values = np.arange(256.0)
    converted = (values - 16) * 255 / 219 if to_full else values * 219 / 255 + 16
    return np.clip(np.rint(converted), 0, 255).astype(np.uint8)

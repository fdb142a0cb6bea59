"""What a dub did to the picture: sharpness, joins, jitter, seam, and what should not change."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.canvas import REACH, RISE, Place, face_place, face_scale
from lipsync_cli.dubbing.compositing.cutout import cut_canvas
from lipsync_cli.dubbing.compositing.mask import face_mask
from lipsync_cli.dubbing.compositing.warp import warp
from lipsync_cli.dubbing.footage.face_path import Faces
from lipsync_cli.dubbing.footage.looks import LOOKS, looks
from lipsync_cli.faces.crop import cut_mouth, mouth_geometry
from lipsync_cli.media.pictures import read_pictures
from lipsync_cli.media.upright import Upright, read_upright

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Times = npt.NDArray[np.float64]

# Frames on either side of a join in which one run gives way to the other.
NEAR_JOIN = 2
_SAME_S = 0.004
_OPENING = LOOKS.index("opening")


@dataclass(frozen=True, eq=False)
class Seen:
    """Figures of each pair of pictures, original and dubbed: [n, 2] except where said.

    Attributes:
        pts_s: [n].
        sharp: energy of the Laplacian in the lower face.
        sharp_above: the same round the eyes, where only the encoder was.
        change: root mean square change of luma in the lower face since the picture before,
            both aligned on the face; NaN where there is none, as for `trembling`.
        trembling: the same of the change's own change, in the ring round the mask's edge.
        edge: mean gradient in that ring.
        opening: share of the mouth that is dark.
        outside: [n], mean square difference of luma, 0 to 255, outside of the mask.
    """

    pts_s: Times
    sharp: Floats
    sharp_above: Floats
    change: Floats
    trembling: Floats
    edge: Floats
    opening: Floats
    outside: Floats


@dataclass(frozen=True)
class PictureFigures:
    """Figures of one dubbed file against its original; 1 is as in the original.

    Attributes:
        sharpness: of the lower face.
        kept: the same over that of the pictures that the lips were taken from: what fitting
            in and encoding cost, whatever the mouths do; NaN where these are not known.
        sharpness_above: of the part round the eyes, which only the encoder touches.
        joins: change from picture to picture near joins over that of all others.
        joins_worst: 95th percentile of the greatest change at each join, over that mean.
        change: change from picture to picture away from joins, over the original's.
        trembling: unsteadiness of the ring round the mask.
        seam: gradients in that ring.
        opening: variance of the mouth's opening.
        outside_psnr_db: of all luma outside of the mask, after encoding.
        compared: pairs of pictures.
    """

    sharpness: float
    kept: float
    sharpness_above: float
    joins: float
    joins_worst: float
    change: float
    trembling: float
    seam: float
    opening: float
    outside_psnr_db: float
    compared: int


def compare(original: Path, dubbed: Path, faces: Faces) -> Seen:
    """Look at two files picture by picture, wherever the face is in view in both.

    Args:
        faces: where the face is in the original.

    Raises:
        UnreadableMedia: a file cannot be decoded.
    """
    upright, rows, before = read_upright(original), [], _History()
    for pair, pts_s in _pairs(original, dubbed):
        face = faces.at(pts_s)
        if face is None:
            before = _History()
            continue
        rows.append((pts_s, *_figures(pair, face.landmarks, upright, before)))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    times_s, *pairs, outside = columns or [np.zeros(0)] * len(fields(Seen))
    sharp, above, change, trembling, edge, opening = (
        np.asarray(each, np.float32).reshape(-1, 2) for each in pairs
    )
    shown_s = np.asarray(times_s, np.float64)
    errors = np.asarray(outside, np.float32)
    return Seen(shown_s, sharp, above, change, trembling, edge, opening, errors)


def figures(seen: Seen, joins_s: Times, taken_s: Times | None = None) -> PictureFigures:
    """Summarise pairs of pictures.

    Args:
        joins_s: times of the first pictures of new runs.
        taken_s: time in the original that each picture's lips are from, [n].
    """
    near = np.zeros(len(seen.pts_s), np.bool_)
    worst = []
    for join_s in joins_s.tolist():
        place = int(np.searchsorted(seen.pts_s, join_s - 1e-3))
        span = slice(max(0, place - NEAR_JOIN), place + NEAR_JOIN + 1)
        near[span] = True
        worst.append(np.nanmax(seen.change[span, 1], initial=0.0))
    usual = float(np.nanmean(seen.change[~near, 1])) if (~near).any() else math.nan
    at_joins = float(np.nanmean(seen.change[near, 1])) if near.any() else math.nan
    openings = seen.opening.var(0)
    error = float(seen.outside.mean())
    return PictureFigures(
        sharpness=_ratio(seen.sharp),
        kept=math.nan if taken_s is None else _kept(seen, taken_s),
        sharpness_above=_ratio(seen.sharp_above),
        joins=round(at_joins / usual, 3),
        joins_worst=round(float(np.percentile(worst, 95)) / usual, 3) if worst else math.nan,
        change=round(usual / float(np.nanmean(seen.change[:, 0])), 3),
        trembling=_ratio(seen.trembling),
        seam=_ratio(seen.edge),
        opening=round(float(openings[1] / max(openings[0], 1e-9)), 3),
        outside_psnr_db=round(10 * math.log10(255**2 / max(error, 1e-6)), 1),
        compared=len(seen.pts_s),
    )


def _kept(seen: Seen, taken_s: Times) -> float:
    place = np.minimum(np.searchsorted(seen.pts_s, taken_s - 0.02), len(seen.pts_s) - 1)
    known = np.abs(seen.pts_s[place] - taken_s) < 0.03
    pairs = np.stack([seen.sharp[place, 0], seen.sharp[:, 1]], axis=1)
    return _ratio(pairs[known]) if known.any() else math.nan


def _ratio(values: Floats) -> float:
    mean = np.nanmean(values, axis=0)
    return round(float(mean[1] / max(mean[0], 1e-9)), 3)


def _pairs(
    original: Path, dubbed: Path
) -> Iterator[tuple[tuple[av.VideoFrame, av.VideoFrame], float]]:
    """Pictures of both files that are shown at the same time."""
    with closing(read_pictures(original)) as olds, closing(read_pictures(dubbed)) as news:
        old = next(olds, None)
        for new in news:
            new_s = float(new.time or 0.0)
            while old is not None and float(old.time or 0.0) < new_s - _SAME_S:
                old = next(olds, None)
            if old is None:
                return
            if abs(float(old.time or 0.0) - new_s) <= _SAME_S:
                yield (old, new), new_s


class _History:
    """The last two aligned faces of both files, [2, side, side] each."""

    def __init__(self) -> None:
        self.last: list[Floats] = []


def _figures(
    pair: tuple[av.VideoFrame, av.VideoFrame],
    landmarks: Floats,
    upright: Upright,
    before: _History,
) -> tuple[object, ...]:
    place = _own_place(landmarks, upright, before.last[-1].shape[-1] if before.last else None)
    lumas = [np.asarray(each.to_ndarray(format="gray"), np.uint8) for each in pair]
    aligned = np.stack([cut_canvas(each, place).planes[0] for each in pair])  # [2, side, side]
    lower, ring, above = _regions(place.side)
    bends = np.stack([_laplacian(each) for each in aligned])
    edges = np.stack([np.hypot(*np.gradient(each)) for each in aligned])
    change, trembling = _unsteadiness(aligned, before.last, lower, ring)
    before.last = [*before.last[-1:], aligned]
    crops = np.stack([cut_mouth(each, mouth_geometry(landmarks)) for each in lumas])
    return (
        (bends[:, lower] ** 2).mean(1) ** 0.5,
        (bends[:, above] ** 2).mean(1) ** 0.5,
        change,
        trembling,
        edges[:, ring].mean(1),
        looks(crops)[:, _OPENING],
        _outside(lumas, landmarks, upright),
    )


def _own_place(landmarks: Floats, upright: Upright, side: int | None) -> Place:
    """A square at the source's own size, of one size for a whole track.

    The same whatever square the dub was made with.
    """
    scale, _ = face_scale(landmarks)
    return face_place(landmarks, upright, side or max(32, round(REACH * scale)))


@lru_cache(maxsize=8)
def _regions(side: int) -> tuple[Flags, Flags, Flags]:
    """The lower face, the ring round its edge, and eyes with nose: bool [side, side] each."""
    y, x = (np.mgrid[:side, :side] + 0.5) * (REACH / side) - REACH / 2
    down, across = (y - RISE - 0.15) / 0.77, x / 0.86
    radius = (np.abs(down) ** 2.4 + np.abs(across) ** 2.4) ** (1 / 2.4)
    above = (np.abs(x) < 0.7) & (np.abs(y - RISE + 0.9) < 0.25)
    return radius < 0.85, np.abs(radius - 0.95) < 0.2, above


def _unsteadiness(
    now: Floats, last: list[Floats], lower: Flags, ring: Flags
) -> tuple[Floats, Floats]:
    unknown = np.full(2, np.nan, np.float32)
    if not last:
        return unknown, unknown
    change = ((now - last[-1])[:, lower] ** 2).mean(1) ** 0.5
    if len(last) < 2:
        return change, unknown
    bend = now - 2 * last[-1] + last[-2]
    return change, (bend[:, ring] ** 2).mean(1) ** 0.5


def _laplacian(plane: Floats) -> Floats:
    around = np.pad(plane, 1, mode="edge")
    near = around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]
    return np.asarray(4 * plane - near, np.float32)


def _outside(lumas: list[npt.NDArray[np.uint8]], landmarks: Floats, upright: Upright) -> float:
    """Mean square difference where no mask of the dub can have reached."""
    old, new = lumas
    size, place = (old.shape[1], old.shape[0]), face_place(landmarks, upright)
    mask = (face_mask(place.side, landmarks) > 0).astype(np.float32)
    inside = warp(mask, place.plane_matrix(size, chroma=False), size, fill=False, average=False)
    apart = (old.astype(np.float32) - new) ** 2
    return float(apart[inside == 0].mean())

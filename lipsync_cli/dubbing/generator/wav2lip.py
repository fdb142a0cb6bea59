"""What a Wav2Lip generator sees of a track: crops, reference frames, batches in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Pictures = NDArray[np.uint8]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

# The landmarks of a frontal face (right eye, left eye, nose, mouth corners) in an upright
# square of side 1: the FFHQ alignment.
_FRONTAL = np.array(
    [(0.377, 0.469), (0.623, 0.469), (0.501, 0.613), (0.393, 0.725), (0.611, 0.725)]
)
# The box that S3FD finds round that face, which the public generators were trained on:
# mid-forehead to chin, temple to temple, a third higher than wide.
_LEFT, _TOP, _RIGHT, _BOTTOM = 0.242, 0.234, 0.758, 0.922

# Reference frames considered at most, spread over a track: their crops are held in memory.
_CANDIDATES = 64
# A reference is kept until another one's pose is nearer by this factor, and by more than
# landmarks tremble (shares of the aligned square): no flicker.
_FAITHFUL, _TREMBLE = 1.5, 0.01
# Weight of the logarithm of the face's size in a pose: sharpness follows it.
_SIZE_WEIGHT = 0.05


@dataclass(frozen=True)
class Pads:
    """What a crop shows beyond the box, as shares of its height or width.

    The default is the reference implementation's 10 px below the chin on the faces of
    180 px that it was evaluated with; there they are px whatever the face's size.
    """

    top: float = 0.0
    bottom: float = 10 / 180
    left: float = 0.0
    right: float = 0.0


@dataclass(frozen=True)
class CropGeometry:
    """Places the crop of a generator on a face: level, box-shaped, stretched to a square.

    Attributes:
        size: side of the crop in px.
        pads: what it shows beyond S3FD's box.
    """

    size: int = 96
    pads: Pads = Pads()

    def matrix(self, landmarks: ArrayLike) -> Doubles:
        """Return the map of one frame, crop px <- upright source px.

        Whole numbers are the centres of pixels on both sides, as in cv2.warpAffine.

        Args:
            landmarks: [5, 2] in px of the upright source: right eye, left eye, nose tip,
                right and left corner of the mouth.

        Returns:
            float64 [2, 3].
        """
        low = np.array((_LEFT, _TOP))
        extent = np.array((_RIGHT, _BOTTOM)) - low
        low = low - extent * (self.pads.left, self.pads.top)
        extent = extent * (
            1 + self.pads.left + self.pads.right,
            1 + self.pads.top + self.pads.bottom,
        )
        stretch = self.size / extent
        aligned = _similarity(np.asarray(landmarks, np.float64), _FRONTAL)
        return np.column_stack(
            (aligned[:, :2] * stretch[:, None], (aligned[:, 2] - low) * stretch - 0.5)
        )

    def matrices(self, landmarks: ArrayLike) -> Doubles:
        """Return the maps of a track's frames: landmarks [n, 5, 2] -> float64 [n, 2, 3]."""
        points = np.asarray(landmarks, np.float64)
        return np.array([self.matrix(each) for each in points]).reshape(-1, 2, 3)


def choose_references(landmarks: ArrayLike, closed: ArrayLike) -> NDArray[np.int64]:
    """Choose for every frame one with a closed mouth that shows the network the lower face.

    It is the one of nearest pose, kept until another is clearly nearer. The frame itself,
    which is what the reference implementation shows, would let its old mouth through.

    Args:
        landmarks: [n, 5, 2].
        closed: [n], whether the mouth is closed; in one frame at least.

    Returns:
        int64 [n], places among the frames; at most 64 different ones.
    """
    points = np.asarray(landmarks, np.float64).reshape(-1, 5, 2)
    places = np.flatnonzero(np.asarray(closed, bool))
    spread = np.linspace(0, len(places) - 1, min(len(places), _CANDIDATES))
    candidates = places[np.round(spread).astype(np.int64)]
    poses = np.array([_pose(each) for each in points])
    return candidates[_nearest(poses, poses[candidates])]


class Draws(Protocol):
    """What is needed of a loaded generator."""

    @property
    def size(self) -> int: ...

    def generate(self, target: Pictures, reference: Pictures, mel: Floats) -> Pictures: ...


@dataclass(frozen=True, eq=False)
class _Waiting:
    pts_s: float
    target: Pictures
    reference: Pictures
    mel: Floats


Drawn = tuple[float, Pictures]


class LipGenerator:
    """Collects frames into batches and hands the drawn crops out in their order.

    Args:
        loaded: a `LoadedGenerator`.
        batch: frames that are drawn together.
    """

    def __init__(self, loaded: Draws, batch: int = 16) -> None:
        self._loaded = loaded
        self._batch = max(1, batch)
        self._waiting: list[_Waiting] = []

    def push(self, pts_s: float, target: Pictures, reference: Pictures, mel: Floats) -> list[Drawn]:
        """Take a frame in; return the frames that are done, with their times.

        Args:
            pts_s: presentation time; only handed back.
            target: uint8 [S, S, 3] BGR, not to be written to afterwards.
            reference: uint8 [S, S, 3] BGR, likewise.
            mel: float32 [80, 16].
        """
        self._waiting.append(_Waiting(pts_s, target, reference, mel))
        return self.close() if len(self._waiting) >= self._batch else []

    def close(self) -> list[Drawn]:
        """Draw what is waiting; frames may be pushed again afterwards."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return []
        drawn = self._loaded.generate(
            np.stack([each.target for each in waiting]),
            np.stack([each.reference for each in waiting]),
            np.stack([each.mel for each in waiting]),
        )
        return [(each.pts_s, crop) for each, crop in zip(waiting, drawn, strict=True)]


def _similarity(points: Doubles, onto: Doubles) -> Doubles:
    """Least-squares shift, turn and scale of points [n, 2]: float64 [2, 3], never a mirror."""
    centre, goal = points.mean(axis=0), onto.mean(axis=0)
    # As complex numbers, turn and scale are one factor.
    flat, wanted = ((each[:, 0] + 1j * each[:, 1]) for each in (points - centre, onto - goal))
    factor = np.vdot(flat, wanted) / max(float(np.vdot(flat, flat).real), 1e-9)
    turn = np.array(((factor.real, -factor.imag), (factor.imag, factor.real)))
    return np.column_stack((turn, goal - turn @ centre))


def _pose(landmarks: Doubles) -> Doubles:
    """Where eyes and nose lie in the aligned square, which the mouth hardly changes: [7]."""
    aligned = _similarity(landmarks, _FRONTAL)
    places = landmarks[:3] @ aligned[:, :2].T + aligned[:, 2]
    size = np.log(max(float(np.hypot(*aligned[:, 0])), 1e-9))
    return np.append(places.ravel(), _SIZE_WEIGHT * size)


def _nearest(poses: Doubles, candidates: Doubles) -> NDArray[np.int64]:
    """For poses [n, 7] the place of a near one among candidates [k, 7], seldom another."""
    chosen = np.empty(len(poses), np.int64)
    current = 0
    for number, pose in enumerate(poses):
        apart = np.linalg.norm(candidates - pose, axis=1)  # [k]
        best = int(apart.argmin())
        if number == 0 or apart[current] > _FAITHFUL * apart[best] + _TREMBLE:
            current = best
        chosen[number] = current
    return chosen

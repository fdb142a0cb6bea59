"""The Wav2Lip engine: a generator draws the lower face anew, to the sound of the moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.canvas import Canvas, Place
from lipsync_cli.dubbing.compositing.cutout import cut_canvas
from lipsync_cli.dubbing.compositing.fitting import Fitter
from lipsync_cli.dubbing.compositing.showing import Showing
from lipsync_cli.dubbing.compositing.warp import chain, inverse, warp
from lipsync_cli.dubbing.footage.face_path import FaceAt, FacePath, Faces
from lipsync_cli.dubbing.generator.mel import windows_at
from lipsync_cli.dubbing.generator.wav2lip import CropGeometry, Draws, LipGenerator, Pictures
from lipsync_cli.dubbing.mouths.gallery import Gallery
from lipsync_cli.dubbing.speech import Loudness
from lipsync_cli.media.pictures import Shown
from lipsync_cli.media.upright import Upright

Floats = npt.NDArray[np.float32]
Times = npt.NDArray[np.float64]

# A frame that was looked at is at most this far from one that was not.
_NEAR_S = 0.06


@dataclass(frozen=True, eq=False)
class Driving:
    """The sound that moves the lips.

    Attributes:
        mel: float32 [80, T], 80 columns a second.
        t0_s: time of its first sample in the output.
        shift_s: see `windows_at`.
    """

    mel: Floats
    t0_s: float
    shift_s: float

    def window(self, time_s: float) -> Floats:
        """What the generator hears at a moment: [80, 16]."""
        times = np.array([time_s])
        return np.asarray(windows_at(self.mel, self.t0_s, times, shift_s=self.shift_s)[0])


class References:
    """Closed mouths to show a generator while the speech is silent.

    Args:
        gallery: holds faces of the video, as number 0, at all of `closed_s`.
        frames_s: float64 [n], times of the frames whose mouth is open, ascending.
        closed_s: float64 [n], time of the closed mouth for each.
        loudness: of the speech, on the clock of the output.
    """

    def __init__(
        self,
        gallery: Gallery,
        faces: FacePath,
        frames_s: Times,
        closed_s: Times,
        loudness: Loudness,
    ) -> None:
        self._gallery, self._faces, self._loudness = gallery, faces, loudness
        order = np.argsort(frames_s)
        self._frames_s, self._closed_s = frames_s[order], closed_s[order]

    def crop(self, source_s: float, pts_s: float, geometry: CropGeometry) -> Pictures | None:
        """The reference of a picture, uint8 [S, S, 3] BGR; None for its own face."""
        if not self._loudness.silent(pts_s):
            return None
        low, high = np.searchsorted(self._frames_s, (source_s - _NEAR_S, source_s + _NEAR_S))
        if low == high:
            return None
        nearest = low + int(np.abs(self._frames_s[low:high] - source_s).argmin())
        time_s = float(self._closed_s[nearest])
        canvas, face = self._gallery.nearest(0, time_s), self._faces.at(time_s)
        if canvas is None or face is None:
            return None
        matrix = chain(geometry.matrix(face.landmarks), inverse(canvas.place.matrix))
        bgr, size = canvas.to_bgr().astype(np.float32), (geometry.size, geometry.size)
        crop = np.stack([warp(bgr[..., i], matrix, size, smooth=True) for i in range(3)], axis=-1)
        return np.asarray(np.clip(np.rint(crop), 0, 255), np.uint8)


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A picture on its way; without a crop it stays as it is."""

    shown: Shown
    face: FaceAt | None = None
    crop: Canvas | None = None
    reference: Pictures | None = None


class DrawnLips:
    """Edits pictures: the generator draws the face of each, in batches.

    Attributes:
        changed: pictures that were edited so far.
    """

    def __init__(
        self,
        loaded: Draws,
        driving: Driving,
        faces: Faces,
        fitter: Fitter,
        upright: Upright,
        showing: Showing,
        references: References | None = None,
        batch: int = 16,
    ) -> None:
        self._loaded, self._driving = loaded, driving
        self._faces, self._fitter, self._upright = faces, fitter, upright
        self._showing, self._references = showing, references
        self._geometry, self._batch = CropGeometry(loaded.size), batch
        self.changed = 0

    def __call__(self, pictures: Iterator[Shown]) -> Iterator[Shown]:
        waiting: list[_Waiting] = []
        for shown in pictures:
            waiting.append(self._prepared(shown))
            if len(waiting) >= self._batch:
                yield from self._drawn(waiting)
                waiting = []
        yield from self._drawn(waiting)

    def _prepared(self, shown: Shown) -> _Waiting:
        time_s = shown.picture.time
        face = None if time_s is None else self._faces.at(float(time_s))
        if time_s is None or face is None or self._showing.at(shown.pts_s)[0] == 0:
            return _Waiting(shown)
        geometry = self._geometry
        place = Place(geometry.size, geometry.matrix(face.landmarks), self._upright)
        closed = None
        if self._references is not None:
            closed = self._references.crop(float(time_s), shown.pts_s, geometry)
        return _Waiting(shown, face, cut_canvas(shown.picture, place), closed)

    def _drawn(self, waiting: list[_Waiting]) -> Iterator[Shown]:
        generator = LipGenerator(self._loaded, max(1, len(waiting)))
        made = []
        for each in waiting:
            if each.crop is not None:
                crop = each.crop.to_bgr()
                reference = crop if each.reference is None else each.reference
                window = self._driving.window(each.shown.pts_s)
                made += generator.push(each.shown.pts_s, crop, reference, window)
        made += generator.close()
        faces = iter(made)
        for each in waiting:
            if each.face is None or each.crop is None:
                yield each.shown
                continue
            _, face = next(faces)
            canvas = each.crop.with_planes(each.crop.colour.from_bgr(face))
            yield self._edited(each.shown, each.face, canvas)

    def _edited(self, shown: Shown, face: FaceAt, canvas: Canvas) -> Shown:
        picture = self._fitter.drawn(shown.picture, face, canvas, shown.pts_s)
        self.changed += picture is not shown.picture
        return replace(shown, picture=picture)

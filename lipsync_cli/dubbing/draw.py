"""The Wav2Lip engine: a generator draws the lower face anew, to the sound of the moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.canvas import Canvas, Place, cut_canvas
from lipsync_cli.dubbing.face_path import FaceAt, Faces
from lipsync_cli.dubbing.fitting import Fitter
from lipsync_cli.dubbing.generator import LoadedGenerator
from lipsync_cli.dubbing.mel import windows_at
from lipsync_cli.dubbing.wav2lip import CropGeometry, LipGenerator
from lipsync_cli.media.pictures import Shown
from lipsync_cli.media.upright import Upright

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Driving:
    """The sound that moves the lips.

    Attributes:
        mel: float32 [80, T], 80 columns a second.
        t0_s: time of its first sample in the output.
        spoken: when the speech begins and ends; outside of it nothing is changed.
        shift_s: see `windows_at`.
    """

    mel: Floats
    t0_s: float
    spoken: tuple[float, float]
    shift_s: float

    def window(self, time_s: float) -> Floats:
        """What the generator hears at a moment: [80, 16]."""
        times = np.array([time_s])
        return np.asarray(windows_at(self.mel, self.t0_s, times, shift_s=self.shift_s)[0])


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A picture on its way; without a crop it stays as it is."""

    shown: Shown
    face: FaceAt | None = None
    crop: Canvas | None = None


class DrawnLips:
    """Edits pictures: the generator draws the face of each, in batches.

    Attributes:
        changed: pictures that were edited so far.
    """

    def __init__(
        self,
        loaded: LoadedGenerator,
        driving: Driving,
        faces: Faces,
        fitter: Fitter,
        upright: Upright,
        batch: int = 16,
    ) -> None:
        self._loaded, self._driving = loaded, driving
        self._faces, self._fitter, self._upright = faces, fitter, upright
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
        low, high = self._driving.spoken
        if face is None or not low <= shown.pts_s < high:
            return _Waiting(shown)
        place = Place(self._loaded.size, self._geometry.matrix(face.landmarks), self._upright)
        return _Waiting(shown, face, cut_canvas(shown.picture, place))

    def _drawn(self, waiting: list[_Waiting]) -> Iterator[Shown]:
        generator = LipGenerator(self._loaded, max(1, len(waiting)))
        made = []
        for each in waiting:
            if each.crop is not None:
                crop = each.crop.to_bgr()
                window = self._driving.window(each.shown.pts_s)
                made += generator.push(each.shown.pts_s, crop, crop, window)
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

"""The faces that will be shown again, cut out of the footage and kept on disk meanwhile."""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.canvas import Canvas, Place, cut_canvas, face_place
from lipsync_cli.dubbing.compositing.colour import Colour
from lipsync_cli.dubbing.footage.face_path import FacePath
from lipsync_cli.errors import OutputError
from lipsync_cli.faces._cv2 import load_cv2
from lipsync_cli.media.convert import editable
from lipsync_cli.media.pictures import read_pictures
from lipsync_cli.media.planes import sample_layout
from lipsync_cli.media.upright import Upright, read_upright

Times = npt.NDArray[np.float64]

# Lossless, and quicker than it is small.
_PNG_LEVEL = 1
_RECENT = 8
# A wanted frame is the nearest one, never further away than this.
_NEAR_S = 0.06
_HALF_FRAME_S = 0.021


@dataclass(frozen=True)
class _Entry:
    """Where one face lies in the file, and what its samples stand for."""

    offset: int
    length: int
    place: Place
    colour: Colour


class Gallery:
    """Canvases by footage file and presentation time, in a temporary file of PNG pictures.

    About 200 to 600 kB for a face of 300 px; each is kept once, however often it is shown.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._entries: dict[tuple[int, int], _Entry] = {}
        self._times: dict[int, Times] = {}
        self._recent: OrderedDict[tuple[int, int], Canvas] = OrderedDict()

    def __enter__(self) -> Gallery:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, source: int, time_s: float, canvas: Canvas, *, deep: bool = False) -> None:
        """Keep a face of the file `source`, in 8 bits a sample or, `deep`, in 16.

        Raises:
            OutputError: the disk that holds temporary files is full.
        """
        cv2: Any = load_cv2()
        greatest, kind = (65535, np.uint16) if deep else (255, np.uint8)
        levels = np.rint(np.clip(canvas.planes, 0, 1) * greatest).astype(kind)
        done, data = cv2.imencode(
            ".png", np.moveaxis(levels, 0, -1), [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL]
        )
        assert done
        try:
            offset = self._file.seek(0, 2)
            self._file.write(data.tobytes())
        except OSError as error:
            raise OutputError(
                f"temporary files cannot be written: {error.strerror}",
                hint="free space in the folder for temporary files",
            ) from error
        entry = _Entry(offset, len(data), canvas.place, canvas.colour)
        self._entries[source, _ticks(time_s)] = entry
        self._times.pop(source, None)

    def nearest(self, source: int, time_s: float) -> Canvas | None:
        """The face shown nearest to a time; None where there is none close by."""
        if source not in self._times:
            mine = sorted(ticks for number, ticks in self._entries if number == source)
            self._times[source] = np.array(mine, np.float64) / 1e6
        times = self._times[source]
        if not len(times):
            return None
        place = int(np.abs(times - time_s).argmin())
        if abs(times[place] - time_s) > _NEAR_S:
            return None
        return self._load((source, round(times[place] * 1e6)))

    def _load(self, key: tuple[int, int]) -> Canvas:
        if key in self._recent:
            self._recent.move_to_end(key)
            return self._recent[key]
        cv2: Any = load_cv2()
        entry = self._entries[key]
        self._file.seek(entry.offset)
        data = np.frombuffer(self._file.read(entry.length), np.uint8)
        levels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)  # [side, side, 3]
        greatest = np.float32(np.iinfo(levels.dtype).max)
        planes = np.moveaxis(levels.astype(np.float32) / greatest, -1, 0)
        canvas = Canvas(np.ascontiguousarray(planes), entry.place, entry.colour)
        self._recent[key] = canvas
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
        return canvas


def gather(
    gallery: Gallery,
    paths: Mapping[int, Path],
    faces: Mapping[int, FacePath],
    wanted: Mapping[int, Times],
    progress: Callable[[float], None] | None = None,
) -> None:
    """Decode the footage once more and keep the faces that are wanted.

    Args:
        paths, faces, wanted: by number of the file; `wanted` holds times, ascending.

    Raises:
        UnreadableMedia, OutputError: see `read_pictures` and `Gallery.add`.
    """
    total = sum(len(times) for times in wanted.values())
    for source, times in wanted.items():
        if not len(times):
            continue
        upright = read_upright(paths[source])
        with closing(read_pictures(paths[source])) as pictures:
            for picture, time_s in _wanted_pictures(pictures, times):
                _keep(gallery, source, picture, time_s, faces[source], upright)
                if progress is not None:
                    progress(min(1.0, len(gallery) / total))


def _wanted_pictures(
    pictures: Iterator[av.VideoFrame], wanted: Times
) -> Iterator[tuple[av.VideoFrame, float]]:
    """The pictures that lie within half a frame of a wanted time."""
    before_s = None
    for picture in pictures:
        time_s = float(picture.time or 0.0)
        half_s = _HALF_FRAME_S if before_s is None else 0.51 * (time_s - before_s)
        low, high = np.searchsorted(wanted, (time_s - half_s, time_s + half_s))
        if high > low:
            yield picture, time_s
        if time_s - half_s > wanted[-1]:
            return
        before_s = time_s


def _keep(
    gallery: Gallery,
    source: int,
    picture: av.VideoFrame,
    time_s: float,
    faces: FacePath,
    upright: Upright,
) -> None:
    face = faces.at(time_s)
    if face is None:
        return
    picture = editable(picture)
    layout = sample_layout(picture.format.name)
    canvas = cut_canvas(picture, face_place(face.landmarks, upright))
    gallery.add(source, time_s, canvas, deep=layout is not None and layout.depth > 8)


def _ticks(time_s: float) -> int:
    return round(time_s * 1e6)

"""The faces that will be shown again, cut out of the footage and kept on disk meanwhile."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import av
import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.canvas import Canvas, face_place
from lipsync_cli.dubbing.compositing.cutout import Cutout, Samples, cut_out
from lipsync_cli.dubbing.footage.face_path import FacePath
from lipsync_cli.errors import OutputError
from lipsync_cli.media.convert import editable
from lipsync_cli.media.pictures import read_pictures
from lipsync_cli.media.upright import Upright, read_upright

Times = npt.NDArray[np.float64]

# So much temporary space nobody misses.
_PLAIN_BYTES = 1_000_000_000
# A wanted frame is the nearest one, never further away than this.
_NEAR_S = 0.06
_HALF_FRAME_S = 0.021


@dataclass(frozen=True)
class _Entry:
    """Where the planes of one face lie in the file; `about` has their shapes only."""

    offset: int
    lengths: tuple[int, ...]
    about: Cutout


class Gallery:
    """Faces by footage file and presentation time, in a temporary file.

    Their samples are kept as they were coded: about 300 kB for a face of 300 px, and some
    100 kB when there are so many that they are compressed, without loss. Each is kept once,
    however often it is shown.

    Args:
        plain_bytes: what is not compressed, to save time.
    """

    def __init__(self, folder: Path | None = None, plain_bytes: int = _PLAIN_BYTES) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._plain_bytes = plain_bytes
        self._entries: dict[tuple[int, int], _Entry] = {}
        self._times: dict[int, Times] = {}

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

    @property
    def size_bytes(self) -> int:
        """What the temporary file holds."""
        return self._file.seek(0, 2)

    def add(self, source: int, time_s: float, face: Cutout) -> None:
        """Keep a face of the file `source`.

        Raises:
            OutputError: the disk that holds temporary files is full.
        """
        try:
            offset = self._file.seek(0, 2)
            pack = np.ndarray.tobytes if offset < self._plain_bytes else _packed
            lengths = tuple(self._file.write(pack(plane)) for plane in face.planes)
        except OSError as error:
            raise OutputError(
                f"temporary files cannot be written: {error.strerror}",
                hint="free space in the folder for temporary files",
            ) from error
        hollow = tuple(np.broadcast_to(np.zeros(1, p.dtype), p.shape) for p in face.planes)
        self._entries[source, _ticks(time_s)] = _Entry(
            offset, lengths, replace(face, planes=hollow)
        )
        self._times.pop(source, None)

    def nearest(self, source: int, time_s: float) -> Canvas | None:
        """The square of the face shown nearest to a time; None where there is none close by."""
        found = self.cutout(source, time_s)
        return None if found is None else found.canvas()

    def cutout(self, source: int, time_s: float) -> Cutout | None:
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
        return self._load(self._entries[source, round(times[place] * 1e6)])

    def _load(self, entry: _Entry) -> Cutout:
        self._file.seek(entry.offset)
        planes: list[Samples] = []
        for about, length in zip(entry.about.planes, entry.lengths, strict=True):
            data = self._file.read(length)
            if length != about.nbytes:
                planes.append(_unpacked(data, about))
            else:
                planes.append(np.frombuffer(data, about.dtype).reshape(about.shape))
        return replace(entry.about, planes=tuple(planes))


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
    gallery.add(source, time_s, cut_out(picture, face_place(face.landmarks, upright)))


def _packed(plane: Samples) -> bytes:
    """Compress rows by what differs from the row above; never to its own length."""
    change = np.diff(plane, axis=0, prepend=plane.dtype.type(0))
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_RLE)
    packed = packer.compress(change.tobytes()) + packer.flush()
    return packed if len(packed) < plane.nbytes else plane.tobytes()


def _unpacked(data: bytes, about: Samples) -> Samples:
    change = np.frombuffer(zlib.decompress(data, -zlib.MAX_WBITS), about.dtype)
    return np.cumsum(change.reshape(about.shape), axis=0, dtype=about.dtype)


def _ticks(time_s: float) -> int:
    return round(time_s * 1e6)

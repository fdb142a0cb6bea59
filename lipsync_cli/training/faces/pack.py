"""The packed training set of faces: aligned colour crops, Wav2Lip mel and times of every clip.

A folder holds parts of some dozen clips: `SPLIT.SHARD.PART.mp4`, their pictures one after
the other as H.264, and `SPLIT.SHARD.PART.npz` with sound, times and labels. Reading them
needs nothing but NumPy and OpenCV. An hour takes about 16 MB, of which the sound is 6.5. The
pictures are unpacked once, beside their part, and then mapped into memory: 37 kB a picture.

A picture has `SIDE` pixels a side. The crop that a generator is given of the same face
(`CropGeometry()` at 96 px, pads included) is `picture[MARGIN:-MARGIN, MARGIN:-MARGIN]`, pixel
for pixel; round it lie `MARGIN` pixels more of the same picture, a twelfth of the crop: it may
be moved by so much either way, or be up to `SIDE` pixels large, without showing padding.
"""

from __future__ import annotations

import json
import lzma
import statistics
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.errors import InputError, OutputError
from lipsync_cli.faces._cv2 import load_cv2
from lipsync_cli.training.running import split
from lipsync_cli.training.sync.labels import COMMON_OFFSET

SIDE = 112  # pixels
CROP = 96  # of the generator
MARGIN = (SIDE - CROP) // 2
BANDS, MEL_RATE, SILENCE = 80, 80.0, -4.0
# Steps of the stored mel: finer ones are noise that costs more than the pictures.
MEL_LEVELS = 32
_LEAST_MEL, _MEL_RANGE = -4.0, 8.0
_REPACK = "make it again with pack-faces"
# Filters are not stored with the data, and decide more than the preset.
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 0, "lp": 0, "pb": 0}]


@dataclass(frozen=True, eq=False)
class PackedClip:
    """One face of one clip.

    Attributes:
        file: name of the clip.
        group: who speaks; ids that are guesses count as one speaker.
        corpus: where it is from.
        pts_s: float64 [T], true time of each picture, at most 33 a second.
        faces: uint8 [T, 112, 112, 3] BGR, a map of the unpacked pictures.
        mel: uint8 [80, M], -4 to 4 as 0 to 255; 80 columns a second.
        mel_t0_s: time of column 0.
        offset_ms: the clip's own offset (> 0 audio early); `mel_window` takes it out.
    """

    file: str
    group: str
    corpus: str
    pts_s: NDArray[np.float64]
    faces: NDArray[np.uint8]
    mel: NDArray[np.uint8]
    mel_t0_s: float
    offset_ms: float = 0.0

    @property
    def duration_s(self) -> float:
        """From the first picture to the last."""
        return float(self.pts_s[-1] - self.pts_s[0])

    def column_at(self, t_s: float) -> int:
        """The column of `mel`, or one before or after it, at which `mel_window` begins."""
        since_s = t_s - self.offset_ms / 1000 - self.mel_t0_s
        # Times are rounded to the container's ticks: a hair below a column is that column.
        return int(np.floor(since_s * MEL_RATE + 1e-6))

    def mel_window(self, t_s: float, columns: int = 16) -> NDArray[np.float32]:
        """Cut the sound that starts with a picture, the clip's own offset taken out.

        Args:
            t_s: time of the picture; columns begin like those of `dubbing.mel.windows_at`.

        Returns:
            float32 [80, columns], -4 to 4; -4 outside of the clip.
        """
        first = self.column_at(t_s)
        window = np.full((BANDS, columns), SILENCE, np.float32)
        low, high = max(0, first), min(first + columns, self.mel.shape[1])
        if low < high:
            window[:, low - first : high - first] = mel_values(self.mel[:, low:high])
        return window


def mel_values(stored: NDArray[np.uint8]) -> NDArray[np.float32]:
    """From 0..255 to -4..4."""
    return np.asarray(stored * np.float32(_MEL_RANGE / 255) + np.float32(_LEAST_MEL), np.float32)


def load_pack(folder: Path, split: str) -> list[PackedClip]:
    """Map all clips of a split, re-centred; unpacks what is not unpacked yet.

    Raises:
        InputError: there is nothing packed, or a part is damaged or incomplete.
        OutputError: there is no room to unpack.
    """
    parts = sorted(folder.glob(f"{split}.*.npz"))
    if not parts:
        raise InputError(
            f"there are no packed faces of the split {split!r} in it",
            path=folder,
            hint="make them with pack-faces",
        )
    return recentred([clip for part in parts for clip in _clips(part)])


def recentred(clips: Sequence[PackedClip]) -> list[PackedClip]:
    """Give the clips of scripted corpora, too short to tell, the median of their corpus."""
    own: dict[str, list[float]] = defaultdict(list)
    for clip in clips:
        if not np.isnan(clip.offset_ms):
            own[clip.corpus].append(clip.offset_ms)
    common = {corpus: statistics.median(own[corpus]) for corpus in COMMON_OFFSET if own[corpus]}
    return [
        replace(c, offset_ms=common.get(c.corpus, float(np.nan_to_num(c.offset_ms)))) for c in clips
    ]


def hold_out(
    clips: Sequence[PackedClip], share: float = 0.08, seed: int = 11
) -> tuple[list[PackedClip], list[PackedClip]]:
    """Split by speaker: (kept, held out). The same seed always holds out the same people."""
    groups = {c.group for c in clips if c.corpus not in COMMON_OFFSET}
    return split(clips, groups, round(share * len(groups)), seed)


def compress_mel(levels: NDArray[np.uint8]) -> bytes:
    """Pack levels [80, M] below `MEL_LEVELS`: their steps in time and pitch, compressed."""
    # Unsigned differences wrap around, and so do the sums that undo them.
    steps = np.diff(np.diff(levels, axis=1, prepend=np.uint8(0)), axis=0, prepend=np.uint8(0))
    return lzma.compress(steps.tobytes(), lzma.FORMAT_RAW, filters=_FILTERS)


def expand_mel(packed: bytes) -> NDArray[np.uint8]:
    """What was packed, as uint8 [80, M], 0 to 255."""
    steps = np.frombuffer(lzma.decompress(packed, lzma.FORMAT_RAW, filters=_FILTERS), np.uint8)
    levels = np.cumsum(steps.reshape(BANDS, -1), axis=0, dtype=np.uint8)
    levels = np.cumsum(levels, axis=1, dtype=np.uint8)
    table = np.round(np.arange(256) % MEL_LEVELS * (255 / (MEL_LEVELS - 1))).astype(np.uint8)
    return table[levels]


def _clips(index: Path) -> Iterator[PackedClip]:
    records, steps_us, mel = _read_index(index)
    if not records:  # none of its clips showed a face
        return
    faces = _mapped(index, len(steps_us))
    for r in records:
        frames = slice(r["first"], r["first"] + r["frames"])
        columns = slice(r["column"], r["column"] + r["columns"])
        pts_s = r["start_s"] + np.cumsum(steps_us[frames], dtype=np.int64) * 1e-6
        own = np.nan if r["offset_ms"] is None else r["offset_ms"]
        who = r["file"], r["group"], r["corpus"]
        yield PackedClip(*who, pts_s, faces[frames], mel[:, columns], r["mel_t0_s"], own)


def _read_index(
    index: Path,
) -> tuple[list[dict[str, Any]], NDArray[np.int32], NDArray[np.uint8]]:
    try:
        with index.open("rb") as file, np.load(file) as packed:
            records = json.loads(packed["about"].tobytes())
            return records, packed["steps_us"], expand_mel(packed["mel"].tobytes())
    except (OSError, ValueError, KeyError, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise InputError(f"is no index of a pack: {error}", path=index, hint=_REPACK) from error


def _mapped(index: Path, frames: int) -> NDArray[np.uint8]:
    raw = index.with_suffix(".u8")
    shape = (frames, SIDE, SIDE, 3)
    if not raw.exists() or raw.stat().st_size != int(np.prod(shape)):
        _unpack(index.with_suffix(".mp4"), raw, frames)
    return np.memmap(raw, np.uint8, "r", shape=shape)


def _unpack(video: Path, raw: Path, frames: int) -> None:
    """Decode a part to `raw`, which appears only when it is complete."""
    partial = raw.with_suffix(".u8.partial")
    count = 0
    try:
        with partial.open("wb") as file:
            for picture in _pictures(video):
                file.write(picture.tobytes())
                count += 1
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"cannot be unpacked: {error.strerror}", path=raw) from error
    if count != frames:
        partial.unlink()
        raise InputError(f"holds {count} pictures instead of {frames}", path=video, hint=_REPACK)
    partial.replace(raw)


def _pictures(video: Path) -> Iterator[NDArray[np.uint8]]:
    cv2: Any = load_cv2()
    capture = cv2.VideoCapture(str(video))
    try:
        while True:
            read, picture = capture.read()
            if not read:
                return
            if picture.shape != (SIDE, SIDE, 3):
                raise InputError("its pictures have another size", path=video, hint=_REPACK)
            yield picture
    finally:
        capture.release()

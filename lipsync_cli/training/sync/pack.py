"""The training cache made small enough to carry to another machine, and back.

Crops become one grey H.264 video a shard, sound 4-bit ADPCM: a twentieth of the cache. Packing
needs PyAV; unpacking NumPy and OpenCV only, and gives a cache folder of the very same form.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lipsync_cli.errors import InputError
from lipsync_cli.training.sync import adpcm
from lipsync_cli.training.sync.cache import SIDE

CRF = 24
_RATE = 25
_CHUNK = 4096  # frames


def pack(cache: Path, folder: Path, split: str, *, crf: int = CRF) -> list[Path]:
    """Write `folder/NAME.{json,mp4,adpcm}` for each shard of `split` in `cache`."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for index in _shards(cache, split):
        target = folder / index.name
        crops = np.memmap(index.with_suffix(".u8"), np.uint8, "r").reshape(-1, SIDE, SIDE)
        sound = np.memmap(index.with_suffix(".s16"), np.int16, "r")
        _write_video(crops, target.with_suffix(".mp4"), crf)
        target.with_suffix(".adpcm").write_bytes(adpcm.encode(sound).tobytes())
        shutil.copyfile(index, target)
        written += [target.with_suffix(s) for s in (".json", ".mp4", ".adpcm")]
    return written


def unpack(folder: Path, cache: Path, split: str) -> int:
    """Make the cache again from packed shards; those already there are kept. Returns clips.

    Raises:
        InputError: there is no shard, or a video does not hold as many pictures as it should.
    """
    cache.mkdir(parents=True, exist_ok=True)
    clips = 0
    for index in _shards(folder, split):
        records = json.loads(index.read_text())
        target = cache / index.name
        if not target.exists():
            frames, samples = (_total(records, n) for n in ("frames", "samples"))
            _read_video(index.with_suffix(".mp4"), target.with_suffix(".u8"), frames)
            data = np.fromfile(index.with_suffix(".adpcm"), np.uint8)
            adpcm.decode(data, samples).tofile(target.with_suffix(".s16"))
            # Last: a shard without its index does not exist.
            shutil.copyfile(index, target)
        clips += len(records)
    return clips


def _shards(folder: Path, split: str) -> list[Path]:
    found = sorted(folder.glob(f"{split}.*.json"))
    if not found:
        raise InputError(
            f"no shard of {split!r} in it", path=folder, hint="prepare-sync and pack-sync make them"
        )
    return found


def _total(records: list[dict[str, int]], name: str) -> int:
    return sum(r[name] for r in records)


def _write_video(crops: NDArray[np.uint8], path: Path, crf: int) -> None:
    import av  # not there where the pack is opened

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", Fraction(_RATE))
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        # Without reordered pictures every reader counts the same.
        stream.options = {"crf": str(crf), "preset": "slow", "bf": "0", "g": "250"}
        for crop in crops:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(crop), format="gray")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def _read_video(path: Path, target: Path, frames: int) -> None:
    out = np.memmap(target, np.uint8, "w+", shape=(frames, SIDE, SIDE))
    count = 0
    for picture in _pictures(path):
        if count < frames:
            out[count] = picture
        count += 1
    out.flush()
    if count != frames:
        raise InputError(f"{count} pictures in it, not {frames}", path=path, hint="pack again")


def _pictures(path: Path) -> Iterator[NDArray[np.uint8]]:
    capture = cv2.VideoCapture(str(path))
    try:
        while True:
            more, picture = capture.read()
            if not more:
                return
            yield np.asarray(picture[:, :, 1], np.uint8)
    finally:
        capture.release()

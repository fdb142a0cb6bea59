"""Packs talking-head clips into the training cache: the product's own decoder and tracker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.errors import LipsyncError
from lipsync_cli.faces.detect import FaceDetector
from lipsync_cli.faces.stream import FaceStream, TrackChunk
from lipsync_cli.media.audio import AudioBlock
from lipsync_cli.media.reader import read
from lipsync_cli.training.sync.cache import SIDE

MIN_FRAMES = 25


@dataclass(frozen=True)
class Source:
    """A clip to pack."""

    path: Path
    file: str
    speaker: str
    corpus: str


def prepare_sync_data(
    sources: Iterable[Source],
    folder: Path,
    shard: str,
    detector: FaceDetector,
    *,
    log: Callable[[str], None] | None = None,
) -> int:
    """Write the shard `folder/shard.{json,u8,s16}`; returns the number of clips packed.

    Only the longest face track of each clip is kept. Clips that cannot be read or show
    no face are passed over and told to `log`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records: list[dict[str, Any]] = []
    frames = samples = 0
    with (folder / f"{shard}.u8").open("wb") as crops, (folder / f"{shard}.s16").open("wb") as pcm:
        for source in sources:
            packed = _pack(source, detector, log)
            if packed is None:
                continue
            mouths, pts_s, sound, t0_s = packed
            crops.write(mouths.tobytes())
            pcm.write(sound.tobytes())
            records.append(
                {
                    "file": source.file,
                    "speaker": source.speaker,
                    "corpus": source.corpus,
                    "first": frames,
                    "frames": len(pts_s),
                    "pts": [round(float(t), 5) for t in pts_s],
                    "sample0": samples,
                    "samples": len(sound),
                    "t0": t0_s,
                }
            )
            frames, samples = frames + len(pts_s), samples + len(sound)
    (folder / f"{shard}.json").write_text(json.dumps(records))
    return len(records)


Packed = tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.int16], float]


def _pack(
    source: Source, detector: FaceDetector, log: Callable[[str], None] | None
) -> Packed | None:
    faces = FaceStream(detector, crop_side=SIDE)
    chunks: list[TrackChunk] = []
    blocks: list[AudioBlock] = []
    try:
        for item in read(source.path):
            if isinstance(item, AudioBlock):
                blocks.append(item)
            else:
                chunks += faces.push(item)
    except LipsyncError as error:
        if log:
            log(str(error))
        return None
    chunks += faces.close()
    longest = _longest_track(chunks)
    if len(longest) == 0 or not blocks or sum(len(c.pts_s) for c in longest) < MIN_FRAMES:
        if log:
            log(f"{source.file}: no face long enough")
        return None
    mouths = np.concatenate([c.mouths for c in longest])
    sound = np.concatenate([b.samples for b in blocks])
    pcm = np.clip(np.round(sound * 32767), -32768, 32767).astype(np.int16)
    return mouths, np.concatenate([c.pts_s for c in longest]), pcm, blocks[0].t0_s


def _longest_track(chunks: list[TrackChunk]) -> list[TrackChunk]:
    lengths: dict[int, int] = {}
    for chunk in chunks:
        lengths[chunk.track] = lengths.get(chunk.track, 0) + len(chunk.pts_s)
    if not lengths:
        return []
    best = max(lengths, key=lambda track: lengths[track])
    return [c for c in chunks if c.track == best]

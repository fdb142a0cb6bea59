"""Read the offset of a beep-and-flash clip back from its decoded frames and samples.

Independent of the package: it decodes with PyAV alone, and knows nothing of packets
that were shifted or edit lists that were written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

WHITE_ABOVE = 128
# A beep reaches this share of its peak within .03 ms.
ONSET_SHARE = 0.2
QUIET_S = 0.1

Floats = npt.NDArray[np.float64]


def lead_ms(path: str | Path, track: int = 0) -> float:
    """Median time by which the beeps come before their flashes, in ms."""
    flashes, beeps = flash_times_s(path), beep_times_s(path, track)
    assert len(flashes) and len(flashes) == len(beeps), (flashes, beeps)
    return float(np.median(flashes - beeps)) * 1000


def flash_times_s(path: str | Path) -> Floats:
    """Presentation times of the white frames [events]."""
    with av.open(str(path)) as container:
        pictures = [s for s in container.streams.video if not s.disposition & 0x400]
        return np.array([frame.time for frame in container.decode(pictures[0]) if _is_white(frame)])


def beep_times_s(path: str | Path, track: int = 0) -> Floats:
    """Times of the first sample of every beep [events]."""
    times, levels = _samples(path, track)
    loud = np.flatnonzero(levels > ONSET_SHARE * np.percentile(levels, 99.5))
    first = np.concatenate([[True], np.diff(times[loud]) > QUIET_S])
    return np.asarray(times[loud][first])


def payloads(path: str | Path) -> dict[tuple[str, int], str]:
    """MD5 of all packet payloads of every stream, by kind and number within the kind."""
    # Packets that an edit list hides are part of the file.
    with av.open(str(path), options={"ignore_editlist": "1"}) as container:
        digests = {stream.index: hashlib.md5() for stream in container.streams}
        for packet in container.demux():
            digests[packet.stream_index].update(bytes(packet))
        named: dict[tuple[str, int], str] = {}
        for stream in sorted(container.streams, key=lambda s: (s.type, s.id)):
            number = sum(kind == stream.type for kind, _ in named)
            named[stream.type, number] = digests[stream.index].hexdigest()
        return named


def _is_white(frame: av.VideoFrame) -> bool:
    plane = frame.planes[0]
    luma = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return bool(luma[:, : plane.width].mean() > WHITE_ABOVE)


def _samples(path: str | Path, track: int) -> tuple[Floats, Floats]:
    """Time and absolute level of every sample [samples]."""
    blocks = list(_blocks(path, track))
    return np.concatenate([t for t, _ in blocks]), np.concatenate([x for _, x in blocks])


def _blocks(path: str | Path, track: int) -> Iterator[tuple[Floats, Floats]]:
    with av.open(str(path)) as container:
        for frame in container.decode(audio=track):
            samples = frame.to_ndarray().astype(np.float64)
            if not frame.format.is_planar:
                samples = samples.reshape(-1, len(frame.layout.channels)).T
            assert frame.time is not None
            times = frame.time + np.arange(samples.shape[1]) / frame.sample_rate
            yield times, np.abs(samples).max(axis=0)

"""Small pictures of the faces that a verdict is about."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lipsync_cli.results import ScoreResult

if TYPE_CHECKING:
    from lipsync_cli.detect import Evidence

MOST = 3
_JPEG_QUALITY = 82


@dataclass(frozen=True)
class FacePicture:
    """A face as JPEG, and when and on which track of the own model it was seen."""

    time_s: float
    track: int
    jpeg: bytes


def face_pictures(evidence: Evidence, times_s: Sequence[float]) -> tuple[FacePicture, ...]:
    """Encode the picture nearest to each of some times, each picture once."""
    seen = sorted(evidence.thumbnails, key=lambda each: each[0])
    if not seen:
        return ()
    nearest = {min(range(len(seen)), key=lambda i: abs(seen[i][0] - t)) for t in times_s}
    return tuple(
        FacePicture(round(seen[i][0], 3), seen[i][2], _jpeg(seen[i][1])) for i in sorted(nearest)
    )


def times_to_show(result: ScoreResult) -> list[float]:
    """When to look: the middle of the worst stretches, or evenly over the whole."""
    ranges = [part for verdict in result.verdicts.values() for part in verdict.ranges]
    ranges.sort(key=lambda part: abs(part.offset_ms), reverse=True)
    middles = dict.fromkeys((part.start_s + part.end_s) / 2 for part in ranges)
    return [*middles, *_evenly(result.duration_s or 0.0)][:MOST]


def _evenly(duration_s: float) -> Iterator[float]:
    yield from (duration_s * (2 * i + 1) / (2 * MOST) for i in range(MOST))


def _jpeg(bgr: object) -> bytes:
    import numpy as np
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(np.asarray(bgr)[..., ::-1]))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return buffer.getvalue()

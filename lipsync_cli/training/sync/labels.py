"""Each clip's own offset, so that training does not learn the corpus' mistakes."""

from __future__ import annotations

import csv
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.training.sync.cache import Clip

# Scripted corpora share one recording chain: their mean is surer than any one short clip.
COMMON_OFFSET = ("GRID", "LRW-AR")
MIN_MARGIN = 0.006  # below this the estimate of a clip's own offset is a guess
TABLE_RATE = 25.0
# The table's zero, moved so that in-the-wild and broadcast clips are 0 on average.
TABLE_ZERO_MS = 8.0


def recentre(clips: Sequence[Clip], table: Path, min_margin: float = MIN_MARGIN) -> list[Clip]:
    """Attach own offsets from `table` (file, lag_ms > 0 audio late, margin); drop guesses."""
    offsets = own_offsets_ms(clips, table)
    by_corpus: dict[str, list[float]] = defaultdict(list)
    for clip in clips:
        if clip.file in offsets:
            by_corpus[clip.corpus].append(offsets[clip.file][0])
    kept = []
    for clip in clips:
        own, margin = offsets.get(clip.file, (0.0, 0.0))
        if clip.corpus in COMMON_OFFSET:
            kept.append(replace(clip, offset_ms=statistics.median(by_corpus[clip.corpus])))
        elif margin >= min_margin:
            kept.append(replace(clip, offset_ms=own))
    return kept


def own_offsets_ms(clips: Sequence[Clip], table: Path) -> dict[str, tuple[float, float]]:
    """(own offset, margin) of each clip in `table`, on the clips' true frame times."""
    with table.open(newline="") as file:
        rows = {r["file"]: (float(r["lag_ms"]), float(r["margin"])) for r in csv.DictReader(file)}
    return {
        c.file: (table_delay_ms(c.pts_s) - TABLE_ZERO_MS - rows[c.file][0], rows[c.file][1])
        for c in clips
        if c.file in rows
    }


def table_delay_ms(pts_s: NDArray[np.float64]) -> float:
    """How much later than their tick the table's pictures were: its own timing error.

    The table was measured on a 25 fps grid that takes the first frame at or after each
    tick: 0 ms for 25 fps, 13 ms for 30, 20 ms for 24.
    """
    seen_s = pts_s - pts_s[0]
    ticks_s = np.arange(int(seen_s[-1] * TABLE_RATE)) / TABLE_RATE
    if len(ticks_s) == 0:
        return 0.0
    shown = np.searchsorted(seen_s, ticks_s - 1e-6)
    return float(np.mean(seen_s[shown] - ticks_s)) * 1000

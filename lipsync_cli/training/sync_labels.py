"""Each clip's own offset, so that training does not learn the corpus' mistakes."""

from __future__ import annotations

import csv
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lipsync_cli.training.sync_cache import Clip

# Scripted corpora share one recording chain: their mean is surer than any one short clip.
COMMON_OFFSET = ("GRID", "LRW-AR")
MIN_MARGIN = 0.006  # below this the estimate of a clip's own offset is a guess


def recentre(clips: Sequence[Clip], table: Path) -> list[Clip]:
    """Attach own offsets from `table` (file, lag_ms > 0 audio late, margin); drop guesses."""
    with table.open(newline="") as file:
        rows = {r["file"]: (float(r["lag_ms"]), float(r["margin"])) for r in csv.DictReader(file)}
    by_corpus: dict[str, list[float]] = defaultdict(list)
    for clip in clips:
        if clip.file in rows:
            by_corpus[clip.corpus].append(rows[clip.file][0])
    kept = []
    for clip in clips:
        if clip.corpus in COMMON_OFFSET:
            kept.append(replace(clip, offset_ms=-statistics.median(by_corpus[clip.corpus])))
        elif clip.file in rows and rows[clip.file][1] >= MIN_MARGIN:
            kept.append(replace(clip, offset_ms=-rows[clip.file][0]))
    return kept

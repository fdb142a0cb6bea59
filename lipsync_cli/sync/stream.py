"""Streams mouths and sound into evidence, in memory that does not grow with embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipsync_cli.faces.stream import TrackChunk
from lipsync_cli.media.audio import AudioBlock
from lipsync_cli.sync.encoders import CROP, DIM, EMBED_RATE, VISUAL_CONTEXT
from lipsync_cli.sync.evidence import STEP_S, LagEvidence, LagEvidenceBins
from lipsync_cli.sync.model_file import LoadedModel
from lipsync_cli.sync.sound import SoundEmbeddings

EMBED = 48  # crops embedded at once
CLASSIFY = 64  # pictures classified at once
CONTEXT = 5  # pictures on either side that the classifier looks at


@dataclass
class _Track:
    """What one face still has to go through."""

    bins: LagEvidenceBins
    crops: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, CROP, CROP), np.uint8))
    crop_pts: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    seen: Tensor = field(default_factory=lambda: torch.zeros(0, DIM))
    seen_pts: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    before: int = 0  # leading rows of `seen` that are only context, already counted
    ended: bool = False

    @property
    def needs_from_s(self) -> float:
        """Earliest time of a picture still to be compared."""
        pts = self.seen_pts if len(self.seen_pts) else self.crop_pts
        return float(pts[0]) if len(pts) else float("inf")


class SyncStream:
    """Push sound and face tracks in any order, then close and read the evidence.

    Args:
        reach: candidate offsets on either side of 0, in steps of 10 ms.
        on_embedded: told the number of a track and its next rows [n, 256]; the first and last
            five pictures of a track have none.
    """

    def __init__(
        self,
        model: LoadedModel,
        reach: int,
        on_embedded: Callable[[int, Tensor], None] | None = None,
    ) -> None:
        self.model, self.reach, self.on_embedded = model, reach, on_embedded
        self.sound = SoundEmbeddings(model)
        self.tracks: dict[int, _Track] = {}
        self.finished: dict[int, LagEvidence] = {}
        self.margin_s = reach * STEP_S + 0.05

    @torch.inference_mode()
    def push_sound(self, block: AudioBlock) -> None:
        """Take the next block of sound."""
        self.sound.push(block)
        self._compare()

    @torch.inference_mode()
    def push_faces(self, chunk: TrackChunk) -> None:
        """Take the next crops of one track."""
        track = self.tracks.setdefault(chunk.track, _Track(LagEvidenceBins(self.reach)))
        track.crops = np.concatenate([track.crops, chunk.mouths])
        track.crop_pts = np.concatenate([track.crop_pts, chunk.pts_s])
        track.ended = track.ended or chunk.last
        if track.ended or len(track.crops) >= EMBED + 2 * VISUAL_CONTEXT:
            self._embed(chunk.track, track)
            self._compare()

    @torch.inference_mode()
    def close(self) -> dict[int, LagEvidence]:
        """No more input: the evidence of each track, by its number."""
        self.sound.close()
        for number, track in self.tracks.items():
            track.ended = True
            self._embed(number, track)
        self._compare()
        return self.finished

    def forget_sound(self, before_s: float) -> None:
        """Promise that no picture older than this will be pushed."""
        needed = min((t.needs_from_s for t in self.tracks.values()), default=before_s)
        self.sound.forget(min(before_s, needed) - self.margin_s - 0.5)

    def _embed(self, number: int, track: _Track) -> None:
        if len(track.crops) <= 2 * VISUAL_CONTEXT:
            return
        batch = torch.from_numpy(track.crops).unsqueeze(0).to(self.model.device)
        rows = self.model.module.embed_visual(batch)[0].cpu()  # [T - 10, 256]
        if self.on_embedded is not None:
            self.on_embedded(number, rows)
        track.seen = torch.cat([track.seen, rows])
        inner = track.crop_pts[VISUAL_CONTEXT:-VISUAL_CONTEXT]
        track.seen_pts = np.concatenate([track.seen_pts, inner])
        track.crops = track.crops[-2 * VISUAL_CONTEXT :]
        track.crop_pts = track.crop_pts[-2 * VISUAL_CONTEXT :]

    def _compare(self) -> None:
        for number, track in list(self.tracks.items()):
            for first, last, end in self._ready(track):
                self._classify(track, first, last, end)
            if track.ended and len(track.seen) <= track.before:
                del self.tracks[number]
                self.finished[number] = track.bins.result()

    def _ready(self, track: _Track) -> Iterator[tuple[int, int, int]]:
        """(first, last, end) rows of `seen`: count [first, last), look at [0, end)."""
        while True:
            have = len(track.seen) - track.before
            final = track.ended and have < CLASSIFY + CONTEXT
            if have <= 0 or (not final and have < CLASSIFY + CONTEXT):
                return
            count = have if final else CLASSIFY
            last = track.before + count
            end = min(len(track.seen), last + CONTEXT)
            if track.seen_pts[end - 1] + self.margin_s > self.sound.end_s:
                return
            yield track.before, last, end

    def _classify(self, track: _Track, first: int, last: int, end: int) -> None:
        pts = track.seen_pts[:end]
        rows, known, t0_s = self.sound.window(pts[0] - self.margin_s, pts[-1] + self.margin_s)
        position = torch.from_numpy(((pts - t0_s) * EMBED_RATE).astype(np.float32))
        device = self.model.device
        outputs = self.model.module.classify(
            track.seen[:end].unsqueeze(0).to(device),
            rows.unsqueeze(0).to(device),
            position.unsqueeze(0).to(device),
            torch.from_numpy(known).unsqueeze(0).to(device),
            self.reach,
        )
        matrix, valid, scores, weight = (x[0, first:last].cpu().numpy() for x in outputs)
        track.bins.add(pts[first:last], scores, weight, matrix, valid)
        drop = max(0, last - CONTEXT)
        track.seen, track.seen_pts = track.seen[drop:], track.seen_pts[drop:]
        track.before = last - drop

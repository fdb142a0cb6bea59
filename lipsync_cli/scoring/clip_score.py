"""Score one clip of pictures against the sound that goes with it, as both come in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.scoring.distance import ShiftDistances
from lipsync_cli.scoring.grid25 import GridSound
from lipsync_cli.scoring.syncnet import DIM, PICTURES, LoadedSyncNet


class ClipScore:
    """One run of SyncNet's evaluation: the pictures of consecutive ticks and their sound.

    Args:
        sound: shared by all clips of a programme; read here, filled elsewhere.
        first: tick of the first picture.
        batch: windows embedded at once.

    Attributes:
        frames: pictures so far.
        distances: to read the figures from, once `is_done`.
    """

    def __init__(
        self, syncnet: LoadedSyncNet, sound: GridSound, first: int, *, vshift: int, batch: int
    ) -> None:
        self.first = first
        self.frames = 0
        self.distances = ShiftDistances(vshift)
        self._syncnet, self._sound, self._batch = syncnet, sound, batch
        self._pictures: list[NDArray[np.uint8]] = []
        self._lips = np.zeros((0, DIM), np.float32)
        self._compared = 0
        self._ended = self.is_done = False

    @property
    def needs_from(self) -> int:
        """The first tick of which the sound is still needed."""
        return self.first + self._compared

    def push(self, picture: NDArray[np.uint8]) -> None:
        """Take the picture of the next tick: BGR uint8 [224, 224, 3]."""
        self._pictures.append(picture)
        self.frames += 1
        if len(self._pictures) == self._batch + PICTURES - 1:
            self._embed_lips()

    def end(self) -> None:
        """There are no more pictures; the sound of the last ones may still come."""
        if len(self._pictures) >= PICTURES:
            self._embed_lips()
        self._pictures.clear()
        self._ended = True
        self.advance()

    def advance(self) -> None:
        """Compare the windows whose sound has been read since the last call."""
        heard = self._sound.ticks - self.first
        # As many as the reference takes: one fewer than pictures and sound allow.
        usable = min(self.frames, heard) - PICTURES
        while True:
            ready = min(usable - self._compared, len(self._lips), self._batch)
            if ready < (1 if self._ended else self._batch):
                break
            self._compare(ready)
        if self._ended and not self.is_done and (self._sound.closed or heard >= self.frames):
            self.distances.close()
            self.is_done = True

    def _embed_lips(self) -> None:
        lips = self._syncnet.embed_lips(np.stack(self._pictures), batch=self._batch)
        self._lips = np.concatenate([self._lips, lips])
        del self._pictures[: 1 - PICTURES]

    def _compare(self, count: int) -> None:
        tick = self.first + self._compared
        cepstra = self._sound.windows(tick, count, begins=self._compared == 0)
        sound = self._syncnet.embed_sound(cepstra, batch=self._batch)
        self.distances.push(self._lips[:count], sound)
        self._lips = self._lips[count:]
        self._compared += count

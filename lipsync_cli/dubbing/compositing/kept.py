"""Keeps the books of a dub: which pictures got new lips, and why the others did not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lipsync_cli.dubbing.compositing.gate import Gate, Reason
from lipsync_cli.dubbing.compositing.showing import Showing
from lipsync_cli.dubbing.footage.face_path import Faces
from lipsync_cli.media.pictures import Shown
from lipsync_cli.media.rewrite import EditStream

# Shorter than this nobody notices.
_WORTH_SAYING_S = 0.2
_MOST_MOMENTS = 512
_IN_WORDS: Mapping[Reason, str] = {
    "lost": "not in view",
    "turned": "turned away",
    "covered": "covered",
    "unlike": "unlike all there is to borrow",
    "silent": "at rest while the speech pauses",
}


@dataclass(frozen=True, eq=False)
class Moment:
    """A picture that got new lips.

    Attributes:
        source_s, pts_s: its time in the source, and in the programme that is written.
        landmarks: float32 [5, 2], px of the upright source.
    """

    source_s: float
    pts_s: float
    landmarks: npt.NDArray[np.float32]


class Ledger:
    """Passes edited pictures on and writes down what became of each.

    Args:
        lips: what edits them, with a fitter whose gate is `gate`.
        rests: whether the new speech is silent at a time of the output.

    Attributes:
        kept_s: seconds of the speech that kept the old lips, by reason.
        moments: of pictures with new lips, evenly thinned out when there are many.
    """

    def __init__(
        self,
        lips: EditStream,
        gate: Gate,
        faces: Faces,
        showing: Showing,
        rests: Callable[[float], bool],
    ) -> None:
        self._lips, self._gate, self._faces = lips, gate, faces
        self._showing, self._rests = showing, rests
        self._before: tuple[float, Reason | None] | None = None
        self._step_s, self._every, self._count = 0.04, 1, 0
        self.kept_s: dict[Reason, float] = {}
        self.moments: list[Moment] = []

    def __call__(self, pictures: Iterator[Shown]) -> Iterator[Shown]:
        for shown in self._lips(pictures):
            self._note(shown)
            yield shown
        self._settle(None)

    def _note(self, shown: Shown) -> None:
        self._settle(shown.pts_s)
        self._before = shown.pts_s, self._reason(shown)

    def _settle(self, next_s: float | None) -> None:
        """Book the picture before, now that it is known how long it was shown."""
        if self._before is None:
            return
        time_s, reason = self._before
        self._step_s = self._step_s if next_s is None else next_s - time_s
        if reason is not None:
            self.kept_s[reason] = self.kept_s.get(reason, 0.0) + self._step_s

    def _reason(self, shown: Shown) -> Reason | None:
        """Why a picture kept most of its lips; None where it did not, or nothing is spoken."""
        verdict = self._gate.last
        if verdict is not None and verdict.pts_s == shown.pts_s:
            if verdict.reason is None and shown.picture is not shown.original:
                self._keep_moment(shown)
            return verdict.reason
        weight, reason = self._showing.at(shown.pts_s)
        at_rest = reason is None and weight > 0 and self._rests(shown.pts_s)
        return "silent" if at_rest else reason

    def _keep_moment(self, shown: Shown) -> None:
        source_s = float(shown.original.time or 0.0)
        face = self._faces.at(source_s)
        self._count += 1
        if face is None or self._count % self._every:
            return
        self.moments.append(Moment(source_s, shown.pts_s, face.landmarks))
        if len(self.moments) > _MOST_MOMENTS:
            del self.moments[::2]
            self._every *= 2


def in_words(kept_s: Mapping[Reason, float]) -> tuple[str, ...]:
    """Say how many seconds kept the old lips and why; nothing where it is next to none.

    A mouth that rests while the speech pauses is as it should be: that alone is not said.
    """
    said = {reason: s for reason, s in kept_s.items() if s >= _WORTH_SAYING_S}
    if not said.keys() - {"silent"}:
        return ()
    parts = [f"{_IN_WORDS[reason]} {said[reason]:.1f} s" for reason in _IN_WORDS if reason in said]
    return (f"{sum(said.values()):.1f} s of the speech kept the old lips: {', '.join(parts)}",)

"""What the lips say before a repair and after it, and how much of that can be relied on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lipsync_cli.errors import LipsyncError, NotTrustworthy
from lipsync_cli.results import FixResult, OffsetResult, Segment

Progress = Callable[[float], None]

# Half a frame at 25 fps: more than that left over deserves a second look.
RESIDUAL_MS = 20.0
# Segments further than this from the programme's offset mean edits or drift.
_UNEVEN_MS = 80.0
_BY_HAND = "look at the evidence, and give the offset yourself if you know it"


@dataclass(frozen=True)
class MeasureOptions:
    """How the offset is measured; the fields are those of `detect.measure`."""

    search_ms: float = 1500.0
    audio_track: int = 0
    face_detector: str = "own"
    device: str = "auto"


@dataclass(frozen=True)
class Lips:
    """The measurement, and how much it has to be sure of."""

    min_probability: float
    options: MeasureOptions

    def measure(
        self,
        path: Path,
        progress: Progress | None,
        stretches: tuple[tuple[float, float], ...] = (),
    ) -> OffsetResult:
        """Measure a file; `stretches` are those to answer for as segments, if any."""
        # Only here are torch and OpenCV needed.
        from lipsync_cli.detect import measure

        more: dict[str, Any] = {"stretches": stretches} if stretches else {}
        return measure(
            path,
            min_probability=self.min_probability,
            progress=progress,
            **more,
            **asdict(self.options),
        ).result

    def trusted_ms(self, measured: OffsetResult) -> float:
        """The offset of a measurement that can be relied on.

        Raises:
            NotTrustworthy: it cannot.
        """
        if measured.status == "cannot_tell" or measured.offset_ms is None:
            reason = measured.reason or "the offset cannot be measured"
            raise NotTrustworthy(reason, path=measured.file, hint=_BY_HAND)
        if measured.probability < self.min_probability:
            raise NotTrustworthy(
                f"measured {measured.offset_ms:+.0f} ms with a probability of only "
                f"{measured.probability:.2f}, below {self.min_probability:.2f}",
                path=measured.file,
                hint=_BY_HAND,
            )
        return measured.offset_ms

    def uneven(self, measured: OffsetResult, offset_ms: float) -> Iterator[str]:
        """Warn where a part of the programme has quite another offset."""
        for part in measured.segments:
            if part.offset_ms is None or part.probability < self.min_probability:
                continue
            if abs(part.offset_ms - offset_ms) > _UNEVEN_MS:
                yield (
                    f"the offset is {part.offset_ms:+.0f} ms from {_span(part)}: "
                    "one shift cannot repair the whole programme"
                )

    def verify(
        self, result: FixResult, temporary: Path, progress: Progress | None, *, parts: bool
    ) -> FixResult:
        """Measure what was written; that it cannot be measured is only a warning.

        Args:
            parts: measure every segment of the measurement that the repair rests on.
        """
        before = result.measured.segments if parts and result.measured else ()
        stretches = tuple((s.start_s, s.end_s) for s in before if s.offset_ms is not None)
        try:
            again = self.measure(temporary, progress, stretches)
            residual_ms = self.trusted_ms(again)
        except LipsyncError as error:
            unsure = f"the result could not be measured again: {error.message}"
            return replace(result, warnings=(*result.warnings, unsure))
        residuals = again.segments if stretches else ()
        return replace(
            result,
            residual_ms=residual_ms,
            residual_interval_ms=again.interval_ms,
            residuals=residuals,
            warnings=(*result.warnings, *_left_over(residual_ms, residuals)),
        )


def _left_over(residual_ms: float, residuals: tuple[Segment, ...]) -> Iterator[str]:
    if abs(residual_ms) > RESIDUAL_MS:
        yield f"the result still measures {residual_ms:+.0f} ms"
    for part in residuals:
        if part.offset_ms is not None and abs(part.offset_ms) > RESIDUAL_MS:
            yield f"the result still measures {part.offset_ms:+.0f} ms from {_span(part)}"


def _span(part: Segment) -> str:
    return f"{part.start_s:.1f} to {part.end_s:.1f} s"

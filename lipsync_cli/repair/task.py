"""The ways to put sound back onto its picture: what each would do, and doing it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lipsync_cli.errors import UsageError
from lipsync_cli.media.offset_curve import OffsetCurve
from lipsync_cli.media.probe import probe
from lipsync_cli.media.remux import plan_shift, shift_audio
from lipsync_cli.media.remux_kept import lost_details
from lipsync_cli.media.retime import can_store_times, plan_retime, retime_audio
from lipsync_cli.media.stretch import plan_stretch, stretch_video
from lipsync_cli.repair.notes import (
    how_copied,
    lost_edits,
    sample_notes,
    shift_notes,
    stretch_notes,
)
from lipsync_cli.results import FixPlan

Method = Literal["auto", "timestamps", "samples"]
Drift = Literal["audio", "video"]
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Task:
    """What is repaired, and how.

    Attributes:
        curve: the offsets that are taken out.
        offset_ms: one number for them.
        audio_tracks: which tracks move, counted from 0; None for all.
        method: "auto" moves samples only where the container cannot store times.
        drift: what a drift is taken out of.
    """

    path: Path
    target: Path
    curve: OffsetCurve
    offset_ms: float
    audio_tracks: Sequence[int] | None = None
    method: Method = "auto"
    drift: Drift = "audio"

    def plan(self) -> FixPlan:
        """Find out what would be done, by writing headers to memory.

        Raises:
            InputError, OutputError: as `plan_shift`, `plan_retime` and `plan_stretch`.
            UsageError: the offset is as long as the programme, or the way cannot lead there.
        """
        info = probe(self.path)
        _check_length(self.offset_ms, info.duration_s)
        way = self._way()
        if way == "stretch":
            muxer, grid_ms, dropped = plan_stretch(
                self.path, self.target, self.curve, audio_tracks=self.audio_tracks
            )
            notes = tuple(stretch_notes(self.curve, info.container, dropped))
            return self._planned("timestamps", muxer, grid_ms, notes)
        if way == "shift":
            shift = plan_shift(
                self.path, self.target, self.offset_ms, audio_tracks=self.audio_tracks
            )
            notes = tuple(shift_notes(shift, self.offset_ms, info.container))
            return self._planned("timestamps", shift.muxer, shift.grid_ms, notes)
        moved = plan_retime(self.path, self.target, audio_tracks=self.audio_tracks)
        notes = tuple(sample_notes(moved, self.curve, info.container))
        return self._planned("samples", moved.muxer, moved.grid_ms, notes)

    def write(self, temporary: Path, progress: Progress | None) -> Stored:
        """Write the repaired file and read it back.

        Raises:
            OutputError: it cannot be written, or does not hold what was asked for.
        """
        write = {"stretch": self._stretch, "shift": self._shift, "samples": self._move}
        stored = write[self._way()](temporary, progress)
        return replace(stored, lost=(*stored.lost, *lost_details(self.path, temporary)))

    def _stretch(self, temporary: Path, progress: Progress | None) -> Stored:
        tracks = self.audio_tracks
        dropped = plan_stretch(self.path, temporary, self.curve, audio_tracks=tracks)[2]
        copies = stretch_video(
            self.path, temporary, self.curve, audio_tracks=tracks, progress=progress
        )
        return Stored(None, how_copied(copies), dropped, tuple(lost_edits(copies)))

    def _shift(self, temporary: Path, progress: Progress | None) -> Stored:
        shift, checked = shift_audio(
            self.path,
            temporary,
            self.offset_ms,
            audio_tracks=self.audio_tracks,
            progress=progress,
        )
        lost = tuple(lost_edits(checked))
        return Stored(checked.applied_ms, how_copied(checked), shift.dropped, lost)

    def _move(self, temporary: Path, progress: Progress | None) -> Stored:
        plan, moved = retime_audio(
            self.path, temporary, self.curve, audio_tracks=self.audio_tracks, progress=progress
        )
        lost = list(lost_edits(moved.copies))
        if moved.damaged:
            lost.append(f"damaged sound, now silence (packets: {moved.damaged})")
        applied_ms = None if moved.late_ms is None else self.offset_ms + moved.late_ms
        how = how_copied(moved.copies, others=True)
        return Stored(applied_ms, how, plan.dropped, tuple(lost))

    def _way(self) -> Literal["shift", "samples", "stretch"]:
        """How this curve is taken out of this file.

        Raises:
            UsageError: not in the way that was asked for.
        """
        curve = self.curve
        if not curve.is_constant:
            if self.drift == "video" and len(curve.pieces) == 1:
                return "stretch"
            _refuse_timestamps(self.method, self.drift, self.path)
            return "samples"
        if self.method == "auto":
            return "shift" if can_store_times(self.path, self.target) else "samples"
        return "shift" if self.method == "timestamps" else "samples"

    def _planned(
        self,
        method: Literal["timestamps", "samples"],
        muxer: str,
        grid_ms: float,
        notes: tuple[str, ...],
    ) -> FixPlan:
        return FixPlan(
            file=str(self.path),
            output=str(self.target),
            offset_ms=self.offset_ms,
            method=method,
            container=muxer,
            grid_ms=grid_ms,
            notes=notes,
            drift_ppm=round(1e6 * self.curve.pieces[0].slope, 3) if self.curve.drifts else None,
            steps_s=tuple(round(time_s, 3) for time_s in self.curve.steps_s),
        )


@dataclass(frozen=True)
class Stored:
    """What became of a task.

    Attributes:
        applied_ms: change of offset found in the written file, its mean where it changes;
            None where all is silent, or where the picture was moved.
        how: in words, what happened to the streams.
        dropped: in words, the streams that the container cannot hold.
        lost: in words, what else could not be kept.
    """

    applied_ms: float | None
    how: str
    dropped: tuple[str, ...]
    lost: tuple[str, ...]


def constant_curve(offset_ms: float) -> OffsetCurve:
    """One offset for the whole programme.

    Raises:
        UsageError: it is no number.
    """
    if not math.isfinite(offset_ms):
        raise UsageError(f"{offset_ms} is not an offset in milliseconds")
    return OffsetCurve.constant(offset_ms)


def _refuse_timestamps(method: Method, drift: Drift, path: Path) -> None:
    if method == "timestamps":
        raise UsageError(
            "an offset that changes cannot be taken out by moving the sound's timestamps",
            path=path,
            hint="use --method samples, or --drift video where it only drifts",
        )
    if drift == "video":
        raise UsageError(
            "the picture cannot be stretched: the offset changes in steps",
            path=path,
            hint="use --drift audio with --piecewise",
        )


def _check_length(offset_ms: float, duration_s: float | None) -> None:
    if duration_s and abs(offset_ms) >= duration_s * 1000:
        raise UsageError(
            f"an offset of {offset_ms:g} ms is longer than the programme ({duration_s:g} s)",
            hint="offsets are in milliseconds",
        )

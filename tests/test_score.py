"""Scores of one file, and of many: what is measured, taken over and averaged.

The models are stand-ins that answer at once; what they are asked and what becomes of their
answers is real.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lipsync_cli.errors import InputError, MediaNotFound, UsageError
from lipsync_cli.results import (
    OffsetResult,
    ScoreResult,
    ScoreTrack,
    Segment,
    Step,
    TrackOffset,
)
from lipsync_cli.score import ScoreOptions, examine, score_file
from lipsync_cli.scoring.history import local_offsets, spread_ms, thinned
from lipsync_cli.scoring.lse_options import LseOptions
from lipsync_cli.scoring.own import own_figures
from lipsync_cli.scoring.references import References
from lipsync_cli.scoring.resume import Earlier, digest, key_of
from lipsync_cli.scoring.summary import summarise

LAGS_MS = np.arange(-100, 101) * 10.0


def matrix(offsets_ms: list[float | None], noise: float = 0.02) -> np.ndarray:
    """A lag matrix with a ridge at one offset a second, or none."""
    rng = np.random.default_rng(0)
    rows = noise * rng.standard_normal((len(offsets_ms), len(LAGS_MS)))
    for row, offset in zip(rows, offsets_ms, strict=True):
        if offset is not None:
            row += np.exp(-0.5 * ((LAGS_MS - offset) / 30) ** 2)
    return rows.astype(np.float32)


def evidence(offset_ms: float = 20.0) -> SimpleNamespace:
    rows = matrix([offset_ms] * 12)
    curve = np.exp(-0.5 * ((LAGS_MS - offset_ms) / 15) ** 2)
    return SimpleNamespace(
        lags_ms=LAGS_MS,
        curve=curve / curve.sum(),
        diagonal=rows.mean(0),
        matrix=rows,
        rows_s=np.arange(12.0),
        thumbnails=tuple((t, np.full((20, 30, 3), 99, np.uint8), 0) for t in (1.0, 5.0, 9.0)),
    )


def answer(path: str | Path, offset_ms: float | None = 20.0, **fields: Any) -> OffsetResult:
    known = offset_ms is not None
    interval = None if offset_ms is None else (offset_ms - 15, offset_ms + 15)
    values: dict[str, Any] = {
        "file": str(path),
        "status": "measured" if known else "cannot_tell",
        "reason": None if known else "too little evidence",
        "offset_ms": offset_ms,
        "interval_ms": interval,
        "direction": "audio early" if known else None,
        "probability": 0.98 if known else 0.5,
        "offset_frames": None,
        "frame_rate": 25.0,
        "duration_s": 12.0,
        "measurable_s": 9.0,
        "tracks": (TrackOffset(0, 0.0, 12.0, (0, 0, 9, 9), 300, 20.0, (5.0, 35.0), 0.98, 20.0),),
        "segments": (
            Segment(
                0.0,
                12.0,
                offset_ms,
                None if offset_ms is None else (offset_ms - 15, offset_ms + 15),
                0.98,
            ),
        ),
        "pattern": "steps",
        "steps": (Step(6.0, 0.5, 5.0, 7.0),),
    }
    return OffsetResult(**{**values, **fields})


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Replace the own model; "answer" may be set, "calls" are counted."""
    state: dict[str, Any] = {"calls": 0}
    module: Any = ModuleType("lipsync_cli.detect")

    def measure(path: Path, **options: Any) -> SimpleNamespace:
        state["calls"] += 1
        found = state.get("answer") or answer(path)
        return SimpleNamespace(result=replace(found, file=str(path)), evidence=evidence())

    module.measure = measure
    monkeypatch.setitem(sys.modules, "lipsync_cli.detect", module)
    monkeypatch.setattr("lipsync_cli.score.find", lambda name: None)
    return state


@pytest.fixture
def syncnet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Replace SyncNet by an answer of two tracks, or by the exception under "error"."""
    state: dict[str, Any] = {}
    module: Any = ModuleType("lipsync_cli.scoring.lse")

    def measure_lse(path: Path, network: object, how: LseOptions, **options: Any) -> Any:
        if "error" in state:
            raise state["error"]
        state["how"] = how
        tracks = tuple(
            SimpleNamespace(
                track=i,
                start_s=i,
                end_s=i + 4.0,
                frames=101,
                av_offset=-1,
                lse_d=d,
                lse_c=c,
                box=None,
            )
            for i, (d, c) in enumerate([(7.0, 6.0), (9.0, 2.0)])
        )
        figures = {"protocol": how.protocol, "av_offset": -1, "lse_d": 8.0, "lse_c": 4.0}
        rest = {"reason": None, "valid_overlap": None, "warnings": ("a grid",)}
        return SimpleNamespace(tracks=tracks, **figures, **rest)

    module.measure_lse = measure_lse
    monkeypatch.setitem(sys.modules, "lipsync_cli.scoring.lse", module)
    monkeypatch.setattr("lipsync_cli.score._network", lambda path, device: None)
    path = tmp_path / "syncnet_v2.model"
    path.write_bytes(b"weights")
    state["path"] = path
    return state


@pytest.fixture
def video(clip: Callable[..., Path], tmp_path: Path) -> Path:
    path = tmp_path / "a.mp4"
    path.write_bytes(clip().read_bytes())
    return path


def test_without_syncnet_nothing_is_called_lse(video: Path, measured: dict[str, Any]) -> None:
    record = score_file(video).to_dict()
    required = {
        *("schema", "file", "ok", "protocol", "lse_d", "lse_c", "av_offset", "tracks"),
        *("probability_in_sync", "offset_ms", "interval_ms", "verdicts", "warnings"),
        *("spread_ms", "measurable_share", "sha256", "settings"),
    }
    assert required <= record.keys()
    assert [record[key] for key in ("protocol", "lse_d", "lse_c", "av_offset")] == [None] * 4
    assert "SyncNet" in record["lse_reason"]
    assert (record["offset_ms"], record["measurable_share"]) == (20.0, 0.75)
    # A normal distribution around 20 with a standard deviation of 15 / 1.96, times 0.98.
    assert record["probability_in_sync"] == pytest.approx(0.98 * 0.99551, abs=1e-4)


def test_with_syncnet_both_are_given(
    video: Path, measured: dict[str, Any], syncnet: dict[str, Any]
) -> None:
    lse = LseOptions(protocol="lrs", min_track=50)
    found = score_file(video, ScoreOptions(lse=lse, syncnet=syncnet["path"], face_detector="sfd"))
    assert (found.protocol, found.lse_d, found.lse_c, found.av_offset) == ("lrs", 8.0, 4.0, -1)
    assert [(track.lse_d, track.lse_c) for track in found.tracks] == [(7.0, 6.0), (9.0, 2.0)]
    assert (found.offset_ms, found.warnings) == (20.0, ("a grid",))
    assert (syncnet["how"].min_track, syncnet["how"].face_detector) == (50, "sfd")


def test_a_file_without_lse_keeps_its_other_figures(
    video: Path, measured: dict[str, Any], syncnet: dict[str, Any]
) -> None:
    syncnet["error"] = InputError("has no face", path=video)
    found = score_file(video, ScoreOptions(syncnet=syncnet["path"]))
    assert (found.offset_ms, found.lse_d, found.lse_reason) == (20.0, None, "has no face")


def test_what_cannot_be_told_has_a_probability_if_there_was_anything_to_compare() -> None:
    unsure = SimpleNamespace(result=answer("a.mp4", None), evidence=evidence(20.0))
    found = own_figures(unsure)  # type: ignore[arg-type]
    # Half of the candidates' mass within 40 ms is right with a probability of one half.
    near = np.abs(LAGS_MS) <= 40
    assert found.probability_in_sync == pytest.approx(
        0.5 * unsure.evidence.curve[near].sum(), abs=1e-4
    )
    unsure.evidence.diagonal = np.full(len(LAGS_MS), 0.5)
    silent = own_figures(unsure)  # type: ignore[arg-type]
    assert (silent.probability_in_sync, silent.measurable_share) == (None, 0.0)


def test_local_offsets_follow_a_step_and_admit_gaps() -> None:
    rows = matrix([20.0] * 20 + [None] * 20 + [150.0] * 20)
    seconds = np.arange(60.0)
    points = dict(local_offsets(seconds, rows, LAGS_MS))
    for at, expected in ((5.5, 20.0), (55.5, 150.0)):
        assert points[at] == pytest.approx(expected, abs=5)
    assert points[29.5] is None
    assert 0.5 in points and 59.5 in points


def test_local_offsets_take_the_faces_of_a_second_together() -> None:
    rows = np.concatenate([matrix([40.0] * 10), matrix([None] * 10)])
    seconds = np.tile(np.arange(10.0), 2) + 100
    points = local_offsets(seconds, rows, LAGS_MS)
    assert [at for at, _ in points] == [100.5 + i for i in range(10)]
    assert [offset for _, offset in points] == pytest.approx([40.0] * 10, abs=5)


def test_spread_is_one_standard_deviation_of_normal_scatter() -> None:
    offsets = np.random.default_rng(1).normal(30, 12, 4000)
    points = tuple((float(i), float(x)) for i, x in enumerate(offsets))
    assert spread_ms((*points, (9e9, None))) == pytest.approx(12, rel=0.05)
    assert spread_ms(points[:2]) is None
    assert len(thinned(points, 240)) <= 240


def test_the_same_content_is_not_measured_again(
    video: Path, measured: dict[str, Any], tmp_path: Path
) -> None:
    options = ScoreOptions(tolerances=("ebu",))
    first = score_file(video, options)
    results = tmp_path / "results.ndjson"
    lines = [
        json.dumps(first.to_dict()),
        json.dumps({"schema": 1, "summary": True}),
        '{"schema": 1',
    ]
    results.write_text("\n".join(lines))
    renamed = video.rename(tmp_path / "renamed.mp4")

    earlier = Earlier.read(results)
    assert (len(earlier.lines), earlier.unreadable) == (1, 1)
    again = examine(renamed, ScoreOptions(tolerances=("0,0",)), earlier=earlier).result
    assert measured["calls"] == 1
    assert (again.file, again.reused) == (str(renamed), True)
    assert again.verdicts["0,0"].outcome != first.verdicts["ebu"].outcome
    assert replace(again, file=first.file, reused=False, verdicts={}) == replace(first, verdicts={})


@pytest.mark.parametrize("change", ["content", "options"])
def test_anything_that_changes_the_figures_is_measured_again(
    video: Path, measured: dict[str, Any], tmp_path: Path, change: str
) -> None:
    results = tmp_path / "results.ndjson"
    results.write_text(json.dumps(score_file(video).to_dict()) + "\n")
    options = ScoreOptions(search_ms=900.0) if change == "options" else ScoreOptions()
    if change == "content":
        video.write_bytes(video.read_bytes() + b"\0")
    assert not examine(video, options, earlier=Earlier.read(results)).result.reused
    assert measured["calls"] == 2


def test_results_of_another_kind_are_no_results(tmp_path: Path) -> None:
    path = tmp_path / "old.ndjson"
    assert Earlier.read(path).lines == {}
    lines = ['{"schema": 99, "ok": true, "sha256": "x"}', "[1]", '{"schema": 1, "ok": false}']
    path.write_text("\n".join(lines))
    assert (Earlier.read(path).lines, Earlier.read(path).unreadable) == ({}, 2)
    key = key_of(path, digest({}))
    path.write_text(json.dumps({"schema": 1, "ok": True, **key._asdict()}))
    assert Earlier.read(path).get(key) is None
    with pytest.raises(InputError, match="cannot be read"):
        Earlier.read(tmp_path)


def test_pictures_show_the_worst_stretches(video: Path, measured: dict[str, Any]) -> None:
    parts = (Segment(0, 4, 0.0, (-5, 5), 0.99), Segment(4, 6, 300.0, (295, 305), 0.99))
    measured["answer"] = answer(video, segments=parts)
    scored = examine(video, ScoreOptions(tolerances=("ebu",), pictures=True))
    assert 5.0 in {picture.time_s for picture in scored.pictures}
    assert all(picture.jpeg.startswith(b"\xff\xd8") for picture in scored.pictures)
    assert examine(video, ScoreOptions()).pictures == ()


def scored(lse: list[tuple[float, float]], **fields: Any) -> ScoreResult:
    values: dict[str, Any] = dict.fromkeys(("reason", "interval_ms", "direction", "offset_frames"))
    values |= {"file": "a", "status": "measured", "offset_ms": 10.0, "probability": 1.0}
    tracks = tuple(ScoreTrack(i, 0, 4, 101, 0, d, c) for i, (d, c) in enumerate(lse))
    if lse:
        d, c = (float(np.mean(column)) for column in zip(*lse, strict=True))
        values |= {"lse_d": d, "lse_c": c, "tracks": tracks, "protocol": "tracked"}
    return ScoreResult(**{**values, "frame_rate": 25.0, **fields})


def test_means_are_unweighted_over_files() -> None:
    results = [scored([(6.0, 8.0)]), scored([(8.0, 4.0), (8.0, 4.0), (8.0, 4.0)]), scored([])]
    summary = summarise([*results, scored([], offset_ms=-30.0, reused=True)], failed=2)
    assert (summary.files, summary.failed, summary.lse_files, summary.reused) == (6, 2, 2, 1)
    assert (summary.lse_d, summary.lse_c) == (7.0, 6.0)
    assert (summary.lse_tracks, summary.lse_d_tracks, summary.lse_c_tracks) == (4, 7.5, 5.0)
    assert (summary.offset_ms, summary.mean_abs_offset_ms) == (0.0, 15.0)
    record = summary.to_dict()
    assert (record["summary"], record["ok"]) == (True, False)


def test_an_empty_set_has_no_means() -> None:
    summary = summarise([], failed=1)
    assert (summary.lse_d, summary.offset_ms, summary.probability_in_sync) == (None, None, None)


def test_references_have_the_names_of_what_they_are_compared_with(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    for name in ("a.mp4", "b[1].mkv"):
        (real / name).touch()
    rule = References(real)
    assert rule.of(Path("fake/a.mp4")) == real / "a.mp4"
    assert rule.of(Path("fake/b[1].mp4")) == real / "b[1].mkv"
    with pytest.raises(MediaNotFound, match="no reference"):
        rule.of(Path("fake/c.mp4"))
    with pytest.raises(UsageError, match="one reference for several"):
        References(real / "a.mp4").check([Path("x"), Path("y")])
    assert not References() and References().of(Path("x")) is None


def test_results_of_a_pair_list_are_named_by_their_line(tmp_path: Path) -> None:
    listing = tmp_path / "lrs2.txt"
    listing.write_text("spk1/1 spk2/2\nspk3/3 spk4/4\nspk5/5 spk6/6\n")
    for name in ("0.mp4", "2.mp4", "other.mp4"):
        (tmp_path / name).touch()
    rule = References(filelist=listing, style="lrs2", data_root=Path("corpus"))
    results = rule.results_in(tmp_path)
    assert ([path.name for path in results], rule.pairs()) == (["0.mp4", "2.mp4"], 3)
    # The columns are audio, video.
    assert [rule.of(path) for path in results] == [
        Path("corpus/spk2/2.mp4"),
        Path("corpus/spk6/6.mp4"),
    ]

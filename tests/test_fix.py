"""fix-sync as a library call: what it writes, and all the times when it writes nothing."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import ClipFactory
from ruler import beep_times_s, flash_times_s, lead_ms, payloads

from lipsync_cli.errors import (
    InputError,
    MediaNotFound,
    MissingStream,
    NotTrustworthy,
    OutputError,
    UnreadableMedia,
    UsageError,
)
from lipsync_cli.fix import fix_sync, plan_fix
from lipsync_cli.results import OffsetResult, Segment, Step

MEASURED = OffsetResult(
    file="clip.mp4",
    status="measured",
    reason=None,
    offset_ms=120.0,
    interval_ms=(110.0, 130.0),
    direction="audio early",
    probability=0.99,
    offset_frames=3.0,
    frame_rate=25.0,
)
Measure = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def copy(clip: ClipFactory, tmp_path: Path) -> Path:
    """A clip alone in its folder, which nobody else reads."""
    return Path(shutil.copy(clip(".mp4"), tmp_path / "talk.mp4"))


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> Measure:
    """Let `detect.measure` answer with the given results; returns what it was asked."""

    def install(*answers: OffsetResult) -> list[dict[str, Any]]:
        left, asked = list(answers), list[dict[str, Any]]()

        def measure(path: Path, **options: Any) -> SimpleNamespace:
            asked.append({"path": Path(path), **options})
            options["progress"] and options["progress"](1.0)
            return SimpleNamespace(result=left.pop(0))

        fake = ModuleType("lipsync_cli.detect")
        fake.measure = measure  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "lipsync_cli.detect", fake)
        return asked

    return install


def test_given_offset(copy: Path) -> None:
    before = copy.read_bytes()
    result = fix_sync(copy, offset_ms=120.0)
    target = copy.with_name("talk.synced.mp4")
    assert result.action == "written"
    assert result.output == str(target)
    assert result.applied_ms == pytest.approx(120.0, abs=0.05)
    assert lead_ms(copy) - lead_ms(target) == pytest.approx(120.0, abs=0.1)
    assert payloads(target) == payloads(copy)
    assert result.plan is not None
    assert result.plan.notes == (
        "audio delayed by 120 ms",
        "stored as an edit list; players that ignore edit lists will not notice",
        "every stream copied bit-exactly",
    )
    assert result.warnings == ()
    assert copy.read_bytes() == before
    assert json.loads(json.dumps(result.to_dict()))["action"] == "written"


def test_measured_offset_is_repaired_and_measured_again(copy: Path, measuring: Measure) -> None:
    again = replace(MEASURED, offset_ms=2.0, interval_ms=(-8.0, 12.0))
    asked = measuring(MEASURED, again)
    seen: list[float] = []
    result = fix_sync(copy, progress=seen.append)
    assert result.applied_ms == pytest.approx(120.0, abs=0.05)
    assert (result.residual_ms, result.residual_interval_ms) == (2.0, (-8.0, 12.0))
    assert result.measured == MEASURED
    assert result.warnings == ()
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    # The result is measured before it gets its name.
    assert [entry["path"].suffix for entry in asked] == [".mp4", ".mp4"]
    assert asked[1]["path"].name.startswith(".talk.synced.")
    assert asked[0]["search_ms"] == 1500.0


def test_measurement_made_before(copy: Path, measuring: Measure) -> None:
    asked = measuring()
    late = replace(MEASURED, offset_ms=-80.0, interval_ms=(-90.0, -70.0))
    result = fix_sync(copy, measured=late, verify=False)
    assert result.applied_ms == pytest.approx(-80.0, abs=0.05)
    assert asked == []


def test_poor_or_missing_second_measurement_is_a_warning(copy: Path, measuring: Measure) -> None:
    measuring(replace(MEASURED, offset_ms=40.0))
    result = fix_sync(copy, measured=MEASURED)
    assert result.action == "written"
    assert result.warnings == ("the result still measures +40 ms",)
    measuring(replace(MEASURED, status="cannot_tell", offset_ms=None, reason="no face"))
    result = fix_sync(copy, measured=MEASURED, overwrite=True)
    assert result.residual_ms is None
    assert "measured again: no face" in result.warnings[0]


@pytest.mark.parametrize(
    ("offset_ms", "interval_ms"),
    [(9.0, (3.0, 15.0)), (-14.0, (-16.0, -12.0)), (60.0, (-5.0, 99.0))],
)
def test_in_sync_writes_nothing(
    copy: Path, offset_ms: float, interval_ms: tuple[float, float]
) -> None:
    measured = replace(MEASURED, offset_ms=offset_ms, interval_ms=interval_ms)
    result = fix_sync(copy, measured=measured)
    assert (result.action, result.output, result.offset_ms) == ("in_sync", None, offset_ms)
    assert os.listdir(copy.parent) == ["talk.mp4"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": "cannot_tell", "reason": "no face was seen", "offset_ms": None}, "no face"),
        ({"probability": 0.5}, "probability of only 0.50, below 0.90"),
    ],
)
def test_untrustworthy_writes_nothing(copy: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(NotTrustworthy, match=words) as caught:
        fix_sync(copy, measured=replace(MEASURED, **change))
    assert caught.value.exit_code == 3
    assert os.listdir(copy.parent) == ["talk.mp4"]


def test_parts_with_another_offset_are_pointed_out(copy: Path) -> None:
    parts = (Segment(0, 20, 120.0, None, 0.99), Segment(20, 42.5, -300.0, None, 0.95))
    result = fix_sync(copy, measured=replace(MEASURED, segments=parts), dry_run=True)
    assert result.warnings == (
        "the offset is -300 ms from 20.0 to 42.5 s: one shift cannot repair the whole programme",
    )


DRIFTING = replace(
    MEASURED,
    pattern="drift",
    drift_ppm=20_000.0,
    drift_interval_ppm=(19_000.0, 21_000.0),
    segments=(Segment(0, 2, 60.0, (50.0, 70.0), 0.99), Segment(2, 4, 100.0, (90.0, 110.0), 0.99)),
)
STEPPING = replace(
    MEASURED,
    pattern="steps",
    segments=(
        Segment(0, 2.1, 120.0, (110.0, 130.0), 0.99),
        Segment(2.1, 2.6, None, None, 0.0),
        Segment(2.6, 4, -80.0, (-90.0, -70.0), 0.99),
    ),
    steps=(Step(2.1, -200.0, 2.0, 2.7),),
)


def leads_ms(path: Path) -> np.ndarray:
    return (flash_times_s(path) - beep_times_s(path)) * 1000


def test_drift_is_resampled_and_its_parts_measured_again(copy: Path, measuring: Measure) -> None:
    left = (
        replace(DRIFTING.segments[0], offset_ms=3.0),
        replace(DRIFTING.segments[1], offset_ms=-31.0),
    )
    asked = measuring(replace(MEASURED, offset_ms=-4.0, segments=left))
    result = fix_sync(copy, measured=DRIFTING)
    assert result.plan is not None and result.output is not None
    assert (result.plan.method, result.plan.drift_ppm) == ("samples", 20_000.0)
    assert "its pitch changes by -35 cents" in result.plan.notes
    # Offset 60 ms at 1 s and 100 ms at 3 s: t - 0.04 - 0.02 t is where the sound comes from.
    flashes = flash_times_s(copy)
    expected = -(40 + 20 * flashes) / 0.98
    assert leads_ms(Path(result.output)) - leads_ms(copy) == pytest.approx(expected, abs=1)
    assert payloads(result.output)["video", 0] == payloads(copy)["video", 0]
    assert asked[0]["stretches"] == ((0, 2), (2, 4))
    assert [s.offset_ms for s in result.residuals] == [3.0, -31.0]
    assert result.warnings == ("the result still measures -31 ms from 2.0 to 4.0 s",)
    assert result.to_dict()["residuals"][1]["offset_ms"] == -31.0


def test_drift_can_be_taken_out_of_the_picture(copy: Path) -> None:
    result = fix_sync(copy, measured=DRIFTING, drift="video", verify=False)
    assert result.plan is not None and result.output is not None
    assert (result.plan.method, result.applied_ms) == ("timestamps", None)
    assert payloads(result.output) == payloads(copy)
    expected = -(40 + 20 * flash_times_s(copy))
    assert leads_ms(Path(result.output)) - leads_ms(copy) == pytest.approx(expected, abs=0.2)


def test_drift_that_amounts_to_nothing_is_a_plain_shift(copy: Path) -> None:
    result = fix_sync(copy, measured=replace(DRIFTING, drift_ppm=4000.0), dry_run=True)
    assert result.plan is not None
    assert (result.plan.method, result.plan.drift_ppm) == ("timestamps", None)
    assert "the drift of +4000 ppm is too small to take out" in result.warnings


def test_parts_are_moved_only_when_that_is_allowed(copy: Path) -> None:
    for measured, words in (
        (STEPPING, "changes at 1 place:"),
        (replace(MEASURED, pattern="unclear"), "no few numbers"),
    ):
        with pytest.raises(NotTrustworthy, match=words) as caught:
            fix_sync(copy, measured=measured)
        assert caught.value.exit_code == 3
    assert os.listdir(copy.parent) == ["talk.mp4"]
    result = fix_sync(copy, measured=STEPPING, piecewise=True, verify=False)
    assert result.plan is not None and result.output is not None
    (joint_s,) = result.plan.steps_s
    # Between the beeps at 1.88 and 2.24 s, which last for 40 ms, nothing is cut into.
    assert joint_s + 0.1 > 1.92 and joint_s - 0.12 < 2.24
    flashes = flash_times_s(copy)
    expected = np.where(flashes < joint_s, -120, 80)
    assert leads_ms(Path(result.output)) - leads_ms(copy) == pytest.approx(expected, abs=1)


def test_drift_that_leaves_the_search_range_is_pointed_out(copy: Path) -> None:
    warning = "the offset runs out of the search range: widen --search-ms"
    result = fix_sync(copy, measured=replace(DRIFTING, warnings=(warning,)), dry_run=True)
    assert warning in result.warnings


@pytest.mark.parametrize("measured", [DRIFTING, STEPPING], ids=["drift", "steps"])
def test_containers_that_cannot_hold_the_repair(copy: Path, measured: OffsetResult) -> None:
    """WebM holds neither H.264 nor AAC: said before anything is written."""
    target = copy.with_name("talk.webm")
    with pytest.raises(OutputError, match="cannot hold the streams") as caught:
        fix_sync(copy, measured=measured, piecewise=True, output=target)
    assert ".mkv" in str(caught.value.hint)
    assert os.listdir(copy.parent) == ["talk.mp4"]


def test_small_changes_everywhere_are_in_sync(copy: Path) -> None:
    parts = tuple(replace(s, offset_ms=s.offset_ms and s.offset_ms / 10) for s in STEPPING.segments)
    steady = replace(STEPPING, offset_ms=3.0, segments=parts)
    assert fix_sync(copy, measured=steady, piecewise=True).action == "in_sync"


@pytest.mark.parametrize(
    ("measured", "options", "words"),
    [
        (DRIFTING, {"method": "timestamps"}, "--method samples"),
        (STEPPING, {"piecewise": True, "drift": "video"}, "--drift audio"),
    ],
)
def test_ways_that_cannot_lead_there(
    copy: Path, measured: OffsetResult, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        fix_sync(copy, measured=measured, **options)
    assert words in str(caught.value.hint)
    assert os.listdir(copy.parent) == ["talk.mp4"]


def test_dry_run(copy: Path) -> None:
    result = fix_sync(copy, offset_ms=-40.0, dry_run=True)
    assert result.action == "planned"
    assert result.plan == plan_fix(copy, -40.0)
    assert result.plan.container == "mp4"
    assert result.plan.notes[0] == "audio advanced by 40 ms"
    assert os.listdir(copy.parent) == ["talk.mp4"]
    # The folder of a batch is only made when something is written.
    there = copy.parent / "later" / "talk.mp4"
    assert fix_sync(copy, offset_ms=-40.0, output=there, dry_run=True).output == str(there)


def test_in_place(copy: Path) -> None:
    before_ms, before = lead_ms(copy), payloads(copy)
    result = fix_sync(copy, offset_ms=120.0, in_place=True)
    assert result.output == str(copy)
    assert os.listdir(copy.parent) == ["talk.mp4"]
    assert before_ms - lead_ms(copy) == pytest.approx(120.0, abs=0.1)
    assert payloads(copy) == before


def test_in_place_never_loses_a_stream(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "lipsync_cli.repair.task.lost_details", lambda source, target: ["2 chapters"]
    )
    before = copy.read_bytes()
    with pytest.raises(OutputError, match="would lose 2 chapters"):
        fix_sync(copy, offset_ms=120.0, in_place=True)
    assert copy.read_bytes() == before
    assert os.listdir(copy.parent) == ["talk.mp4"]
    assert fix_sync(copy, offset_ms=120.0).warnings == ("not kept: 2 chapters",)


def test_outputs_that_are_refused(copy: Path) -> None:
    (copy.parent / "old.mp4").write_bytes(b"old")
    os.link(copy, copy.parent / "same.mp4")
    refused: dict[str, dict[str, Any]] = {
        "exists already": {"output": copy.parent / "old.mp4"},
        "the same file": {"output": copy},
        "folder does not exist": {"output": copy.parent / "missing" / "talk.mp4"},
        "is a folder": {"output": copy.parent},
        "'xyz'": {"output": copy.parent / "talk.xyz"},
    }
    for words, options in refused.items():
        with pytest.raises(OutputError, match=words):
            fix_sync(copy, offset_ms=120.0, **options)
    with pytest.raises(OutputError, match="the same file"):
        fix_sync(copy, offset_ms=120.0, output=copy.parent / "same.mp4", overwrite=True)
    assert sorted(os.listdir(copy.parent)) == ["old.mp4", "same.mp4", "talk.mp4"]
    assert (copy.parent / "old.mp4").read_bytes() == b"old"


def test_refusals_come_before_measuring(
    clip: ClipFactory, tmp_path: Path, measuring: Measure
) -> None:
    asked = measuring(MEASURED)
    for suffix in (".avi", ".mxf"):
        source = Path(shutil.copy(clip(suffix), tmp_path / f"talk{suffix}"))
        with pytest.raises(OutputError, match="silently lost") as caught:
            fix_sync(source, method="timestamps")
        assert caught.value.exit_code == 1
        assert "-o talk.synced" in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["talk.avi", "talk.mxf"]
    assert asked == []


@pytest.mark.parametrize("suffix", [".avi", ".mxf"])
def test_sound_itself_moves_where_times_cannot_be_stored(
    suffix: str, clip: ClipFactory, tmp_path: Path
) -> None:
    source = Path(shutil.copy(clip(suffix), tmp_path / f"talk{suffix}"))
    result = fix_sync(source, offset_ms=-120.0)
    assert result.plan is not None and result.output is not None
    assert result.plan.method == "samples"
    assert result.applied_ms == pytest.approx(-120.0, abs=0.02)
    assert lead_ms(source) - lead_ms(result.output) == pytest.approx(-120.0, abs=0.05)
    assert result.plan.notes[:3] == (
        "audio advanced by 120 ms",
        "the first 120 ms are cut",
        "PCM moved by whole samples, without any loss",
    )
    assert "every other stream copied bit-exactly" in result.plan.notes
    # Who asks for it gets it in any container.
    asked = plan_fix(clip(".mp4"), 120.0, output=tmp_path / "out.mp4", method="samples")
    assert (asked.method, asked.container) == ("samples", "mp4")
    assert "aac encoded again at 64 kb/s; nothing else is" in asked.notes


@pytest.mark.parametrize(
    "options",
    [
        {"offset_ms": float("nan")},
        {"offset_ms": 4000.0},
        {"offset_ms": 120.0, "measured": MEASURED},
        {"offset_ms": 120.0, "in_place": True, "output": "other.mp4"},
    ],
)
def test_wrong_usage(copy: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        fix_sync(copy, **options)
    assert os.listdir(copy.parent) == ["talk.mp4"]


def test_offsets_below_the_grid(clip: ClipFactory, tmp_path: Path) -> None:
    source = Path(shutil.copy(clip(".mkv"), tmp_path / "talk.mkv"))
    for offset_ms in (0.0, 0.3):
        assert fix_sync(source, offset_ms=offset_ms).action == "in_sync"
    assert os.listdir(tmp_path) == ["talk.mkv"]


def test_bad_inputs(clip: ClipFactory, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("not a film" * 99)
    (tmp_path / "cut.mp4").write_bytes(clip(".mp4").read_bytes()[:5000])
    shutil.copy(clip(".mp4", acodec=None), tmp_path / "silent.mp4")
    shutil.copy(clip(".mp4", vcodec=None), tmp_path / "blind.mp4")
    names = sorted(os.listdir(tmp_path))
    wanted: dict[str, type[InputError]] = {
        "nowhere.mp4": MediaNotFound,
        "empty.mp4": UnreadableMedia,
        "text.mp4": UnreadableMedia,
        "cut.mp4": UnreadableMedia,
        "silent.mp4": MissingStream,
        "blind.mp4": MissingStream,
    }
    for name, error in wanted.items():
        with pytest.raises(error, match=name):
            fix_sync(tmp_path / name, offset_ms=120.0)
    assert sorted(os.listdir(tmp_path)) == names


def test_wrong_result_is_deleted(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result is read back before it gets its name."""
    monkeypatch.setattr("lipsync_cli.media.remux._Shift.apply", lambda self, packet: None)
    with pytest.raises(OutputError, match="stream 1 moved by") as caught:
        fix_sync(copy, offset_ms=120.0)
    assert caught.value.path == str(copy.with_name("talk.synced.mp4"))
    assert os.listdir(copy.parent) == ["talk.mp4"]


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi", ".mxf"])
def test_full_disk_leaves_nothing(suffix: str, clip: ClipFactory, tmp_path: Path) -> None:
    source = Path(shutil.copy(clip(suffix), tmp_path / f"talk{suffix}"))
    limit = source.stat().st_size // 2
    code = (
        "import sys\n"
        "from lipsync_cli.errors import OutputError\n"
        "from lipsync_cli.fix import fix_sync\n"
        "try:\n"
        "    fix_sync(sys.argv[1], offset_ms=120)\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(source)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.stderr == ""
    assert f"talk.synced{suffix}" in done.stdout
    assert "free some space" in done.stdout
    assert os.listdir(tmp_path) == [source.name]


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize("method", ["timestamps", "samples"])
def test_terminated_while_copying(copy: Path, method: str) -> None:
    code = (
        "import os, signal, sys\n"
        "from lipsync_cli.fix import fix_sync\n"
        "def stop(done):\n"
        "    done > 0.4 and os.kill(os.getpid(), signal.SIGTERM)\n"
        "fix_sync(sys.argv[1], offset_ms=120, method=sys.argv[2], progress=stop)\n"
    )
    command = [sys.executable, "-c", code, str(copy), method]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stderr == b""
    assert os.listdir(copy.parent) == ["talk.mp4"]


def test_given_offset_needs_neither_torch_nor_opencv(copy: Path) -> None:
    code = (
        "import sys\n"
        "from lipsync_cli.fix import fix_sync\n"
        "assert fix_sync(sys.argv[1], offset_ms=120).action == 'written'\n"
        "print(sorted({'torch', 'cv2'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(copy)], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")

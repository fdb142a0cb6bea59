"""The demo, with its clip made small and a ruler instead of the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lipsync_cli import demo
from lipsync_cli.errors import OutputError
from lipsync_cli.render import SAMPLE_RATE, speak, synthesise
from lipsync_cli.results import OffsetResult, direction_of

detect = pytest.importorskip("lipsync_cli.detect", exc_type=ImportError)

SECONDS = 3.0


def ruler(path: Path, **_: Any) -> detect.Measurement:
    """Measure a rendered clip without looking: by the sound that the renderer made."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
        start_s = frames[0].time
        sound = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    n = 2 * len(sound)
    spectrum = np.fft.rfft(synthesise(speak(SECONDS, 0)), n) * np.conj(np.fft.rfft(sound, n))
    peak = int(np.argmax(np.fft.irfft(spectrum, n)))
    lead_s = (peak if peak < n // 2 else peak - n) / SAMPLE_RATE
    offset_ms = (lead_s - start_s) * 1000
    return detect.Measurement(
        OffsetResult(
            file=str(path),
            status="measured",
            reason=None,
            offset_ms=offset_ms,
            interval_ms=(offset_ms - 8, offset_ms + 8),
            direction=direction_of(offset_ms),
            probability=0.99,
            offset_frames=offset_ms / 40,
            frame_rate=25.0,
        )
    )


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "DURATION_S", SECONDS)
    monkeypatch.setattr(demo, "_SIZE", 64)
    monkeypatch.setattr(detect, "measure", ruler)


@pytest.mark.parametrize("error_ms", [137.0, -163.0])
def test_what_was_put_in_is_found_and_taken_out(tmp_path: Path, error_ms: float) -> None:
    told: list[float] = []
    result = demo.run_demo(tmp_path / "new" / "demo", error_ms=error_ms, progress=told.append)
    assert result.injected_ms == error_ms
    assert result.measured_ms == pytest.approx(error_ms, abs=0.1)
    assert result.applied_ms == pytest.approx(error_ms, abs=1.0)
    assert result.residual_ms == pytest.approx(0.0, abs=1.0)
    assert all(Path(file).is_file() for file in (result.clip, result.fixed, result.picture))
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
    assert json.loads(json.dumps(result.to_dict()))["injected_ms"] == error_ms


def test_a_second_demo_replaces_the_first_but_nothing_else(tmp_path: Path) -> None:
    demo.run_demo(tmp_path)
    demo.run_demo(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "talking.mp4").write_bytes(b"a film of mine")
    with pytest.raises(OutputError, match="not made by the demo"):
        demo.run_demo(other)
    assert (other / "talking.mp4").read_bytes() == b"a film of mine"


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("not a folder")
    with pytest.raises(OutputError, match="demo"):
        demo.run_demo(tmp_path / "demo")


def test_every_seed_has_its_error() -> None:
    errors = [demo.error_of(seed) for seed in range(40)]
    assert all(120 <= abs(error) <= 200 for error in errors)
    assert min(errors) < 0 < max(errors)
    assert errors == [demo.error_of(seed) for seed in range(40)]

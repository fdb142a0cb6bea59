"""Streaming must not change the evidence, whatever the pieces in which input comes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from lipsync_cli.errors import WeightsError
from lipsync_cli.faces.stream import TrackChunk
from lipsync_cli.media.audio import AudioBlock
from lipsync_cli.sync.calibration import Calibration
from lipsync_cli.sync.evidence import LagEvidence
from lipsync_cli.sync.model import SyncModel
from lipsync_cli.sync.model_file import LoadedModel, load_model, save_model
from lipsync_cli.sync.stream import SyncStream

REACH = 30
RATE = 16_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "sync.pt"
    save_model(SyncModel(), {"bias": 0.5}, path)
    return load_model(path, torch.device("cpu"))


def test_model_file_carries_its_calibration(model: LoadedModel) -> None:
    assert model.calibration == Calibration(bias=0.5)


def test_other_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "sync.pt"
    path.write_bytes(b"not a model")
    with pytest.raises(WeightsError, match="is no sync model"):
        load_model(path, torch.device("cpu"))


def sound(t0_s: float, duration_s: float, piece: int) -> Iterator[AudioBlock]:
    samples = np.random.default_rng(0).normal(0, 0.1, int(duration_s * RATE)).astype(np.float32)
    for start in range(0, len(samples), piece):
        yield AudioBlock(t0_s + start / RATE, samples[start : start + piece])


def faces(t0_s: float, frames: int, piece: int, track: int = 0) -> Iterator[TrackChunk]:
    crops = np.random.default_rng(1).integers(0, 255, (frames, 64, 64)).astype(np.uint8)
    pts_s = t0_s + np.arange(frames) / 25
    for start in range(0, frames, piece):
        part = slice(start, min(start + piece, frames))
        n = part.stop - part.start
        boxes, marks = np.zeros((n, 4), np.float32), np.zeros((n, 5, 2), np.float32)
        last = part.stop == frames
        yield TrackChunk(track, pts_s[part], boxes, marks, marks, crops[part], last, (640, 360))


def run(model: LoadedModel, blocks: list[AudioBlock], chunks: list[TrackChunk]) -> LagEvidence:
    """Push alternately, pictures running ahead."""
    stream = SyncStream(model, REACH)
    for i in range(max(len(blocks), len(chunks))):
        for chunk in chunks[i : i + 1]:
            stream.push_faces(chunk)
        for block in blocks[i : i + 1]:
            stream.push_sound(block)
        if i < len(chunks):
            stream.forget_sound(float(chunks[i].pts_s[-1]))
    return stream.close()[0]


def test_pieces_do_not_change_the_evidence(model: LoadedModel) -> None:
    whole = run(model, list(sound(0.3, 20, 20 * RATE)), list(faces(1.0, 400, 400)))
    pieces = run(model, list(sound(0.3, 20, 4000)), list(faces(1.0, 400, 23)))
    assert whole.frames.sum() == 400 - 10
    np.testing.assert_allclose(pieces.start_s, whole.start_s)
    np.testing.assert_allclose(pieces.frames, whole.frames)
    np.testing.assert_allclose(pieces.cosine, whole.cosine, atol=1e-3)
    # The classifier sees a few pictures of context that pieces may cut off.
    np.testing.assert_allclose(pieces.scores.sum(0), whole.scores.sum(0), rtol=0.05, atol=0.5)


@pytest.mark.parametrize("frames", [74, 75, 76, 78, 79, 138, 140])
def test_no_length_loses_its_track(model: LoadedModel, frames: int) -> None:
    """A rest of 65 to 68 pictures was too long for one last step and too short for another."""
    evidence = run(model, list(sound(0.0, 8, 4000)), list(faces(0.0, frames, 25)))
    assert evidence.frames.sum() == frames - 10


def test_sound_that_ends_early_is_unknown_not_silent(model: LoadedModel) -> None:
    evidence = run(model, list(sound(0.0, 5, 4000)), list(faces(0.0, 250, 25)))
    assert evidence.frames.sum() > 0
    after = evidence.between(7, 10)
    assert after.valid.sum() == 0 and after.weight.sum() == 0


def test_late_sound_keeps_its_time(model: LoadedModel) -> None:
    """Picture and sound that both start 3 s later are the same programme."""
    first = run(model, list(sound(0.0, 8, 4000)), list(faces(0.5, 150, 25)))
    later = run(model, list(sound(3.0, 8, 4000)), list(faces(3.5, 150, 25)))
    np.testing.assert_allclose(later.cosine.sum(0), first.cosine.sum(0), atol=1e-3)


def test_no_sound_is_no_evidence(model: LoadedModel) -> None:
    evidence = run(model, [], list(faces(0.0, 60, 30)))
    assert evidence.frames.sum() == 0

"""The towers and the lag matrix: what an embedding may see, and where an offset appears."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lipsync_cli.sync.encoders import (
    AUDIO_FIELD,
    AUDIO_STRIDE,
    DIM,
    EMBED_RATE,
    VISUAL_CONTEXT,
    standardise,
)
from lipsync_cli.sync.features import BANDS, HOP, MEL_RATE, SAMPLE_RATE, log_mel
from lipsync_cli.sync.lag_matrix import lag_matrix, offsets
from lipsync_cli.sync.model import SyncModel


@pytest.fixture(scope="module")
def model() -> SyncModel:
    torch.manual_seed(0)
    return SyncModel().eval()


@torch.no_grad()
def test_no_picture_embedding_sees_padding(model: SyncModel) -> None:
    crops = torch.randint(0, 255, (1, 30, 64, 64), dtype=torch.uint8)
    whole = model.embed_visual(crops)
    assert whole.shape == (1, 30 - 2 * VISUAL_CONTEXT, DIM)
    part = model.embed_visual(crops[:, 7:25])
    torch.testing.assert_close(part, whole[:, 7:15], atol=1e-5, rtol=0)


@torch.no_grad()
def test_no_sound_embedding_sees_padding(model: SyncModel) -> None:
    mel = torch.randn(1, 200, BANDS)
    whole = model.embed_audio(mel)
    assert whole.shape[1] == (200 - AUDIO_FIELD) // AUDIO_STRIDE + 1
    part = model.embed_audio(mel[:, 40:140])
    torch.testing.assert_close(part, whole[:, 20 : 20 + part.shape[1]], atol=1e-5, rtol=0)


@torch.no_grad()
def test_sound_embedding_sits_in_the_middle_of_its_field(model: SyncModel) -> None:
    mel = torch.randn(1, AUDIO_FIELD + 40, BANDS)
    changed = mel.clone()
    changed[:, 30] += 3.0
    moved = (model.embed_audio(mel) - model.embed_audio(changed)).abs().sum((0, 2)) > 1e-6
    centres = AUDIO_FIELD // 2 + AUDIO_STRIDE * np.flatnonzero(moved.numpy())
    assert np.abs(centres - 30).max() <= AUDIO_FIELD // 2


def test_standardising_forgets_exposure() -> None:
    crops = torch.randint(50, 120, (1, 2, 64, 64)).float()
    torch.testing.assert_close(standardise(crops), standardise(crops + 60), atol=1e-4, rtol=0)


def test_log_mel_has_the_energy_where_and_when_the_tone_is() -> None:
    time_s = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    tone = (np.sin(2 * np.pi * 1000 * time_s) * (time_s >= 0.5)).astype(np.float32)
    mel = log_mel(tone, t0_s=3.0)
    assert len(mel.frames) == (SAMPLE_RATE - 401) // HOP + 1
    assert mel.t0_s == pytest.approx(3.0 + 201 / SAMPLE_RATE)
    # 1 kHz on the HTK scale between 55 and 7600 Hz: band 27 of 80.
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (55.0, 7600.0))
    band = round(81 * (2595 * np.log10(1 + 1000 / 700) - low) / (high - low)) - 1
    assert abs(int(mel.frames[80].argmax()) - band) <= 1
    energy = mel.frames[:, band]
    onset_s = mel.t0_s + np.flatnonzero(energy > (energy.min() + energy.max()) / 2)[0] / MEL_RATE
    assert onset_s == pytest.approx(3.5, abs=0.015)


@pytest.mark.parametrize("offset_ms", [0, 130, -240, 35])
def test_offset_appears_in_its_column(offset_ms: float) -> None:
    """Audio early by d: the sound of picture t is found at t - d."""
    rng = np.random.default_rng(0)
    events = torch.from_numpy(rng.standard_normal((400, DIM))).float()
    smooth = torch.nn.functional.avg_pool1d(events.T[None], 3, 1, 1)[0].T  # 20 ms grid
    audio = torch.nn.functional.normalize(smooth, dim=1)
    pts_s = 2.0 + np.arange(40) / 25
    heard_s = pts_s - offset_ms / 1000
    rows = heard_s * EMBED_RATE
    below = np.floor(rows).astype(int)
    part = torch.from_numpy(rows - below).float()[:, None]
    visual = torch.nn.functional.normalize(
        audio[below] * (1 - part) + audio[below + 1] * part, dim=1
    )
    known = torch.ones(1, len(audio), dtype=torch.bool)
    position = torch.from_numpy((pts_s * EMBED_RATE).astype(np.float32))[None]
    matrix, valid = lag_matrix(visual[None], audio[None], position, known, reach=60)
    assert valid.all()
    found_ms = float(offsets(60)[matrix[0].mean(0).argmax()]) * 1000
    assert found_ms == pytest.approx(offset_ms, abs=10)


def test_unknown_sound_is_marked_and_zero() -> None:
    visual = torch.nn.functional.normalize(torch.randn(1, 10, DIM), dim=2)
    audio = torch.nn.functional.normalize(torch.randn(1, 60, DIM), dim=2)
    known = torch.ones(1, 60, dtype=torch.bool)
    known[:, :20] = False
    position = torch.arange(25.0, 35.0)[None]
    matrix, valid = lag_matrix(visual, audio, position, known, reach=60)
    assert (matrix[~valid] == 0).all()
    # Picture 0 sits at row 25; 100 ms early would be row 20, 110 ms early needs row 19.
    assert valid[0, 0, 60 + 10] and not valid[0, 0, 60 + 11]

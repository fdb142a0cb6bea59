"""The comparison of generators: its figures, its judges, its commands."""

from __future__ import annotations

import json
import textwrap
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from packed_faces import DrawnMouthExpert, talking_clip
from typer.testing import CliRunner

from lipsync_cli.dubbing.generator import expert as expert_file
from lipsync_cli.dubbing.generator.expert import SyncExpert
from lipsync_cli.errors import InputError, LipsyncError, UsageError
from lipsync_cli.training.commands.generator import app
from lipsync_cli.training.faces import pack as face_pack
from lipsync_cli.training.faces.pack import PackedClip
from lipsync_cli.training.generator import compare as generator_compare
from lipsync_cli.training.generator import opinions as generator_opinions
from lipsync_cli.training.generator.compare import compare_generators, contenders, one_a_speaker
from lipsync_cli.training.generator.measure import Talk, expert_sync, mouth_error
from lipsync_cli.training.generator.opinions import Opinions
from lipsync_cli.training.generator.plan import GeneratorPlan

RATE = 16_000


@pytest.mark.parametrize("late_frames", [0, 4])
def test_expert_sync_finds_the_lag(late_frames: int) -> None:
    """A voice whose sound begins 4 frames later is heard as much too late."""
    clip = talking_clip(seconds=8, seed=4)
    voice = replace(clip, mel_t0_s=clip.mel_t0_s + late_frames / 25)
    talk = Talk.of(clip, voice, 20)
    sync = expert_sync(DrawnMouthExpert(), talk, talk.crops)
    assert len(sync.lags) >= 2 and set(sync.lags) == {late_frames}
    assert sync.follows == (late_frames == 0)


def test_an_untrained_expert_knows_nothing() -> None:
    """Of the real network, which is asked for its two embeddings separately."""
    torch.manual_seed(0)
    talk = Talk.of(talking_clip(seconds=2), talking_clip(seconds=2), 20)
    sync = expert_sync(SyncExpert(2).eval(), talk, talk.crops)
    assert abs(sync.height) < 0.05 and sync.lags == () and np.isnan(sync.follows)


def test_references_lie_a_second_away() -> None:
    talk = Talk.of(talking_clip(seconds=7), talking_clip(seconds=7), 20)
    apart_s = np.abs(talk.pts_s[talk.references()] - talk.pts_s[:, None])
    assert apart_s.shape == (len(talk.crops), 5) and apart_s.min() >= 1 - 1e-9


def test_mouth_error_looks_at_the_mouth_alone() -> None:
    real = np.full((2, 96, 96, 3), 100, np.uint8)
    drawn = real.copy()
    drawn[:, :40] = 0
    assert mouth_error(drawn, real) == (100.0, pytest.approx(1.0))
    drawn[:] = 110
    assert mouth_error(drawn, real)[0] == pytest.approx(20 * np.log10(255 / 10))


def test_controls_frame_the_comparison() -> None:
    clips = [talking_clip(name, 6.2, seed=seed) for seed, name in enumerate("ab")]
    own, other = compare_generators(clips, {}, DrawnMouthExpert())
    assert (own.method, other.method) == ("real, own sound", "real, other sound")
    assert own.follows == 1 and own.height > 2 * abs(other.height)
    assert own.to_dict()["mouth_psnr"] is None
    with pytest.raises(InputError, match="long enough"):
        compare_generators(clips[:1], {}, DrawnMouthExpert())


def test_methods_differ_in_losses_or_architecture_alone() -> None:
    plans = contenders(GeneratorPlan(steps=7, seed=5))
    assert {plan.steps for plan in plans.values()} == {7}
    shares = [
        (p.weights.sync, p.weights.adversarial, p.weights.contrastive) for p in plans.values()
    ]
    assert shares == [(0, 0, 0), (0.03, 0, 0), (0.03, 0.07, 0), (0, 0, 0.01), (0, 0, 0)]
    architectures = [plan.architecture for plan in plans.values()]
    assert architectures == ["wav2lip"] * 3 + ["lipgan", "speech2vid"]


def test_each_speaker_counts_once() -> None:
    clips = [talking_clip(who, seconds) for who, seconds in (("a", 2), ("b", 3), ("a", 4))]
    assert [(c.group, len(c.pts_s)) for c in one_a_speaker(clips, 5)] == [("a", 100), ("b", 75)]
    assert len(one_a_speaker(clips, 1)) == 1


def write_sound(path: Path, clip: PackedClip) -> None:
    """What the clip's spectrogram says, from time 0 on, as noise of that loudness."""
    loud = clip.mel[0].astype(float).repeat(RATE // 80) / 255
    ahead = np.zeros(round(clip.mel_t0_s * RATE))
    samples = np.concatenate([ahead, loud * np.random.default_rng(0).uniform(-1, 1, len(loud))])
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((20_000 * samples).astype("<i2").tobytes())


JUDGE = """
    import numpy as np

    def load_net():
        return None

    def log_mel(samples):
        count = len(samples) // 160
        return np.abs(samples[: count * 160]).reshape(count, 160).mean(1, keepdims=True)

    def lag_matrix(net, mouths, mel):
        assert mouths.shape[1:] == (64, 64)
        opened = (mouths[:, 20:60, 20:44] < 90).mean((1, 2))
        loud = mel[: 4 * len(mouths), 0].reshape(-1, 4).mean(1)
        opened, loud = (x / x.max() for x in (opened[: len(loud)], loud))
        lags = np.full((len(loud), 31), np.nan, np.float32)
        for lag in range(-15, 16):
            rows = np.arange(max(0, -lag), len(loud) - max(0, lag))
            lags[rows, lag + 15] = -np.abs(opened[rows] - loud[rows + lag])
        return lags
"""


@pytest.mark.parametrize("offset_ms", [0.0, 200.0])
def test_a_judge_hears_the_original_sound_re_centred(tmp_path: Path, offset_ms: float) -> None:
    (tmp_path / "judge.py").write_text(textwrap.dedent(JUDGE))
    clip = replace(talking_clip(seconds=9, seed=3, offset_ms=offset_ms), file="a.wav")
    write_sound(tmp_path / "a.wav", clip)
    talk = Talk.of(clip, clip, 20)
    found = Opinions(tmp_path, judge=tmp_path / "judge.py")(talk, talk.crops)
    assert found["judge_follows"] == 1 and found["judge_height"] > 0.1


def test_syncnet_is_shown_faces_with_their_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Loudness:
        """Knows how dark a mouth is and how much energy a sound has."""

        def embed_lips(self, pictures: np.ndarray) -> np.ndarray:
            assert pictures.shape[1:] == (224, 224, 3)
            dark = (pictures[:, 130:200, 90:130].mean(3) < 90).mean((1, 2))
            return self._placed(dark[2:-2])

        def embed_sound(self, cepstra: np.ndarray) -> np.ndarray:
            assert cepstra.shape[1:] == (13, 20)
            return self._placed(np.exp(cepstra[:, 0, 8:12].mean(1) / 2) / 1e6)

        def _placed(self, value: np.ndarray) -> np.ndarray:
            rows = np.zeros((len(value), 1024), np.float32)
            rows[:, 0] = value / value.max()
            return rows

    monkeypatch.setattr(generator_opinions, "load_syncnet", lambda path, device: Loudness())
    clip = replace(talking_clip(seconds=6, seed=3), file="a.wav")
    other = replace(talking_clip("b", seconds=6, seed=8), file="a.wav")
    write_sound(tmp_path / "a.wav", clip)
    ask = Opinions(tmp_path, syncnet=tmp_path / "syncnet_v2.model")
    own, strange = (ask(t, t.crops) for t in (Talk.of(clip, clip, 9), Talk.of(other, clip, 9)))
    assert own["lse_d"] < 0.7 * strange["lse_d"] and own["lse_c"] > strange["lse_c"]


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refusal(*arguments: object) -> LipsyncError:
    error = invoke(*arguments).exception
    assert isinstance(error, LipsyncError) and error.hint
    return error


def test_one_command_trains_and_compares_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [talking_clip(name, 2.6, seed=seed) for seed, name in enumerate("ab")]
    monkeypatch.setattr(generator_compare, "_LEAST_S", 2.0)
    monkeypatch.setattr(face_pack, "load_pack", lambda folder, split: clips)
    monkeypatch.setattr(expert_file, "load_expert", lambda path: DrawnMouthExpert())
    command = ("compare-generators", "--pack", tmp_path, "--expert", tmp_path / "expert.pth")
    options = ("--runs", tmp_path / "runs", "--widths", "2/2/2", "--steps", 1, "--set", "batch=1")
    result = invoke(*command, *options, "--threads", 1, "--report", tmp_path / "table.json")
    assert result.exit_code == 0, result.exception
    rows = {row["method"]: row for row in json.loads((tmp_path / "table.json").read_text())}
    assert list(rows)[2:] == ["L1 only", "+ expert", "+ discriminator", "LipGAN", "Speech2Vid"]
    assert all(3 < row["mouth_psnr"] < 40 for row in list(rows.values())[2:])
    runs = {path.name for path in (tmp_path / "runs").iterdir()}
    assert runs == {"l1_only", "expert", "discriminator", "lipgan", "speech2vid"}


def test_commands_refuse_what_they_cannot_use(tmp_path: Path) -> None:
    train = ("train-generator", "--pack", tmp_path, "--run", tmp_path / "run")
    assert isinstance(refusal(*train, "--loss", "sync=0"), InputError)  # nothing is packed there
    assert "expert" in refusal(*train).message
    assert isinstance(refusal(*train, "--loss", "sync=0", "--widths", "8/16"), UsageError)
    assert "changes nothing" in refusal(*train, "--set", "colour=1").message
    assert "no value of batch" in refusal(*train, "--set", "batch=many").message
    assert "no value of hinge" in refusal(*train, "--set", "hinge=1").message
    assert "architecture" in refusal(*train, "--loss", "sync=0", "--architecture", "gan").message
    compare = ("compare-generators", "--pack", tmp_path, "--expert", "e.pth", "--runs", tmp_path)
    assert "original sound" in refusal(*compare, "--judge", "judge.py").message
    (tmp_path / "table.json").write_text("[1, 2")
    export = ("export-generator", "--run", tmp_path, "--figures", tmp_path / "table.json")
    assert "no figures" in refusal(*export).message
    assert not (tmp_path / "run").exists()

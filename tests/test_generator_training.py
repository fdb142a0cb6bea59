"""Training of generators: what samples hold, what losses say, runs that stop and go on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from packed_faces import LIPS, MOUTH_COLUMNS, DrawnMouthExpert, talking_clip
from torch import Tensor

from lipsync_cli.dubbing.generator.loading import load_generator
from lipsync_cli.dubbing.generator.windows import FRAMES, window_rows, window_starts
from lipsync_cli.errors import InputError, UsageError, WeightsError
from lipsync_cli.training.faces.pack import MARGIN, PackedClip
from lipsync_cli.training.generator.augment import louder, plain_look, random_look
from lipsync_cli.training.generator.closed_mouths import closed_windows
from lipsync_cli.training.generator.export import export_generator
from lipsync_cli.training.generator.measure import Talk
from lipsync_cli.training.generator.models import TrainedGenerator, draw_clip, pixels
from lipsync_cli.training.generator.plan import GeneratorPlan, LossWeights
from lipsync_cli.training.generator.samples import Hearing, Sampler
from lipsync_cli.training.generator.state import CHECKPOINT, TrainingState
from lipsync_cli.training.generator.train import Habits, train_generator
from lipsync_cli.weights import locate

HEARING = Hearing(-0.04, 16)
TINY = GeneratorPlan(
    encoder=2, audio=2, decoder=2, residuals=0, width=4, critic_width=2, batch=2, warm_up=1
)
PLAIN = LossWeights(mouth=0, gradient=0, sync=0)
ALL_TERMS = LossWeights(sync=0.1, adversarial=0.1)
QUIET = Habits(tell_every=1, grid_every=1000)


@pytest.fixture(scope="module")
def clips() -> list[PackedClip]:
    return [talking_clip("a", seed=1), talking_clip("b", seed=2)]


def numbered(clip: PackedClip) -> PackedClip:
    """Every picture in one shade, its number."""
    faces = np.empty_like(clip.faces)
    faces[:] = np.arange(len(faces), dtype=np.uint8)[:, None, None, None]
    return replace(clip, faces=faces)


def sampler(clips: list[PackedClip], **options: Any) -> Sampler:
    settings = {"batch": 6, "seed": 3, "augment": False, "silence": 0.0, **options}
    return Sampler(clips, HEARING, **settings)


def test_samples_hold_other_pictures_and_their_own_sound() -> None:
    clip = numbered(talking_clip(offset_ms=120.0))
    windows = sampler([clip]).draw(0)
    shown, others = windows.target[:, :, 0, 0, 0].numpy(), windows.reference[:, :, 0, 0, 0].numpy()
    for row, away, sound, mel in zip(shown, others, windows.sound, windows.mel, strict=True):
        assert (np.diff(row.astype(int)) == 1).all()
        apart_s = np.abs(clip.pts_s[away][:, None] - clip.pts_s[row]).min()
        assert apart_s >= 0.4 - 1e-9
        for number, each in zip(row, sound.numpy(), strict=True):
            time_s = float(clip.pts_s[number])
            np.testing.assert_array_equal(each, clip.mel_window(time_s - 0.04))
        np.testing.assert_array_equal(mel.numpy(), clip.mel_window(float(clip.pts_s[row[0]])))


def test_windows_keep_to_40_ms_at_any_rate() -> None:
    """Thirty pictures a second, of which one is missing."""
    pts_s = np.delete(7.0 + np.arange(60) / 30, 31)
    starts = window_starts(pts_s)
    apart_s = pts_s[window_rows(pts_s, starts)] - pts_s[starts][:, None]
    assert np.abs(apart_s - [0, 0.04, 0.08, 0.12, 0.16]).max() <= 0.03
    assert 10 in starts and len(pts_s) - 1 not in starts


def test_a_batch_follows_from_its_number(clips: list[PackedClip]) -> None:
    first, second = sampler(clips, augment=True), sampler(clips, augment=True)
    second.draw(0)
    assert torch.equal(first.draw(5).target, second.draw(5).target)
    assert not torch.equal(first.draw(5).target, first.draw(6).target)


def test_silence_shows_closed_mouths(clips: list[PackedClip]) -> None:
    windows = sampler(clips, silence=1.0).draw(0)
    assert not windows.voiced.any() and (windows.sound == -4).all() and (windows.mel == -4).all()
    below_lips = windows.target[:, :, LIPS + 2, slice(*MOUTH_COLUMNS)].float()
    assert below_lips.mean() > 100, "lips are closed: there is skin, not a dark mouth"
    assert (sampler(clips).draw(0).target[:, :, LIPS + 2, 40:56].float() < 60).any()


def test_a_clip_without_a_pause_has_no_closed_windows() -> None:
    clip = talking_clip()
    loud = replace(clip, mel=np.full_like(clip.mel, 200))
    assert len(closed_windows(clip, FRAMES)) > 0
    assert len(closed_windows(loud, FRAMES)) == 0


def test_too_short_clips_are_no_data() -> None:
    with pytest.raises(InputError, match="long enough"):
        sampler([talking_clip(seconds=0.9)])


def test_looks_are_the_same_for_all_pictures_of_a_sample() -> None:
    faces = np.random.default_rng(0).integers(0, 256, (1, 112, 112, 3), np.uint8)
    np.testing.assert_array_equal(
        plain_look().crops(faces), faces[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    )
    look = random_look(np.random.default_rng(1))
    twice = look.crops(np.concatenate([faces, faces]))
    np.testing.assert_array_equal(twice[0], twice[1])
    other = random_look(np.random.default_rng(2)).crops(faces)
    assert (other[0] != twice[0]).any()


def test_louder_moves_decibels_and_keeps_silence() -> None:
    mel = np.array([[-4.0, 0.0, 3.9]], np.float32)
    # 100 dB are the 8 from -4 to 4.
    np.testing.assert_allclose(louder(mel, 5.0), [[-4.0, 0.4, 4.0]], rtol=1e-6)


@pytest.mark.parametrize("architecture", ["wav2lip", "lipgan", "speech2vid"])
def test_a_short_run_lowers_its_loss(
    architecture: Any, clips: list[PackedClip], tmp_path: Path
) -> None:
    told: list[float] = []
    plan = replace(TINY, architecture=architecture, weights=PLAIN, steps=12, rate=2e-2, batch=2)
    train_generator(
        clips, [], tmp_path, plan, habits=QUIET, on_step=lambda _, t: told.append(t["l1"])
    )
    assert len(told) == 12
    assert np.mean(told[-4:]) < 0.7 * told[0]
    grid = cv2.imread(str(tmp_path / "grids" / "000012.png"))
    assert grid.shape == (6 * 192, 6 * 192, 3)


def train(folder: Path, clips: list[PackedClip], steps: int, stop: int | None = None) -> Any:
    """Train with all losses; `stop` ends it after so many steps like Ctrl-C."""
    plan = replace(TINY, weights=ALL_TERMS, steps=steps, sync_below=float("inf"))

    def tell(step: int, _: dict[str, float]) -> None:
        if step == stop:
            raise KeyboardInterrupt

    habits = replace(QUIET, save_every=2)
    model = train_generator(
        clips, clips, folder, plan, expert=DrawnMouthExpert(), habits=habits, on_step=tell
    )
    return model.state_dict(), torch.load(folder / CHECKPOINT, weights_only=True)


def test_an_interrupted_run_comes_to_the_same_state(
    clips: list[PackedClip], tmp_path: Path
) -> None:
    whole, saved = train(tmp_path / "whole", clips, 6)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", clips, 6, stop=5)
    interrupted = torch.load(tmp_path / "parts" / CHECKPOINT, weights_only=True)
    assert interrupted["step"] == 4
    resumed, saved_again = train(tmp_path / "parts", clips, 6)
    assert all(torch.equal(each, resumed[name]) for name, each in whole.items())
    for part in ("model", "critic_adversarial"):
        assert all(torch.equal(v, saved_again[part][k]) for k, v in saved[part].items())
    assert not torch.equal(whole["network.output_block.1.bias"], torch.zeros(3))


@pytest.mark.parametrize("precise", [True, False])
def test_every_loss_reaches_the_networks(precise: bool, clips: list[PackedClip]) -> None:
    """In single precision with cross-entropy, and in bfloat16 with the hinge loss."""
    plan = replace(TINY, weights=ALL_TERMS, sync_below=float("inf"))
    plan = replace(plan, bf16=not precise, hinge=not precise)
    state = TrainingState(plan, torch.device("cpu"), DrawnMouthExpert())
    before = [p.clone() for p in state.critics["adversarial"].network.parameters()]
    terms = state.advance(sampler(clips).draw(0), 1.0)
    assert set(terms) == {"l1", "mouth", "gradient", "sync", "adversarial", "adversarial_critic"}
    assert all(np.isfinite(value) for value in terms.values())
    assert all(p.grad is not None for p in state.model.parameters())
    after = state.critics["adversarial"].network.parameters()
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(p.grad is None for p in state.expert.parameters())  # type: ignore[union-attr]


@pytest.mark.parametrize(("below", "counts"), [(1e9, True), (0.0, False)])
def test_sync_counts_once_held_out_people_allow_it(
    below: float, counts: bool, clips: list[PackedClip], tmp_path: Path
) -> None:
    told: list[dict[str, float]] = []
    plan = replace(TINY, weights=LossWeights(sync=0.1), steps=3, sync_below=below)
    train_generator(
        clips,
        clips,
        tmp_path,
        plan,
        expert=DrawnMouthExpert(),
        eval_every=2,
        habits=QUIET,
        on_step=lambda _, terms: told.append(terms),
    )
    steps = [terms for terms in told if "l1" in terms]
    assert "sync" not in steps[0] and "sync" not in steps[1]
    assert ("sync" in steps[2]) == counts
    rows = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 2, 3] and "held_out_sync" in rows[2]


def test_a_batch_that_does_not_fit_is_halved(
    clips: list[PackedClip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    advance: Callable[..., dict[str, float]] = TrainingState.advance

    def limited(self: TrainingState, windows: Any, share: float) -> dict[str, float]:
        tried.append(len(windows))
        if len(windows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return advance(self, windows, share)

    monkeypatch.setattr(TrainingState, "advance", limited)
    plan = replace(TINY, batch=8, weights=PLAIN, steps=2)
    train_generator(clips, clips, tmp_path, plan, habits=QUIET)
    assert tried == [8, 4, 2, 2]
    assert torch.load(tmp_path / CHECKPOINT, weights_only=True)["batch"] == 2


def test_a_deadline_ends_a_run(clips: list[PackedClip], tmp_path: Path) -> None:
    plan = replace(TINY, weights=PLAIN, steps=1000)
    train_generator(clips, clips, tmp_path, plan, habits=replace(QUIET, deadline_s=1e-6))
    assert torch.load(tmp_path / CHECKPOINT, weights_only=True)["step"] == 1


def test_a_run_of_another_architecture_is_refused(clips: list[PackedClip], tmp_path: Path) -> None:
    plan = replace(TINY, weights=PLAIN, steps=1)
    train_generator(clips, clips, tmp_path, plan, habits=QUIET)
    with pytest.raises(WeightsError, match="wav2lip 2/2/2/0/96 instead of lipgan 4"):
        train_generator(clips, clips, tmp_path, replace(plan, architecture="lipgan"), habits=QUIET)
    with pytest.raises(WeightsError, match="wav2lip 2/2/2/0/96 instead of wav2lip 4/2/2/0/96"):
        train_generator(clips, clips, tmp_path, replace(plan, encoder=4), habits=QUIET)
    assert json.loads((tmp_path / "plan.json").read_text())["encoder"] == 2


def test_a_damaged_checkpoint_is_named(clips: list[PackedClip], tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(WeightsError, match="no checkpoint of train-generator") as caught:
        train_generator(clips, clips, tmp_path, replace(TINY, weights=PLAIN), habits=QUIET)
    assert caught.value.path == str(tmp_path / CHECKPOINT) and caught.value.hint


def test_what_cannot_be_trained_is_refused_first(clips: list[PackedClip], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs an expert"):
        train_generator(clips, clips, tmp_path / "run", TINY)
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no device 'cuda'"):
            plan = replace(TINY, weights=PLAIN)
            train_generator(clips, clips, tmp_path / "run", plan, device="cuda")
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match="less than 1"):
        replace(TINY, weights=LossWeights(sync=0.6, adversarial=0.5))
    with pytest.raises(UsageError, match="LipGAN"):
        replace(TINY, weights=LossWeights(contrastive=0.01))


def test_an_exported_generator_draws_the_same(clips: list[PackedClip], tmp_path: Path) -> None:
    plan = replace(TINY, weights=PLAIN, steps=5, rate=1e-2)
    model = train_generator(clips, clips, tmp_path / "run", plan, habits=QUIET)
    weight = export_generator(tmp_path / "run", tmp_path / "generator.pth", trained_on="drawings")
    assert weight.name == "generator" and weight.figures["steps"] == 5
    listed = json.loads((tmp_path / "manifest.json").read_text())["weights"]
    assert [entry["file"] for entry in listed] == ["generator.pth"]
    loaded = load_generator(locate("generator", folder=tmp_path), torch.device("cpu"))
    windows = sampler(clips).draw(1)
    target, reference = windows.target[:, 0].numpy(), windows.reference[:, 0].numpy()
    drawn = loaded.generate(target, reference, windows.sound[:, 0].numpy())
    with torch.no_grad():
        given = windows.target[:, :1], windows.reference, windows.sound[:, :1]
        wanted = 255 * model.eval()(*given)[:, 0].permute(0, 2, 3, 1).numpy()
    assert wanted.std() > 3
    assert np.abs(drawn - wanted).max() <= 1.5


def test_a_smaller_generator_is_shown_reduced_pictures_and_its_own_are_enlarged(
    clips: list[PackedClip], tmp_path: Path
) -> None:
    plan = replace(TINY, size=48, weights=PLAIN, steps=3)
    model = train_generator(clips, clips, tmp_path / "run", plan, habits=QUIET)
    export_generator(tmp_path / "run", tmp_path / "generator.pth")
    loaded = load_generator(tmp_path / "generator.pth", torch.device("cpu"))
    assert loaded.size == 48
    windows = sampler(clips).draw(0)
    small = [
        cv2.resize(each[0, 0].numpy(), (48, 48), interpolation=cv2.INTER_AREA)
        for each in (windows.target, windows.reference)
    ]
    drawn = loaded.generate(*(each[None] for each in small), windows.sound[:1, 0].numpy())[0]
    given = windows.target[:1, :1], windows.reference[:1], windows.sound[:1, :1]
    with torch.no_grad():
        large = 255 * model.eval()(*given)[0, 0].permute(1, 2, 0).numpy()
    assert large.shape == (96, 96, 3)
    # Halving by areas and by a widened triangle differ at edges only.
    wanted = cv2.resize(drawn, (96, 96), interpolation=cv2.INTER_LINEAR)
    assert np.abs(large - wanted).mean() < 1
    with pytest.raises(WeightsError, match="another architecture"):
        train_generator(clips, clips, tmp_path / "run", replace(plan, size=96), habits=QUIET)


def test_the_default_generator_is_small_enough_to_ship() -> None:
    with torch.device("meta"):
        state = TrainedGenerator(GeneratorPlan()).network.state_dict()
    assert 13e6 < sum(2 * each.numel() for each in state.values()) < 14e6


def test_only_generators_of_dub_are_exported(clips: list[PackedClip], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no checkpoint"):
        export_generator(tmp_path, tmp_path / "generator.pth")
    plan = replace(TINY, architecture="speech2vid", weights=PLAIN, steps=1)
    train_generator(clips, clips, tmp_path / "run", plan, habits=QUIET)
    with pytest.raises(UsageError, match="cannot draw with speech2vid"):
        export_generator(tmp_path / "run", tmp_path / "generator.pth")
    assert not (tmp_path / "generator.pth").exists()


def test_pictures_of_a_clip_are_drawn_as_windows_are(clips: list[PackedClip]) -> None:
    torch.manual_seed(0)
    model = TrainedGenerator(replace(TINY, architecture="lipgan")).eval()
    talk = Talk.of(clips[0], clips[0], 1.0)
    sound = talk.sound(model.hearing.start_s, model.hearing.columns)
    rows = talk.pts_s[:, None].argsort(0)[::-1].repeat(5, 1)
    drawn = draw_clip(model, talk.crops, rows, sound, together=7)
    crops = torch.from_numpy(talk.crops)
    with torch.no_grad():
        whole = torch.cat([pixels(crops.flip(0)), _masked(pixels(crops))], 1)
        wanted = model.network(torch.from_numpy(sound).unsqueeze(1), whole)
    assert np.abs(drawn / 255 - wanted.permute(0, 2, 3, 1).numpy()).max() < 0.51 / 255 + 1e-4


def _masked(faces: Tensor) -> Tensor:
    return torch.cat([faces[..., :48, :], torch.zeros_like(faces[..., 48:, :])], dim=-2)


def test_training_needs_neither_av_nor_typer() -> None:
    """So that it runs where there is a GPU and little else."""
    names = ("train", "export", "grid")
    imports = "; ".join(f"import lipsync_cli.training.generator.{name}" for name in names)
    blocked = ("av", "typer", "rich", "scipy", "skimage", "PIL", "soundfile", "face_alignment")
    program = f"import sys; sys.modules |= dict.fromkeys({blocked!r}); {imports}"
    subprocess.run([sys.executable, "-c", program], check=True)

"""The sync expert: the official graph, what it is trained with, how it is asked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import expert_graph
import numpy as np
import pytest
import torch
from packed_faces import DrawnMouthExpert, talking_clip

from lipsync_cli.dubbing.generator.expert import SyncExpert, load_expert
from lipsync_cli.errors import InputError, LipsyncError, UsageError, WeightsError
from lipsync_cli.training.expert.augment import plain_pairs, varied_pairs
from lipsync_cli.training.expert.evaluate import evaluate_expert
from lipsync_cli.training.expert.export import export_expert
from lipsync_cli.training.expert.losses import MultiwayLoss, PairLoss, choices, lag_loss
from lipsync_cli.training.expert.samples import Sampler
from lipsync_cli.training.expert.state import CHECKPOINT, ExpertPlan, ExpertState
from lipsync_cli.training.expert.train import Habits, train_expert
from lipsync_cli.training.faces.pack import MARGIN

PLAN = ExpertPlan(width=2, steps=8, rate=4e-3, warm_up=1, clips=2, pictures=8, reach=4)


def draw(plan: ExpertPlan = PLAN, **clip: Any) -> Any:
    sampler = Sampler(
        [talking_clip(**clip)], batch=2, pictures=plan.pictures, reach=plan.reach, seed=1
    )
    return sampler, sampler.draw(0)


# The network.


def test_the_expert_is_the_official_graph() -> None:
    expert = SyncExpert().eval()
    assert len(expert.state_dict()) == 217
    assert sum(p.numel() for p in expert.parameters()) == 16_435_072
    state = expert_graph.random_state()
    expert.load_state_dict(state)
    halves, mel = torch.rand(2, 15, 48, 96), torch.randn(2, 1, 80, 16)
    with torch.no_grad():
        seen, heard = expert(halves, mel)
        for found, part, given in (
            (seen, "face_encoder", halves),
            (heard, "audio_encoder", mel),
        ):
            expected = expert_graph.embed(state, part, given)
            # Two inputs that are told apart: a dead graph would agree with anything.
            assert float((expected[0] - expected[1]).abs().max()) > 1e-2
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert (seen >= 0).all() and (heard >= 0).all()


def test_checkpoints_tell_their_width(tmp_path: Path) -> None:
    small = SyncExpert(2).eval()
    wrapped = {f"module.{name}": each for name, each in small.state_dict().items()}
    torch.save({"state_dict": wrapped, "optimizer": {}, "global_step": 3}, tmp_path / "e.pth")
    loaded = load_expert(tmp_path / "e.pth")
    assert loaded.width == 2 and not loaded.training
    for name, each in small.state_dict().items():
        assert torch.equal(each, loaded.state_dict()[name])


def test_other_networks_are_no_experts(tmp_path: Path) -> None:
    state = SyncExpert(2).state_dict()
    changed = {**state, "face_encoder.3.conv_block.0.weight": torch.zeros(4, 4, 5, 5)}
    lacking = {n: t for n, t in state.items() if not n.startswith("audio_encoder.13")}
    generator = {"face_encoder_blocks.0.0.conv_block.0.weight": torch.zeros(16, 6, 7, 7)}
    for content in (changed, lacking, generator):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(WeightsError, match="no sync expert"):
            load_expert(tmp_path / "other.pth")


# Samples.


@pytest.mark.parametrize("own_ms", [0.0, 130.0, -70.0])
def test_windows_of_sound_begin_with_their_pictures(own_ms: float) -> None:
    """Pictures and columns that are their own numbers; the clip's own offset is taken out."""
    clip = talking_clip(seconds=2.0)
    faces = np.broadcast_to(np.arange(50, dtype=np.uint8)[:, None, None, None], clip.faces.shape)
    mel = np.broadcast_to(np.arange(240, dtype=np.uint8), (80, 240))
    clip = replace(clip, faces=faces, mel=mel, offset_ms=own_ms)
    stretches = Sampler([clip], batch=1, pictures=8, reach=4, seed=1).draw(0)
    pairs = plain_pairs(stretches)
    shown = (pairs.halves[:, 0, 0, 0] * 255).round().int().tolist()
    first = ((pairs.mel[4:12, 0, 0, 0] + 4) / 8 * 255).round().int().tolist()
    assert shown == list(range(shown[0], shown[0] + 8))
    # Column 0 is half a second before picture 0, and there are 3.2 of them to a picture.
    late = own_ms / 1000 * 80
    assert first == [int(40 + 3.2 * number - late + 1e-6) for number in shown]


def test_windows_show_five_lower_halves_in_order() -> None:
    _, stretches = draw()
    stretches = replace(stretches, faces=torch.randint_like(stretches.faces, 256))
    halves = plain_pairs(stretches).halves.view(2, PLAN.pictures, 5, 3, 48, 96)
    rows = slice(MARGIN + 48, MARGIN + 96)
    packed = stretches.faces[1, 3:8, rows, MARGIN : MARGIN + 96].permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(halves[1, 3], packed, atol=1e-4, rtol=0)


def test_variation_never_shows_padding() -> None:
    """A frame of the outermost pixels in another colour must stay out of sight."""
    _, stretches = draw()
    faces = torch.full_like(stretches.faces, 128)
    faces[:, :, [0, 1, -1, -2]] = 0
    faces[:, :, :, [0, 1, -1, -2]] = 0
    for seed in range(10):
        varied = varied_pairs(
            replace(stretches, faces=faces), 0.0, torch.Generator().manual_seed(seed)
        )
        # Gains and gamma keep grey between a fifth and four fifths.
        assert float(varied.halves.min()) > 0.2 and float(varied.halves.max()) < 0.8


def test_sound_beyond_the_clip_is_not_asked_about() -> None:
    clip = talking_clip(seconds=0.48)  # 12 pictures: the only stretch there is
    clip = replace(clip, mel=clip.mel[:, 40:-40], mel_t0_s=clip.mel_t0_s + 0.5)
    stretches = Sampler([clip], batch=1, pictures=8, reach=4, seed=0).draw(0)
    # Sound of 0.48 s holds windows of 0.2 s that begin at 0 to 0.28 s: eight of 40 ms.
    assert stretches.known[0].tolist() == [False] * 4 + [True] * 8 + [False] * 4


def test_short_clips_are_refused() -> None:
    with pytest.raises(InputError, match="long enough"):
        Sampler([talking_clip(seconds=0.4)], batch=1, pictures=8, reach=4, seed=0)


# Losses.


def made_choices(seen: torch.Tensor, heard: torch.Tensor, **marks: torch.Tensor) -> Any:
    sounds = heard.shape[1]
    times_s = torch.arange(sounds, dtype=torch.float64)[None] * 0.04
    no = torch.zeros(1, sounds, dtype=torch.bool)
    given = {"times_s": times_s, "known": ~no, "silent": no, "faint": no, **marks}
    return choices(seen, heard, **given)


def test_neighbours_unknown_and_silent_sounds_are_not_compared() -> None:
    seen, heard = torch.eye(8)[None, 2:6], torch.eye(8)[None]
    known = torch.ones(1, 8, dtype=torch.bool)
    known[0, 7] = False
    silent, faint = torch.zeros(2, 1, 8, dtype=torch.bool)
    silent[0, 5], faint[0, 2] = True, True
    found = made_choices(seen, heard, known=known, silent=silent, faint=faint)
    assert found.right[0].int().argmax(1).tolist() == [2, 3, 4, 5]
    # Picture 2 is faint itself, so that silence (5) may be right for it as well.
    assert torch.nonzero(found.wrong[0, 0]).flatten().tolist() == [0, 4, 6]
    assert torch.nonzero(found.wrong[0, 1]).flatten().tolist() == [0, 1, 5, 6]
    assert found.asked[0].tolist() == [True, True, True, False]


def test_losses_by_hand() -> None:
    seen = torch.eye(4)[None, :1]
    heard = torch.zeros(1, 3, 4)
    heard[0, :, 0] = torch.tensor([0.4, 0.9, 0.2])
    times_s = torch.tensor([[0.0, 1.0, 2.0]], dtype=torch.float64)
    found = made_choices(seen, heard, times_s=times_s)
    assert found.cosine[0, 0].tolist() == pytest.approx([0.4, 0.9, 0.2])
    among_sounds = -np.log(np.exp(16 * 0.9) / np.exp(16 * np.array([0.4, 0.9, 0.2])).sum())
    # Only one picture: it is right for sure.
    by_lag = -np.log(np.exp(40 * 0.9) / np.exp(40 * np.array([0.4, 0.9, 0.2])).sum())
    multiway = float(MultiwayLoss()(found, torch.Generator()).detach())
    assert multiway == pytest.approx(among_sounds / 2 + by_lag, abs=1e-6)
    pair = float(PairLoss()(found, torch.Generator().manual_seed(0)))
    wrong = (-np.log(1 - 0.4), -np.log(1 - 0.2))
    assert any(pair == pytest.approx((-np.log(0.9) + w) / 2, rel=1e-4) for w in wrong)


def test_a_stretch_is_compared_with_every_lag_as_a_whole() -> None:
    cosine = torch.tensor([[[0.1, 0.6, 0.3, 0.2], [0.5, 0.3, 0.4, 0.9]]])  # one clip, two pictures
    seen, heard = torch.eye(2)[None], cosine[0].T[None]
    known = torch.tensor([[True, True, True, False]])
    times_s = torch.arange(4, dtype=torch.float64)[None]
    found = made_choices(seen, heard, times_s=times_s, known=known)
    assert torch.equal(found.cosine, cosine)
    # Lags -1, 0 and 1; nothing is known of the last sound.
    means = np.array([(0.1 + 0.3) / 2, (0.6 + 0.4) / 2, 0.3])
    expected = -np.log(np.exp(10 * means[1]) / np.exp(10 * means).sum())
    assert float(lag_loss(found, torch.tensor(10.0))) == pytest.approx(expected, rel=1e-5)
    nothing = made_choices(seen, heard, times_s=times_s, known=~known)
    assert float(lag_loss(nothing, torch.tensor(10.0))) == 0


# Runs.


class _InterruptedError(Exception):
    pass


def test_a_run_learns_and_resumes_to_the_same_weights(tmp_path: Path) -> None:
    clips, plan = [talking_clip("a"), talking_clip("b", seed=1)], PLAN
    habits = Habits(tell_every=2, save_every=4, evaluate_every=100)
    losses: list[float] = []

    def note(step: int, terms: dict[str, float]) -> None:
        losses.append(terms["loss"])

    straight = train_expert(
        clips, [], tmp_path / "a", plan, device="cpu", habits=habits, on_step=note
    )
    assert losses[-1] < losses[0]

    def stop(step: int, terms: dict[str, float]) -> None:
        if step == 6:
            raise _InterruptedError

    with pytest.raises(_InterruptedError):
        train_expert(clips, [], tmp_path / "b", plan, device="cpu", habits=habits, on_step=stop)
    resumed = train_expert(clips, [], tmp_path / "b", plan, device="cpu", habits=habits)
    for name, each in straight.state_dict().items():
        assert torch.equal(each, resumed.state_dict()[name]), name
    told = (tmp_path / "b" / "losses.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in told] == [2, 4, 6, 6, 8]


def test_runs_that_do_not_fit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = [talking_clip()]
    ExpertState(PLAN, torch.device("cpu")).save(tmp_path)
    with pytest.raises(WeightsError, match="width is 2 instead of 4"):
        train_expert(clips, [], tmp_path, replace(PLAN, width=4), device="cpu")
    (tmp_path / CHECKPOINT).write_bytes(b"PK no")
    with pytest.raises(WeightsError, match="no checkpoint of train-expert"):
        train_expert(clips, [], tmp_path, PLAN, device="cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UsageError, match="no device 'cuda'"):
        train_expert(clips, [], tmp_path, PLAN, device="cuda")


def test_the_batch_is_halved_when_memory_runs_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def advance(self: ExpertState, stretches: Any, share: float) -> dict[str, float]:
        if len(stretches) > 1:
            raise MemoryError
        made.append(len(stretches))
        self.step += 1
        return {"loss": 1.0}

    monkeypatch.setattr(ExpertState, "advance", advance)
    train_expert([talking_clip()], [], tmp_path, replace(PLAN, steps=2), device="cpu")
    assert made == [1, 1]
    assert torch.load(tmp_path / CHECKPOINT)["batch"] == 1


# Questions.


def test_an_expert_that_sees_mouths_is_found_to() -> None:
    clips = [talking_clip("a", 6), talking_clip("b", 6, seed=3, offset_ms=90)]
    found = evaluate_expert(DrawnMouthExpert(), clips, windows=(1, 10))  # type: ignore[arg-type]
    assert (found.clips, found.people) == (2, 2)
    assert found.by_length[10]["way_25"] > 0.9 and found.by_length[10]["preferred"] > 0.9
    assert found.by_length[10]["way_25"] > found.by_length[1]["way_25"]
    # Labels that are wrong by three pictures must be told.
    moved = [replace(c, offset_ms=c.offset_ms + 120) for c in clips]
    wrong = evaluate_expert(DrawnMouthExpert(), moved, windows=(10,))  # type: ignore[arg-type]
    assert wrong.by_length[10]["way_25"] < 0.1
    with pytest.raises(InputError, match="long enough"):
        evaluate_expert(DrawnMouthExpert(), [talking_clip(seconds=1)])  # type: ignore[arg-type]


def test_exported_experts_load_and_are_listed_only_when_asked(tmp_path: Path) -> None:
    with pytest.raises(LipsyncError, match="no checkpoint"):
        export_expert(tmp_path / "nothing", tmp_path / "expert.pt")
    state = ExpertState(PLAN, torch.device("cpu"))
    (tmp_path / "run").mkdir()
    state.save(tmp_path / "run")
    target = tmp_path / "expert.pt"
    assert export_expert(tmp_path / "run", target)["width"] == 2
    loaded = load_expert(target).state_dict()
    for name, each in state.averaged.state_dict().items():
        torch.testing.assert_close(loaded[name], each, atol=1e-3, rtol=1e-3, check_dtype=False)
    manifest = tmp_path / "manifest.json"
    assert not manifest.exists()
    export_expert(tmp_path / "run", target, listed=True, trained_on="drawn mouths")
    (entry,) = json.loads(manifest.read_text())["weights"]
    assert entry["name"] == "expert" and entry["figures"]["loss"] == "multiway"

"""Adapting a generator to a rendered face: what it learns from, what is kept, what is not."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from packed_faces import DrawnMouthExpert
from PIL import Image

from lipsync_cli.dub import DubOptions, dub_video
from lipsync_cli.dubbing.footage.cache import cached_scan
from lipsync_cli.dubbing.footage.people import Person, choose_person, people
from lipsync_cli.dubbing.generator import adapt_learning
from lipsync_cli.dubbing.generator.adapt import adapt
from lipsync_cli.dubbing.generator.adapt_frames import APART_S, Frames, divided
from lipsync_cli.dubbing.generator.adapt_learning import AdaptPlan, Learning
from lipsync_cli.dubbing.generator.adapt_material import Material, collect, own_offset_s
from lipsync_cli.dubbing.generator.adapt_measure import Figures, Needed, figures, seen_mouth
from lipsync_cli.dubbing.generator.designs import design
from lipsync_cli.dubbing.generator.network import Generator
from lipsync_cli.errors import UsageError, WeightsError
from lipsync_cli.faces.crop import cut_mouth, mouth_geometry
from lipsync_cli.render import render_clip
from lipsync_cli.sync.model_file import LoadedModel, load_model
from lipsync_cli.weights import locate, sha256_of

CPU = torch.device("cpu")
SIZE, SECONDS, SHIFT_S = 48, 7.0, -0.04
# Seconds of a rendered face say little about sync: that is tested by itself.
LENIENT = Needed(least_height=1.0)
FAST = AdaptPlan(steps=60, batch=10, rate=1e-2, needed=LENIENT)
FIRST = Figures(error=10.0, response=2.0, height=0.2)


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("talking") / "talking.mp4"
    return render_clip(path, duration_s=SECONDS, size=128, seed=3).path


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model(locate("sync"), CPU)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def person(talking: Path, model: LoadedModel, cache: Path) -> Person:
    known = {"model_id": sha256_of(locate("sync")), "detector": "own"}
    return choose_person(people(cached_scan(talking, model, cache, **known), model), "speaker")


@pytest.fixture(scope="module")
def material(talking: Path, person: Person, model: LoadedModel) -> Material:
    found = collect(talking, person, model, size=SIZE, shift_s=SHIFT_S, offset_s=0.0)
    assert found is not None
    return found


def tiny() -> Generator:
    """Random weights, folded; sound does next to nothing to its pictures."""
    torch.manual_seed(0)
    network = Generator(design(2, 2, 2, size=SIZE, residuals=0)).eval()
    network.fold()
    return network


def excited() -> Generator:
    """Random weights so large that sound reaches the pictures."""
    network = tiny()
    with torch.no_grad():
        for name, weights in network.named_parameters():
            if weights.ndim == 4 and "output_block.1" not in name:
                weights.mul_(2.45)
        network.audio_encoder[-1].conv_block[0].weight.mul_(30)
    return network


@pytest.fixture(scope="module")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.save(Generator(design(2, 2, 2, size=SIZE, residuals=0)).state_dict(), path)
    return path


def learn(material: Material, model: LoadedModel, network: Generator, **changes: Any) -> Any:
    plan = replace(FAST, **changes)
    return Learning(network, material, plan).run(model)


@pytest.fixture(scope="module")
def learnt(material: Material, model: LoadedModel) -> Any:
    return learn(material, model, tiny())


def test_a_generator_learns_a_face(learnt: Any, material: Material, model: LoadedModel) -> None:
    network, done = learnt
    assert done.kept and done.reason is None and done.steps > 0
    assert done.mouth_error_after < 0.6 * done.mouth_error_before
    # The figures are those of frames that it has not learnt from.
    again = figures(network, material, material.parts.judge)
    assert again.error == pytest.approx(done.mouth_error_after, abs=1e-3)
    for name, before in tiny().state_dict().items():
        same = torch.equal(before, network.state_dict()[name])
        assert same == name.startswith("audio_encoder"), name


def test_what_does_not_help_is_dropped(learnt: Any, material: Material, model: LoadedModel) -> None:
    for spoilt in ({"rate": 3.0, "steps": 6}, {"rate": 1e-7, "steps": 6}):
        network, done = learn(material, model, copy.deepcopy(learnt[0]), **spoilt)
        assert network is None and not done.kept
        assert "error in the mouth went from" in done.reason
        assert done.mouth_error_after == pytest.approx(done.mouth_error_before, rel=0.03)


def test_the_sound_goes_on_moving_the_lips(material: Material, model: LoadedModel) -> None:
    """Random weights move lips at random: the least error is where they do not move at all."""
    careless = replace(LENIENT, response=0.0)
    _, deaf = learn(material, model, excited(), needed=careless)
    assert deaf.kept and deaf.response_before > 1 > 0.75 > deaf.response_after
    _, hearing = learn(material, model, excited())
    assert hearing.kept and hearing.steps < deaf.steps
    assert hearing.response_after >= 0.75 * hearing.response_before


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (Figures(9.0, 2.0, 0.2), None),
        (Figures(9.8, 2.0, 0.3), "10.0 to 9.8 grey levels"),
        (Figures(9.0, 1.4, 0.3), "2.00 to 1.40"),
        (Figures(9.0, 1.6, 0.181), None),
        (Figures(9.0, 3.0, 0.16), "0.200 to 0.160"),
        (Figures(9.0, 3.0, None), "long enough"),
    ],
)
def test_what_is_needed_to_be_kept(after: Figures, said: str | None) -> None:
    reason = Needed().reason_against(FIRST, after)
    assert reason is None if said is None else said in (reason or "")


def test_the_same_seed_leads_to_the_same_weights(material: Material, model: LoadedModel) -> None:
    def weights(seed: int) -> torch.Tensor:
        network, done = learn(material, model, tiny(), steps=3, seed=seed)
        assert network is not None and done.steps > 0
        return torch.cat([each.flatten() for each in network.state_dict().values()])

    first = weights(1)
    torch.manual_seed(99)  # nothing depends on the state of the process
    assert torch.equal(weights(1), first)
    assert not torch.equal(weights(2), first)


def test_a_batch_that_does_not_fit_is_halved(
    material: Material, model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, sizes = adapt_learning.draw_with, []

    def small_memory(network: Generator, target: Any, *others: Any) -> torch.Tensor:
        sizes.append(len(target))
        if sizes[-1] > 4:
            raise RuntimeError("CUDA out of memory")
        return whole(network, target, *others)

    monkeypatch.setattr(adapt_learning, "draw_with", small_memory)
    learn(material, model, tiny(), steps=3)
    assert sizes == [10, 5, 2, 2, 2]


def test_an_expert_is_shown_windows_of_five(material: Material, model: LoadedModel) -> None:
    shapes: list[tuple[int, ...]] = []

    class Watching(DrawnMouthExpert):
        def embed_pictures(self, halves: torch.Tensor) -> torch.Tensor:
            shapes.append(tuple(halves.shape))
            return super().embed_pictures(halves)

    expert, plan = Watching(), replace(FAST, steps=2)
    Learning(tiny(), material, plan, expert).run(model)  # type: ignore[arg-type]
    assert shapes == [(2, 15, 48, 96)] * 2
    assert expert.scale.grad is None


def frames(seconds: float, spoken: float = 1.0) -> Frames:
    count = round(25 * seconds)
    pts_s = 100 + np.arange(count) / 25
    quiet = np.zeros((count, 5, 2), np.float32)
    return Frames(pts_s, quiet, np.arange(count) < spoken * count, np.zeros(count, np.int64))


@pytest.mark.parametrize(("seconds", "stretches"), [(6.0, 2), (20.0, 4), (600.0, 6)])
def test_held_out_frames_are_not_near_learnt_ones(seconds: float, stretches: int) -> None:
    given = frames(seconds)
    parts = divided(given)
    assert parts is not None
    assert len(parts.stop) == len(parts.judge) == stretches / 2
    held_out = np.concatenate([*parts.stop, *parts.judge])
    apart_s = np.abs(given.pts_s[parts.learn][:, None] - given.pts_s[held_out])
    assert apart_s.min() >= APART_S - 1e-9
    assert len(np.unique(held_out)) == len(held_out) and min(map(len, parts.judge)) >= 25
    assert 60 <= len(parts.learn) <= 400
    # From everywhere, as far as it is not held out.
    assert np.diff(given.pts_s[parts.learn]).max() < seconds / 3


@pytest.mark.parametrize(("seconds", "spoken"), [(5.0, 1.0), (20.0, 0.1), (0.0, 1.0)])
def test_too_little_is_not_learnt_from(seconds: float, spoken: float) -> None:
    assert divided(frames(seconds, spoken)) is None


def test_references_show_other_moments(material: Material) -> None:
    rows = material.parts.judge[0]
    chosen = material.references(rows, np.random.default_rng(0))
    apart_s = np.abs(material.frames.pts_s[chosen] - material.frames.pts_s[rows])
    assert apart_s.min() >= 0.4 and np.isin(chosen, material.parts.learn).all()
    assert len(np.unique(chosen)) > len(rows) / 3


def test_the_sync_model_sees_the_mouth_where_it_is(talking: Path, material: Material) -> None:
    row = int(material.parts.judge[0][3])
    with av.open(str(talking)) as container:
        pictures = list(container.decode(video=0))
    luma = next(p for p in pictures if abs(p.time - material.frames.pts_s[row]) < 0.004)
    landmarks = material.frames.landmarks[row]
    wanted = cut_mouth(luma.to_ndarray(format="gray"), mouth_geometry(landmarks))
    found = seen_mouth(material.crops[row], landmarks)
    assert wanted.std() > 20
    inside = (slice(4, 56), slice(4, 60))
    assert np.corrcoef(wanted[inside].ravel(), found[inside].ravel())[0, 1] > 0.97


def shifted(person: Person, steps: int) -> Person:
    """The same person with sound that is so many times 10 ms earlier."""
    tracks = []
    for track in person.tracks:
        assert track.evidence is not None
        scores = np.roll(track.evidence.scores, steps, axis=1)
        tracks.append(replace(track, evidence=replace(track.evidence, scores=scores)))
    return replace(person, tracks=tuple(tracks))


def test_an_offset_is_taken_out(
    talking: Path, person: Person, material: Material, model: LoadedModel
) -> None:
    assert own_offset_s(person, model, 0.9) == 0.0
    offset_s = own_offset_s(shifted(person, 20), model, 0.9)
    assert offset_s == pytest.approx(0.2, abs=0.03)
    early = collect(talking, person, model, size=SIZE, shift_s=SHIFT_S, offset_s=0.2)
    assert early is not None
    # Picture t hears what sounds at t - 0.2: five pictures earlier, sixteen columns.
    later = material.parts.judge[0][10]
    apart_s = material.frames.pts_s[later] - material.frames.pts_s[later - 5]
    assert apart_s == pytest.approx(0.2)
    np.testing.assert_array_equal(early.mel[later], material.mel[later - 5])


def test_a_clip_without_its_sound_is_not_learnt_from(
    talking: Path, tiny_file: Path, person: Person, model: LoadedModel
) -> None:
    silent = replace(person, tracks=tuple(replace(t, evidence=None) for t in person.tracks))
    network, done = adapt(tiny_file, talking, silent, model, FAST)
    assert network is None and not done.kept and "own sound" in (done.reason or "")


def decoded(path: Path) -> np.ndarray[Any, Any]:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)])


@pytest.mark.usefixtures("person")
def test_dub_draws_with_what_was_learnt(
    talking: Path, tiny_file: Path, cache: Path, tmp_path: Path
) -> None:
    told: list[float] = []
    options = DubOptions(generator=tiny_file, end_s=1.0, verify=False, cache=cache)
    before = dub_video(talking, talking, tmp_path / "before.mp4", options=options)
    options = replace(options, adapt=True, adapt_steps=40)
    after = dub_video(
        talking, talking, tmp_path / "after.mp4", options=options, progress=told.append
    )
    assert before.adaptation is None and after.adaptation is not None
    assert told == sorted(told) and told[-1] == pytest.approx(1, abs=0.02)
    pictures = decoded(tmp_path / "before.mp4"), decoded(tmp_path / "after.mp4")
    warned = [each for each in after.warnings if "not adapted" in each]
    if after.adaptation.kept:
        assert not warned and (pictures[0] != pictures[1]).any()
    else:
        assert warned and (pictures[0] == pictures[1]).all()


def test_what_cannot_be_adapted_is_said_first(
    talking: Path, tiny_file: Path, tmp_path: Path
) -> None:
    out, photo, frozen = tmp_path / "out.mp4", tmp_path / "photo.png", tmp_path / "frozen.pt"
    Image.new("RGB", (64, 64)).save(photo)
    given = torch.zeros(1, 1, 80, 16), torch.zeros(1, 6, SIZE, SIZE)
    torch.jit.save(torch.jit.freeze(torch.jit.trace(tiny(), given)), str(frozen))  # type: ignore[no-untyped-call]
    adapted = DubOptions(adapt=True)
    with pytest.raises(UsageError, match="needs a generator"):
        dub_video(talking, talking, out, options=replace(adapted, engine="rewrite"))
    with pytest.raises(UsageError, match="photograph"):
        dub_video(photo, talking, out, options=replace(adapted, generator=tiny_file))
    with pytest.raises(WeightsError, match="frozen TorchScript") as refused:
        dub_video(talking, talking, out, options=replace(adapted, generator=frozen))
    assert refused.value.hint and not out.exists()

"""The generator: any public shape is recognised, and computes what its layers say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from wav2lip_graph import (
    LARGE_256,
    LARGE_288,
    NARROW_128,
    OFFICIAL,
    R,
    State,
    Table,
    random_state,
    run,
    shapes,
    thin,
)

from lipsync_cli.dubbing.generator.designs import design
from lipsync_cli.dubbing.generator.infer import infer_topology
from lipsync_cli.dubbing.generator.loading import LoadedGenerator, load_generator, read_state
from lipsync_cli.dubbing.generator.network import Generator
from lipsync_cli.dubbing.generator.topology import Topology
from lipsync_cli.errors import WeightsError

CPU = torch.device("cpu")
TINY = thin(OFFICIAL, 16)
FLAT = thin(NARROW_128, 2)


def infer(state: State) -> Topology:
    return infer_topology({name: tuple(tensor.shape) for name, tensor in state.items()})


def inputs(table: Table, frames: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    mel = 8 * torch.rand(frames, 1, 80, 16, generator=random) - 4
    return mel, torch.rand(frames, 6, table.size, table.size, generator=random)


@pytest.mark.parametrize(
    "table",
    [OFFICIAL, NARROW_128, thin(LARGE_256, 8), thin(LARGE_288, 8)],
    ids=["official", "narrow128", "thin256", "thin288"],
)
def test_folded_network_equals_its_layers(table: Table) -> None:
    state = random_state(table)
    network = Generator(infer(state))
    network.load_state_dict(state)
    network.eval().fold()
    mel, faces = inputs(table)
    with torch.no_grad():
        drawn = network(mel, faces)
    expected = run(table, state, mel, faces)
    assert expected.shape == (1, 3, table.size, table.size)
    assert expected.std() > 0.02, "a constant picture would prove nothing"
    torch.testing.assert_close(drawn, expected, atol=1e-4, rtol=0)


def test_official_network_has_the_official_entries() -> None:
    with torch.device("meta"):
        network = Generator(design())
    state = network.state_dict()
    assert len(state) == 352
    assert sum(each.numel() for each in network.parameters()) == 36_298_035
    assert state["face_decoder_blocks.2.0.conv_block.0.weight"].shape == (1024, 512, 3, 3)
    assert {name: tuple(each.shape) for name, each in state.items()} == shapes(OFFICIAL)
    assert design() == infer_topology(shapes(OFFICIAL))


@pytest.mark.parametrize("table", [OFFICIAL, LARGE_256, LARGE_288, NARROW_128])
def test_size_is_inferred(table: Table) -> None:
    assert infer_topology(shapes(table)).size == table.size


def test_larger_and_narrower_networks_have_their_parameters() -> None:
    counts = []
    for table in (LARGE_256, NARROW_128):
        with torch.device("meta"):
            network = Generator(infer_topology(shapes(table)))
        counts.append(sum(each.numel() for each in network.parameters()))
    assert counts == [53_605_683, 1_602_207]


@pytest.mark.parametrize("size", [48, 64, 96, 128, 192, 256])
def test_designs_are_recognised(size: int) -> None:
    made = design(8, 16, 16, size=size, residuals=1)
    assert made.size == size
    assert infer_topology(made.entries()) == made


def test_impossible_design_is_refused() -> None:
    with pytest.raises(ValueError, match="100 px"):
        design(size=100)


def script(state: State, path: Path) -> None:
    network = Generator(infer(state)).eval()
    network.load_state_dict(state)
    torch.jit.save(torch.jit.trace(network, inputs(FLAT)), str(path))  # type: ignore[no-untyped-call]


FORMS: dict[str, Callable[[State, Path], None]] = {
    "bare": torch.save,
    "half": lambda state, path: torch.save({k: v.half() for k, v in state.items()}, path),
    "legacy": lambda state, path: torch.save(
        {
            "state_dict": {f"module.{name}": each for name, each in state.items()},
            "optimizer": {"state": {0: {"step": 3}}, "param_groups": [{"lr": 1e-4}]},
            "global_step": 396_000,
        },
        path,
        _use_new_zipfile_serialization=False,
    ),
    "uncounted": lambda state, path: torch.save(
        {name: each for name, each in state.items() if "tracked" not in name}, path
    ),
    "torchscript": script,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_public_form_loads(form: str, tmp_path: Path) -> None:
    state = random_state(FLAT)
    path = tmp_path / "generator.pth"
    FORMS[form](state, path)
    expected = {name: each for name, each in state.items() if "tracked" not in name}
    found = read_state(path)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name].float(), tensor, atol=1e-3, rtol=1e-3)
    assert load_generator(path, CPU).size == 128


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedGenerator:
    path = tmp_path_factory.mktemp("generator") / "tiny.pth"
    torch.save(random_state(TINY), path)
    return load_generator(path, CPU)


def frames(count: int) -> tuple[np.ndarray[Any, Any], ...]:
    random = np.random.default_rng(0)
    target, reference = random.integers(0, 256, (2, count, 96, 96, 3), dtype=np.uint8)
    return target, reference, random.uniform(-4, 4, (count, 80, 16)).astype(np.float32)


def test_generated_pictures_follow_the_reference_conventions(loaded: LoadedGenerator) -> None:
    target, reference, mel = frames(2)
    pixels = np.concatenate([target, reference], axis=3) / 255
    pixels[:, 48:, :, :3] = 0
    faces = torch.from_numpy(pixels.transpose(0, 3, 1, 2)).float()
    expected = run(TINY, random_state(TINY), torch.from_numpy(mel)[:, None], faces)
    levels = 255 * expected.permute(0, 2, 3, 1).numpy()
    drawn = loaded.generate(target, reference, mel)
    assert drawn.dtype == np.uint8
    assert np.abs(drawn - levels).max() < 0.51


def test_old_lips_are_not_seen(loaded: LoadedGenerator) -> None:
    target, reference, mel = frames(1)
    drawn = loaded.generate(target, reference, mel)
    other = target.copy()
    other[:, 48:] = 0
    assert np.array_equal(loaded.generate(other, reference, mel), drawn)
    assert not np.array_equal(loaded.generate(target, target, mel), drawn)
    assert not np.array_equal(loaded.generate(target, reference, -mel), drawn)


def test_batch_shrinks_to_what_fits(
    loaded: LoadedGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, reference, mel = frames(7)
    expected = loaded.generate(target, reference, mel)
    whole, sizes = loaded._run, []

    def small_memory(*batch: Any) -> Any:
        sizes.append(len(batch[0]))
        if sizes[-1] > 2:
            raise RuntimeError("CUDA out of memory")
        return whole(*batch)

    monkeypatch.setattr(loaded, "_run", small_memory)
    monkeypatch.setattr(loaded, "_most", 64)
    drawn = loaded.generate(target, reference, mel)
    assert sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert np.abs(drawn.astype(int) - expected).max() <= 1


def renamed(state: State, old: str, new: str) -> State:
    return {name.replace(old, new): each for name, each in state.items()}


ZERO = torch.zeros(1)
WRONG: dict[str, tuple[Callable[[State], State], str]] = {
    "discriminator": (lambda s: s | {"binary_pred.0.weight": ZERO}, "discriminator"),
    "expert": (lambda s: renamed(s, "face_encoder_blocks", "face_encoder"), "sync expert"),
    "syncnet": (lambda s: {"netcnnaud.0.weight": ZERO}, "SyncNet"),
    "attention": (lambda s: s | {"sam.sa.conv1.weight": ZERO}, "spatial attention"),
    "refined": (lambda s: s | {"audio_refine.0.conv_block.0.bias": ZERO}, "refined"),
    "prelu": (lambda s: s | {"face_encoder_blocks.0.0.act.weight": ZERO}, "PReLU"),
    "other": (lambda s: {"fc.weight": ZERO}, "no Wav2Lip generator"),
    "unknown": (lambda s: s | {"extra.weight": ZERO}, "extra.weight is unknown"),
    "missing": (
        lambda s: {k: v for k, v in s.items() if k != "audio_encoder.2.conv_block.1.bias"},
        "audio_encoder.2.conv_block.1.bias is missing",
    ),
    "shape": (lambda s: s | {"output_block.1.bias": torch.zeros(4)}, "of another shape"),
    "no output": (lambda s: renamed(s, "output_block", "output"), "output is missing"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_other_networks_are_refused_by_name(mistake: str, tmp_path: Path) -> None:
    change, reason = WRONG[mistake]
    path = tmp_path / "other.pth"
    torch.save(change(random_state(TINY)), path)
    with pytest.raises(WeightsError, match=reason) as refusal:
        load_generator(path, CPU)
    assert refusal.value.path == str(path)
    assert refusal.value.hint


def test_other_layers_are_refused() -> None:
    encoder = [*TINY.encoder[:2], *[TINY.encoder[2]] * 8, *TINY.encoder[3:]]
    with pytest.raises(WeightsError, match="14 blocks lead down"):
        infer_topology(shapes(TINY._replace(encoder=encoder)))
    further = [TINY.sound[0], *TINY.sound]
    with pytest.raises(WeightsError, match="a layer for"):
        infer_topology(shapes(TINY._replace(sound=further)))
    shallow = [*TINY.sound[:-5], *TINY.sound[-2:]]
    with pytest.raises(WeightsError, match="a layer for"):
        infer_topology(shapes(TINY._replace(sound=shallow)))
    long_end = [*TINY.sound, R(32)]
    with pytest.raises(WeightsError, match="sound encoder"):
        infer_topology(shapes(TINY._replace(sound=long_end)))

"""The network of the LSE figures: the public file's names and shapes, values, foreign files."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from syncnet_reference import State, embed_lips, embed_sound, random_syncnet

from lipsync_cli.errors import WeightsError
from lipsync_cli.scoring.syncnet import LoadedSyncNet, SyncNet, load_syncnet

CPU = torch.device("cpu")
# Convolutions of the public file: place in the sequence, shape; a batch norm follows each.
LIP_CONVOLUTIONS = {
    0: (96, 3, 5, 7, 7),
    4: (256, 96, 1, 5, 5),
    8: (256, 256, 1, 3, 3),
    11: (256, 256, 1, 3, 3),
    14: (256, 256, 1, 3, 3),
    18: (512, 256, 1, 6, 6),
}
SOUND_CONVOLUTIONS = {
    0: (64, 1, 3, 3),
    4: (192, 64, 3, 3),
    8: (384, 192, 3, 3),
    11: (256, 384, 3, 3),
    14: (256, 256, 3, 3),
    18: (512, 256, 5, 4),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, State]:
    path = tmp_path_factory.mktemp("syncnet") / "random.model"
    return path, random_syncnet(path)


@pytest.fixture(scope="module")
def network(saved: tuple[Path, State]) -> LoadedSyncNet:
    return load_syncnet(saved[0], CPU)


def public_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for cnn, convolutions in (("netcnnlip", LIP_CONVOLUTIONS), ("netcnnaud", SOUND_CONVOLUTIONS)):
        for place, shape in convolutions.items():
            shapes[f"{cnn}.{place}.weight"] = shape
            shapes[f"{cnn}.{place}.bias"] = shape[:1]
            shapes |= _norm(f"{cnn}.{place + 1}", shape[0])
    for head in ("netfclip", "netfcaud"):
        shapes |= {f"{head}.0.weight": (512, 512), f"{head}.0.bias": (512,)}
        shapes |= _norm(f"{head}.1", 512)
        shapes |= {f"{head}.3.weight": (1024, 512), f"{head}.3.bias": (1024,)}
    return shapes


def _norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    keys = ("weight", "bias", "running_mean", "running_var")
    return {**{f"{name}.{k}": (channels,) for k in keys}, f"{name}.num_batches_tracked": ()}


def test_names_and_shapes_are_those_of_the_public_file() -> None:
    network = SyncNet()
    assert {k: tuple(v.shape) for k, v in network.state_dict().items()} == public_shapes()
    assert sum(p.numel() for p in network.parameters()) == 13_631_616
    assert sum(b.numel() for b in network.buffers()) == 8_654


def test_dense_lips_equal_windows_in_double_precision(
    saved: tuple[Path, State], network: LoadedSyncNet
) -> None:
    pictures = np.random.default_rng(2).integers(0, 256, (7, 224, 224, 3), dtype=np.uint8)
    golden = embed_lips(saved[1], pictures).numpy()  # [3, 1024]
    assert golden.std(axis=0).mean() > 0.01, "the weights do not tell windows apart"
    for batch in (2, 20):
        embedded = network.embed_lips(pictures, batch=batch)
        np.testing.assert_allclose(embedded, golden, rtol=0, atol=1e-4)


def test_sound_equals_double_precision(saved: tuple[Path, State], network: LoadedSyncNet) -> None:
    windows = np.random.default_rng(3).normal(0, 8, (5, 13, 20))
    golden = embed_sound(saved[1], windows).numpy()
    assert golden.std(axis=0).mean() > 0.01, "the weights do not tell windows apart"
    np.testing.assert_allclose(network.embed_sound(windows, batch=2), golden, rtol=0, atol=1e-4)


def test_old_and_wrapped_files_load(
    saved: tuple[Path, State], network: LoadedSyncNet, tmp_path: Path
) -> None:
    """Counters came with PyTorch 0.4.1, zipped files with 1.6; parallel training adds a prefix."""
    old = {k: v for k, v in saved[1].items() if not k.endswith("num_batches_tracked")}
    wrapped = {"state_dict": {f"module.{k}": v for k, v in old.items()}, "epoch": 3}
    path = tmp_path / "old.model"
    torch.save(wrapped, path, _use_new_zipfile_serialization=False)
    assert not zipfile.is_zipfile(path)
    windows = np.zeros((1, 13, 20))
    again = load_syncnet(path, CPU).embed_sound(windows)
    np.testing.assert_array_equal(again, network.embed_sound(windows))


class _Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch executed",)


def _foreign(kind: str, path: Path, good: Path) -> None:
    if kind == "code":
        path.write_bytes(pickle.dumps(_Code()))
    elif kind == "saved code":
        torch.save({"netcnnaud.0.weight": _Code()}, path)
    elif kind == "truncated":
        path.write_bytes(good.read_bytes()[:-1000])
    elif kind == "bomb":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", bytes(1 << 26))
    elif kind == "text":
        path.write_text("no model at all")


@pytest.mark.parametrize("kind", ["missing", "code", "saved code", "truncated", "bomb", "text"])
def test_what_is_no_checkpoint_is_refused(
    kind: str, saved: tuple[Path, State], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "foreign.model"
    _foreign(kind, path, saved[0])
    with pytest.raises(WeightsError) as caught:
        load_syncnet(path, CPU)
    assert caught.value.path == str(path) and caught.value.hint
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("change", ["shape", "missing", "other"])
def test_other_architectures_are_refused(
    change: str, saved: tuple[Path, State], tmp_path: Path
) -> None:
    state = dict(saved[1])
    if change == "shape":
        state["netfclip.3.weight"] = torch.zeros(256, 512)
    elif change == "missing":
        del state["netcnnlip.18.bias"]
    else:
        state = {"conv1.weight": torch.zeros(3)}
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="no SyncNet v2"):
        load_syncnet(tmp_path / "other.pth", CPU)

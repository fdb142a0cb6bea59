"""Checkpoints of every form are imported as plain tensors; wrong files are named, never run."""

from __future__ import annotations

import errno
import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import state_dicts
import torch
from torch import Tensor

from lipsync_cli import weights
from lipsync_cli.checkpoints import store as store_module
from lipsync_cli.checkpoints.architectures import Recognised
from lipsync_cli.checkpoints.store import import_file
from lipsync_cli.errors import LipsyncError, OutputError, UsageError, WeightsError
from lipsync_cli.weights import search
from lipsync_cli.weights.reading import read_state

State = dict[str, Tensor]
Write = Callable[[Path, State], None]


@pytest.fixture(scope="module")
def state() -> State:
    """A small generator with random weights."""
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.rand(shape, generator=generator) if shape else torch.tensor(5)
        for name, shape in state_dicts.wav2lip(width=2).items()
    }


@pytest.fixture
def checkpoint(tmp_path: Path, state: State) -> Path:
    torch.save(state, tmp_path / "wav2lip.pth")
    return tmp_path / "wav2lip.pth"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "data" / "lipsync"


def legacy(path: Path, content: Any) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def trained(state: State) -> dict[str, Any]:
    """What a training script of Wav2Lip saves, from a model on several devices."""
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    moments = {"state": {0: {"exp_avg": torch.zeros(9)}}, "param_groups": [{"lr": 1e-4}]}
    return {"state_dict": wrapped, "optimizer": moments, "global_step": 9, "global_epoch": 1}


def torchscript(path: Path, state: State) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(state_dicts.Tree(state)).save(str(path))


FORMS: dict[str, Write] = {
    "plain": lambda path, state: torch.save(state, path),
    "plain, old": legacy,
    "training": lambda path, state: torch.save(trained(state), path),
    "training, old": lambda path, state: legacy(path, trained(state)),
    "TorchScript": torchscript,
}


@pytest.mark.parametrize("write", FORMS.values(), ids=FORMS)
def test_imports_every_form(tmp_path: Path, store: Path, state: State, write: Write) -> None:
    source = tmp_path / "wav2lip.pth"
    write(source, state)
    imported = import_file(source, store)
    assert (imported.weight.name, imported.recognised.size_px) == ("wav2lip", 96)
    assert imported.path.name == f"wav2lip-{weights.sha256_of(source)[:10]}.pt"
    copy = torch.load(imported.path, weights_only=True)
    assert copy.keys() == state.keys()
    assert all(torch.equal(copy[name], tensor) for name, tensor in state.items())
    assert sorted(each.name for each in store.iterdir()) == ["manifest.json", imported.path.name]


def test_what_was_imported_is_found_and_checked(
    checkpoint: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = import_file(checkpoint, store)
    assert "non-commercial" in imported.weight.licence
    assert imported.weight.source_sha256 == weights.sha256_of(checkpoint)
    monkeypatch.setattr(search, "_store", [store])
    assert weights.locate("wav2lip") == imported.path
    imported.path.write_bytes(imported.path.read_bytes()[:-1] + b"?")
    with pytest.raises(WeightsError, match="damaged"):
        weights.locate("wav2lip")
    import_file(checkpoint, store)
    assert weights.locate("wav2lip") == imported.path


def test_copies_of_views_leave_the_rest_of_their_storage_behind(
    tmp_path: Path, store: Path, state: State
) -> None:
    name = "output_block.1.bias"
    torch.save(state | {name: torch.zeros(1_000_000)[:3]}, tmp_path / "w.pth")
    assert (tmp_path / "w.pth").stat().st_size > 4_000_000
    assert import_file(tmp_path / "w.pth", store).weight.bytes < 2_000_000


@pytest.mark.parametrize(
    ("file", "size_px", "name"),
    [
        ("wav2lip_gan.pth", 96, "wav2lip_gan"),
        ("Wav2Lip-SD-GAN.pt", 96, "wav2lip_gan"),
        ("Wav2Lip-SD-NOGAN.pt", 96, "wav2lip"),
        ("checkpoint.pth", 256, "wav2lip_256"),
    ],
)
def test_names_generators_by_size_and_file(
    tmp_path: Path, store: Path, file: str, size_px: int, name: str
) -> None:
    torch.save(state_dicts.zeros(state_dicts.wav2lip(size_px, width=1)), tmp_path / file)
    assert import_file(tmp_path / file, store).weight.name == name


def test_a_new_file_takes_the_place_of_the_old_one(
    tmp_path: Path, checkpoint: Path, store: Path, state: State
) -> None:
    first = import_file(checkpoint, store)
    other = import_file(checkpoint, store, name="mine")
    torch.save(state | {"output_block.1.bias": torch.ones(3)}, checkpoint)
    second = import_file(checkpoint, store)
    assert (first.replaced, other.replaced, second.replaced) == (False, False, True)
    assert not first.path.exists()
    assert set(weights.manifest(store)) == {"wav2lip", "mine"}


def test_a_name_must_fit_the_network(checkpoint: Path, store: Path) -> None:
    with pytest.raises(WeightsError, match="is the Wav2Lip generator, 96 px, not SyncNet v2"):
        import_file(checkpoint, store, name="syncnet_v2")
    for name in ("sync", "../up", "Upper", ""):
        with pytest.raises(UsageError):
            import_file(checkpoint, store, name=name)
    assert not store.exists()


def test_a_discriminator_is_no_generator(tmp_path: Path, store: Path) -> None:
    torch.save(state_dicts.zeros(state_dicts.discriminator()), tmp_path / "disc.pth")
    with pytest.raises(WeightsError, match=r"is the visual quality discriminator .*, not Wav2Lip"):
        import_file(tmp_path / "disc.pth", store, name="wav2lip")


def test_landmarks_in_3d_are_told_by_their_hash(
    checkpoint: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fan = Recognised("fan", "FAN", 23_820_176)
    monkeypatch.setattr(store_module, "recognise", lambda shapes: fan)
    assert import_file(checkpoint, store).weight.name == "fan"
    monkeypatch.setattr(store_module, "sha256_of", lambda path: "7835d9f11d" + "0" * 54)
    with pytest.raises(WeightsError, match="3-D"):
        import_file(checkpoint, store)


def test_a_full_disk_leaves_nothing(
    checkpoint: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(content: Any, stream: Any) -> None:
        stream.write(b"some of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match="No space left"):
        import_file(checkpoint, store)
    assert list(store.iterdir()) == []


def test_a_copy_without_its_line_in_the_manifest_is_taken_back(
    checkpoint: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **about: Any) -> Any:
        raise OutputError("no space for the manifest")

    monkeypatch.setattr(store_module, "register", refuse)
    with pytest.raises(OutputError):
        import_file(checkpoint, store)
    assert list(store.iterdir()) == []


class Bomb:
    """Writes a file as soon as somebody unpickles it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("form", ["zip", "old", "TorchScript"])
def test_runs_nothing(tmp_path: Path, store: Path, state: State, form: str) -> None:
    mark, source = tmp_path / "it was run", tmp_path / "evil.pth"
    evil = {**state, "evil": Bomb(mark)}
    # The precondition: an ordinary unpickler runs it.
    pickle.loads(pickle.dumps(Bomb(mark)))
    mark.unlink()
    if form == "zip":
        torch.save(evil, source)
    elif form == "old":
        legacy(source, evil)
    else:
        with zipfile.ZipFile(source, "w") as archive:
            archive.writestr("evil/data.pkl", pickle.dumps(Bomb(mark), protocol=2))
            archive.writestr("evil/constants.pkl", b"")
    with pytest.raises(WeightsError, match=r"more than tensors .*nothing of it was run"):
        import_file(source, store)
    assert not mark.exists()
    assert not store.exists()


def test_frozen_torchscript_is_named(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.script(state_dicts.Tree({"a": torch.ones(2)}).eval())
        torch.jit.freeze(module).save(str(tmp_path / "frozen.pt"))
    with pytest.raises(WeightsError, match="frozen TorchScript"):
        read_state(tmp_path / "frozen.pt")


def test_modules_that_hold_each_other_do_not_lead_in_circles(tmp_path: Path) -> None:
    # GLOBAL, EMPTY_TUPLE, NEWOBJ, memo, {"self": itself}, BUILD.
    loop = b"\x80\x02c__torch__\nM\n)\x81q\x00}X\x04\x00\x00\x00selfh\x00sb."
    with zipfile.ZipFile(tmp_path / "loop.pt", "w") as archive:
        archive.writestr("loop/data.pkl", loop)
        archive.writestr("loop/constants.pkl", b"")
    with pytest.raises(WeightsError, match="no names"):
        read_state(tmp_path / "loop.pt")


def zip_of(*records: tuple[str, bytes]) -> Write:
    def write(path: Path, state: State) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in records:
                archive.writestr(name, content)

    return write


def torn(share: float, *, old: bool = False) -> Write:
    def write(path: Path, state: State) -> None:
        legacy(path, state) if old else torch.save(state, path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return write


def flipped(path: Path, state: State) -> None:
    torch.save(state, path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


def declaring_terabytes(path: Path, state: State) -> None:
    legacy(path, {"a": torch.zeros(1000)})
    count = b"M" + struct.pack("<H", 1000)
    huge = b"\x8a\x06" + (1 << 40).to_bytes(6, "little")
    path.write_bytes(path.read_bytes().replace(count, huge, 1))


def of_bytes(content: bytes) -> Write:
    def write(path: Path, state: State) -> None:
        path.write_bytes(content)

    return write


def of_object(content: Any) -> Write:
    return lambda path, state: torch.save(content, path)


def oversized(path: Path, state: State) -> None:
    with path.open("wb") as stream:
        stream.truncate(3 << 30)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n"
WRONG: dict[str, tuple[Write, str]] = {
    "web page": (of_bytes(b"\n<!DOCTYPE html><html>Quota exceeded"), "is a web page"),
    "LFS pointer": (of_bytes(LFS), "Git LFS pointer"),
    "empty": (of_bytes(b""), "is empty"),
    "text": (of_bytes(b"hello"), "no PyTorch checkpoint"),
    "Keras": (of_bytes(b"\x89HDF\r\n\x1a\n"), "is a Keras file"),
    "plain pickle": (of_bytes(pickle.dumps({"a": 1})), "none that torch.save wrote"),
    "cut short": (torn(0.6), "cut short or damaged"),
    "cut short, old": (torn(0.6, old=True), "is cut short"),
    "cut in the pickle, old": (torn(0.002, old=True), "is cut short"),
    "flipped bits": (flipped, "does not match its checksum"),
    "zip bomb": (zip_of(("a/data.pkl", bytes(40 << 20))), "would unpack to 40 MiB"),
    "terabytes": (declaring_terabytes, "more data than fits"),
    "too large": (oversized, "too large for a checkpoint"),
    "packed": (zip_of(("models/wav2lip.pth", b"x")), "archive that holds models/wav2lip.pth"),
    "other archive": (zip_of(("a.txt", b"x")), "no PyTorch checkpoint"),
    "old TorchScript": (zip_of(("a/model.json", b"{}")), "before PyTorch 1.4"),
    "optimizer": (of_object({"state": {}, "param_groups": []}), "optimizer only"),
    "training without a model": (of_object({"optimizer": {}, "step": 3}), "optimizer only"),
    "a list": (of_object([1, 2]), "holds a list"),
    "no tensors": (of_object({"a": 1}), "holds no weights"),
    "a module": (of_object(torch.nn.Linear(2, 2)), r"more than tensors \(torch\.nn"),
    "not a number": (of_object({"a": torch.tensor([1.0, float("nan")])}), "a is not finite"),
    "unfolds": (of_object({"a": torch.zeros(1).expand(1 << 20, 1 << 20)}), "unfold to more"),
    "sparse": (of_object({"a": torch.eye(3).to_sparse()}), "form that is not used"),
    "stranger": (of_object({"unet.weight": torch.zeros(2)}), "a network that lipsync does not use"),
    "folder": (lambda path, state: path.mkdir(), "is a folder"),
    "missing": (lambda path, state: None, "No such file"),
}  # fmt: skip


@pytest.mark.parametrize(("write", "words"), WRONG.values(), ids=WRONG)
def test_says_what_is_wrong_with_a_file(
    tmp_path: Path, store: Path, state: State, write: Write, words: str
) -> None:
    write(tmp_path / "file.pth", state)
    with pytest.raises(WeightsError, match=words) as caught:
        import_file(tmp_path / "file.pth", store)
    assert caught.value.path == str(tmp_path / "file.pth")
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    assert not store.exists()


def test_the_manifest_of_the_store_must_be_a_valid_one(checkpoint: Path, store: Path) -> None:
    store.mkdir(parents=True)
    (store / "manifest.json").write_text(json.dumps({"weights": "none"}))
    with pytest.raises(LipsyncError, match="no manifest"):
        import_file(checkpoint, store)
    assert [each.name for each in store.iterdir()] == ["manifest.json"]

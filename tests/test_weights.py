"""Weights are found, and proven to be the right ones before anything reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lipsync_cli import weights
from lipsync_cli.errors import WeightsError
from lipsync_cli.weights import search
from lipsync_cli.weights.overview import overview

# printf weights | sha256sum
SHA256 = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one registered model file."""
    (tmp_path / "sync.pt").write_bytes(b"weights")
    weights.register(
        tmp_path / "sync.pt", name="sync", kind="torchscript", trained_on="nothing at all"
    )
    return tmp_path


@pytest.fixture(autouse=True)
def _no_preference() -> Iterator[None]:
    yield
    weights.prefer(None)
    weights.use_store(None)


def test_finds_a_file_by_name(folder: Path) -> None:
    assert weights.locate("sync", folder=folder) == folder / "sync.pt"
    listed = weights.manifest(folder)["sync"]
    assert (listed.sha256, listed.bytes) == (SHA256, 7)
    assert listed.trained_on == "nothing at all"


def test_looks_into_the_preferred_folder_first(folder: Path) -> None:
    weights.prefer(folder)
    assert weights.locate("sync") == folder / "sync.pt"


def test_refuses_a_file_with_another_hash(folder: Path) -> None:
    assert weights.locate("sync", folder=folder)
    (folder / "sync.pt").write_bytes(b"weight\0")
    with pytest.raises(WeightsError) as caught:
        weights.locate("sync", folder=folder)
    message = str(caught.value)
    assert str(folder / "sync.pt") in message
    assert f"expected SHA-256 {SHA256}, found " in message
    assert caught.value.hint


def test_names_a_missing_file(folder: Path) -> None:
    (folder / "sync.pt").unlink()
    with pytest.raises(WeightsError, match=f"No such file.*{SHA256}"):
        weights.locate("sync", folder=folder)


def test_names_the_command_that_repairs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "sync.pt").unlink()
    places = (("CHECKOUT", "INSTALLED", "git -C"), ("INSTALLED", "CHECKOUT", "pip install"))
    for place, other, command in places:
        with monkeypatch.context() as patch:
            patch.setattr(search, place, folder)
            patch.setattr(search, other, folder / "absent")
            with pytest.raises(WeightsError) as caught:
                weights.locate("sync")
            assert command in (caught.value.hint or "")


def test_hashes_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights.locate("sync", folder=folder)
    monkeypatch.setattr(search, "sha256_of", lambda path: pytest.fail("hashed twice"))
    weights.locate("sync", folder=folder)


def test_a_folder_without_manifest_is_an_error_when_asked_for(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"holds no manifest\.json"):
        weights.locate("sync", folder=tmp_path)


def test_unknown_names_are_an_error(folder: Path) -> None:
    with pytest.raises(WeightsError, match="'nonsense'"):
        weights.locate("nonsense", folder=folder)


@pytest.mark.parametrize(
    "manifest",
    [
        "not json",
        "[]",
        '{"weights": [{"name": "sync"}]}',
        json.dumps(
            {
                "weights": [
                    {"name": "s", "file": "../s", "sha256": SHA256, "bytes": 7, "kind": "onnx"}
                ]
            }
        ),
    ],
    ids=["no JSON", "no object", "fields missing", "outside the folder"],
)
def test_refuses_a_bad_manifest(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(WeightsError, match="is no manifest of weights"):
        weights.locate("sync", folder=tmp_path)


def test_register_replaces_and_keeps_others(folder: Path) -> None:
    (folder / "face.onnx").write_bytes(b"face")
    weights.register(folder / "face.onnx", name="face", kind="onnx")
    (folder / "sync.pt").write_bytes(b"better weights")
    weights.register(folder / "sync.pt", name="sync", kind="torchscript", version="2")
    assert {name: w.version for name, w in weights.manifest(folder).items()} == {
        "face": "1",
        "sync": "2",
    }
    assert weights.locate("sync", folder=folder)


def test_shipped_weights_are_the_right_ones() -> None:
    shipped = {**weights.manifest(search.CHECKOUT), **weights.manifest(search.INSTALLED)}
    if not shipped:
        pytest.skip("no weights are shipped yet")
    for name in shipped:
        assert weights.locate(name).is_file()


def filled(folder: Path, name: str, content: bytes) -> Path:
    """Make a folder of weights with one file."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.pt").write_bytes(content)
    weights.register(folder / f"{name}.pt", name=name, kind="state_dict", source="from.pth")
    return folder


def test_looks_into_the_store_between_the_preferred_folder_and_those_that_ship(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [filled(tmp_path / each, "fan", each.encode()) for each in ("a", "b", "c", "d")]
    preferred, store, installed, checkout = places
    monkeypatch.setattr(search, "INSTALLED", installed)
    monkeypatch.setattr(search, "CHECKOUT", checkout)
    weights.prefer(preferred)
    weights.use_store(store)
    for place in places:
        assert weights.locate("fan") == place / "fan.pt"
        if place == preferred:
            weights.prefer(None)
        else:
            (place / "manifest.json").unlink()
    assert weights.find("fan") is None


def test_a_store_that_does_not_exist_yet_is_no_error(tmp_path: Path) -> None:
    weights.use_store(tmp_path / "absent")
    assert weights.find("syncnet_v2") is None


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("syncnet_v2", "lipsync weights fetch syncnet_v2"),
        ("wav2lip", "https://github.com/Rudrabha/Wav2Lip"),
        ("wav2lip", "lipsync weights import FILE"),
    ],
)
def test_says_how_to_get_a_public_checkpoint(name: str, command: str) -> None:
    with pytest.raises(WeightsError) as caught:
        weights.locate(name)
    assert command in (caught.value.hint or "")


def test_says_how_to_repair_the_store(tmp_path: Path) -> None:
    store = filled(tmp_path / "store", "syncnet_v2", b"imported")
    weights.use_store(store)
    (store / "syncnet_v2.pt").write_bytes(b"rotten")
    with pytest.raises(WeightsError, match="damaged") as caught:
        weights.locate("syncnet_v2")
    assert "lipsync weights fetch syncnet_v2" in (caught.value.hint or "")
    (store / "manifest.json").write_text("{")
    with pytest.raises(WeightsError, match="no manifest") as caught:
        weights.locate("syncnet_v2")
    assert "import the checkpoints again" in (caught.value.hint or "")


def test_the_overview_names_all_there_could_be(tmp_path: Path) -> None:
    weights.use_store(filled(tmp_path / "store", "fan", b"imported"))
    entries = {entry.name: entry for entry in overview()}
    assert weights.PUBLIC.keys() | {"sync", "face_detector"} <= entries.keys()
    assert (entries["fan"].present, entries["fan"].origin) == (True, "from.pth")
    assert entries["sync"].to_dict()["own"]
    absent = entries["syncnet_v2"].to_dict()
    assert (absent["present"], absent["file"]) == (False, None)
    assert "weights fetch syncnet_v2" in absent["remedy"]

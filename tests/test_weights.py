"""Weights are found, and proven to be the right ones before anything reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lipsync_cli import weights
from lipsync_cli.errors import WeightsError

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
    places = (("_CHECKOUT", "_INSTALLED", "git -C"), ("_INSTALLED", "_CHECKOUT", "pip install"))
    for place, other, command in places:
        with monkeypatch.context() as patch:
            patch.setattr(weights, place, folder)
            patch.setattr(weights, other, folder / "absent")
            with pytest.raises(WeightsError) as caught:
                weights.locate("sync")
            assert command in (caught.value.hint or "")


def test_hashes_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights.locate("sync", folder=folder)
    monkeypatch.setattr(weights, "sha256_of", lambda path: pytest.fail("hashed twice"))
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
    shipped = {**weights.manifest(weights._CHECKOUT), **weights.manifest(weights._INSTALLED)}
    if not shipped:
        pytest.skip("no weights are shipped yet")
    for name in shipped:
        assert weights.locate(name).is_file()

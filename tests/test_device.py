"""Choice of a device, and retreat when memory runs out."""

from __future__ import annotations

import pytest

from lipsync_cli import device
from lipsync_cli.errors import LipsyncError, UsageError


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "mps", ""])
def test_malformed_names_are_wrong_usage(name: str) -> None:
    with pytest.raises(UsageError, match="is no device"):
        device.check_name(name)


def test_chooses_what_exists() -> None:
    torch = pytest.importorskip("torch")
    assert device.choose("cpu").type == "cpu"
    assert device.choose("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(UsageError, match="'cuda:99'"):
        device.choose("cuda:99")


def test_halves_the_batch_until_it_fits() -> None:
    tried = []

    def run(batch: int) -> str:
        tried.append(batch)
        if batch > 8:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20 GiB")
        return "fits"

    assert device.halve_on_oom(run, 50) == ("fits", 6)
    assert tried == [50, 25, 12, 6]


def test_gives_up_on_a_single_item() -> None:
    def run(batch: int) -> None:
        raise MemoryError

    with pytest.raises(LipsyncError, match="out of memory"):
        device.halve_on_oom(run, 4)


def test_other_errors_pass() -> None:
    def run(batch: int) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        device.halve_on_oom(run, 4)

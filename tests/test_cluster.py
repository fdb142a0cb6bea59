"""Work on a cluster: nothing is lost, whatever happens to a worker."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cluster_jobs import troublesome

from lipsync_cli.cli import batch, cluster
from lipsync_cli.cli.report import Report
from lipsync_cli.errors import DependencyError, LipsyncError, UsageError

# What an optional part warns of is not for this suite to fix.
dask_warns = pytest.mark.filterwarnings("ignore")


def outcomes(names: list[str], place: str) -> tuple[int, list[str], dict[str, LipsyncError]]:
    done: list[str] = []
    failed: dict[str, LipsyncError] = {}

    def show(value: str) -> int:
        done.append(value)
        return 0

    code = batch.run(
        [Path(name) for name in names],
        troublesome,
        show,
        Report(quiet=True),
        batch.Plan(cluster=place),
        on_error=lambda path, error: failed.update({str(path): error}),
    )
    return code, done, failed


@dask_warns
@pytest.mark.skipif(os.name == "nt", reason="kills a process as POSIX does")
def test_a_killed_worker_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="Dask, an optional part, is not installed")
    monkeypatch.chdir(tmp_path)
    names = ["a.mp4", "dies.mp4", "bad.mp4", "full.mp4", *(f"{i}.mp4" for i in range(8))]
    code, done, failed = outcomes(names, "local:2")
    assert code == 1
    # Relative names mean the folder of the command, and stay as they were typed.
    assert sorted(done) == sorted(f"{name} done" for name in names if name != "bad.mp4")
    assert (list(failed), failed["bad.mp4"].message) == (["bad.mp4"], "is damaged")
    assert {path.name for path in tmp_path.glob("*.mark")} == {"dies.mark", "full.mark"}
    # What would only fail again is not tried again.
    assert (tmp_path / "bad.tries").read_text() == "x"


@dask_warns
@pytest.mark.parametrize("place", ["tcp://127.0.0.1:9", "missing.json"])
def test_a_scheduler_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    pytest.importorskip("distributed", reason="Dask, an optional part, is not installed")
    monkeypatch.setattr(cluster, "CONNECT_S", 0.3)
    with pytest.raises(LipsyncError, match="dask scheduler") as caught:
        outcomes(["a.mp4"], place)
    assert caught.value.exit_code == 1
    assert place in str(caught.value)


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DependencyError, match="pip install distributed"):
        outcomes(["a.mp4"], "local:2")


@pytest.mark.parametrize("place", ["local", "local:4", "tcp://head:8786", "dask.json"])
def test_places_of_clusters(place: str) -> None:
    assert cluster.check_address(place) == place


@pytest.mark.parametrize("place", ["", "local:0", "head:8786", "http://head", "local:two"])
def test_anything_else_is_wrong_usage(place: str) -> None:
    with pytest.raises(UsageError, match="is no cluster"):
        cluster.check_address(place)


@pytest.mark.parametrize(
    ("offered", "wanted", "taken"),
    [
        ([{}, {"GPU": 1}], True, {"GPU": 1.0}),
        ([{}, {"GPU": 1}], False, None),
        ([{}, {"memory": 9}], True, None),
        ([], True, None),
    ],
)
def test_a_gpu_is_taken_where_workers_offer_one(offered: Any, wanted: bool, taken: Any) -> None:
    workers = {str(i): {"resources": each} for i, each in enumerate(offered)}
    client = SimpleNamespace(scheduler_info=lambda: {"workers": workers})
    assert cluster._resources(client, batch.Plan(use_gpu=wanted)) == taken

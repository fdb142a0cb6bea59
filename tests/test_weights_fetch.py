"""Downloads from a server on this machine: whole, interrupted, taken up again, refused."""

from __future__ import annotations

import errno
import hashlib
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import state_dicts
import torch

from lipsync_cli import weights
from lipsync_cli.checkpoints import download
from lipsync_cli.checkpoints.fetch import fetch, is_known, source_of
from lipsync_cli.errors import OutputError, UsageError, WeightsError


@dataclass
class Mirror:
    """What the server has, how it behaves, and what it was asked for.

    Attributes:
        cuts: after how many bytes it drops each of the next answers; 0 leaves them whole.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"1"'})
    ranges: bool = True
    asked: list[str | None] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    mirror: ClassVar[Mirror]

    def do_GET(self) -> None:
        mirror, wanted = self.mirror, self.headers.get("Range")
        mirror.asked.append(wanted)
        # Taken before the headers go out, after which the client may ask again.
        cut = mirror.cuts.pop(0) if mirror.cuts else None
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        data = mirror.files.get(self.path.partition("?")[0])
        if data is None:
            self.send_error(404)
            return
        same = self.headers.get("If-Range") in (None, mirror.headers.get("ETag"))
        goes_on = wanted and mirror.ranges and same
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and goes_on else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        for name, value in {"Content-Length": str(len(data) - start), **mirror.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        # The client leaves when it has seen the headers and wants the rest only.
        with suppress(OSError):
            self.wfile.write(data[start:][: cut or None])
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Keep stderr clean."""


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """A server on this machine that has a small generator under /wav2lip.pth."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "_PAUSE_S", 0.0)
    Handler.mirror = Mirror()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        Handler.mirror.url = f"http://127.0.0.1:{server.server_port}"
        yield Handler.mirror
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("mirror") / "wav2lip.pth"
    shapes = state_dicts.wav2lip(width=2)
    torch.save({name: torch.ones(shape) for name, shape in shapes.items()}, path)
    return path.read_bytes()


@pytest.fixture
def url(mirror: Mirror, data: bytes) -> str:
    mirror.files["/wav2lip.pth"] = data
    return f"{mirror.url}/wav2lip.pth"


def parts(store: Path) -> list[Path]:
    return sorted(store.glob("*.part"))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_downloads_and_imports(url: str, data: bytes, tmp_path: Path) -> None:
    shares: list[float] = []
    source = source_of("wav2lip", url=f"{url}?token=secret", sha256=sha256(data).upper())
    imported = fetch(source, tmp_path / "store", progress=shares.append)
    assert weights.manifest(tmp_path / "store")["wav2lip"] == imported.weight
    assert (imported.source, imported.weight.source) == (url, url)
    assert shares[-1] == 1.0
    assert not is_known(imported)
    assert not parts(tmp_path / "store")


def test_goes_on_after_a_lost_connection(
    mirror: Mirror, url: str, data: bytes, tmp_path: Path
) -> None:
    mirror.cuts = [100_000, 0, 50_000]
    imported = fetch(source_of("wav2lip", url=url), tmp_path)
    assert imported.weight.source_sha256 == sha256(data)
    # Each time the file is looked at anew; then only its rest is asked for.
    assert mirror.asked == [None, None, "bytes=100000-", None, "bytes=150000-"]


def test_an_interrupted_download_is_taken_up_by_the_next_call(
    mirror: Mirror, url: str, data: bytes, tmp_path: Path
) -> None:
    mirror.cuts = [1000] * 7
    with pytest.raises(WeightsError, match="interrupted: 4000 of ") as caught:
        fetch(source_of("wav2lip", url=url), tmp_path)
    assert "same command again" in (caught.value.hint or "")
    assert [part.stat().st_size for part in parts(tmp_path)] == [4000]
    assert [each.suffix for each in tmp_path.iterdir()] == [".part"]
    mirror.asked.clear()
    mirror.cuts = []
    fetch(source_of("wav2lip", url=url), tmp_path)
    assert mirror.asked == [None, "bytes=4000-"]
    assert not parts(tmp_path)


def test_ctrl_c_keeps_what_has_come(url: str, tmp_path: Path) -> None:
    def interrupt(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(source_of("wav2lip", url=url), tmp_path, progress=interrupt)
    assert [each.suffix for each in tmp_path.iterdir()] == [".part"]
    assert parts(tmp_path)[0].stat().st_size > 0


@pytest.mark.parametrize("change", ["the file", "no ranges"])
def test_begins_anew_where_it_cannot_go_on(
    mirror: Mirror, url: str, tmp_path: Path, change: str
) -> None:
    mirror.cuts = [1000] * 7
    with pytest.raises(WeightsError):
        fetch(source_of("wav2lip", url=url), tmp_path)
    mirror.cuts = []
    if change == "the file":
        mirror.headers = {"ETag": '"2"'}
    else:
        mirror.ranges = False
    assert fetch(source_of("wav2lip", url=url), tmp_path).weight.name == "wav2lip"
    assert not parts(tmp_path)


def test_a_file_of_another_hash_leaves_nothing(url: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"expected SHA-256 {'0' * 64}, found ") as caught:
        fetch(source_of("wav2lip", url=url, sha256="0" * 64), tmp_path)
    assert caught.value.path == url
    assert list(tmp_path.iterdir()) == []


def test_the_wrong_checkpoint_leaves_nothing(url: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="not SyncNet v2") as caught:
        fetch(source_of("syncnet_v2", url=url), tmp_path)
    assert caught.value.path == url
    assert list(tmp_path.iterdir()) == []


def huge(mirror: Mirror) -> None:
    mirror.headers = {"Content-Length": str(1 << 40)}


def web_page(mirror: Mirror) -> None:
    mirror.headers = {"Content-Type": "text/html; charset=utf-8"}


def gone(mirror: Mirror) -> None:
    mirror.files.clear()


@pytest.mark.parametrize(
    ("change", "words"),
    [(huge, "has 1099511627776 bytes"), (web_page, "is a web page"), (gone, "404 Not Found")],
)
def test_refuses_what_a_server_says(
    mirror: Mirror, url: str, tmp_path: Path, change: Callable[[Mirror], None], words: str
) -> None:
    change(mirror)
    with pytest.raises(WeightsError, match=words) as caught:
        fetch(source_of("wav2lip", url=url), tmp_path)
    assert (caught.value.path, bool(caught.value.hint)) == (url, True)
    assert list(tmp_path.iterdir()) == []


def test_the_authors_file_must_have_its_known_size(url: str, data: bytes, tmp_path: Path) -> None:
    source = source_of("syncnet_v2")
    assert source.bytes == 54_573_114
    with pytest.raises(WeightsError, match=f"has {len(data)} bytes instead of 54573114"):
        fetch(replace(source, url=url), tmp_path)


def test_follows_redirections_to_the_web_only(mirror: Mirror, url: str, tmp_path: Path) -> None:
    assert fetch(source_of("wav2lip", url=f"{mirror.url}/to/{url}"), tmp_path)
    with pytest.raises(WeightsError, match=r"leads to ftp://.*, which is no http"):
        fetch(source_of("wav2lip", url=f"{mirror.url}/to/ftp://127.0.0.1/x"), tmp_path)


def test_names_a_server_that_cannot_be_reached(mirror: Mirror, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(WeightsError, match="cannot be reached: Connection refused"):
            fetch(source_of("wav2lip", url=f"http://127.0.0.1:{port}/x"), tmp_path)


def test_a_full_disk_keeps_what_has_come(
    mirror: Mirror, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda folder: usage)
        with pytest.raises(OutputError, match="are needed, and not free"):
            fetch(source_of("wav2lip", url=url), tmp_path)
    mirror.cuts = [1000] * 7
    with pytest.raises(WeightsError):
        fetch(source_of("wav2lip", url=url), tmp_path)
    mirror.cuts = []
    opened = Path.open

    def full_disk(path: Path, *mode: str, **options: Any) -> Any:
        if path.suffix == ".part":
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, *mode, **options)

    monkeypatch.setattr(Path, "open", full_disk)
    with pytest.raises(OutputError, match="No space left") as caught:
        fetch(source_of("wav2lip", url=url), tmp_path)
    assert "goes on where it stopped" in (caught.value.hint or "")
    assert [part.stat().st_size for part in parts(tmp_path)] == [4000]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nonsense", {}), "no checkpoint is called 'nonsense'"),
        (("wav2lip", {"url": "file:///etc/passwd"}), "no http or https address"),
        (("wav2lip", {"url": "http://[::1"}), "no http or https address"),
        (("syncnet_v2", {"sha256": "abc"}), "64 hexadecimal digits"),
        (("sync", {"url": "http://localhost/"}), "ship with lipsync"),
    ],
    ids=["name", "scheme", "address", "hash", "own name"],
)
def test_refuses_what_makes_no_sense(arguments: tuple[str, dict[str, str]], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        source_of(arguments[0], **arguments[1])


def test_names_the_page_of_what_only_browsers_get() -> None:
    with pytest.raises(WeightsError, match="only offered to browsers") as caught:
        source_of("wav2lip")
    assert caught.value.path == "https://github.com/Rudrabha/Wav2Lip#getting-the-weights"
    assert "lipsync weights import FILE" in (caught.value.hint or "")

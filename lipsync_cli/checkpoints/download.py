"""Download a file over http or https, going on where an earlier attempt stopped."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lipsync_cli import __version__
from lipsync_cli.errors import OutputError, UsageError, WeightsError

Progress = Callable[[float], None]

_BLOCK_BYTES = 1 << 18
_PATIENCE_S = 30.0
_PAUSE_S = 1.0
_ATTEMPTS = 4
_KEY_DIGITS = 10
_ELSEWHERE = "check the connection, or name a mirror with --url"
_GO_ON = "run the same command again: it goes on where it stopped"


@dataclass(frozen=True)
class Wanted:
    """What is to be downloaded, and where to.

    Attributes:
        url: the address, http or https.
        stem: begin of the name of the unfinished file.
        folder: where it lies until it is complete, and after an interruption.
        bytes: its size, where it is known beforehand.
        max_bytes: size from which it is refused.
    """

    url: str
    stem: str
    folder: Path
    bytes: int | None
    max_bytes: int


class _Interrupted(Exception):
    """The connection was lost; what has come so far is kept."""


@dataclass(frozen=True)
class _Offer:
    """What a server says about a file before it sends it."""

    total: int | None
    etag: str
    modified: str

    def part(self, wanted: Wanted) -> Path:
        """The unfinished file, whose name changes with what the server has to offer."""
        identity = f"{wanted.url}\n{self.total}\n{self.etag}\n{self.modified}"
        digest = hashlib.sha256(identity.encode()).hexdigest()
        return wanted.folder / f"{wanted.stem}-{digest[:_KEY_DIGITS]}.part"

    @property
    def validator(self) -> str:
        """What a server takes to make sure that the file is still the same (RFC 9110, 13.1.5)."""
        return self.modified if self.etag.startswith("W/") else self.etag or self.modified


def download(wanted: Wanted, progress: Progress | None = None) -> Path:
    """Download a file and return its path, which ends in .part.

    Lost connections are taken up again a few times. However it ends, what has come stays in
    the unfinished file, from which the next call goes on if the server still offers the same.

    Args:
        progress: told the share done, 0..1, where the size is known.

    Raises:
        WeightsError: the server cannot be reached, has no such file, sends a web page or a file
            of another size, or the connection was lost too often.
        OutputError: the disk is full or the folder cannot be written to.
    """
    check_address(wanted.url)
    reason = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_S)
        try:
            return _attempt(wanted, progress or (lambda share: None))
        except _Interrupted as error:
            reason = str(error)
    raise WeightsError(f"the download was interrupted: {reason}", path=wanted.url, hint=_GO_ON)


def check_address(url: str) -> None:
    """Check that an address is one of the web.

    Raises:
        UsageError: it is not.
    """
    if not _is_web(url):
        raise UsageError(f"{url!r} is no http or https address")


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _attempt(wanted: Wanted, progress: Progress) -> Path:
    with _open(wanted.url, {}) as response:
        offer = _offer(response, wanted)
        part = offer.part(wanted)
        _remove_outdated(wanted, part)
        offset = part.stat().st_size if part.exists() else 0
        if offset and offset == offer.total:
            return part
        _refuse_full_disk(wanted.folder, offer, offset)
        if not offset or offer.total is None or offset > offer.total:
            _append(response, part, 0, offer, wanted, progress)
            return part
    headers = {"Range": f"bytes={offset}-"}
    if offer.validator:
        headers["If-Range"] = offer.validator
    with _open(wanted.url, headers) as response:
        goes_on = response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
        _append(response, part, offset if goes_on else 0, offer, wanted, progress)
    return part


def _offer(response: Any, wanted: Wanted) -> _Offer:
    headers = response.headers
    if headers.get_content_type() == "text/html":
        raise WeightsError(
            "is a web page, not a file", path=wanted.url, hint="open it in a browser"
        )
    length = headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    if total is not None and total > wanted.max_bytes:
        raise _unexpected(wanted, total)
    if None not in (total, wanted.bytes) and total != wanted.bytes:
        raise _unexpected(wanted, total)
    return _Offer(total, headers.get("ETag", ""), headers.get("Last-Modified", ""))


def _append(
    response: Any, part: Path, offset: int, offer: _Offer, wanted: Wanted, progress: Progress
) -> None:
    done = offset
    try:
        with part.open("ab" if offset else "wb") as sink:
            while block := _read(response):
                done += len(block)
                if done > wanted.max_bytes:
                    raise _unexpected(wanted, done)
                sink.write(block)
                if offer.total:
                    progress(done / offer.total)
    # Lost connections do not come as OSError here: this is the disk.
    except OSError as error:
        raise _unwritable(part, str(error.strerror)) from error
    if offer.total is not None and done != offer.total:
        raise _Interrupted(f"{done} of {offer.total} bytes have come")


def _read(response: Any) -> bytes:
    try:
        return bytes(response.read(_BLOCK_BYTES))
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(str(error) or type(error).__name__) from error


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirections to the web only, not to ftp."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        if not _is_web(newurl):
            raise WeightsError(
                f"leads to {newurl}, which is no http or https address",
                path=req.full_url,
                hint=_ELSEWHERE,
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str, headers: dict[str, str]) -> Any:
    request = urllib.request.Request(
        url, headers={"User-Agent": f"lipsync/{__version__}", **headers}
    )
    try:
        return urllib.request.build_opener(_WebOnly).open(request, timeout=_PATIENCE_S)
    except urllib.error.HTTPError as error:
        with error:
            answer = f"the server answers {error.code} {error.reason}"
        raise WeightsError(answer, path=url, hint=_ELSEWHERE) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        words = getattr(reason, "strerror", None) or reason
        raise WeightsError(f"cannot be reached: {words}", path=url, hint=_ELSEWHERE) from error


def _unexpected(wanted: Wanted, total: int | None) -> WeightsError:
    known = f" instead of {wanted.bytes}" if wanted.bytes else ""
    return WeightsError(
        f"has {total} bytes{known}; it is not what was asked for",
        path=wanted.url,
        hint=_ELSEWHERE,
    )


def _remove_outdated(wanted: Wanted, current: Path) -> None:
    for part in wanted.folder.glob(f"{wanted.stem}-{'?' * _KEY_DIGITS}.part"):
        if part != current:
            part.unlink(missing_ok=True)


def _refuse_full_disk(folder: Path, offer: _Offer, offset: int) -> None:
    needed = (offer.total or 0) - offset
    if needed > shutil.disk_usage(folder).free:
        raise _unwritable(folder, f"{needed >> 20} MiB are needed, and not free")


def _unwritable(path: Path, reason: str) -> OutputError:
    return OutputError(
        f"cannot be written: {reason}", path=path, hint=f"free some space, then {_GO_ON}"
    )

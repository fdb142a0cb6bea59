"""Bring a public checkpoint here from its authors' address, or from a mirror.

The only part of lipsync that touches the network, and only when it is asked to.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from lipsync_cli.checkpoints.download import Progress, Wanted, check_address, download
from lipsync_cli.checkpoints.store import Imported, check_name, import_file, make_store
from lipsync_cli.errors import UsageError, WeightsError
from lipsync_cli.weights.catalogue import PUBLIC, named_by_hash
from lipsync_cli.weights.listing import manifest, sha256_of
from lipsync_cli.weights.sniff import MAX_BYTES


@dataclass(frozen=True)
class Source:
    """Where a checkpoint will be fetched from.

    Attributes:
        name: what `locate` will call it.
        url: its address.
        sha256: what the file must have; None where nobody knows.
        bytes: likewise.
        licence: the terms that its authors state, in words.
    """

    name: str
    url: str
    sha256: str | None
    bytes: int | None
    licence: str


def source_of(name: str, *, url: str | None = None, sha256: str | None = None) -> Source:
    """Say where a checkpoint comes from, before anything is downloaded.

    Args:
        url: a mirror, in place of the authors' address.
        sha256: what the file must have, in place of what is known about the authors' file.

    Raises:
        UsageError: the name, the address or the hash is malformed, or nobody knows the name.
        WeightsError: its authors only offer it to browsers.
    """
    check_name(name)
    public = PUBLIC.get(name)
    if public is None and url is None:
        raise UsageError(f"no checkpoint is called {name!r}", hint="lipsync weights list")
    if public is not None and url is None and public.url is None:
        raise WeightsError(
            f"{public.title} is only offered to browsers",
            path=public.page,
            hint="download it there, then lipsync weights import FILE",
        )
    if sha256 is not None and not _is_sha256(sha256):
        raise UsageError("--sha256 takes 64 hexadecimal digits")
    licence = public.licence if public else "ask those who made it"
    if url is not None:
        check_address(url)
        return Source(name, url, sha256, None, licence)
    assert public is not None and public.url is not None
    return Source(name, public.url, sha256 or public.sha256, public.bytes, licence)


def fetch(source: Source, store: Path, *, progress: Progress | None = None) -> Imported:
    """Download a checkpoint, check it, and import it as `store.import_file` does.

    An interrupted download leaves a .part file in the store, from which the next call goes
    on; a complete one that is wrong leaves nothing.

    Args:
        progress: told the share done, 0..1, where the size is known.

    Raises:
        WeightsError: it cannot be downloaded, has another hash, or is another checkpoint; or
            the manifest of the store is no valid one.
        OutputError: the store cannot be written to.
    """
    # A broken manifest is better known before the download than after it.
    manifest(make_store(store))
    wanted = Wanted(source.url, source.name, store, source.bytes, MAX_BYTES)
    part = download(wanted, progress)
    origin = _without_secrets(source.url)
    try:
        _check_hash(part, source.sha256)
        imported = import_file(part, store, name=source.name, source=origin)
    except WeightsError as error:
        part.unlink()
        error.path = origin
        raise
    part.unlink()
    return replace(imported, source=origin)


def is_known(imported: Imported) -> bool:
    """Whether an imported file is, bit by bit, one that its authors published."""
    return named_by_hash(imported.weight.source_sha256) is not None


def _check_hash(part: Path, expected: str | None) -> None:
    found = sha256_of(part)
    if expected is not None and found != expected.lower():
        raise WeightsError(
            f"is not the file that was asked for: expected SHA-256 {expected.lower()}, "
            f"found {found}",
            hint="nothing was kept; name another address with --url",
        )


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and all(digit in "0123456789abcdefABCDEF" for digit in text)


def _without_secrets(url: str) -> str:
    """Leave out what may be a password or a token, because the address is kept and shown."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))

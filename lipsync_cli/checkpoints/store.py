"""The user's own folder of public checkpoints: recognised, stripped to tensors, named by hash."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipsync_cli.checkpoints.architectures import Recognised, recognise
from lipsync_cli.errors import OutputError, UsageError, WeightsError
from lipsync_cli.media.output import atomic
from lipsync_cli.results import SCHEMA_VERSION
from lipsync_cli.weights.catalogue import PUBLIC, named_by_hash
from lipsync_cli.weights.listing import Weight, manifest, register, sha256_of
from lipsync_cli.weights.reading import read_state
from lipsync_cli.weights.search import ships

if TYPE_CHECKING:
    from torch import Tensor

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_HASH_DIGITS = 10
# 3DFAN-4 has the very tensors of 2DFAN-4; only its published hashes tell them apart.
_FAN_3D = ("7835d9f11d", "4a694010b9")


@dataclass(frozen=True)
class Imported:
    """What became of an imported file.

    Attributes:
        source: the file that was imported.
        weight: its line in the manifest of the store.
        path: the copy: a plain dict of tensors that torch.load reads with weights_only.
        recognised: what it is.
        replaced: whether other weights had this name before.
    """

    source: str
    weight: Weight
    path: Path
    recognised: Recognised
    replaced: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the record of `lipsync weights import --json`."""
        return {
            "schema": SCHEMA_VERSION,
            "file": self.source,
            "ok": True,
            **asdict(self.recognised),
            "name": self.weight.name,
            "path": str(self.path),
            "bytes": self.weight.bytes,
            "sha256": self.weight.sha256,
            "source_sha256": self.weight.source_sha256,
            "licence": self.weight.licence,
            "replaced": self.replaced,
        }


@dataclass(frozen=True)
class _Identified:
    name: str
    digest: str
    recognised: Recognised
    state: dict[str, Tensor]


def import_file(
    path: Path, store: Path, *, name: str | None = None, source: str | None = None
) -> Imported:
    """Recognise a public checkpoint and put a safe copy of its tensors into the store.

    Nothing is written unless the file is recognised; the copy and its line in the manifest
    appear complete or not at all.

    Args:
        store: folder of imported files, made if need be.
        name: what `locate` will call it; from the architecture, the size and the file when
            None.
        source: what the manifest gives as its origin, in place of the name of the file.

    Raises:
        WeightsError: the file is none of the checkpoints that lipsync uses, or another one
            than `name` says.
        UsageError: the name is malformed, or belongs to weights that ship with lipsync.
        OutputError: the store cannot be written to.
    """
    if name is not None:
        check_name(name)
    found = _identify(path, name)
    target = make_store(store) / f"{found.name}-{found.digest[:_HASH_DIGITS]}.pt"
    before = manifest(store).get(found.name)
    replaced = before is not None and before.file != target.name
    _save(found.state, target)
    try:
        weight = _register(found, target, source or path.name)
    except BaseException:
        if before is None or replaced:
            target.unlink()
        raise
    if before is not None and replaced:
        with suppress(OSError):
            (store / before.file).unlink()
    return Imported(str(path), weight, target, found.recognised, replaced)


def check_name(name: str) -> None:
    """Check what somebody wants to call an imported file.

    Raises:
        UsageError: the name is malformed, or belongs to weights that ship with lipsync.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for weights", hint="use small letters, digits, _ . and -"
        )
    if ships(name):
        raise UsageError(f"{name!r} is the name of weights that ship with lipsync")


def make_store(store: Path) -> Path:
    """Make the folder of imported files if need be, and return it.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        store.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot be made: {error.strerror}",
            path=store,
            hint="set LIPSYNC_STORE to another folder",
        ) from error
    return store


def _identify(path: Path, name: str | None) -> _Identified:
    state = read_state(path)
    digest = sha256_of(path)
    try:
        recognised = recognise({key: tuple(tensor.shape) for key, tensor in state.items()})
        _refuse_3d(recognised, digest)
        name = name or _usual_name(recognised, digest, path.name)
        _refuse_mismatch(name, recognised)
    except WeightsError as error:
        error.path = str(path)
        raise
    return _Identified(name, digest, recognised, state)


def _register(found: _Identified, target: Path, source: str) -> Weight:
    return register(
        target,
        name=found.name,
        kind="state_dict",
        licence=_licence(found.name, found.recognised),
        about=found.recognised.title,
        source=source,
        source_sha256=found.digest,
    )


def _usual_name(recognised: Recognised, digest: str, file: str) -> str:
    public = named_by_hash(digest)
    if public is not None:
        return public.name
    if recognised.architecture != "wav2lip":
        return next(
            each.name for each in PUBLIC.values() if each.architecture == recognised.architecture
        )
    size = "" if recognised.size_px == 96 else f"_{recognised.size_px}"
    # Both kinds of training give the same tensors; the authors' names of files tell them apart.
    adversarial = re.search(r"(?<!no)gan", file.lower().replace("-", "").replace("_", ""))
    return f"wav2lip{size}" + ("_gan" if adversarial else "")


def _refuse_mismatch(name: str, recognised: Recognised) -> None:
    public = PUBLIC.get(name)
    if public is not None and public.architecture != recognised.architecture:
        usual = _usual_name(recognised, "", "")
        raise WeightsError(
            f"is the {recognised.title}, not {public.title}",
            hint=f"it can be imported as {usual}; {name}: {public.remedy}",
        )


def _refuse_3d(recognised: Recognised, digest: str) -> None:
    if recognised.architecture == "fan" and digest.startswith(_FAN_3D):
        raise WeightsError("is FAN for 3-D landmarks", hint=PUBLIC["fan"].remedy)


def _licence(name: str, recognised: Recognised) -> str:
    alike = (each for each in PUBLIC.values() if each.architecture == recognised.architecture)
    return PUBLIC[name].licence if name in PUBLIC else next(alike).licence


def _save(state: dict[str, Tensor], target: Path) -> None:
    import torch

    # Copies, because a tensor that is a view would bring its whole storage with it.
    plain = {
        key: tensor.detach().clone(memory_format=torch.contiguous_format)
        for key, tensor in state.items()
    }
    with atomic(target, overwrite=True) as temporary, temporary.open("wb") as stream:
        # Through Python's own file: a full disk is an OSError here.
        torch.save(plain, stream)

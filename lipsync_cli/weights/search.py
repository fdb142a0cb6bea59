"""Where model files are looked for, and the proof that each is the one its manifest names."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lipsync_cli.errors import WeightsError
from lipsync_cli.weights.catalogue import PUBLIC
from lipsync_cli.weights.listing import MANIFEST, Weight, manifest, sha256_of

_PACKAGE = Path(__file__).resolve().parents[1]
INSTALLED = _PACKAGE / "weights_data"
CHECKOUT = _PACKAGE.parent / "weights"

_preferred: list[Path] = []
_store: list[Path] = []


@dataclass(frozen=True)
class Listed:
    """A line of a manifest, and the folder that it speaks of."""

    weight: Weight
    folder: Path

    @property
    def path(self) -> Path:
        """Where the file should be."""
        return self.folder / self.weight.file

    @property
    def own(self) -> bool:
        """Whether the file ships with lipsync."""
        return self.folder in (INSTALLED, CHECKOUT)

    def verified(self) -> Path:
        """Return the path of the file, whose SHA-256 has been checked.

        A file is hashed once per process, and again when its size or time changes.

        Raises:
            WeightsError: the file is missing, damaged or another one.
        """
        try:
            status = self.path.stat()
            found = _hash_once(self.path, status.st_size, status.st_mtime_ns)
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror}; ", "") from error
        if found != self.weight.sha256.lower():
            raise self._error("are damaged or others: ", f", found {found}")
        return self.path

    def _error(self, before: str, after: str) -> WeightsError:
        expected = f"expected SHA-256 {self.weight.sha256}"
        return WeightsError(
            f"weights {self.weight.name!r} {before}{expected}{after}",
            path=self.path,
            hint=_repair(self.folder, self.weight.file, self.weight.name),
        )


def prefer(folder: Path | None) -> None:
    """Make `locate` look into this folder first, in this process; None takes it back."""
    _preferred[:] = [] if folder is None else [folder]


def use_store(folder: Path | None) -> None:
    """Make `locate` find what was imported into this folder, in this process; None takes it back.

    The folder need not exist yet.
    """
    _store[:] = [] if folder is None else [folder]


def locate(name: str, *, folder: Path | None = None) -> Path:
    """Return the path of a model file whose SHA-256 has been checked.

    Args:
        folder: looked into before all others.

    Raises:
        WeightsError: no manifest lists the name, or the file is missing or another one. For a
            public checkpoint the hint is the command that brings it here.
    """
    found = find(name, folder=folder)
    if found is None:
        raise _unlisted(name)
    return found


def find(name: str, *, folder: Path | None = None) -> Path | None:
    """Do as `locate`, with None for a name that no manifest lists."""
    for place in _places(folder):
        weight = _read(place).get(name)
        if weight is not None:
            return Listed(weight, place).verified()
    return None


def listed() -> list[Listed]:
    """List all model files that `locate` finds, in its order, none of them checked yet."""
    first: dict[str, Listed] = {}
    for place in _places(None):
        for name, weight in _read(place).items():
            first.setdefault(name, Listed(weight, place))
    return list(first.values())


def ships(name: str) -> bool:
    """Whether a name belongs to a file that ships with lipsync."""
    return any(name in _read(place) for place in (INSTALLED, CHECKOUT))


def _places(folder: Path | None) -> list[Path]:
    asked = [folder] if folder is not None else _preferred
    for place in asked:
        _require_manifest(place)
    return [*asked, *_store, INSTALLED, CHECKOUT]


def _read(folder: Path) -> dict[str, Weight]:
    try:
        return manifest(folder)
    except WeightsError as error:
        error.hint = _repair(folder, MANIFEST)
        raise


def _require_manifest(folder: Path) -> None:
    try:
        there = (folder / MANIFEST).is_file()
    except OSError:
        there = False
    if not there:
        raise WeightsError(f"holds no {MANIFEST}", path=folder, hint=_repair(folder, MANIFEST))


def _unlisted(name: str) -> WeightsError:
    public = PUBLIC.get(name)
    if public is not None:
        return WeightsError(f"{public.title} has not been imported", hint=public.remedy)
    home = INSTALLED if INSTALLED.is_dir() else CHECKOUT
    shipped = (home / MANIFEST).is_file()
    hint = "lipsync weights list names all there are" if shipped else _repair(home, MANIFEST)
    return WeightsError(f"no weights are called {name!r}", hint=hint)


def _repair(folder: Path, file: str, name: str | None = None) -> str:
    # The name on the package index may be somebody else's: only the source repairs it.
    if folder == CHECKOUT:
        return f"git -C '{CHECKOUT.parent}' restore weights/{file}"
    if folder == INSTALLED:
        return "pip install --force-reinstall --no-deps . in the source folder of lipsync"
    if folder in _store:
        public = PUBLIC.get(name or "")
        if file == MANIFEST:
            return "delete it, and import the checkpoints again"
        return public.remedy if public else f"lipsync weights import FILE --name {name}"
    return "put the right file there, or unset LIPSYNC_WEIGHTS to use the weights that ship"


@lru_cache(maxsize=64)
def _hash_once(path: Path, size: int, mtime_ns: int) -> str:
    return sha256_of(path)

"""All weights at a glance: those that ship, those imported, and those that could be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lipsync_cli.results import SCHEMA_VERSION
from lipsync_cli.weights.catalogue import OWN_PURPOSES, PUBLIC, Public
from lipsync_cli.weights.search import Listed, listed


@dataclass(frozen=True)
class Entry:
    """One name that weights can have.

    Attributes:
        listed: the file of that name, where a manifest lists one.
        public: what is known about a checkpoint that somebody else publishes.
    """

    name: str
    listed: Listed | None
    public: Public | None

    @property
    def present(self) -> bool:
        """Whether the file is there; whether it is the right one is not looked at."""
        return self.listed is not None and self.listed.path.is_file()

    @property
    def purpose(self) -> str:
        """What it is for, in words."""
        if self.public is not None:
            return self.public.purpose
        about = self.listed.weight.about if self.listed else ""
        return about or OWN_PURPOSES.get(self.name, "")

    @property
    def licence(self) -> str:
        """The terms of its authors, in words."""
        if self.listed is not None:
            return self.listed.weight.licence
        return self.public.licence if self.public else ""

    @property
    def bytes(self) -> int | None:
        """Size of the file, or of the one to be had; None where nobody knows."""
        if self.listed is not None:
            return self.listed.weight.bytes
        return self.public.bytes if self.public else None

    @property
    def sha256(self) -> str | None:
        """Digest of the file, or of the one to be had; None where nobody knows."""
        if self.listed is not None:
            return self.listed.weight.sha256
        return self.public.sha256 if self.public else None

    @property
    def origin(self) -> str:
        """Where the file comes from: an address, the name of a file, or this project."""
        if self.listed is not None:
            return "lipsync" if self.listed.own else self.listed.weight.source
        return (self.public.url or self.public.page) if self.public else ""

    def to_dict(self) -> dict[str, Any]:
        """Return the record of `lipsync weights list --json`."""
        return {
            "schema": SCHEMA_VERSION,
            "file": str(self.listed.path) if self.listed else None,
            "ok": True,
            "name": self.name,
            "present": self.present,
            "own": self.listed is not None and self.listed.own,
            "purpose": self.purpose,
            "licence": self.licence,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "origin": self.origin,
            "remedy": self.public.remedy if self.public and not self.present else None,
        }


def overview() -> list[Entry]:
    """List every name, those that ship first, then in the order of the catalogue.

    Raises:
        WeightsError: a manifest is no valid one.
    """
    found = {each.weight.name: each for each in listed()}
    others = sorted(found.keys() - PUBLIC.keys(), key=lambda name: (not found[name].own, name))
    return [Entry(name, found.get(name), PUBLIC.get(name)) for name in (*others, *PUBLIC)]

"""Model files: found, proven to be the right ones before any is read, imported, downloaded.

A folder of weights holds `manifest.json`, which names every file with its SHA-256. The
folders are, in this order: one asked for, the user's store of imported public checkpoints,
the one inside an installed package, the one of a source checkout.

Nothing here imports torch before a checkpoint is read, and nothing but `fetch` touches the
network.
"""

from __future__ import annotations

from lipsync_cli.weights.catalogue import PUBLIC, Public
from lipsync_cli.weights.listing import MANIFEST, Weight, manifest, register, sha256_of
from lipsync_cli.weights.search import find, locate, prefer, use_store

__all__ = [
    "MANIFEST",
    "PUBLIC",
    "Public",
    "Weight",
    "find",
    "locate",
    "manifest",
    "prefer",
    "register",
    "sha256_of",
    "use_store",
]

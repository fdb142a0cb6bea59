"""Training data that travels to a machine with a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lipsync_cli.training.commands.common import Cache

app = typer.Typer()
Packed = Annotated[Path, typer.Option(help="Folder of the small files.")]


@app.command()
def pack_sync(cache: Cache, packed: Packed, split: str = "train") -> None:
    """Make the cache of prepare-sync a twentieth of its size, to be carried elsewhere."""
    from lipsync_cli.training.sync.pack import pack

    for path in pack(cache, packed, split):
        typer.echo(f"{path.name}: {path.stat().st_size / 2**20:.1f} MiB")


@app.command()
def unpack_sync(packed: Packed, cache: Cache, split: str = "train") -> None:
    """Make the cache again from what pack-sync wrote."""
    from lipsync_cli.training.sync.pack import unpack

    typer.echo(f"{unpack(packed, cache, split)} clips")

"""`python -m lipsync_cli.training`: prepare, train, export and measure the shipped models."""

from __future__ import annotations

import typer

from lipsync_cli.training.commands import detector, dub, pack, sync

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
for group in (sync, pack, detector, dub):
    app.add_typer(group.app)


if __name__ == "__main__":
    app()

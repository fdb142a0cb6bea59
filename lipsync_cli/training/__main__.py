"""`python -m lipsync_cli.training`: prepare, train, export and measure the shipped models."""

from __future__ import annotations

import sys

import typer

from lipsync_cli.errors import LipsyncError
from lipsync_cli.training.commands import (
    detector,
    dub,
    expert,
    generator,
    pack,
    speed,
    sync,
    timeline,
)

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
for group in (sync, timeline, pack, expert, generator, detector, dub, speed):
    app.add_typer(group.app)


def main() -> None:
    """Run one command; an error is a line, not a traceback."""
    try:
        app()
    except LipsyncError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()

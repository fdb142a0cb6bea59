"""The command `lipsync`: its subcommands, and the one place where errors end."""

from __future__ import annotations

import inspect
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lipsync_cli import __version__
from lipsync_cli.cli import demo, detect_offset, dub, fix_sync, process, score, weights
from lipsync_cli.cli.report import Report
from lipsync_cli.errors import LipsyncError, OutputError
from lipsync_cli.media.output import NO_SPACE
from lipsync_cli.text import printable

EPILOG = """[bold]Start here[/]  [cyan]lipsync demo[/] makes a clip that is out of sync, measures \
it and repairs it.

[cyan]lipsync detect-offset clip.mp4[/]   [cyan]lipsync fix-sync clip.mp4[/]"""

_LIBRARIES = ("av", "torch", "opencv-python", "face-alignment", "numpy")


class _Commands(TyperGroup):
    """Turns the library's errors into one line, or one JSON record, and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        as_json = "--json" in ctx.args
        try:
            return super().invoke(ctx)
        except LipsyncError as error:
            Report(as_json=as_json).error(error)
            raise typer.Exit(error.exit_code) from None
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            # Only the answers themselves are written without a name.
            Report().error(OutputError(f"the answer could not be written: {error.strerror}"))
            _forget_stdout()
            raise typer.Exit(OutputError.exit_code) from None
        except Exception as error:
            # A wrong option is shown back: what was typed must not steer the terminal.
            if isinstance(message := getattr(error, "message", None), str):
                error.message = printable(message)  # type: ignore[attr-defined]
            raise


def _forget_stdout() -> None:
    """Keep the interpreter from trying to write what is left, and failing, at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


app = typer.Typer(
    name="lipsync",
    cls=_Commands,
    epilog=EPILOG,
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _add(name: str, command: Callable[..., None], epilog: str, *, needs_input: bool) -> None:
    # Typer would keep the line breaks of the docstring.
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    text = "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)
    app.command(name, help=text, epilog=epilog, no_args_is_help=needs_input)(command)


_add("detect-offset", detect_offset.detect_offset, detect_offset.EPILOG, needs_input=True)
_add("fix-sync", fix_sync.fix_sync, fix_sync.EPILOG, needs_input=True)
_add("score", score.score, score.EPILOG, needs_input=True)
_add("dub", dub.dub, dub.EPILOG, needs_input=True)
_add("demo", demo.demo, demo.EPILOG, needs_input=False)
app.add_typer(weights.app, name="weights", help=weights.HELP, epilog=weights.EPILOG)


def _show_version(wanted: bool) -> None:
    if wanted:
        Report().paragraph(f"lipsync {__version__} ({', '.join(_libraries())})")
        raise typer.Exit


def _libraries() -> Iterator[str]:
    # Half a tenth of a second, for --version only.
    from importlib.metadata import PackageNotFoundError, version

    yield f"Python {platform.python_version()}"
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            yield f"{name} {version(name)}"


@app.callback()
def lipsync(
    *,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            metavar="",
            help="Show the versions and exit.",
        ),
    ] = False,
) -> None:
    """Measure and repair the sync of [bold]sound and lips[/] in talking-head videos."""


def main() -> None:
    """Run the command line; ends the process with the exit codes of the manual."""
    process.unwind_on_sigterm()
    process.tolerate_any_name()
    app()

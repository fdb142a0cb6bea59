"""The only module that prints: answers on stdout, everything else on stderr."""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from lipsync_cli.cli.process import leave_closed_pipe
from lipsync_cli.errors import LipsyncError
from lipsync_cli.text import printable

_LEVEL_STYLES = {"error": "bold red", "warning": "yellow"}


class _Console(Console):
    def on_broken_pipe(self) -> None:
        leave_closed_pipe()


class Report:
    """Where one command says what it found."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False, verbose: int = 0) -> None:
        self.as_json = as_json
        self.verbose = -1 if quiet else verbose
        self._out = _Console(highlight=False, markup=False, emoji=False)
        self._err = Console(stderr=True, highlight=False, markup=False, emoji=False)

    def answer(self, line: str, record: Mapping[str, Any], *, style: str = "") -> None:
        """Print one answer: a line to read, or a JSON object on a line of its own."""
        if self.as_json:
            self._write_json(record)
            return
        name, colon, rest = line.partition(": ")
        self._out.print(Text.assemble((name, "bold"), colon, (rest, style)), soft_wrap=True)

    def table(self, title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table below an answer; JSON holds the same values in its record."""
        if self.as_json:
            return
        table = Table(*heads, title=title, title_justify="left", title_style=Style(italic=True))
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self._out.print(table)

    def paragraph(self, text: str) -> None:
        """Print a line that belongs to the answer for people."""
        if not self.as_json:
            self._out.print(text, soft_wrap=True)

    def error(self, error: LipsyncError, file: str | None = None) -> None:
        """Report what failed: a line on stderr, or the record that stands for the answer."""
        from lipsync_cli.results import error_record

        if self.as_json:
            name = file or error.path or ""
            self._write_json(error_record(name, error.code, error.message, error.hint))
            return
        where = f"{file}: " if file and not error.path else ""
        self.log("error", f"{where}{error}")

    def warning(self, text: str) -> None:
        """Say on stderr what deserves attention; JSON records carry their own warnings."""
        if self.verbose >= 0 and not self.as_json:
            self.log("warning", text)

    def note(self, text: str) -> None:
        """Say on stderr what only those want to know who asked for more with -v."""
        if self.verbose > 0 and not self.as_json:
            self.log("note", text)

    def log(self, level: str, text: str) -> None:
        """Write one line to stderr, safe for any terminal."""
        head = (f"{level}: ", _LEVEL_STYLES.get(level, "dim"))
        self._err.print(Text.assemble(head, printable(text)), soft_wrap=True)

    def progress(self, total: int) -> Bar:
        """Open a progress bar over `total` files; invisible where stderr is no terminal."""
        return Bar(self._err, total, visible=self._err.is_terminal and self.verbose >= 0)

    def log_handler(self) -> logging.Handler:
        """Return a handler that sends the library's log through this report."""
        return _Handler(self)

    def _write_json(self, record: Mapping[str, Any]) -> None:
        text = json.dumps(_plain(record), allow_nan=False)
        try:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            leave_closed_pipe()


class Bar:
    """A progress bar with the time left, on stderr, gone when it is done."""

    def __init__(self, console: Console, total: int, *, visible: bool) -> None:
        # A tenth of the time that --help takes, which shows no bar.
        from rich import progress

        self._total = total
        self._progress = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not visible,
            # Rich would send what goes to stdout meanwhile to stderr.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("", total=float(total))
        self._done = 0

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, name: str) -> None:
        """Name the file that is worked on now."""
        place = f"{self._done + 1}/{self._total} " if self._total > 1 else ""
        self._progress.update(self._task, description=place + printable(name))

    def advance(self, fraction: float) -> None:
        """Show how much of the current file is done, 0..1."""
        self._progress.update(self._task, completed=self._done + min(max(fraction, 0.0), 1.0))

    def finish(self) -> None:
        """Count one more file as done."""
        self._done += 1
        self._progress.update(self._task, completed=float(self._done))

    def pause(self) -> None:
        """Clear the bar away while an answer is printed."""
        self._progress.stop()

    def resume(self) -> None:
        """Bring the bar back."""
        self._progress.start()


class _Handler(logging.Handler):
    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        for line in self.format(record).splitlines():
            self._report.log(record.levelname.lower(), line)


def _plain(value: Any) -> Any:
    """JSON has no infinity, no NaN and no NumPy numbers; a microsecond is enough digits."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return round(number, 6) if math.isfinite(number) else None

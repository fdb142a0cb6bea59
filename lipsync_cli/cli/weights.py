"""`lipsync weights`: what model files there are, whether they are sound, how to add others."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lipsync_cli.cli import options, process
from lipsync_cli.cli.report import Report
from lipsync_cli.errors import OutputError, UsageError, WeightsError
from lipsync_cli.text import printable
from lipsync_cli.weights.search import Listed, listed

if TYPE_CHECKING:
    from lipsync_cli.checkpoints.store import Imported
    from lipsync_cli.weights.overview import Entry

HELP = "List, check, import and download [bold]model files[/]."

EPILOG = """[bold]Examples[/]
[cyan]lipsync weights list[/]  what there is, and what could be added
[cyan]lipsync weights import wav2lip_gan.pth[/]  makes a downloaded checkpoint usable
[cyan]lipsync weights fetch syncnet_v2[/]  downloads one from its authors' page

[bold]Exit codes[/]  0 done · 1 a file is damaged or is no such checkpoint · 2 wrong usage"""

_HASH_DIGITS = 10

Store = Annotated[
    Path | None,
    typer.Option(
        envvar="LIPSYNC_STORE",
        metavar="DIR",
        show_default="your data folder",
        help="Folder of imported model files.",
    ),
]


def list_(
    *,
    as_json: options.AsJson = False,
    store: Store = None,
    weights: options.Weights = None,
) -> None:
    """List the weights that ship with lipsync, those imported, and public ones it can use."""
    from lipsync_cli.weights.overview import overview

    report = Report(as_json=as_json)
    folder = _use(report, store, weights)
    entries = overview()
    if as_json:
        for entry in entries:
            report.answer("", entry.to_dict())
    report.table("", ("name", "for", "file and terms"), map(_cells, entries))
    report.paragraph(printable(f"imported files lie in {folder}"))
    report.paragraph("to add one: lipsync weights fetch NAME, or lipsync weights import FILE")


def verify(
    *,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    store: Store = None,
    weights: options.Weights = None,
) -> None:
    """Compare all weights that are here with their SHA-256."""
    report = Report(as_json=as_json, quiet=quiet)
    _use(report, store, weights)
    found = listed()
    damaged = 0
    with report.progress(len(found)) as bar:
        for each in found:
            bar.begin(each.weight.name)
            error = _error_of(each)
            bar.pause()
            if error is not None:
                damaged += 1
                report.error(error)
            else:
                _report_sound(report, each)
            bar.resume()
            bar.finish()
    raise typer.Exit(1 if damaged else 0)


def import_(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A public checkpoint.")],
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", show_default=False, help="Name to use it by, if not the usual one."
        ),
    ] = None,
    as_json: options.AsJson = False,
    store: Store = None,
) -> None:
    """Recognise a downloaded checkpoint and keep a safe copy of its tensors; nothing in it is run.

    SyncNet v2, Wav2Lip generators of all usual sizes, Wav2Lip's expert and discriminator, S3FD,
    FAN and the Inception of pytorch-fid are recognised by their tensors.
    """
    report = Report(as_json=as_json)
    folder = _required(_use(report, store, None))
    from lipsync_cli.checkpoints.store import import_file

    _report_imported(report, import_file(file, folder, name=name))


def fetch(
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="One that list names.")],
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", show_default=False, help="A mirror, in place of the authors' address."
        ),
    ] = None,
    sha256: Annotated[
        str | None,
        typer.Option(
            "--sha256",
            metavar="HEX",
            show_default=False,
            help="What the file must have; known for the authors' own files.",
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", metavar="", help="Accept the terms without being asked.")
    ] = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    store: Store = None,
) -> None:
    """Download a public checkpoint, check it and import it.

    An interrupted download goes on where it stopped when the command is run again. No other
    command of lipsync uses the network.
    """
    report = Report(as_json=as_json, quiet=quiet)
    folder = _required(_use(report, store, None))
    from lipsync_cli.checkpoints import fetch as fetching

    source = fetching.source_of(name, url=url, sha256=sha256)
    if not yes:
        _ask(f"{source.name} from {source.url}: {source.licence}")
    with report.progress(1) as bar:
        bar.begin(name)
        imported = fetching.fetch(source, folder, progress=bar.advance)
    _report_imported(report, imported)
    if sha256 is None and not fetching.is_known(imported):
        report.warning("no checksum is known for this file; --sha256 would check it")


def _use(report: Report, store: Path | None, weights: Path | None) -> Path | None:
    folder = store or process.user_store()
    process.apply(process.Setup(weights=weights, store=folder), report.log_handler())
    return folder


def _required(folder: Path | None) -> Path:
    if folder is None:
        raise OutputError("there is no home to keep model files in", hint="set LIPSYNC_STORE")
    return folder


def _error_of(each: Listed) -> WeightsError | None:
    try:
        each.verified()
    except WeightsError as error:
        return error
    return None


def _ask(terms: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError(f"the terms have to be accepted: {terms}", hint="--yes accepts them")
    typer.confirm(f"{printable(terms)}\nDownload?", abort=True, err=True)


def _cells(entry: Entry) -> tuple[str, str, str]:
    facts = [_whereabouts(entry)]
    if entry.bytes is not None:
        facts.append(_size(entry.bytes))
    if entry.sha256 is not None:
        facts.append(f"SHA-256 {entry.sha256[:_HASH_DIGITS]}")
    terms = printable(f"terms: {entry.licence}")
    return (
        printable(entry.name),
        printable(entry.purpose),
        f"{printable(', '.join(facts))}\n{terms}",
    )


def _whereabouts(entry: Entry) -> str:
    if entry.listed is None:
        return "not here"
    if not entry.present:
        return "missing"
    return "ships" if entry.listed.own else "imported"


def _report_sound(report: Report, each: Listed) -> None:
    from lipsync_cli.results import SCHEMA_VERSION

    weight = each.weight
    record = {
        "schema": SCHEMA_VERSION,
        "file": str(each.path),
        "ok": True,
        "name": weight.name,
        "bytes": weight.bytes,
        "sha256": weight.sha256,
    }
    line = f"{weight.name}: intact ({_size(weight.bytes)}, SHA-256 {weight.sha256})"
    report.answer(printable(line), record)


def _report_imported(report: Report, imported: Imported) -> None:
    weight = imported.weight
    what = f"{imported.recognised.title}, {imported.recognised.parameters / 1e6:.1f} M parameters"
    change = ", in place of another" if imported.replaced else ""
    line = f"{imported.source}: {what} -> {weight.name}{change} ({_size(weight.bytes)})"
    report.answer(printable(line), imported.to_dict(), style="green")
    report.paragraph(printable(f"terms  {weight.licence}"))
    report.paragraph(printable(f"copy   {imported.path}"))


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


app = typer.Typer(no_args_is_help=True)


def _add(name: str, command: Callable[..., None], *, needs_input: bool) -> None:
    # Typer would keep the line breaks of the docstring.
    paragraphs = (command.__doc__ or "").split("\n\n")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    app.command(name, help=text, no_args_is_help=needs_input)(command)


_add("list", list_, needs_input=False)
_add("verify", verify, needs_input=False)
_add("import", import_, needs_input=True)
_add("fetch", fetch, needs_input=True)

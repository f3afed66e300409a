"""`bems export`: every stored event, or the state of every invoice, one JSON object per line.

Not here: the objects themselves (event_json.py), the order of rows (the store's reader).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import IO, Final, NamedTuple

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bems_streams.cli.event_json import document_line, encode, event_object
from bems_streams.cli.files import replacing
from bems_streams.cli.store_options import reading, store_options, store_url
from bems_streams.config import Settings
from bems_streams.ports import StoreReader

_LINES_PER_WRITE: Final = 1000


class Export(NamedTuple):
    """What can be exported: how many lines to expect, and the lines."""

    expected: Callable[[StoreReader], int]
    lines: Callable[[StoreReader], Iterator[bytes]]


def _event_lines(reader: StoreReader) -> Iterator[bytes]:
    return (encode(event_object(row)) for row in reader.events())


def _invoice_lines(reader: StoreReader) -> Iterator[bytes]:
    return (document_line(row.document) for row in reader.invoices())


EXPORTS: Final[Mapping[str, Export]] = {
    "events": Export(lambda reader: reader.counts().stored, _event_lines),
    "invoices": Export(lambda reader: reader.counts().invoices, _invoice_lines),
}


@click.command(name="export", short_help="Write events or invoices to a file.")
@click.argument("what", type=click.Choice(list(EXPORTS)))
@click.option("--format", "form", type=click.Choice(["jsonl"]), default="jsonl", show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write this file instead of the terminal.")
@store_options
def command(*, what: str, form: str, out: Path | None, state_dir: Path | None, store: str | None) -> None:
    """Write all stored events, or the newest state of all invoices, as of one moment: one JSON object per line.

    A file appears under its name when it is complete, not before. Prefer --out to a pipe that somebody reads slowly:
    while an export runs, the store cannot shrink its log of writes. Exit code 2: no store to read.
    """
    export = EXPORTS[what]
    with reading(store_url(Settings(), state_dir, store)) as opened:
        if out is None:
            for _ in _written(export.lines(opened.reader), click.get_binary_stream("stdout")):
                pass
            return
        with replacing(out) as file:
            number = _with_progress(what, export, opened.reader, file)
    click.echo(f"{number:,} {what} written to {out}", err=True)


def _written(lines: Iterable[bytes], target: IO[bytes]) -> Iterator[int]:
    """Write in blocks; the size of each."""
    remaining = iter(lines)
    while block := list(islice(remaining, _LINES_PER_WRITE)):
        target.write(b"\n".join(block) + b"\n")
        yield len(block)
    target.flush()


def _with_progress(what: str, export: Export, reader: StoreReader, target: IO[bytes]) -> int:
    """Write it all, with a bar on standard error when that is a terminal; the number of lines."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    screen, number = Console(stderr=True), 0
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task(what, total=export.expected(reader))
        for block in _written(export.lines(reader), target):
            number += block
            progress.update(task, completed=number)
    return number

"""`bems receipt`: what became of an accepted event, by the receipt that its sender was given.

Not here: how it is found out (flows/resolve.py), how it is laid out (receipt_screen.py).
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from bems_streams.adapters.kafka_reader import KafkaLogReader
from bems_streams.adapters.stores import open_reader
from bems_streams.cli.event_json import encode
from bems_streams.cli.ledger_options import ledger_options
from bems_streams.cli.receipt_screen import print_resolution, unresolved_object
from bems_streams.cli.screen import screen
from bems_streams.cli.store_options import StoreUnreadableError, store_url
from bems_streams.config import Settings
from bems_streams.domain.standing import Standing, State
from bems_streams.flows.resolve import Away, Receipts, Resolution
from bems_streams.ports import StoreUnusableError
from bems_streams.topics import CatalogueError, load_catalogue

ANSWER_SECONDS: Final = 5.0


@click.command(name="receipt", short_help="What became of an accepted event, by its receipt.")
@click.argument("receipts", nargs=-1, required=True, metavar="RECEIPT…")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead of panels, as HTTP answers.")
@click.option("--cell", help="Cell whose receipts these are. [BEMS_CELL, local-1]")
@ledger_options
def command(
    *,
    receipts: tuple[str, ...],
    as_json: bool,
    cell: str | None,
    bootstrap: str | None,
    catalogue: Path | None,
    state_dir: Path | None,
    store: str | None,
) -> None:
    """Say of each receipt: accepted, stored, duplicate, retrying or dead-lettered, with times.

    Exit code 0: all are resolved. 1: one is unknown here, or its event is missing. 2: store or broker, whichever would
    know of one, could not be asked.
    """
    given = {"bootstrap": bootstrap, "catalogue": catalogue, "cell": cell}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    with _resolving(settings, store_url(settings, state_dir, store)) as resolver:
        found = [(receipt, resolver.resolve(receipt)) for receipt in receipts]
    console = screen()
    for receipt, resolution in found:
        if as_json:
            click.echo(
                encode(resolution if isinstance(resolution, Standing) else unresolved_object(receipt, resolution))
            )
        else:
            print_resolution(console, receipt, resolution)
    sys.exit(_exit_code([resolution for _, resolution in found]))


@contextmanager
def _resolving(settings: Settings, url: str) -> Iterator[Receipts]:
    """Over the store and the log; closed at the end."""
    try:
        loaded = load_catalogue(settings.catalogue, settings.overrides)
        reader = open_reader(url)
    except (CatalogueError, StoreUnusableError) as error:
        raise StoreUnreadableError(str(error)) from error
    try:
        log = KafkaLogReader(
            settings.bootstrap, client_id="bems-receipt", answer_seconds=ANSWER_SECONDS, stall_seconds=ANSWER_SECONDS
        )
        yield Receipts(settings.cell, tuple(loaded.stage_topics.values()), loaded.partitions, reader, log)
    finally:
        reader.close()


def _exit_code(found: Sequence[Resolution]) -> int:
    if any(isinstance(resolution, Away) for resolution in found):
        return 2
    resolved = all(isinstance(resolution, Standing) and resolution.state is not State.MISSING for resolution in found)
    return 0 if resolved else 1

"""`bems invoice`: one invoice, where it is and everything that happened to it.

Not here: how it is laid out (invoice_screen.py).
"""

import time
from collections.abc import Sequence
from pathlib import Path

import click

from bems_streams.cli.event_json import encode, timeline_object
from bems_streams.cli.invoice_screen import print_invoice
from bems_streams.cli.screen import screen
from bems_streams.cli.store_options import reading, store_options, store_url
from bems_streams.config import Settings
from bems_streams.ports import Timeline
from bems_streams.topics import CatalogueError, load_catalogue


@click.command(name="invoice", short_help="Show one invoice with its timeline.")
@click.argument("invoice_id")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
@store_options
def command(*, invoice_id: str, as_json: bool, state_dir: Path | None, store: str | None) -> None:
    """Show the state of one invoice, its events in business order, duplicates, alerts and dead letters.

    Exit code 1: the store does not know the invoice; 2: no store to read.
    """
    settings = Settings()
    with reading(store_url(settings, state_dir, store)) as opened:
        timeline = opened.reader.timeline(invoice_id)
        if timeline.invoice is None and not (timeline.events or timeline.alerts or timeline.dead_letters):
            raise click.ClickException(
                f"no invoice {invoice_id!r} in {opened.url}: check the id, case matters; an event accepted just now "
                "appears within seconds while the sink runs"
            )
    if as_json:
        click.echo(encode(timeline_object(timeline)))
        return
    print_invoice(screen(), invoice_id, timeline, _stages(settings, timeline), time.time_ns() // 1000)


def _stages(settings: Settings, timeline: Timeline) -> Sequence[str]:
    """The journey as catalogued, and stages of events that the catalogue has lost since."""
    try:
        catalogued = load_catalogue(settings.catalogue, settings.overrides).journey().names
    except CatalogueError as error:
        click.echo(f"the stages are shown in the order of events, because of the catalogue: {error}", err=True)
        catalogued = ()
    return list(dict.fromkeys((*catalogued, *(row.stage for row in timeline.events))))

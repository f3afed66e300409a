"""`bems stuck`: invoices that stayed longer than their stage allows, longest first.

Not here: what makes an invoice stuck (the tracker does).
"""

import time
from collections.abc import Sequence
from decimal import Context, Decimal
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from bems_streams.cli.event_json import document_line
from bems_streams.cli.screen import money, plain, screen, time_text
from bems_streams.cli.store_options import reading, store_options, store_url
from bems_streams.config import Settings
from bems_streams.domain.views import duration_text
from bems_streams.ports import InvoiceRow, StageStanding

_EXACT: Final = Context(prec=1000)


@click.command(name="stuck", short_help="List stuck invoices, longest first.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Show at most this many.")
@click.option("--json", "as_json", is_flag=True, help="One status document per line instead of a table.")
@store_options
def command(*, limit: int, as_json: bool, state_dir: Path | None, store: str | None) -> None:
    """List invoices that are stuck now: where, for how long, how much money, whose.

    The totals at the bottom are over all stuck invoices, also those beyond --limit. Exit code 2: no store to read.
    """
    with reading(store_url(Settings(), state_dir, store)) as opened:
        found = opened.reader.stuck(limit)
        if as_json:
            for row in found:
                click.echo(document_line(row.document))
            return
        standing = opened.reader.standing()
        console = screen()
        if found:
            console.print(stuck_table(found, time.time_ns() // 1000))
        print_totals(console, standing, len(found))


def stuck_table(found: Sequence[InvoiceRow], now_us: int) -> Table:
    """One line per invoice."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("invoice", "stage", "in stage", "amount", "entity / payee", "due", "stuck since"):
        table.add_column(heading, justify="right" if heading == "amount" else "left", overflow="fold")
    for row in found:
        table.add_row(
            plain(row.invoice_id, "bold"),
            plain(row.stage),
            duration_text(now_us - row.entered_us),
            money(row.invoice_amount, row.currency),
            plain(" / ".join(name for name in (row.legal_entity_id, row.payee_code) if name) or None),
            plain(row.invoice_due_date),
            time_text(row.stuck_since_us),
        )
    return table


def print_totals(console: Console, standing: Sequence[StageStanding], shown: int) -> None:
    """How many in all, in which stages, and how much money per currency."""
    number = sum(place.stuck for place in standing)
    if number == 0:
        console.print(f"no invoice is stuck, of {sum(place.invoices for place in standing):,}")
        return
    sums: dict[str, Decimal] = {}
    for place in standing:
        for currency, value in place.stuck_value.items():
            sums[currency] = _EXACT.add(sums.get(currency, Decimal(0)), Decimal(value))
    where = ", ".join(f"{place.stuck:,} in {place.stage}" for place in standing if place.stuck)
    console.print(plain(f"\N{MIDDLE DOT} {number:,} stuck: {where}", "bold"))
    for currency, total in sorted(sums.items()):
        console.print(plain(f"  {total:>24,f} {currency}"))
    if shown < number:
        console.print(f"shown are the longest {shown:,}; --limit {number} shows all", style="dim")

"""One invoice on a terminal: a headline, its way through the stages, then what happened, as tables.

Not here: finding it (invoice.py).
"""

from collections import Counter
from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bems_streams.cli.screen import money, plain, time_text
from bems_streams.domain.views import duration_text
from bems_streams.ports import AlertRow, Coordinates, DeadLetterRow, DuplicateRow, EventRow, InvoiceRow, Timeline


def print_invoice(console: Console, invoice_id: str, timeline: Timeline, stages: Sequence[str], now_us: int) -> None:
    """Everything known; parts without content are left out."""
    console.print(plain(invoice_id, "bold"))
    if timeline.invoice is None:
        console.print("no state yet: the tracker has not published it (bems worker tracker); its events are below")
    else:
        console.print(headline(timeline.invoice, now_us))
    console.print()
    console.print(way(stages, timeline))
    for heading, table in (
        ("events", _events(timeline.events)),
        ("alerts", _alerts(timeline.alerts)),
        ("duplicates: received again and not counted", _duplicates(timeline.duplicates)),
        ("dead letters", _dead_letters(timeline.dead_letters)),
    ):
        if table.row_count:
            console.print()
            console.print(heading, style="bold")
            console.print(table)


def headline(invoice: InvoiceRow, now_us: int) -> Text:
    """Status, stage, dwell, whether stuck, then money and owner."""
    stuck = invoice.stuck_since_us is not None
    text = Text.assemble(plain(invoice.status), " in ", plain(invoice.stage, "bold"))
    text.append(f" for {duration_text(now_us - invoice.entered_us)}")
    if stuck:
        text.append_text(Text.assemble(", ", ("stuck", "bold red"), " since ", time_text(invoice.stuck_since_us)))
    elif invoice.deadline_us is not None:
        text.append_text(Text.assemble(", due to move on by ", time_text(invoice.deadline_us)))
    facts = (
        ("amount", money(invoice.invoice_amount, invoice.currency), invoice.invoice_amount),
        ("entity", plain(invoice.legal_entity_id), invoice.legal_entity_id),
        ("payee", plain(invoice.payee_code), invoice.payee_code),
        ("due", plain(invoice.invoice_due_date), invoice.invoice_due_date),
    )
    known = [Text.assemble((f"{name} ", "dim"), shown) for name, shown, value in facts if value is not None]
    return Text("\n").join([text, Text("   ").join(known)]) if known else text


def way(stages: Sequence[str], timeline: Timeline) -> Text:
    """The stages in order: filled where events came, ringed where the invoice is now, hollow where nothing came yet."""
    events = Counter(row.stage for row in timeline.events)
    here = timeline.invoice.stage if timeline.invoice else None
    stuck = timeline.invoice is not None and timeline.invoice.stuck_since_us is not None
    marks = []
    for stage in stages:
        if stage == here:
            mark, style = "\N{FISHEYE}", "bold red" if stuck else "bold green"
        else:
            mark, style = ("\N{BLACK CIRCLE}", "green") if events[stage] else ("\N{WHITE CIRCLE}", "dim")
        number = f" {events[stage]}" if events[stage] else ""
        marks.append(Text.assemble((f"{mark} ", style), plain(stage, style), (number, "dim")))
    return Text(" \N{BOX DRAWINGS LIGHT HORIZONTAL}\N{BOX DRAWINGS LIGHT HORIZONTAL} ", "dim").join(marks)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in headings:
        table.add_column(heading, justify="right" if heading == "amount" else "left", overflow="fold")
    return table


def _place(at: Coordinates) -> Text:
    return plain(f"{at.topic}/{at.partition}/{at.offset}", "dim")


def _events(rows: Sequence[EventRow]) -> Table:
    table = _table("occurred", "stage", "activity", "amount", "source", "event", "accepted", "stored after", "record")
    for row in rows:
        table.add_row(
            time_text(row.occurred_us),
            plain(row.stage),
            plain(row.activity),
            money(row.invoice_amount, row.currency),
            plain(row.source),
            plain(row.event_id),
            time_text(row.accepted_us),
            duration_text(row.stored_us - row.accepted_us),
            _place(row.at),
        )
    return table


def _alerts(rows: Sequence[AlertRow]) -> Table:
    table = _table("raised", "kind", "stage", "deadline", "reason")
    for row in rows:
        reason = msgspec.json.decode(row.document).get("reason")
        style = "red" if row.kind == "stuck" else "green"
        table.add_row(
            time_text(row.raised_us),
            plain(row.kind, style),
            plain(row.stage),
            time_text(row.deadline_us),
            plain(reason),
        )
    return table


def _duplicates(rows: Sequence[DuplicateRow]) -> Table:
    table = _table("accepted", "event", "record")
    for row in rows:
        table.add_row(time_text(row.accepted_us), plain(row.event_id), _place(row.at))
    return table


def _dead_letters(rows: Sequence[DeadLetterRow]) -> Table:
    table = _table("noted", "agent", "code", "reason", "record")
    for row in rows:
        table.add_row(
            time_text(row.stored_us), plain(row.agent), plain(row.code, "red"), plain(row.reason), _place(row.at)
        )
    return table

"""Rows for tests of stores, each with sensible values that a test replaces where they matter."""

from typing import Any

from bems_streams.ports import (
    MINUTE_US,
    AlertRow,
    Coordinates,
    DeadLetterRow,
    EventRow,
    Handled,
    InvoiceRow,
    RetryRow,
    Span,
)

NOW_US = 1_700_000_000_000_000
SECOND_US = 1_000_000
MINUTE = NOW_US // MINUTE_US * MINUTE_US
"""Start of the minute that NOW_US lies in."""


def at(offset: int, partition: int = 0, topic: str = "invoices.ingestion") -> Coordinates:
    """Coordinates in the log."""
    return Coordinates(topic, partition, offset)


def event(event_id: str = "e-1", offset: int = 0, **changes: Any) -> EventRow:
    """An event of invoice INV-1 that stands at `offset`."""
    row = EventRow(
        event_id=event_id,
        invoice_id="INV-1",
        stage="ingestion",
        source="erp",
        occurred_us=NOW_US - 5 * SECOND_US,
        accepted_us=NOW_US,
        stored_us=NOW_US + 20_000,
        at=at(offset),
        payee_code="P-1",
        legal_entity_id="LE-1",
        invoice_date="2026-01-01",
        invoice_due_date="2026-02-01",
        invoice_amount="10.50",
        currency="EUR",
        attributes='{"plant":"DE01"}',
    )
    return row._replace(**changes)


def dead_letter(offset: int = 0, agent: str = "sink", **changes: Any) -> DeadLetterRow:
    """A note that the record at `offset` was given up."""
    row = DeadLetterRow(at(offset), agent, "invalid_event", "stage: required", NOW_US, NOW_US + 30_000, None)
    return row._replace(**changes)


def retry(offset: int = 0, agent: str = "sink", attempts: int = 1, **changes: Any) -> RetryRow:
    """A note that the record at `offset` waits in a lane after so many tries."""
    due_us = NOW_US + attempts * 5 * SECOND_US
    row = RetryRow(at(offset), agent, "store_refused", "no", attempts, due_us, NOW_US, NOW_US + 30_000, "INV-1")
    return row._replace(**changes)


def invoice(invoice_id: str = "INV-1", revision: int = 1, **changes: Any) -> InvoiceRow:
    """An open invoice that is not stuck."""
    row = InvoiceRow(
        invoice_id=invoice_id,
        revision=revision,
        status="open",
        stage="ingestion",
        entered_us=NOW_US,
        last_occurred_us=NOW_US,
        updated_us=NOW_US,
        deadline_us=NOW_US + SECOND_US,
        stuck_since_us=None,
        events=1,
        document=f'{{"invoice_id":"{invoice_id}","revision":{revision}}}',
        payee_code="P-1",
        legal_entity_id="LE-1",
        invoice_due_date="2026-02-01",
        invoice_amount="10.50",
        currency="EUR",
    )
    return row._replace(**changes)


def alert(invoice_id: str = "INV-1", kind: str = "stuck", **changes: Any) -> AlertRow:
    """An alert about an invoice in ingestion."""
    row = AlertRow(invoice_id, "ingestion", NOW_US + SECOND_US, kind, NOW_US + 2 * SECOND_US, '{"kind":"stuck"}')
    return row._replace(**changes)


def handled(first: int, until: int, partition: int = 0, topic: str = "invoices.ingestion") -> Handled:
    """The sink read these offsets."""
    return Handled("sink", topic, partition, first, until)


def span(
    first: int,
    until: int,
    stored: int = 0,
    duplicates: int = 0,
    dead_lettered: int = 0,
    retrying: int = 0,
    **changes: Any,
) -> Span:
    """A span of the sink's in NOW_US's minute."""
    counts = (stored, duplicates, dead_lettered, retrying)
    return Span("sink", "invoices.ingestion", 0, first, until, MINUTE, *counts, {})._replace(**changes)

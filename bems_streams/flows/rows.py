"""Rows of the store, made from what is read: events, invoice states, alerts. Pure.

Not here: what happens to them (store.py), the tables (adapters).
"""

from typing import Final

import msgspec

from bems_streams.domain.amount import amount
from bems_streams.domain.event import Event, date_text, microseconds
from bems_streams.domain.views import decode_alert, decode_status
from bems_streams.flows.envelope import trace_id
from bems_streams.flows.lanes import SetAside
from bems_streams.ports import AlertRow, DeadLetterRow, EventRow, InvoiceRow, RawRecord, RetryRow

MAX_COUNT: Final = 2**63 - 1


def event_row(record: RawRecord, event: Event, stored_us: int) -> EventRow:
    """One event as stored. Pure."""
    invoiced, due, attributes = event.invoice_date, event.invoice_due_date, event.attributes
    return EventRow(  # by position, here and below: 20 names take a NamedTuple 1 µs longer
        event.event_id,
        event.invoice_id,
        event.stage,
        event.source,
        event.occurred_us,
        record.accepted_us,
        stored_us,
        record.at,
        event.payee_code,
        event.legal_entity_id,
        None if invoiced is None else date_text(invoiced),
        None if due is None else date_text(due),
        event.invoice_amount,
        event.currency,
        event.matched_amount,
        event.authorized_amount,
        event.ppv,
        event.pqv,
        event.activity,
        None if attributes is None else _encode(attributes).decode(),
        trace_id(record.headers) if record.headers else None,
    )


_encode: Final = msgspec.json.Encoder().encode


def invoice_row(value: bytes) -> InvoiceRow:
    """A status record as stored. Raises ValueError, TypeError or RecursionError for what is none."""
    status = decode_status(value)
    if not 0 <= status.revision <= MAX_COUNT or not 0 <= status.events <= MAX_COUNT:
        raise ValueError(f"`revision` and `events` count from 0 to {MAX_COUNT}")
    if status.invoice_amount is not None:
        amount(status.invoice_amount)
    return InvoiceRow(
        status.invoice_id,
        status.revision,
        status.status,
        status.stage,
        microseconds(status.stage_entered_at),
        microseconds(status.last_occurred_at),
        microseconds(status.updated_at),
        None if status.deadline is None else microseconds(status.deadline),
        None if status.stuck_since is None else microseconds(status.stuck_since),
        status.events,
        value.decode(),
        status.payee_code,
        status.legal_entity_id,
        status.invoice_due_date,
        status.invoice_amount,
        status.currency,
    )


def alert_row(value: bytes) -> AlertRow:
    """An alert record as stored. Raises ValueError, TypeError or RecursionError for what is none."""
    alert = decode_alert(value)
    return AlertRow(
        invoice_id=alert.invoice_id,
        stage=alert.stage,
        deadline_us=microseconds(alert.deadline),
        kind=alert.kind,
        raised_us=microseconds(alert.raised_at),
        document=value.decode(),
    )


def set_aside_row(aside: SetAside, event: Event | EventRow | None, stored_us: int) -> DeadLetterRow | RetryRow:
    """The note of a record on its way to a lane or the dead letters. `event`: what is known of it, if it decodes."""
    record, passage = aside.arrival.record, aside.passage
    key = None if record.key is None else record.key.decode("utf-8", "replace")
    known: tuple[str | None, ...] = (key, None, None, None)
    if event is not None:
        known = (key, event.event_id, event.currency, event.invoice_amount)
    if aside.dead:
        return DeadLetterRow(
            record.at, passage.agent, passage.code, passage.reason, record.accepted_us, stored_us, *known
        )
    waits = (passage.attempts, passage.not_before_us, record.accepted_us, stored_us)
    return RetryRow(record.at, passage.agent, passage.code, passage.reason, *waits, *known)

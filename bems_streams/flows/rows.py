"""Rows of the store, made from what is read: events, invoice states, alerts. Pure.

Not here: what happens to them (store.py), the tables (adapters).
"""

from decimal import Decimal
from typing import Final

import msgspec

from bems_streams.domain.amount import amount
from bems_streams.domain.event import Event, microseconds
from bems_streams.domain.views import decode_alert, decode_status
from bems_streams.flows.envelope import trace_id
from bems_streams.flows.lanes import SetAside
from bems_streams.ports import AlertRow, DeadLetterRow, EventRow, InvoiceRow, RawRecord, RetryRow

MAX_COUNT: Final = 2**63 - 1


def event_row(record: RawRecord, event: Event, stored_us: int) -> EventRow:
    """One event as stored. Pure."""
    return EventRow(
        event_id=event.event_id,
        invoice_id=event.invoice_id,
        stage=event.stage,
        source=event.source,
        occurred_us=event.occurred_us,
        accepted_us=record.accepted_us,
        stored_us=stored_us,
        at=record.at,
        payee_code=event.payee_code,
        legal_entity_id=event.legal_entity_id,
        invoice_date=None if event.invoice_date is None else event.invoice_date.isoformat(),
        invoice_due_date=None if event.invoice_due_date is None else event.invoice_due_date.isoformat(),
        invoice_amount=_decimal(event.invoice_amount),
        currency=event.currency,
        matched_amount=_decimal(event.matched_amount),
        authorized_amount=_decimal(event.authorized_amount),
        ppv=_decimal(event.ppv),
        pqv=_decimal(event.pqv),
        activity=event.activity,
        attributes=None if event.attributes is None else msgspec.json.encode(event.attributes).decode(),
        correlation_id=trace_id(record.headers),
    )


def _decimal(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")


def invoice_row(value: bytes) -> InvoiceRow:
    """A status record as stored. Raises ValueError, TypeError or RecursionError for what is none."""
    status = decode_status(value)
    if not 0 <= status.revision <= MAX_COUNT or not 0 <= status.events <= MAX_COUNT:
        raise ValueError(f"`revision` and `events` count from 0 to {MAX_COUNT}")
    if status.invoice_amount is not None:
        amount(status.invoice_amount)
    return InvoiceRow(
        invoice_id=status.invoice_id,
        revision=status.revision,
        status=status.status,
        stage=status.stage,
        entered_us=microseconds(status.stage_entered_at),
        last_occurred_us=microseconds(status.last_occurred_at),
        updated_us=microseconds(status.updated_at),
        deadline_us=None if status.deadline is None else microseconds(status.deadline),
        stuck_since_us=None if status.stuck_since is None else microseconds(status.stuck_since),
        events=status.events,
        document=value.decode(),
        payee_code=status.payee_code,
        legal_entity_id=status.legal_entity_id,
        invoice_due_date=status.invoice_due_date,
        invoice_amount=status.invoice_amount,
        currency=status.currency,
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
        amount_text = event.invoice_amount if isinstance(event, EventRow) else _decimal(event.invoice_amount)
        known = (key, event.event_id, event.currency, amount_text)
    if aside.dead:
        return DeadLetterRow(
            record.at, passage.agent, passage.code, passage.reason, record.accepted_us, stored_us, *known
        )
    waits = (passage.attempts, passage.not_before_us, record.accepted_us, stored_us)
    return RetryRow(record.at, passage.agent, passage.code, passage.reason, *waits, *known)

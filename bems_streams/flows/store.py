"""What happens to a batch on its way into the store: events, invoice states and alerts become rows, once each.

Not here: the tables and upserts (adapters), the order of steps (deliver.py).
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

import msgspec

from bems_streams.domain.amount import amount
from bems_streams.domain.event import Event, microseconds
from bems_streams.domain.failures import InvalidEvent, Poison, Problem
from bems_streams.domain.views import decode_alert, decode_status
from bems_streams.flows.dead_letter import dead_letter
from bems_streams.flows.decode import decode_event
from bems_streams.metrics import AgentMetrics
from bems_streams.ports import (
    AlertRow,
    Clock,
    DeadLetterRow,
    EventRow,
    EventStore,
    InvoiceRow,
    OutRecord,
    Publisher,
    RawRecord,
    StoreBatch,
    StoreUnavailableError,
    WriteOutcome,
    WriteResult,
)

logger = logging.getLogger(__name__)

AGENT = "sink"
CORRELATION_HEADER = "correlation-id"
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 5.0
MAX_COUNT: Final = 2**63 - 1


@dataclass(frozen=True)
class SinkParts:
    """What the sink is built from. Topics come from the catalogue."""

    stage_of: Mapping[str, str]
    status_topic: str
    alerts_topic: str
    dead_letter_of: Mapping[str, str]
    cell: str
    region: str
    clock: Clock
    publisher: Publisher
    store: EventStore
    metrics: AgentMetrics
    patience_seconds: float = 60.0
    """How long the store may be away before the worker stops without acking, to be started again."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(slots=True)
class Rows:
    """The decision about one batch."""

    events: list[EventRow] = field(default_factory=list)
    dead_letters: list[DeadLetterRow] = field(default_factory=list)
    invoices: list[InvoiceRow] = field(default_factory=list)
    alerts: list[AlertRow] = field(default_factory=list)
    out: list[OutRecord] = field(default_factory=list)
    dead: list[tuple[str | None, str]] = field(default_factory=list)


class Store:
    """Steps of the sink; see deliver.py."""

    def __init__(self, parts: SinkParts) -> None:
        self._parts = parts

    def decide(self, given: Sequence[RawRecord]) -> Rows:
        """A row, or a dead letter, for every record."""
        rows = Rows()
        stored_us = self._parts.clock.now_us()
        for record in given:
            stage = self._parts.stage_of.get(record.at.topic)
            if stage is not None:
                event = decode_event(record, stage)
                if isinstance(event, Poison):
                    self._reject(rows, record, event, stored_us)
                else:
                    rows.events.append(event_row(record, event, stored_us))
            elif record.value is not None:  # a tombstone of the status topic says nothing new
                self._derived(rows, record, record.value, stored_us)
        return rows

    def _derived(self, rows: Rows, record: RawRecord, value: bytes, stored_us: int) -> None:
        try:
            if record.at.topic == self._parts.status_topic:
                rows.invoices.append(invoice_row(value))
            else:
                rows.alerts.append(alert_row(value))
        except (ValueError, TypeError, RecursionError) as error:  # msgspec's are ValueErrors
            self._reject(rows, record, InvalidEvent((Problem("", str(error)),)), stored_us)

    def _reject(self, rows: Rows, record: RawRecord, rejected: Poison, stored_us: int) -> None:
        parts = self._parts
        topic = parts.dead_letter_of[record.at.topic]
        rows.out.append(dead_letter(record, rejected, topic=topic, agent=AGENT, cell=parts.cell, region=parts.region))
        stage = parts.stage_of.get(record.at.topic)
        rows.dead.append((stage, rejected.code))
        if stage is not None:  # the ledger accounts for stage topics
            key = None if record.key is None else record.key.decode("utf-8", "replace")
            rows.dead_letters.append(
                DeadLetterRow(record.at, AGENT, rejected.code, rejected.reason, record.accepted_us, stored_us, key)
            )

    async def publish(self, decision: Rows) -> None:
        """Step 3: dead letters, awaited."""
        if decision.out:
            await self._parts.publisher.publish(decision.out)

    async def write(self, decision: Rows, proof: None) -> WriteResult:
        """Step 4: one store transaction. The partition waits while the store is away."""
        parts = self._parts
        batch = StoreBatch(decision.events, decision.dead_letters, decision.invoices, decision.alerts)
        began_us, pause_seconds = parts.clock.now_us(), FIRST_PAUSE_SECONDS
        while True:
            try:
                return await asyncio.to_thread(parts.store.write, batch)
            except StoreUnavailableError as error:
                if parts.clock.now_us() - began_us >= parts.patience_seconds * 1e6:
                    raise
                logger.warning("nothing was stored, trying again in %g s: %s", pause_seconds, error)
            await parts.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)
            batch = _stored_at(batch, parts.clock.now_us())

    def count(self, decision: Rows, result: WriteResult) -> None:
        """Step 5. Visibility ends here: a query returns the row now. What it returned before is not measured again."""
        metrics = self._parts.metrics
        now_us = self._parts.clock.now_us()
        outcomes = list(zip(decision.events, result.outcomes, strict=True))
        counts = Counter((row.stage, outcome) for row, outcome in outcomes)
        for (stage, outcome), events in counts.items():
            metrics.count(stage, outcome, events)
        for row, outcome in outcomes:
            if outcome is WriteOutcome.STORED:
                metrics.visibility_seconds.observe((now_us - row.accepted_us) / 1e6)
        for dead_stage, code in decision.dead:
            metrics.dead_letter(code)
            if dead_stage is not None:
                metrics.count(dead_stage, "dead_lettered", 1)


def _stored_at(batch: StoreBatch, stored_us: int) -> StoreBatch:
    """The same rows, told when they are really stored: the store was away since they were made."""
    return replace(
        batch,
        events=[row._replace(stored_us=stored_us) for row in batch.events],
        dead_letters=[row._replace(stored_us=stored_us) for row in batch.dead_letters],
    )


def event_row(record: RawRecord, event: Event, stored_us: int) -> EventRow:
    """One event as stored. Pure."""
    correlation = next((value for name, value in record.headers if name == CORRELATION_HEADER), None)
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
        correlation_id=None if correlation is None else correlation.decode("utf-8", "replace"),
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

"""What happens to a batch on its way into the store: events, states, alerts and accounts become rows, once each.

Not here: the form of rows (rows.py), lanes (lanes.py), tables and upserts (adapters), the order of steps (deliver.py).
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bems_streams.domain.event import Event
from bems_streams.domain.failures import Failure, InvalidEvent, Problem
from bems_streams.flows.accounts import account_of
from bems_streams.flows.breaker import Breaker
from bems_streams.flows.decode import decode_event, refusal
from bems_streams.flows.lanes import Arrival, Lanes, SetAside, count_asides
from bems_streams.flows.rows import alert_row, event_row, invoice_row, set_aside_row
from bems_streams.metrics import AgentMetrics
from bems_streams.ports import (
    Account,
    AlertRow,
    Clock,
    DeadLetterRow,
    EventRow,
    EventStore,
    Handled,
    InvoiceRow,
    OutRecord,
    Place,
    Publisher,
    RawRecord,
    RetryRow,
    StoreBatch,
    StoreUnavailableError,
    WriteOutcome,
    WriteResult,
)

AGENT: Final = "sink"


@dataclass(frozen=True)
class SinkParts:
    """What the sink is built from. Topics come from the catalogue."""

    stage_of: Mapping[str, str]
    status_topic: str
    alerts_topic: str
    ledger_topic: str
    lanes: Lanes
    clock: Clock
    publisher: Publisher
    store: EventStore
    breaker: Breaker
    metrics: AgentMetrics


@dataclass(slots=True)
class Rows:
    """The decision about one batch. `records` and `late_records` stand beside `events` and `late_events`: as read."""

    events: list[EventRow] = field(default_factory=list)
    records: list[RawRecord] = field(default_factory=list)
    late_events: list[EventRow] = field(default_factory=list)
    late_records: list[RawRecord] = field(default_factory=list)
    dead_letters: list[DeadLetterRow] = field(default_factory=list)
    retrying: list[RetryRow] = field(default_factory=list)
    invoices: list[InvoiceRow] = field(default_factory=list)
    alerts: list[AlertRow] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    read_first: dict[Place, int] = field(default_factory=dict)
    read_last: dict[Place, int] = field(default_factory=dict)
    """First and last offset of what was read from each partition of a stage topic."""
    out: list[OutRecord] = field(default_factory=list)
    asides: list[SetAside] = field(default_factory=list)

    def batch(self) -> StoreBatch:
        """What is to be written."""
        return StoreBatch(
            events=self.events,
            late_events=self.late_events,
            dead_letters=self.dead_letters,
            retrying=self.retrying,
            invoices=self.invoices,
            alerts=self.alerts,
            accounts=self.accounts,
            handled=[
                Handled(AGENT, *place, first, self.read_last[place] + 1) for place, first in self.read_first.items()
            ],
        )


class Store:
    """Steps of the sink; see deliver.py."""

    def __init__(self, parts: SinkParts) -> None:
        self._parts = parts

    def decide(self, given: Sequence[RawRecord]) -> Rows:
        """A row, a place in a lane, or a dead letter for every record."""
        rows, stage_of, lanes = Rows(), self._parts.stage_of, self._parts.lanes
        stored_us = self._parts.clock.now_us()
        for record in given:
            topic, partition, offset = record.at
            stage = stage_of.get(topic)
            if stage is not None:
                rows.read_first.setdefault((topic, partition), offset)
                rows.read_last[topic, partition] = offset
                self._take(rows, record, record, stage, stored_us)
            elif topic in lanes.waits:
                self._returned(rows, record, lanes.arrival(record), stored_us)
            elif record.value is not None:  # a tombstone of the status topic says nothing new
                self._derived(rows, Arrival(record, None), record.value, stored_us)
        return rows

    def _take(self, rows: Rows, read: RawRecord, record: RawRecord, stage: str, stored_us: int) -> None:
        """One event of a stage: `record` as it was accepted, `read` from its topic or from a lane.

        An Arrival would cost a microsecond for each record, and only those that fail need theirs.
        """
        event = decode_event(record, stage)
        if isinstance(event, Failure):
            self._set_aside(rows, self._parts.lanes.arrival(read), event, None, stored_us)
        elif (refused := refusal(event, record.accepted_us, stored_us)) is not None:
            self._set_aside(rows, self._parts.lanes.arrival(read), refused, event, stored_us)
        elif read.at.topic == self._parts.lanes.late_topic:
            rows.late_events.append(event_row(record, event, stored_us))
            rows.late_records.append(read)
        else:
            rows.events.append(event_row(record, event, stored_us))
            rows.records.append(read)

    def _returned(self, rows: Rows, read: RawRecord, arrival: Arrival, stored_us: int) -> None:
        stage = self._parts.stage_of.get(arrival.record.at.topic)
        if arrival.failure is not None:
            self._set_aside(rows, arrival, arrival.failure, None, stored_us)
        elif stage is not None:
            self._take(rows, read, arrival.record, stage, stored_us)
        elif arrival.record.value is not None:
            self._derived(rows, arrival, arrival.record.value, stored_us)

    def _derived(self, rows: Rows, arrival: Arrival, value: bytes, stored_us: int) -> None:
        topic, parts = arrival.record.at.topic, self._parts
        try:
            if topic == parts.status_topic:
                rows.invoices.append(invoice_row(value))
            elif topic == parts.ledger_topic:
                rows.accounts.append(account_of(value))
            else:
                rows.alerts.append(alert_row(value))
        except (ValueError, TypeError, RecursionError) as error:  # msgspec's are ValueErrors
            self._set_aside(rows, arrival, InvalidEvent((Problem("", str(error)),)), None, stored_us)

    def _set_aside(
        self, rows: Rows, arrival: Arrival, failure: Failure, event: Event | EventRow | None, stored_us: int
    ) -> None:
        aside = self._parts.lanes.set_aside(arrival, failure, stored_us)
        rows.out.append(aside.out)
        rows.asides.append(aside)
        if arrival.record.at.topic in self._parts.stage_of:  # the ledger accounts for stage topics
            row = set_aside_row(aside, event, stored_us)
            if isinstance(row, DeadLetterRow):
                rows.dead_letters.append(row)
            else:
                rows.retrying.append(row)

    async def publish(self, decision: Rows) -> None:
        """Step 3: dead letters and what goes to lanes, awaited."""
        if decision.out:
            await self._parts.publisher.publish(decision.out)

    async def write(self, decision: Rows, proof: None) -> WriteResult:
        """Step 4: one store transaction. The partition waits while the store is away.

        Rows that the store refuses go to their lanes, awaited; then all is written again with their notes instead.
        """
        outcomes = (await self._written(decision.batch())).outcomes
        while any(isinstance(outcome, Failure) for outcome in outcomes):
            published = len(decision.out)
            took = self._take_out_refused(decision, outcomes)
            await self._parts.publisher.publish(decision.out[published:])
            again = (await self._written(decision.batch())).outcomes
            outcomes = [now if isinstance(now, Failure) else first for first, now in zip(took, again, strict=True)]
        return WriteResult(outcomes)

    def _take_out_refused(self, decision: Rows, outcomes: Sequence[WriteOutcome | Failure]) -> list[WriteOutcome]:
        """Turn refused rows into notes; return the outcomes of the others."""
        now_us, took, begun = self._parts.clock.now_us(), [], iter(outcomes)
        for rows, records in (
            (decision.events, decision.records),
            (decision.late_events, decision.late_records),
        ):
            given = list(zip(rows, records, strict=True))
            rows.clear()
            records.clear()
            for (row, read), outcome in zip(given, begun, strict=False):
                if isinstance(outcome, Failure):
                    self._set_aside(decision, self._parts.lanes.arrival(read), outcome, row, now_us)
                else:
                    rows.append(row)
                    records.append(read)
                    took.append(outcome)
        return took

    async def _written(self, batch: StoreBatch) -> WriteResult:
        parts = self._parts
        while True:
            try:
                result = await asyncio.to_thread(parts.store.write, batch)
            except StoreUnavailableError as error:
                await parts.breaker.failed(error.kind, str(error))
                batch = _stored_at(batch, parts.clock.now_us())
            else:
                parts.breaker.succeeded()
                return result

    def count(self, decision: Rows, result: WriteResult) -> None:
        """Step 5. Visibility ends here: a query returns the row now. What it returned before is not measured again.

        By what many events have in common: their outcome, the millisecond of their acceptance.
        """
        metrics, now_us = self._parts.metrics, self._parts.clock.now_us()
        rows, outcomes = [*decision.events, *decision.late_events], result.outcomes
        counts = Counter(zip([row.stage for row in rows], outcomes, strict=True))
        for (stage, outcome), events in counts.items():
            if isinstance(outcome, WriteOutcome):
                metrics.count(stage, outcome, events)
        became = zip(rows, outcomes, strict=True)
        stored = Counter(row.accepted_us for row, outcome in became if outcome is WriteOutcome.STORED)
        for accepted_us, events in stored.items():
            metrics.visibility_seconds.observe((now_us - accepted_us) / 1e6, events)
        count_asides(metrics, self._parts.stage_of, decision.asides)


def _stored_at(batch: StoreBatch, stored_us: int) -> StoreBatch:
    """The same rows, told when they are really stored: the store was away since they were made."""
    return replace(
        batch,
        events=[row._replace(stored_us=stored_us) for row in batch.events],
        late_events=[row._replace(stored_us=stored_us) for row in batch.late_events],
        dead_letters=[row._replace(stored_us=stored_us) for row in batch.dead_letters],
        retrying=[row._replace(stored_us=stored_us) for row in batch.retrying],
    )

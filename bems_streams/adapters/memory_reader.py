"""Queries over the store in memory, by plain loops: what the faster stores are compared with.

Not here: writing (memory.py), counting rows for the ledger (memory_ledger_reader.py).
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from bems_streams.adapters import memory_ledger_reader as ledger_queries
from bems_streams.adapters.memory_ledger import MemoryTables
from bems_streams.adapters.stores_records import texts, total
from bems_streams.adapters.stores_summary import NO_CURRENCY, bucket_start, valued, visibility_of
from bems_streams.ports import (
    STORE_AGENT,
    Coordinates,
    DeadLetterRow,
    EventKey,
    EventRow,
    Fate,
    InvoiceRow,
    Offsets,
    RatePoint,
    RetryRow,
    Span,
    StageActivity,
    StageStanding,
    StoreCounts,
    Tally,
    Timeline,
    Visibility,
)


def business_order(row: EventRow) -> tuple[str, int, Coordinates]:
    """The order of exports, and within an invoice the order of timelines."""
    return (row.invoice_id, row.occurred_us, row.at)


class MemoryReader:
    """`StoreReader` over MemoryTables. Iterators see the rows as they were at the call."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables

    def exists(self) -> bool:
        """See the port."""
        return self._tables.created

    def counts(self) -> StoreCounts:
        """See the port."""
        tables = self._tables
        with tables.lock:
            stuck = sum(row.stuck_since_us is not None for row in tables.invoices.values())
            return StoreCounts(
                stored=len(tables.events),
                duplicates=len(tables.duplicates),
                dead_lettered=sum(agent == STORE_AGENT for agent, _ in tables.dead_letters),
                invoices=len(tables.invoices),
                stuck=stuck,
                retrying=sum(agent == STORE_AGENT for agent, _ in tables.retrying),
            )

    def _stored(self) -> list[EventRow]:
        with self._tables.lock:
            return list(self._tables.events.values())

    def _accepted(self, since_us: int, until_us: int) -> list[EventRow]:
        return [row for row in self._stored() if since_us <= row.accepted_us < until_us]

    def activity(self, since_us: int, until_us: int) -> Sequence[StageActivity]:
        """See the port."""
        by_stage: defaultdict[str, list[EventRow]] = defaultdict(list)
        for row in self._accepted(since_us, until_us):
            by_stage[row.stage].append(row)
        return [StageActivity(stage, len(rows), _value(rows)) for stage, rows in sorted(by_stage.items())]

    def standing(self) -> Sequence[StageStanding]:
        """See the port."""
        by_stage: defaultdict[str, list[InvoiceRow]] = defaultdict(list)
        for row in self.invoices():
            by_stage[row.stage].append(row)
        return [_standing(stage, rows) for stage, rows in sorted(by_stage.items())]

    def rates(self, since_us: int, until_us: int, bucket_us: int) -> Sequence[RatePoint]:
        """See the port."""
        events = self._accepted(since_us, until_us)
        counted = Counter((row.stage, bucket_start(row.accepted_us, bucket_us)) for row in events)
        return [RatePoint(stage, start_us, number) for (stage, start_us), number in sorted(counted.items())]

    def newest_stored_us(self) -> int | None:
        """See the port."""
        stored = self._stored()
        return stored[-1].stored_us if stored else None

    def stored_since(self, sequence: int, limit: int) -> Sequence[tuple[int, int, int]]:
        """See the port."""
        first = max(sequence, 0)
        rows = self._stored()[first : first + limit]
        return [(place, row.accepted_us, row.stored_us) for place, row in enumerate(rows, first + 1)]

    def visibility(self, since_us: int, until_us: int) -> Visibility:
        """See the port."""
        return visibility_of([row.stored_us - row.accepted_us for row in self._accepted(since_us, until_us)])

    def timeline(self, invoice_id: str) -> Timeline:
        """See the port."""
        with self._tables.lock:
            duplicates = [row for row in self._tables.duplicates.values() if row.invoice_id == invoice_id]
            alerts = [row for row in self._tables.alerts.values() if row.invoice_id == invoice_id]
            invoice = self._tables.invoices.get(invoice_id)
        return Timeline(
            invoice,
            [row for row in self.events() if row.invoice_id == invoice_id],
            sorted(duplicates, key=lambda row: (row.accepted_us, row.at)),
            sorted(alerts, key=lambda row: (row.raised_us, row.deadline_us, row.stage, row.kind)),
            [row for row in self.dead_letters() if row.invoice_id == invoice_id],
            [row for row in self.retrying() if row.invoice_id == invoice_id],
        )

    def stuck(self, limit: int | None = None) -> Sequence[InvoiceRow]:
        """See the port."""
        found = [(row.stuck_since_us, row.invoice_id, row) for row in self.invoices() if row.stuck_since_us is not None]
        return [row for _, _, row in sorted(found)[:limit]]

    def dead_letters(self, limit: int | None = None) -> Sequence[DeadLetterRow]:
        """See the port."""
        with self._tables.lock:
            found = list(self._tables.dead_letters.values())
        return sorted(found, key=lambda row: (row.stored_us, row.at, row.agent), reverse=True)[:limit]

    def retrying(self, limit: int | None = None) -> Sequence[RetryRow]:
        """See the port."""
        with self._tables.lock:
            found = list(self._tables.retrying.values())
        return sorted(found, key=lambda row: (row.not_before_us, row.at, row.agent))[:limit]

    def fate(self, at: Coordinates) -> Fate:
        """See the port."""
        with self._tables.lock:
            return ledger_queries.fate(self._tables, at)

    def find(self, keys: Collection[EventKey]) -> Mapping[EventKey, Coordinates]:
        """See the port."""
        with self._tables.lock:
            return {key: self._tables.events[key].at for key in keys if key in self._tables.events}

    def ledger(self, agent: str, since_us: int, until_us: int) -> Sequence[Span]:
        """See the port."""
        with self._tables.lock:
            spans = ledger_queries.spans(self._tables, agent)
        return [span for span in spans if since_us <= span.minute_us < until_us]

    def ledger_positions(self, agent: str) -> Offsets:
        """See the port."""
        with self._tables.lock:
            return {
                (span.topic, span.partition): span.next_offset for span in ledger_queries.spans(self._tables, agent)
            }

    def tally(self, spans: Sequence[Span], *, valued: bool = True) -> Sequence[Tally]:
        """See the port."""
        with self._tables.lock:
            tallies = [ledger_queries.tally(self._tables, span) for span in spans]
        return tallies if valued else [replace(tally, value={}) for tally in tallies]

    def held(self, agent: str, topic: str, partition: int, first_offset: int, next_offset: int) -> Collection[int]:
        """See the port."""
        with self._tables.lock:
            found = ledger_queries.placed(self._tables, agent)
        return {at.offset for at in found if at[:2] == (topic, partition) and first_offset <= at.offset < next_offset}

    def rows_outside_ledger(self, agent: str) -> Sequence[Coordinates]:
        """See the port."""
        with self._tables.lock:
            return ledger_queries.rows_outside(self._tables, agent)

    def events(self) -> Iterator[EventRow]:
        """See the port."""
        return iter(sorted(self._stored(), key=business_order))

    def invoices(self) -> Iterator[InvoiceRow]:
        """See the port."""
        with self._tables.lock:
            found = list(self._tables.invoices.values())
        return iter(sorted(found, key=lambda row: row.invoice_id))

    def close(self) -> None:
        """Nothing to release."""


def _value(rows: Sequence[EventRow | InvoiceRow]) -> Mapping[str, str]:
    return texts(total(valued(row.currency, row.invoice_amount) for row in rows))


def _standing(stage: str, rows: Sequence[InvoiceRow]) -> StageStanding:
    stuck = [row for row in rows if row.stuck_since_us is not None]
    unvalued = sum(valued(row.currency, row.invoice_amount)[0] == NO_CURRENCY for row in rows)
    return StageStanding(stage, len(rows), len(stuck), unvalued, _value(rows), _value(stuck))

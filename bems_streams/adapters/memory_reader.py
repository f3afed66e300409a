"""Queries over the store in memory, by plain loops: what the faster stores are compared with.

Not here: writing (memory.py).
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from bems_streams.adapters.stores_summary import (
    EXACT,
    NO_CURRENCY,
    amount_text,
    bucket_start,
    valued,
    visibility_of,
)
from bems_streams.ports import (
    AlertRow,
    Coordinates,
    DeadLetterRow,
    DuplicateRow,
    EventRow,
    InvoiceRow,
    RatePoint,
    StageActivity,
    StageStanding,
    StoreCounts,
    Timeline,
    Visibility,
)


@dataclass(slots=True)
class MemoryTables:
    """The rows, shared by a store and its readers under `lock`. Events stand in the order in which they came."""

    lock: threading.Lock
    created: bool = False
    events: dict[tuple[str, str], EventRow] = field(default_factory=dict)
    stored_at: set[Coordinates] = field(default_factory=set)
    duplicates: dict[Coordinates, DuplicateRow] = field(default_factory=dict)
    dead_letters: dict[Coordinates, dict[str, DeadLetterRow]] = field(default_factory=dict)
    invoices: dict[str, InvoiceRow] = field(default_factory=dict)
    alerts: dict[tuple[str, str, int, str], AlertRow] = field(default_factory=dict)


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
                len(tables.events), len(tables.duplicates), len(tables.dead_letters), len(tables.invoices), stuck
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
        )

    def stuck(self, limit: int | None = None) -> Sequence[InvoiceRow]:
        """See the port."""
        found = [(row.stuck_since_us, row.invoice_id, row) for row in self.invoices() if row.stuck_since_us is not None]
        return [row for _, _, row in sorted(found)[:limit]]

    def dead_letters(self, limit: int | None = None) -> Sequence[DeadLetterRow]:
        """See the port."""
        with self._tables.lock:
            found = [row for by_agent in self._tables.dead_letters.values() for row in by_agent.values()]
        return sorted(found, key=lambda row: (row.stored_us, row.at, row.agent), reverse=True)[:limit]

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
    sums: dict[str, Decimal] = {}
    for row in rows:
        currency, amount = valued(row.currency, row.invoice_amount)
        if currency != NO_CURRENCY:
            sums[currency] = EXACT.add(sums.get(currency, Decimal(0)), amount)
    return {currency: amount_text(amount) for currency, amount in sorted(sums.items())}


def _standing(stage: str, rows: Sequence[InvoiceRow]) -> StageStanding:
    stuck = [row for row in rows if row.stuck_since_us is not None]
    unvalued = sum(valued(row.currency, row.invoice_amount)[0] == NO_CURRENCY for row in rows)
    return StageStanding(stage, len(rows), len(stuck), unvalued, _value(rows), _value(stuck))

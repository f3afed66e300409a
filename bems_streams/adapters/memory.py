"""The event store within one process, with the semantics of the durable ones: for tests and for trying things out.

Not here: durability (what it holds is gone with the process), tables (memory_ledger.py), queries (memory_reader.py).
"""

import threading
from collections.abc import Iterable

from bems_streams.adapters.memory_ledger import MemoryBooks, MemoryTables
from bems_streams.adapters.memory_reader import MemoryReader
from bems_streams.adapters.stores_ledger import duplicate_of, keep_books
from bems_streams.adapters.stores_summary import valued
from bems_streams.ports import (
    AlertRow,
    DeadLetterRow,
    EventRow,
    InvoiceRow,
    RecordOutcome,
    RetryRow,
    StoreBatch,
    WriteOutcome,
    WriteResult,
)


class MemoryBackend:
    """One store in memory. Only readers opened from the same backend see what its store holds."""

    def __init__(self) -> None:
        self._tables = MemoryTables(threading.Lock())

    def open_store(self) -> "MemoryStore":
        """The writing side."""
        return MemoryStore(self._tables)

    def open_reader(self) -> MemoryReader:
        """The reading side."""
        return MemoryReader(self._tables)


class MemoryStore:
    """`EventStore` over MemoryTables. All or nothing: rows are checked before the first is taken."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables
        tables.created = True

    def write(self, batch: StoreBatch) -> WriteResult:
        """See the port."""
        events = [*batch.events, *batch.late_events]
        values = [valued(row.currency, row.invoice_amount) for row in events]
        others: list[DeadLetterRow | RetryRow | InvoiceRow] = [*batch.dead_letters, *batch.retrying, *batch.invoices]
        for other in others:
            valued(other.currency, other.invoice_amount)
        with self._tables.lock:
            outcomes = [self._store(row) for row in events]
            firsts = [self._tables.events[row.invoice_id, row.event_id] for row in events]
            known = [
                RecordOutcome.STORED if row.at == first.at else RecordOutcome.DUPLICATE
                for row, first in zip(events, firsts, strict=True)
            ]
            keep_books(MemoryBooks(self._tables), batch, events, known, values)
            self._take_derived(batch.invoices, batch.alerts)
        return WriteResult(outcomes)

    def _store(self, row: EventRow) -> WriteOutcome:
        stored = self._tables.events.get((row.invoice_id, row.event_id))
        if stored is None:
            self._tables.events[row.invoice_id, row.event_id] = row
            self._tables.stored_at.setdefault(row.at, row)
            return WriteOutcome.STORED
        if row.at == stored.at or row.at in self._tables.duplicates:
            return WriteOutcome.REPLAYED
        self._tables.duplicates[row.at] = duplicate_of(row)
        return WriteOutcome.DUPLICATE

    def _take_derived(self, invoices: Iterable[InvoiceRow], alerts: Iterable[AlertRow]) -> None:
        tables = self._tables
        for invoice in invoices:
            known = tables.invoices.get(invoice.invoice_id)
            if known is None or invoice.revision > known.revision:
                tables.invoices[invoice.invoice_id] = invoice
        for alert in alerts:
            tables.alerts.setdefault((alert.invoice_id, alert.stage, alert.deadline_us, alert.kind), alert)

    def close(self) -> None:
        """Nothing to release: readers go on."""

"""The event store within one process, with the semantics of the durable ones: for tests and for trying things out.

Not here: durability (what it holds is gone with the process) and queries (memory_reader.py).
"""

import threading

from bems_streams.adapters.memory_reader import MemoryReader, MemoryTables
from bems_streams.adapters.stores_summary import valued
from bems_streams.ports import DuplicateRow, EventRow, StoreBatch, WriteOutcome, WriteResult


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
        for event in batch.events:
            valued(event.currency, event.invoice_amount)
        for invoice in batch.invoices:
            valued(invoice.currency, invoice.invoice_amount)
        tables = self._tables
        with tables.lock:
            outcomes = [self._store(row) for row in batch.events]
            for letter in batch.dead_letters:
                if letter.at not in tables.stored_at and letter.at not in tables.duplicates:
                    tables.dead_letters.setdefault(letter.at, {}).setdefault(letter.agent, letter)
            for invoice in batch.invoices:
                known = tables.invoices.get(invoice.invoice_id)
                if known is None or invoice.revision > known.revision:
                    tables.invoices[invoice.invoice_id] = invoice
            for alert in batch.alerts:
                tables.alerts.setdefault((alert.invoice_id, alert.stage, alert.deadline_us, alert.kind), alert)
        return WriteResult(outcomes)

    def _store(self, row: EventRow) -> WriteOutcome:
        key, outcome = (row.invoice_id, row.event_id), self._outcome(row)
        if outcome is WriteOutcome.STORED:
            self._tables.events[key] = row
            self._tables.stored_at.add(row.at)
        elif outcome is WriteOutcome.DUPLICATE:
            note = DuplicateRow(row.at, row.invoice_id, row.event_id, row.accepted_us, row.stored_us)
            self._tables.duplicates[row.at] = note
        if outcome is not WriteOutcome.REPLAYED:
            self._tables.dead_letters.pop(row.at, None)
        return outcome

    def _outcome(self, row: EventRow) -> WriteOutcome:
        stored = self._tables.events.get((row.invoice_id, row.event_id))
        if stored is None:
            return WriteOutcome.STORED
        replayed = row.at == stored.at or row.at in self._tables.duplicates
        return WriteOutcome.REPLAYED if replayed else WriteOutcome.DUPLICATE

    def close(self) -> None:
        """Nothing to release: readers go on."""

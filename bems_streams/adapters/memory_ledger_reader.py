"""What the store in memory holds for the ledger to be compared with, counted by plain loops.

Callers hold the tables' lock. Not here: the ledger's upkeep (memory_ledger.py), the reader itself (memory_reader.py).
"""

from collections.abc import Sequence
from typing import Final

from bems_streams.adapters.memory_ledger import MemoryBooks, MemoryTables, records, within
from bems_streams.adapters.stores_ledger import span_at
from bems_streams.adapters.stores_records import tally_of
from bems_streams.ports import Coordinates, Fate, Span, Tally

MOST_OUTSIDE: Final = 1_000


def placed(tables: MemoryTables, agent: str) -> set[Coordinates]:
    """Where those records stand."""
    return {at for at, _ in records(tables, agent)}


def spans(tables: MemoryTables, agent: str) -> Sequence[Span]:
    """The agent's whole account, in order."""
    return sorted(
        (span for line in tables.ledger.values() for span in line.values() if span.agent == agent),
        key=lambda span: span[:4],
    )


def fate(tables: MemoryTables, at: Coordinates) -> Fate:
    """See StoreReader."""
    event, duplicate = tables.stored_at.get(at), None
    if event is None:
        duplicate = tables.duplicates.get(at)
        event = None if duplicate is None else tables.events.get((duplicate.invoice_id, duplicate.event_id))
    letters = sorted((row for row in tables.dead_letters.values() if row.at == at), key=lambda row: row.agent)
    retrying = sorted((row for row in tables.retrying.values() if row.at == at), key=lambda row: row.agent)
    return Fate(event, duplicate, letters, retrying)


def tally(tables: MemoryTables, span: Span) -> Tally:
    """See StoreReader."""
    first, until = span.first_offset, span.next_offset
    return tally_of([record for at, record in records(tables, span.agent) if within(at, span[:3], first, until)])


def rows_outside(tables: MemoryTables, agent: str) -> Sequence[Coordinates]:
    """See StoreReader."""
    books = MemoryBooks(tables)
    outside = [at for at in placed(tables, agent) if span_at(books, (agent, at.topic, at.partition), at.offset) is None]
    return sorted(outside)[:MOST_OUTSIDE]

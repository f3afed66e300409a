"""What the store in memory holds for the ledger to be compared with, counted by plain loops.

Callers hold the tables' lock. Not here: the ledger's upkeep (memory_ledger.py), the reader itself (memory_reader.py).
"""

from collections.abc import Iterator, Sequence
from typing import Final

from bems_streams.adapters.memory_ledger import MemoryBooks, MemoryTables
from bems_streams.adapters.stores_ledger import span_at, texts, total
from bems_streams.adapters.stores_summary import valued
from bems_streams.ports import (
    STORE_AGENT,
    Coordinates,
    DeadLetterRow,
    DuplicateRow,
    EventRow,
    Fate,
    RetryRow,
    Span,
    Tally,
)

MOST_OUTSIDE: Final = 1_000
Row = EventRow | DuplicateRow | DeadLetterRow | RetryRow


def rows(tables: MemoryTables, agent: str) -> Iterator[Row]:
    """Every row that stands for a record of the agent's."""
    if agent == STORE_AGENT:
        yield from tables.events.values()
        yield from tables.duplicates.values()
    yield from (row for row in tables.dead_letters.values() if row.agent == agent)
    yield from (row for row in tables.retrying.values() if row.agent == agent)


def placed(tables: MemoryTables, agent: str) -> set[Coordinates]:
    """Where those records stand."""
    return {row.at for row in rows(tables, agent)}


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
    found = [
        row
        for row in rows(tables, span.agent)
        if row.at[:2] == span[1:3] and span.first_offset <= row.at.offset < span.next_offset
    ]
    return Tally(
        stored=sum(isinstance(row, EventRow) for row in found),
        duplicates=sum(isinstance(row, DuplicateRow) for row in found),
        dead_lettered=sum(isinstance(row, DeadLetterRow) for row in found),
        retrying=sum(isinstance(row, RetryRow) for row in found),
        value=texts(total(valued(row.currency, row.invoice_amount) for row in found)),
    )


def rows_outside(tables: MemoryTables, agent: str) -> Sequence[Coordinates]:
    """See StoreReader."""
    books = MemoryBooks(tables)
    outside = [at for at in placed(tables, agent) if span_at(books, (agent, at.topic, at.partition), at.offset) is None]
    return sorted(outside)[:MOST_OUTSIDE]

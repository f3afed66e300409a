"""The tables in memory, and the ledger's spans and notes in them.

Not here: the rules (stores_ledger.py), queries (memory_reader.py).
"""

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bems_streams.adapters.stores_ledger import Line, NoteRow
from bems_streams.adapters.stores_records import Record
from bems_streams.adapters.stores_summary import valued
from bems_streams.ports import (
    STORE_AGENT,
    AlertRow,
    Coordinates,
    DeadLetterRow,
    DuplicateRow,
    EventRow,
    InvoiceRow,
    RecordOutcome,
    RetryRow,
    Span,
)

Noted = tuple[str, Coordinates]
"""(agent, coordinates)."""


@dataclass(slots=True)
class MemoryTables:
    """The rows, shared by a store and its readers under `lock`. Events stand in the order in which they came."""

    lock: threading.Lock
    created: bool = False
    events: dict[tuple[str, str], EventRow] = field(default_factory=dict)
    stored_at: dict[Coordinates, EventRow] = field(default_factory=dict)
    duplicates: dict[Coordinates, DuplicateRow] = field(default_factory=dict)
    dead_letters: dict[Noted, DeadLetterRow] = field(default_factory=dict)
    retrying: dict[Noted, RetryRow] = field(default_factory=dict)
    invoices: dict[str, InvoiceRow] = field(default_factory=dict)
    alerts: dict[tuple[str, str, int, str], AlertRow] = field(default_factory=dict)
    ledger: dict[Line, dict[int, Span]] = field(default_factory=dict)


def records(tables: MemoryTables, agent: str) -> Iterator[tuple[Coordinates, Record]]:
    """Every row that stands for a record of the agent's."""
    found: list[tuple[RecordOutcome, Iterable[EventRow | DuplicateRow | NoteRow]]] = [
        (RecordOutcome.DEAD_LETTERED, [row for row in tables.dead_letters.values() if row.agent == agent]),
        (RecordOutcome.RETRYING, [row for row in tables.retrying.values() if row.agent == agent]),
    ]
    if agent == STORE_AGENT:
        found.append((RecordOutcome.STORED, tables.events.values()))
        found.append((RecordOutcome.DUPLICATE, tables.duplicates.values()))
    for outcome, rows in found:
        for row in rows:
            yield row.at, (row.accepted_us, outcome, valued(row.currency, row.invoice_amount))


def within(at: Coordinates, line: Line, first: int, until: int) -> bool:
    """Whether a record stands in the stretch."""
    return at[:2] == line[1:] and first <= at.offset < until


class MemoryBooks:
    """`Books` over MemoryTables whose lock is held."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables

    def spans_back(self, line: Line, before: int) -> Iterator[Span]:
        """See Books."""
        spans = self._tables.ledger.get(line, {})
        return iter([spans[first] for first in sorted(spans, reverse=True) if first < before])

    def put_span(self, span: Span) -> None:
        """See Books."""
        self._tables.ledger.setdefault(span[:3], {})[span.first_offset] = span

    def notes(self, asked: Mapping[Line, Collection[int]]) -> Sequence[NoteRow]:
        """See Books."""
        noted = [
            (agent, Coordinates(topic, partition, offset))
            for (agent, topic, partition), offsets in asked.items()
            for offset in offsets
        ]
        tables: Sequence[dict[Noted, DeadLetterRow] | dict[Noted, RetryRow]]
        tables = (self._tables.dead_letters, self._tables.retrying)
        return [table[key] for table in tables for key in noted if key in table]

    def put_note(self, note: NoteRow) -> None:
        """See Books."""
        if isinstance(note, RetryRow):
            self._tables.retrying[note.agent, note.at] = note
        else:
            self._tables.dead_letters[note.agent, note.at] = note

    def drop_note(self, note: NoteRow) -> None:
        """See Books."""
        table = self._tables.retrying if isinstance(note, RetryRow) else self._tables.dead_letters
        del table[note.agent, note.at]

    def kept(self, at: Coordinates) -> bool:
        """See Books."""
        return at in self._tables.stored_at or at in self._tables.duplicates

    def held(self, line: Line, first: int, until: int) -> Mapping[int, Record]:
        """See Books."""
        return {at.offset: record for at, record in records(self._tables, line[0]) if within(at, line, first, until)}

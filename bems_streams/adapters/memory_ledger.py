"""The tables in memory, and the ledger's spans and notes in them.

Not here: the rules (stores_ledger.py), queries (memory_reader.py).
"""

import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from bems_streams.adapters.stores_ledger import Line, NoteRow
from bems_streams.ports import AlertRow, Coordinates, DeadLetterRow, DuplicateRow, EventRow, InvoiceRow, RetryRow, Span

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

    def notes(self, line: Line, offsets: Collection[int]) -> Sequence[NoteRow]:
        """See Books."""
        agent, topic, partition = line
        noted = [(agent, Coordinates(topic, partition, offset)) for offset in offsets]
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

    def kept(self, at: Coordinates) -> EventRow | DuplicateRow | None:
        """See Books."""
        return self._tables.stored_at.get(at) or self._tables.duplicates.get(at)

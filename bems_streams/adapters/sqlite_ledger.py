"""Spans and notes of the ledger within one write to the SQLite store.

Not here: the rules (stores_ledger.py), reading the ledger (sqlite_ledger_reader.py).
"""

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from bems_streams.adapters import sqlite_rows as rows
from bems_streams.adapters.sqlite_ledger_reader import records
from bems_streams.adapters.stores_ledger import Line, NoteRow
from bems_streams.adapters.stores_records import Record
from bems_streams.ports import Coordinates, RetryRow, Span

_SPANS_BACK: Final = (
    rows.select("ledger", rows.SPAN)
    + " WHERE agent = ? AND topic = ? AND partition = ? AND first_offset < ? ORDER BY first_offset DESC"
)
_PUT_SPAN: Final = rows.insert("ledger", rows.SPAN).replace("INSERT", "INSERT OR REPLACE", 1)
_AT: Final = "WHERE topic = ? AND partition = ? AND offset = ?"
_WITHIN: Final = """
    WHERE agent = json_extract(value, '$[0]') AND topic = json_extract(value, '$[1]')
    AND partition = json_extract(value, '$[2]')
    AND offset BETWEEN json_extract(value, '$[3]') AND json_extract(value, '$[4]')
"""
_LETTERS: Final = rows.select("json_each(?) CROSS JOIN dead_letters INDEXED BY dead_letters_by_agent", rows.DEAD_LETTER)
_RETRIES: Final = rows.select("json_each(?) CROSS JOIN retrying INDEXED BY retrying_by_agent", rows.RETRY)
_PUT: Final = {
    "dead_letters": rows.insert("dead_letters", rows.DEAD_LETTER),
    "retrying": rows.insert("retrying", rows.RETRY),
}
_DROP: Final = {table: f"DELETE FROM {table} {_AT} AND agent = ?" for table in _PUT}  # noqa: S608 names of ours
_KEPT: Final = f"SELECT EXISTS (SELECT 1 FROM events {_AT}) OR EXISTS (SELECT 1 FROM duplicates {_AT})"  # noqa: S608 names of ours


class SqliteBooks:
    """`Books` over a connection that is inside a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def spans_back(self, line: Line, before: int) -> Iterator[Span]:
        """See Books."""
        return map(rows.span_row, self._connection.execute(_SPANS_BACK, (*line, before)))

    def put_span(self, span: Span) -> None:
        """See Books."""
        self._connection.execute(_PUT_SPAN, rows.span_values(span))

    def notes(self, asked: Mapping[Line, Collection[int]]) -> Sequence[NoteRow]:
        """See Books. Two questions for all lines of a batch, where one each would be a hundred."""
        stretches = json.dumps([stretch for line, offsets in asked.items() for stretch in _stretches(line, offsets)])
        letters = self._connection.execute(_LETTERS + _WITHIN, (stretches,)).fetchall()
        retries = self._connection.execute(_RETRIES + _WITHIN, (stretches,)).fetchall()
        found: list[NoteRow] = [*map(rows.dead_letter_row, letters), *map(rows.retry_row, retries)]
        return [note for note in found if note.at.offset in asked[note.agent, note.at.topic, note.at.partition]]

    def put_note(self, note: NoteRow) -> None:
        """See Books."""
        self._connection.execute(_PUT[_table(note)], rows.note_values(note))

    def drop_note(self, note: NoteRow) -> None:
        """See Books."""
        self._connection.execute(_DROP[_table(note)], (*note.at, note.agent))

    def kept(self, at: Coordinates) -> bool:
        """See Books."""
        return bool(self._connection.execute(_KEPT, (*at, *at)).fetchone()[0])

    def held(self, line: Line, first: int, until: int) -> Mapping[int, Record]:
        """See Books."""
        return dict(records(self._connection, (*line, first, until)))


def _stretches(line: Line, offsets: Collection[int]) -> Sequence[tuple[str, str, int, int, int]]:
    """(agent, topic, partition, first, last) that hold all of the offsets and, unless they lie apart, few others."""
    if not offsets:
        return []
    first, last = min(offsets), max(offsets)
    if last - first < 2 * len(offsets):
        return [(*line, first, last)]
    return [(*line, offset, offset) for offset in offsets]


def _table(note: NoteRow) -> str:
    return "retrying" if isinstance(note, RetryRow) else "dead_letters"

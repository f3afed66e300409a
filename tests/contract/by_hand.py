"""What somebody with access to a store's insides could do to it: the port offers no way to delete anything."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing

from bems_streams.adapters.memory import MemoryBackend
from bems_streams.adapters.sqlite import SqliteBackend
from bems_streams.adapters.stores import Backend
from bems_streams.ports import Coordinates, EventRow, Span


def delete_event(backend: Backend, row: EventRow) -> None:
    """The row of one event is gone, as if it had never been written."""
    if isinstance(backend, MemoryBackend):
        del backend._tables.events[row.invoice_id, row.event_id]
        del backend._tables.stored_at[row.at]
    else:
        _execute(backend, "DELETE FROM events WHERE invoice_id = ? AND event_id = ?", (row.invoice_id, row.event_id))


def delete_duplicate(backend: Backend, at: Coordinates) -> None:
    """The row of one duplicate is gone."""
    if isinstance(backend, MemoryBackend):
        del backend._tables.duplicates[at]
    else:
        _execute(backend, "DELETE FROM duplicates WHERE topic = ? AND partition = ? AND offset = ?", at)


def delete_span(backend: Backend, span: Span) -> None:
    """An entry of the ledger is gone."""
    if isinstance(backend, MemoryBackend):
        del backend._tables.ledger[span[:3]][span.first_offset]
    else:
        where = "agent = ? AND topic = ? AND partition = ? AND first_offset = ?"
        _execute(backend, f"DELETE FROM ledger WHERE {where}", span[:4])


def _execute(backend: Backend, sql: str, values: Sequence[object]) -> None:
    assert isinstance(backend, SqliteBackend), "say here how to tamper with this store"
    with closing(sqlite3.connect(backend._path, isolation_level=None)) as connection:
        assert connection.execute(sql, values).rowcount == 1

"""The embedded event store: one SQLite file, one transaction per write, durable on return even through a power cut.

Not here: tables (sqlite_schema.py), sums (sqlite_totals.py), ledger and notes (sqlite_ledger.py), queries
(sqlite_reader.py).
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bems_streams.adapters import sqlite_rows as rows
from bems_streams.adapters.sqlite_files import LOCK_TIMEOUT_SECONDS, identity_of, open_writer, store_errors
from bems_streams.adapters.sqlite_ledger import SqliteBooks
from bems_streams.adapters.sqlite_reader import SqliteReader
from bems_streams.adapters.sqlite_totals import Standing, add_events
from bems_streams.adapters.stores_ledger import duplicate_of, keep_books
from bems_streams.adapters.stores_summary import valued
from bems_streams.ports import (
    AlertRow,
    EventRow,
    InvoiceRow,
    RecordOutcome,
    StoreBatch,
    StoreUnusableError,
    WriteOutcome,
    WriteResult,
)

# `ON CONFLICT (key) DO NOTHING`, never `OR IGNORE`, which would also pass over a missing value without a word.
_STORE: Final = rows.insert("events", rows.EVENT) + " ON CONFLICT (invoice_id, event_id) DO NOTHING"
_NEW_KEYS: Final = "SELECT invoice_id, event_id FROM events WHERE sequence > ? ORDER BY sequence"
_STORED_AT: Final = "SELECT topic, partition, offset FROM events WHERE invoice_id = ? AND event_id = ?"
_NOTE_DUPLICATE: Final = (
    rows.insert("duplicates", rows.DUPLICATE) + " ON CONFLICT (topic, partition, offset) DO NOTHING"
)
_KNOWN_INVOICE: Final = (
    "SELECT revision, stage, currency, invoice_amount, stuck_since_us FROM invoices WHERE invoice_id = ?"
)
_SET_INVOICE: Final = (
    rows.insert("invoices", rows.INVOICE)
    + " ON CONFLICT (invoice_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in rows.INVOICE[1:])
)
_NOTE_ALERT: Final = (
    rows.insert("alerts", rows.ALERT) + " ON CONFLICT (invoice_id, stage, deadline_us, kind) DO NOTHING"
)


class SqliteBackend:
    """The store in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open_store(self) -> "SqliteStore":
        """The writing side; creates or migrates the file."""
        return SqliteStore(self._path)

    def open_reader(self) -> SqliteReader:
        """The reading side; never creates the file."""
        return SqliteReader(self._path)


class SqliteStore:
    """`EventStore` in a file. Any thread may write; writers, also of other processes, take turns.

    After StoreUnavailableError the next write opens the file anew. A file that was moved or deleted while in use raises
    StoreUnusableError: going on would acknowledge rows that nobody can find again.
    """

    def __init__(self, path: Path, lock_timeout_seconds: float = LOCK_TIMEOUT_SECONDS) -> None:
        self._path = path
        self._lock_timeout_seconds = lock_timeout_seconds
        self._turn = threading.Lock()
        self._connection: sqlite3.Connection | None = open_writer(path, lock_timeout_seconds)
        self._identity = identity_of(path)

    def write(self, batch: StoreBatch) -> WriteResult:
        """See the port. ValueError for an amount that is not a decimal; nothing is written then either."""
        with self._turn, store_errors(self._path), self._transaction() as connection:
            outcomes = _write_events(connection, batch)
            _write_invoices(connection, batch.invoices)
            _write_alerts(connection, batch.alerts)
        return WriteResult(outcomes)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit on success; on any error take everything back and let go of the connection."""
        if identity_of(self._path) != self._identity:
            raise StoreUnusableError(
                f"store {self._path} was moved, replaced or deleted while in use: put the file back and restart this "
                "process; if it is gone, restart and replay the stage topics"
            )
        if self._connection is None:
            self._connection = open_writer(self._path, self._lock_timeout_seconds)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.close()  # rolls back
            self._connection = None
            raise

    def close(self) -> None:
        """Wait for a write that goes on, then release the file."""
        with self._turn:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _write_events(connection: sqlite3.Connection, batch: StoreBatch) -> Sequence[WriteOutcome]:
    """Store what is new, note what is a duplicate, and account for both and for what was set aside."""
    events = [*batch.events, *batch.late_events]
    values = [valued(row.currency, row.invoice_amount) for row in events]
    newest = connection.execute("SELECT coalesce(max(sequence), 0) FROM events").fetchone()[0]
    inserted = connection.executemany(_STORE, map(rows.event_values, events)).rowcount
    if inserted == len(events):
        outcomes, known = [WriteOutcome.STORED] * len(events), [RecordOutcome.STORED] * len(events)
    else:
        outcomes, known = _tell_apart(connection, events, newest)
    rated = zip(events, values, outcomes, strict=True)
    add_events(connection, ((row, value) for row, value, outcome in rated if outcome is WriteOutcome.STORED))
    keep_books(SqliteBooks(connection), batch, events, known, values)
    return outcomes


def _tell_apart(
    connection: sqlite3.Connection, events: Sequence[EventRow], newest: int
) -> tuple[list[WriteOutcome], list[RecordOutcome]]:
    """Compare each record that brought no row with the one stored under its key; rows after `newest` are new.

    Returns what this write did with each, and what is known of each now. Rows were stored in the order of `events`, so
    one walk along both finds who was left out: looking each of them up would cost all of a batch for one duplicate.
    """
    outcomes, known = [], []
    new_keys = iter(connection.execute(_NEW_KEYS, (newest,)).fetchall())
    new_key = next(new_keys, None)
    for row in events:
        key = (row.invoice_id, row.event_id)
        if key == new_key:
            new_key = next(new_keys, None)
            outcomes.append(WriteOutcome.STORED)
            known.append(RecordOutcome.STORED)
        elif connection.execute(_STORED_AT, key).fetchone() == row.at:
            outcomes.append(WriteOutcome.REPLAYED)
            known.append(RecordOutcome.STORED)
        else:
            noted = connection.execute(_NOTE_DUPLICATE, rows.note_values(duplicate_of(row))).rowcount == 1
            outcomes.append(WriteOutcome.DUPLICATE if noted else WriteOutcome.REPLAYED)
            known.append(RecordOutcome.DUPLICATE)
    return outcomes, known


def _write_invoices(connection: sqlite3.Connection, invoices: Sequence[InvoiceRow]) -> None:
    """Take the highest revision of each invoice, if it is higher than the one known."""
    newest: dict[str, InvoiceRow] = {}
    for row in invoices:
        if row.invoice_id not in newest or row.revision > newest[row.invoice_id].revision:
            newest[row.invoice_id] = row
    standing, changed = Standing(), []
    for row in newest.values():
        known = connection.execute(_KNOWN_INVOICE, (row.invoice_id,)).fetchone()
        if known is not None:
            if row.revision <= known[0]:
                continue
            standing.leave(*known[1:])
        standing.enter(row.stage, row.currency, row.invoice_amount, row.stuck_since_us)
        changed.append(row)
    connection.executemany(_SET_INVOICE, changed)
    standing.write(connection)


def _write_alerts(connection: sqlite3.Connection, alerts: Sequence[AlertRow]) -> None:
    connection.executemany(_NOTE_ALERT, alerts)

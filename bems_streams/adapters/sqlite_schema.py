"""Tables of the SQLite store, and how a file of an earlier version becomes one of this version.

`PRAGMA user_version` counts the migrations a file has been through; `application_id` marks the file as ours.
Not here: opening files (sqlite_files.py).
"""

import sqlite3
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Final

from bems_streams.adapters import sqlite_migration_2
from bems_streams.ports import StoreUnusableError

APPLICATION_ID: Final = 0x42454D53  # "BEMS"

# Measured with 15 columns, 1,000 rows per transaction, synchronous=FULL, 2 cores: a rowid table with a unique index on
# the event's key takes 45,000 rows/s at 371 bytes each; the same WITHOUT ROWID, clustered by the key, 28,000 at 434.
# Rows of `events` and `duplicates` are never deleted, so `sequence` is dense and its maximum is their number.
_FIRST: Final = (
    """
    CREATE TABLE events (
        sequence INTEGER PRIMARY KEY,
        event_id TEXT NOT NULL, invoice_id TEXT NOT NULL, stage TEXT NOT NULL, source TEXT NOT NULL,
        occurred_us INTEGER NOT NULL, accepted_us INTEGER NOT NULL, stored_us INTEGER NOT NULL,
        topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
        payee_code TEXT, legal_entity_id TEXT, invoice_date TEXT, invoice_due_date TEXT,
        invoice_amount TEXT, currency TEXT, matched_amount TEXT, authorized_amount TEXT, ppv TEXT, pqv TEXT,
        activity TEXT, attributes TEXT, correlation_id TEXT,
        UNIQUE (invoice_id, event_id)
    ) STRICT
    """,
    "CREATE INDEX events_by_acceptance ON events (accepted_us)",
    "CREATE INDEX events_by_coordinates ON events (topic, partition, offset)",
    """
    CREATE TABLE duplicates (
        sequence INTEGER PRIMARY KEY,
        topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
        invoice_id TEXT NOT NULL, event_id TEXT NOT NULL, accepted_us INTEGER NOT NULL, stored_us INTEGER NOT NULL,
        UNIQUE (topic, partition, offset)
    ) STRICT
    """,
    "CREATE INDEX duplicates_by_invoice ON duplicates (invoice_id)",
    """
    CREATE TABLE dead_letters (
        topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL, agent TEXT NOT NULL,
        code TEXT NOT NULL, reason TEXT NOT NULL, accepted_us INTEGER NOT NULL, stored_us INTEGER NOT NULL,
        invoice_id TEXT,
        PRIMARY KEY (topic, partition, offset, agent)
    ) STRICT
    """,
    "CREATE INDEX dead_letters_by_age ON dead_letters (stored_us, topic, partition, offset, agent)",
    "CREATE INDEX dead_letters_by_invoice ON dead_letters (invoice_id) WHERE invoice_id IS NOT NULL",
    """
    CREATE TABLE invoices (
        invoice_id TEXT PRIMARY KEY NOT NULL,
        revision INTEGER NOT NULL, status TEXT NOT NULL, stage TEXT NOT NULL, entered_us INTEGER NOT NULL,
        last_occurred_us INTEGER NOT NULL, updated_us INTEGER NOT NULL, deadline_us INTEGER, stuck_since_us INTEGER,
        events INTEGER NOT NULL, document TEXT NOT NULL, payee_code TEXT, legal_entity_id TEXT,
        invoice_due_date TEXT, invoice_amount TEXT, currency TEXT
    ) STRICT
    """,
    "CREATE INDEX invoices_stuck ON invoices (stuck_since_us, invoice_id) WHERE stuck_since_us IS NOT NULL",
    """
    CREATE TABLE alerts (
        invoice_id TEXT NOT NULL, stage TEXT NOT NULL, deadline_us INTEGER NOT NULL, kind TEXT NOT NULL,
        raised_us INTEGER NOT NULL, document TEXT NOT NULL,
        PRIMARY KEY (invoice_id, stage, deadline_us, kind)
    ) STRICT, WITHOUT ROWID
    """,
    # Sums kept with the rows, in the same transaction (sqlite_totals.py). `currency` is '' for rows without an amount.
    """
    CREATE TABLE activity (
        second INTEGER NOT NULL, stage TEXT NOT NULL, currency TEXT NOT NULL,
        number INTEGER NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (second, stage, currency)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE standing (
        stage TEXT NOT NULL, currency TEXT NOT NULL, stuck INTEGER NOT NULL,
        number INTEGER NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (stage, currency, stuck)
    ) STRICT, WITHOUT ROWID
    """,
)

Step = str | Callable[[sqlite3.Connection], None]
"""A statement, or what no statement can do."""
Migrations = Sequence[Sequence[Step]]
MIGRATIONS: Final[Migrations] = (_FIRST, (*sqlite_migration_2.TABLES, sqlite_migration_2.account_for_rows))
"""Element n turns a file of version n into one of version n + 1. Never change or remove one: add."""


class SchemaState(Enum):
    """How a file stands to this program. Anything else raises."""

    EMPTY = "empty"  # no tables yet
    OLDER = "older"  # a writer of this program migrates it
    CURRENT = "current"


def state_of(connection: sqlite3.Connection, path: Path, migrations: Migrations = MIGRATIONS) -> SchemaState:
    """Compare a file with this program. StoreUnusableError for a newer file, or one that is not a store."""
    version, application_id, tables = _look(connection)
    if application_id == 0 and version == 0 and tables == 0:
        return SchemaState.EMPTY
    if application_id != APPLICATION_ID:
        raise StoreUnusableError(
            f"{path} is an SQLite file, but of another program: name another file with --store or --state-dir"
        )
    if version > len(migrations):
        raise StoreUnusableError(
            f"{path} has schema version {version}, this program knows up to {len(migrations)}: start the newer bems "
            "that wrote it, or name another file with --store or --state-dir. The data is intact; do not delete it."
        )
    return SchemaState.CURRENT if version == len(migrations) else SchemaState.OLDER


def _look(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Version, application and number of tables, all of one moment: a writer may be creating the file right now."""
    ours = not connection.in_transaction
    if ours:
        connection.execute("BEGIN")
    try:
        version, application_id = _pragma(connection, "user_version"), _pragma(connection, "application_id")
        return version, application_id, connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    finally:
        if ours:
            connection.rollback()


def migrate(connection: sqlite3.Connection, path: Path, migrations: Migrations = MIGRATIONS) -> None:
    """Bring a file to this version in one transaction: a crash leaves the version it had."""
    if state_of(connection, path, migrations) is SchemaState.CURRENT:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if state_of(connection, path, migrations) is not SchemaState.CURRENT:
            for migration in migrations[_pragma(connection, "user_version") :]:
                for step in migration:
                    if isinstance(step, str):
                        connection.execute(step)
                    else:
                        step(connection)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(migrations)}")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value

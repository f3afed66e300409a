"""The stores that sinks write to, each with the least that the same rows could cost: a bare bulk upsert.

A store of the product that has no subject here fails a test. Not here: rows (sink_rows.py), what is compared (sink.py).
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from bems_streams.adapters import sqlite_rows
from bems_streams.adapters.sqlite import SqliteBackend
from bems_streams.adapters.sqlite_files import open_writer
from bems_streams.adapters.stores import STORES
from bems_streams.ports import StoreBatch

Write = Callable[[], object]
"""One transaction, all that it needs made before."""


class Bare(Protocol):
    """Upserts without a ledger, sums, or a word about duplicates: into the tables of the product, as durable."""

    def prepare(self, batch: StoreBatch) -> Write:
        """For its events and invoices."""

    def close(self) -> None:
        """Release files and connections."""


class Subject(Protocol):
    """One kind of store."""

    def url(self, folder: Path) -> str:
        """Of a store in this folder."""

    def bare(self, folder: Path) -> Bare:
        """Opens such a store, or makes it, for upserts alone."""

    def used_bytes(self, folder: Path) -> int:
        """What it takes on disk."""


class BareSqlite:
    """Plain `executemany` over the writer's own connection: the same file, pragmas, tables, keys and indexes."""

    _EVENTS: Final = sqlite_rows.insert("events", sqlite_rows.EVENT) + " ON CONFLICT (invoice_id, event_id) DO NOTHING"
    _INVOICES: Final = (
        sqlite_rows.insert("invoices", sqlite_rows.INVOICE)
        + " ON CONFLICT (invoice_id) DO UPDATE SET "
        + ", ".join(f"{name} = excluded.{name}" for name in sqlite_rows.INVOICE[1:])
    )

    def __init__(self, path: Path) -> None:
        self._connection: sqlite3.Connection = open_writer(path)

    def prepare(self, batch: StoreBatch) -> Write:
        """See Bare."""
        events: Sequence[tuple[Any, ...]] = [sqlite_rows.event_values(row) for row in batch.events]
        invoices: Sequence[tuple[Any, ...]] = list(batch.invoices)

        def write() -> None:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(self._EVENTS, events)
            self._connection.executemany(self._INVOICES, invoices)
            self._connection.execute("COMMIT")

        return write

    def close(self) -> None:
        """See Bare."""
        self._connection.close()


class SqliteSubject:
    """One file in the folder."""

    def url(self, folder: Path) -> str:
        """See Subject."""
        return f"sqlite:///{self._path(folder)}"

    def bare(self, folder: Path) -> BareSqlite:
        """See Subject."""
        SqliteBackend(self._path(folder)).open_store().close()
        return BareSqlite(self._path(folder))

    def used_bytes(self, folder: Path) -> int:
        """See Subject. The log of writes is bounded and not counted."""
        return self._path(folder).stat().st_size

    @staticmethod
    def _path(folder: Path) -> Path:
        return folder / "store.sqlite3"


SUBJECTS: Final[Mapping[str, Subject]] = {"sqlite": SqliteSubject()}
"""By the scheme of their URL."""
NOT_DURABLE: Final = frozenset({"memory"})
PROMISED: Final = {"postgresql": "PostgreSQL"}
"""Stores that are to have a figure, in the product or not: scheme to name."""


def unmeasured() -> Mapping[str, str]:
    """Stores without figures, and why."""
    absent = {name: "not in the product yet" for scheme, name in PROMISED.items() if scheme not in STORES}
    return absent | dict.fromkeys(sorted(STORES.keys() - SUBJECTS.keys() - NOT_DURABLE), "has no subject here")

"""Read connections to a file that may not exist yet, or may be replaced, shared by any number of threads.

Not here: what is asked (sqlite_reader.py).
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bems_streams.adapters.sqlite_files import FileIdentity, identity_of, open_for_reading, store_errors
from bems_streams.adapters.sqlite_schema import SchemaState, state_of
from bems_streams.ports import StoreUnavailableError, StoreUnusableError

INTERRUPT_SECONDS: Final = 2.0
INTERRUPT_EVERY_SECONDS: Final = 0.05


class ReadPool:
    """Lends each caller a connection of its own; keeps idle ones for the next."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()  # a generator that is collected while we hold it gives back in this same thread
        self._given_back = threading.Condition(self._lock)
        self._idle: list[sqlite3.Connection] = []
        self._lent: set[sqlite3.Connection] = set()
        self._identity: FileIdentity | None = None
        self._closed = False

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection | None]:
        """A connection inside one read transaction; None while there is no store.

        Raises StoreUnavailableError and StoreUnusableError, also for what the body asks of the connection.
        """
        with store_errors(self._path):
            borrowed = self._borrow()
            if borrowed is None:
                yield None
                return
            connection, identity = borrowed
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                self._give_back(connection, identity)

    def _borrow(self) -> tuple[sqlite3.Connection, FileIdentity] | None:
        identity = identity_of(self._path)
        with self._lock:
            if self._closed:
                raise StoreUnavailableError(f"the reader of {self._path} is closed: open another one")
            if identity != self._identity:
                self._drop_idle()
                self._identity = identity
            if identity is None:
                return None
            connection = self._idle.pop() if self._idle else self._opened()
            if connection is None:
                return None
            self._lent.add(connection)
        return connection, identity

    def _opened(self) -> sqlite3.Connection | None:
        """A further connection; None while the file has no tables yet."""
        connection = open_for_reading(self._path)
        try:
            if self._ready(connection):
                return connection
        except BaseException:
            connection.close()
            raise
        connection.close()
        return None

    def _ready(self, connection: sqlite3.Connection) -> bool:
        state = state_of(connection, self._path)
        if state is SchemaState.OLDER:
            raise StoreUnusableError(
                f"{self._path} was written by an earlier bems: start a writer (bems worker sink) of this version once, "
                "it brings the file up to date"
            )
        return state is SchemaState.CURRENT

    def _give_back(self, connection: sqlite3.Connection, identity: FileIdentity) -> None:
        with self._lock:
            if connection not in self._lent:
                return  # closed meanwhile
            self._lent.remove(connection)
            if connection.in_transaction:
                connection.rollback()
            if identity == self._identity:
                self._idle.append(connection)
            else:
                connection.close()
            self._given_back.notify_all()

    def _drop_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def close(self) -> None:
        """Close every connection, also those lent: an iterator that was given up must not hold the file.

        A question under way is interrupted and ends with StoreUnavailableError; closing under it would crash.
        """
        with self._lock:
            self._closed = True
            self._identity = None
            self._drop_idle()
            deadline = time.monotonic() + INTERRUPT_SECONDS
            while self._lent and time.monotonic() < deadline:
                for connection in self._lent:
                    connection.interrupt()
                self._given_back.wait(INTERRUPT_EVERY_SECONDS)
            while self._lent:  # of iterators that nobody goes on with
                self._lent.pop().close()

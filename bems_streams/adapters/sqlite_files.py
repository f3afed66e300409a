"""Opening the store's file for writing or reading, and saying in the port's terms what went wrong with it.

Not here: the tables (sqlite_schema.py), what is written or asked.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from bems_streams.adapters.sqlite_schema import migrate
from bems_streams.ports import StoreUnavailableError, StoreUnusableError

LOCK_TIMEOUT_SECONDS: Final = 5.0
WAL_LIMIT_BYTES: Final = 64 * 1024 * 1024
_CHECKPOINT_PAGES: Final = 16_000
_WRITER_CACHE_KIB: Final = 64 * 1024
_READER_CACHE_KIB: Final = 16 * 1024
_OLDEST_SQLITE: Final = (3, 37, 0)  # STRICT tables

# FULL, not NORMAL: with NORMAL a commit outlives `kill -9` but not a power cut, and by then the offsets of the lost
# rows may be committed on a broker that kept its power, so nobody would write them again. The price is one fsync per
# transaction: measured with 1,000 rows each, 45,000 rows/s against 48,000.
#
# A checkpoint writes each page once, however often it changed since the one before: on a million rows, every 16,000
# pages instead of 8,000 takes 12 % less CPU a row and 30 % fewer bytes to the disk. At 32,000 no less CPU, and longer
# stops; 16,000 pages just fit into the log's limit.
_WRITER_PRAGMAS: Final = (
    "synchronous = FULL",
    f"wal_autocheckpoint = {_CHECKPOINT_PAGES}",
    f"journal_size_limit = {WAL_LIMIT_BYTES}",
    f"cache_size = -{_WRITER_CACHE_KIB}",
)

_UNAVAILABLE: Final = {
    sqlite3.SQLITE_BUSY: "another process holds the write lock; end it, or wait until it is done",
    sqlite3.SQLITE_LOCKED: "another connection holds a table; end what holds it",
    sqlite3.SQLITE_FULL: "the disk is full; free space, the writer goes on by itself",
    sqlite3.SQLITE_IOERR: "the disk or its file system failed; look at the system log",
    sqlite3.SQLITE_READONLY: "it cannot be written; check that this user may write the file and its folder",
    sqlite3.SQLITE_PERM: "access is refused; check that this user may write the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that the folder exists and that this user may write there",
    sqlite3.SQLITE_NOMEM: "memory ran out; give the process more",
    sqlite3.SQLITE_PROTOCOL: "its locks are contended or unsupported; keep it on a local disk",
    sqlite3.SQLITE_INTERRUPT: "the operation was interrupted",
}
_UNUSABLE: Final = {
    sqlite3.SQLITE_CORRUPT: "it is damaged; move it away, restart the writer and replay the stage topics",
    sqlite3.SQLITE_NOTADB: "it is not an SQLite file; name another file with --store or --state-dir",
}


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Raise trouble with the file as StoreUnavailableError or StoreUnusableError; defects of ours pass unchanged."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the extended part
        if code in _UNAVAILABLE:
            raise StoreUnavailableError(f"store {path}: {error}: {_UNAVAILABLE[code]}") from error
        if code in _UNUSABLE:
            raise StoreUnusableError(f"store {path}: {error}: {_UNUSABLE[code]}") from error
        raise


FileIdentity = tuple[int, int]


def identity_of(path: Path) -> FileIdentity | None:
    """Which file stands at the path; None for none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreUnavailableError(f"store {path}: {error}: check that this user may read the folder") from error
    return found.st_dev, found.st_ino


def open_writer(path: Path, lock_timeout_seconds: float = LOCK_TIMEOUT_SECONDS) -> sqlite3.Connection:
    """A connection that writes durably, to a file of this version; creates or migrates the file."""
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StoreUnusableError(
            f"SQLite {sqlite3.sqlite_version} is too old, 3.37 is needed: run a Python that is linked with a newer one"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailableError(f"store {path}: {error}: name a folder that this user may write") from error
    with store_errors(path):
        connection = _connect(path, "rwc", lock_timeout_seconds)
        try:
            migrate(connection, path)
            _use_wal(connection, path)
            for pragma in _WRITER_PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write."""
    connection = _connect(path, "ro", LOCK_TIMEOUT_SECONDS)
    try:
        connection.execute(f"PRAGMA cache_size = -{_READER_CACHE_KIB}")
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path, mode: str, lock_timeout_seconds: float) -> sqlite3.Connection:
    """One that any thread may use (one at a time), with transactions begun and ended by us alone."""
    uri = f"file:{quote(os.fspath(path.absolute()))}?mode={mode}"
    return sqlite3.connect(
        uri, uri=True, timeout=lock_timeout_seconds, isolation_level=None, check_same_thread=False, cached_statements=64
    )


def _use_wal(connection: sqlite3.Connection, path: Path) -> None:
    """Readers and the writer do not wait for each other; persists in the file."""
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreUnusableError(f"store {path}: its file system has no shared memory: keep the store on a local disk")

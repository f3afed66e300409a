"""What the SQLite store says when its file is locked, full, gone or unreachable, and that it goes on afterwards."""

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from bems_streams.adapters.sqlite import SqliteBackend, SqliteStore
from bems_streams.ports import StoreBatch, StoreUnavailableError, StoreUnusableError
from tests.contract.rows import event


def batch(first: int, number: int = 1) -> StoreBatch:
    return StoreBatch(events=[event(f"e-{n}", n) for n in range(first, first + number)])


def stored(path: Path) -> int:
    with closing(SqliteBackend(path).open_reader()) as reader:
        return reader.counts().stored


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """As if the disk were full beyond that size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_locked_file_is_unavailable_and_taken_up_again_when_free(tmp_path: Path) -> None:
    """Nothing of the batch is written; the same batch succeeds later."""
    path = tmp_path / "store.sqlite3"
    store = SqliteStore(path, lock_timeout_seconds=0.01)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreUnavailableError, match="another process holds the write lock; end it"):
            store.write(batch(0))

    assert stored(path) == 0
    store.write(batch(0))
    assert stored(path) == 1
    store.close()


def test_a_full_disk_is_unavailable_and_the_writer_goes_on_once_there_is_space(tmp_path: Path) -> None:
    """The batch that did not fit is not there in part."""
    path = tmp_path / "store.sqlite3"
    store = SqliteStore(path)
    store.write(batch(0))

    with files_of_at_most(256 * 1024), pytest.raises(StoreUnavailableError, match=r"store .*store\.sqlite3"):
        store.write(batch(1, 20_000))

    assert stored(path) == 1
    store.write(batch(1, 20_000))
    assert stored(path) == 20_001
    store.close()


@pytest.mark.parametrize("replaced", [False, True], ids=["deleted", "replaced"])
def test_a_file_that_vanishes_under_the_writer_stops_it(tmp_path: Path, replaced: bool) -> None:
    """Writing on into a deleted file would acknowledge rows that nobody can ever find."""
    path = tmp_path / "store.sqlite3"
    store = SqliteStore(path)
    store.write(batch(0))
    path.rename(tmp_path / "away")
    if replaced:
        SqliteStore(path).close()

    with pytest.raises(StoreUnusableError, match="was moved, replaced or deleted while in use: put the file back"):
        store.write(batch(1))

    store.close()


def test_a_reader_follows_a_file_that_was_replaced(tmp_path: Path) -> None:
    """A cell that starts afresh under a running console."""
    path = tmp_path / "store.sqlite3"
    backend = SqliteBackend(path)
    reader = backend.open_reader()
    first = backend.open_store()
    first.write(batch(0, 3))
    first.close()
    assert reader.counts().stored == 3
    for leftover in tmp_path.iterdir():
        leftover.unlink()
    assert not reader.exists()

    second = backend.open_store()
    second.write(batch(0, 1))

    assert reader.counts().stored == 1
    reader.close()
    second.close()


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    """The message names the file and what to do."""
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StoreUnavailableError, match="name a folder that this user may write"):
        SqliteStore(tmp_path / "file" / "store.sqlite3")


def test_a_defect_of_ours_is_not_called_unavailable(tmp_path: Path) -> None:
    """Retrying a statement that names a missing table would go on for ever."""
    path = tmp_path / "store.sqlite3"
    store = SqliteStore(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("DROP TABLE duplicates")

    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        store.write(StoreBatch(events=[event(offset=1), event(offset=2)]))

    store.close()


def test_a_missing_value_is_a_defect_not_a_duplicate(tmp_path: Path) -> None:
    """`OR IGNORE` would pass over the row and call it stored before."""
    store = SqliteStore(tmp_path / "store.sqlite3")

    with pytest.raises(sqlite3.IntegrityError, match="NOT NULL"):
        store.write(StoreBatch(events=[event(stage=None)]))

    store.close()

"""Files of other versions and other programs."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bems_streams.adapters.sqlite import SqliteBackend
from bems_streams.adapters.sqlite_schema import APPLICATION_ID, MIGRATIONS, SchemaState, migrate, state_of
from bems_streams.ports import StoreBatch, StoreUnusableError
from tests.contract.rows import event

NEXT = (*MIGRATIONS, ("ALTER TABLE events ADD COLUMN colour TEXT", "UPDATE events SET colour = 'red'"))


def written_store(path: Path) -> SqliteBackend:
    backend = SqliteBackend(path)
    store = backend.open_store()
    store.write(StoreBatch(events=[event()]))
    store.close()
    return backend


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize("side", ["open_store", "open_reader"])
def test_a_newer_file_is_refused_with_the_way_out_and_left_as_it_is(tmp_path: Path, side: str) -> None:
    """An older program would lose what it does not know."""
    path = tmp_path / "store.sqlite3"
    backend = written_store(path)
    execute(path, f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = path.read_bytes()

    with pytest.raises(StoreUnusableError, match=r"schema version 3, this program knows up to 2: start the newer bems"):
        opened = getattr(backend, side)()
        opened.counts()

    assert path.read_bytes() == before


@pytest.mark.parametrize("side", ["open_store", "open_reader"])
@pytest.mark.parametrize("marked", [False, True], ids=["unmarked", "marked"])
def test_a_file_of_another_program_is_refused_and_left_as_it_is(tmp_path: Path, side: str, marked: bool) -> None:
    """A wrong path must not fill somebody else's database with our tables."""
    path = tmp_path / "other.sqlite3"
    execute(path, "CREATE TABLE theirs (x)", f"PRAGMA application_id = {7 if marked else 0}")
    before = path.read_bytes()

    with pytest.raises(StoreUnusableError, match="of another program: name another file"):
        opened = getattr(SqliteBackend(path), side)()
        opened.counts()

    assert path.read_bytes() == before


@pytest.mark.parametrize("side", ["open_store", "open_reader"])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, side: str) -> None:
    """Trying again would not help."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database at all, but long enough to have a header of a hundred bytes or more. " * 9)

    with pytest.raises(StoreUnusableError, match="it is not an SQLite file; name another file"):
        opened = getattr(SqliteBackend(path), side)()
        opened.counts()


def test_an_older_file_is_brought_up_to_date_with_its_rows(tmp_path: Path) -> None:
    """Each migration runs once, in order, in one transaction."""
    path = tmp_path / "store.sqlite3"
    written_store(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert state_of(connection, path, NEXT) is SchemaState.OLDER

        migrate(connection, path, NEXT)
        migrate(connection, path, NEXT)

        assert state_of(connection, path, NEXT) is SchemaState.CURRENT
        assert connection.execute("SELECT event_id, colour FROM events").fetchall() == [("e-1", "red")]


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """The older program can go on with it."""
    path = tmp_path / "store.sqlite3"
    backend = written_store(path)
    broken = (*NEXT, ("CREATE TABLE more (x)", "no such statement"))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        with pytest.raises(sqlite3.OperationalError, match="syntax error"):
            migrate(connection, path, broken)

        assert state_of(connection, path) is SchemaState.CURRENT
    with closing(backend.open_reader()) as reader:
        assert [row.event_id for row in reader.events()] == ["e-1"]


def test_a_reader_does_not_guess_at_an_older_file(tmp_path: Path) -> None:
    """A console that is upgraded before the sink says what to start."""
    path = tmp_path / "store.sqlite3"
    execute(path, "CREATE TABLE old (x)", f"PRAGMA application_id = {APPLICATION_ID}", "PRAGMA user_version = 0")

    with pytest.raises(StoreUnusableError, match=r"an earlier bems: start a writer \(bems worker sink\)"):
        SqliteBackend(path).open_reader().counts()

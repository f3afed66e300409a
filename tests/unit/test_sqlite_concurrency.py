"""Readers and the writer of the SQLite store at the same time."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Event

from bems_streams.adapters.sqlite import SqliteBackend, SqliteStore
from bems_streams.adapters.sqlite_files import WAL_LIMIT_BYTES
from bems_streams.adapters.sqlite_pool import ReadPool
from bems_streams.ports import StoreBatch, StoreCounts, StoreReader, StoreUnavailableError
from tests.contract.rows import NOW_US, SECOND_US, event, invoice


def batch(number: int) -> StoreBatch:
    """Ten events of one invoice, the last a copy, and the invoice."""
    offsets = range(number * 10, number * 10 + 10)
    events = [event(f"e-{min(n, offsets[8])}", n, invoice_id=f"INV-{number}") for n in offsets]
    return StoreBatch(events=events, invoices=[invoice(f"INV-{number}")])


def watch(reader: StoreReader, done: Event) -> list[StoreCounts]:
    """Ask as fast as possible until the writer is done."""
    seen = []
    while not done.is_set():
        seen.append(reader.counts())
        reader.activity(NOW_US, NOW_US + 60 * SECOND_US)
        reader.stored_since(0, 10)
    return seen


@contextmanager
def watched(backend: SqliteBackend, watchers: int) -> Iterator[list[StoreCounts]]:
    """Threads that share one reader and ask throughout the body; afterwards, what they saw."""
    done, seen = Event(), list[StoreCounts]()
    with ThreadPoolExecutor(watchers) as threads, closing(backend.open_reader()) as reader:
        watching = [threads.submit(watch, reader, done) for _ in range(watchers)]
        try:
            yield seen
        finally:
            done.set()
        for watcher in watching:
            seen += watcher.result(timeout=30)


def test_readers_in_many_threads_see_only_whole_writes_and_never_stop_the_writer(tmp_path: Path) -> None:
    """The writer would fail at once if it had to wait for any of them."""
    path = tmp_path / "store.sqlite3"
    SqliteStore(path).close()
    with closing(SqliteStore(path, lock_timeout_seconds=0)) as store, watched(SqliteBackend(path), 4) as seen:
        for number in range(100):
            store.write(batch(number))

    assert any(counts.stored for counts in seen)
    for counts in seen:
        assert (counts.stored, counts.duplicates) == (9 * counts.invoices, counts.invoices)


def test_all_that_one_question_asks_is_of_one_moment(tmp_path: Path) -> None:
    """A timeline is several statements: an invoice must not be newer than the events beside it."""
    path, asked = tmp_path / "store.sqlite3", "SELECT count(*) FROM events"
    pool = ReadPool(path)
    with closing(SqliteStore(path)) as store, closing(pool), pool.snapshot() as connection:
        assert connection is not None
        before = connection.execute(asked).fetchone()

        store.write(batch(0))

        assert connection.execute(asked).fetchone() == before == (0,)


def test_a_store_is_created_and_reopened_under_readers_that_never_rest(tmp_path: Path) -> None:
    """The console is up before the sink's first start, and while it restarts."""
    backend = SqliteBackend(tmp_path / "store.sqlite3")
    with watched(backend, 2) as seen:
        for number in range(20):
            with closing(backend.open_store()) as store:
                store.write(batch(number))

    assert [counts.invoices for counts in seen if counts.invoices > 20] == []
    with closing(backend.open_reader()) as reader:
        assert reader.counts() == StoreCounts(180, 20, 0, 20, 0)


def test_writers_take_turns(tmp_path: Path) -> None:
    """Two sinks on one file, as while one replaces the other: no write is lost, sequences stay in commit order."""
    backend = SqliteBackend(tmp_path / "store.sqlite3")

    def write_some(first: int) -> None:
        with closing(backend.open_store()) as store:
            for number in range(first, first + 50):
                store.write(batch(number))

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(write_some, [0, 1000]))

    with closing(backend.open_reader()) as reader:
        assert reader.counts() == StoreCounts(900, 100, 0, 100, 0)
        assert [row[0] for row in reader.stored_since(0, 1000)] == list(range(1, 901))


def test_the_log_of_writes_stays_bounded_beside_busy_readers(tmp_path: Path) -> None:
    """Readers that never rest must not keep the write-ahead log from being written back and used again."""
    path = tmp_path / "store.sqlite3"
    backend, wal, largest_bytes = SqliteBackend(path), path.with_name(path.name + "-wal"), 0
    with closing(backend.open_store()) as store, watched(backend, 2):
        for number in range(0, 60_000, 1000):
            rows = [event(f"e-{n}", n, activity="x" * 2000) for n in range(number, number + 1000)]
            store.write(StoreBatch(events=rows))
            largest_bytes = max(largest_bytes, wal.stat().st_size)

    assert path.stat().st_size > 1.5 * WAL_LIMIT_BYTES
    assert largest_bytes < 1.5 * WAL_LIMIT_BYTES


def test_a_reader_closed_under_questions_ends_them_without_crashing(tmp_path: Path) -> None:
    """The console stops while its page asks: every question ends, answered or told that the store is not there."""
    backend = SqliteBackend(tmp_path / "store.sqlite3")
    with closing(backend.open_store()) as store:
        for number in range(20):
            store.write(batch(number))

    def ask(reader: StoreReader, asked: Event) -> None:
        with suppress(StoreUnavailableError):
            while True:
                reader.counts()
                asked.set()

    for _ in range(10):
        reader, asked = backend.open_reader(), Event()
        with ThreadPoolExecutor(3) as threads:
            asking = [threads.submit(ask, reader, asked) for _ in range(3)]
            assert asked.wait(30)
            reader.close()
            for each in asking:
                assert each.result(30) is None

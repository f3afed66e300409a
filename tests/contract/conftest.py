"""One fresh store per test, for every scheme of the registry."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from bems_streams.adapters.stores import STORES, Backend, backend_of
from bems_streams.ports import EventStore, StoreReader

FRESH_URLS: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda folder: f"sqlite:///{folder / 'store.sqlite3'}",
    "memory": lambda folder: "memory:",
}


@dataclass
class Pair:
    """A store, and a reader opened before the store was there."""

    backend: Backend
    reader: StoreReader
    _store: EventStore | None = None

    @property
    def store(self) -> EventStore:
        """The writing side, created when a test first needs it."""
        if self._store is None:
            self._store = self.backend.open_store()
        return self._store

    def close(self) -> None:
        """Both sides."""
        self.reader.close()
        if self._store is not None:
            self._store.close()


@contextmanager
def fresh(scheme: str) -> Iterator[Backend]:
    """An empty store, as often as a test needs one."""
    with TemporaryDirectory() as folder:
        yield backend_of(FRESH_URLS[scheme](Path(folder)))


@pytest.fixture(params=sorted(STORES))
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """A fresh store. A new line in STORES runs the whole contract; without a fresh URL for it, every test fails."""
    assert request.param in FRESH_URLS, f"add to FRESH_URLS how tests get a fresh {request.param!r} store"
    backend = backend_of(FRESH_URLS[request.param](tmp_path))
    opened = Pair(backend, backend.open_reader())
    yield opened
    opened.close()

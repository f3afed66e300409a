"""Which stores exist, by the scheme of their URL: `sqlite:///path/of/file`, `memory:`.

A further store is one file beside this one and one line in STORES; the contract tests then run on it.
Not here: how any of them works.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from bems_streams.adapters.memory import MemoryBackend
from bems_streams.adapters.sqlite import SqliteBackend
from bems_streams.ports import EventStore, StoreReader, StoreUnusableError


class Backend(Protocol):
    """One store, opened from either side. Opening a reader never creates the store."""

    def open_store(self) -> EventStore:
        """To write. StoreUnavailableError, StoreUnusableError."""

    def open_reader(self) -> StoreReader:
        """To read. Does not touch the store before the first question."""


def _sqlite(rest: str) -> Backend:
    path = rest.removeprefix("///")
    if path == rest or not path:
        raise StoreUnusableError(f"sqlite:{rest} names no file: write sqlite:///relative or sqlite:////absolute/path")
    return SqliteBackend(Path(path))


def _memory(rest: str) -> Backend:
    if rest:
        raise StoreUnusableError(f"memory:{rest}: the store in memory has no name: write memory:")
    return MemoryBackend()


STORES: Final[Mapping[str, Callable[[str], Backend]]] = {
    "sqlite": _sqlite,
    "memory": _memory,
}


def backend_of(url: str) -> Backend:
    """The store a URL names, unopened. StoreUnusableError for a URL that names none."""
    scheme, colon, rest = url.partition(":")
    if not colon or scheme not in STORES:
        raise StoreUnusableError(f"store {url!r}: a store URL begins with {' or '.join(f'{name}:' for name in STORES)}")
    return STORES[scheme](rest)


def open_store(url: str) -> EventStore:
    """Open a store to write to."""
    return backend_of(url).open_store()


def open_reader(url: str) -> StoreReader:
    """Open a store to read. A reader of `memory:` sees an empty store: use the reader of the writer's backend."""
    return backend_of(url).open_reader()


def default_store_url(state_dir: Path) -> str:
    """The SQLite file in the folder of local state."""
    return f"sqlite:///{(state_dir / 'store.sqlite3').absolute()}"

"""Which stores exist, by the scheme of their URL: `sqlite:///path/of/file`, `memory:`.

A further store is one file beside this one and one line in STORES; the contract tests then run on it. Stores of other
packages are entry points of the group `bems.stores`: name = scheme, value = a function of what follows the colon.
Not here: how any of them works.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
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


Maker = Callable[[str], Backend]
"""From what follows the scheme's colon."""
ENTRY_POINTS: Final = "bems.stores"
STORES: Final[Mapping[str, Maker]] = {
    "sqlite": _sqlite,
    "memory": _memory,
}


def backend_of(url: str) -> Backend:
    """The store a URL names, unopened. StoreUnusableError for a URL that names none."""
    scheme, colon, rest = url.partition(":")
    maker = (STORES.get(scheme) or _installed(scheme)) if colon else None
    if maker is None:
        schemes = [*STORES, *sorted(entry_points(group=ENTRY_POINTS).names - STORES.keys())]
        begins = " or ".join(f"{name}:" for name in schemes)
        raise StoreUnusableError(f"store {url!r}: a store URL begins with {begins}")
    return maker(rest)


def _installed(scheme: str) -> Maker | None:
    found = entry_points(group=ENTRY_POINTS, name=scheme)
    if not found:
        return None
    if len(found) > 1:
        values = ", ".join(sorted(entry.value for entry in found))
        raise StoreUnusableError(f"{scheme}: is the store of {values}: uninstall all of their packages but one")
    (entry,) = found
    try:
        maker: Maker = entry.load()
    except (ImportError, AttributeError) as error:
        raise StoreUnusableError(
            f"the store {scheme}: cannot be loaded from {entry.value}: {error}: install its package anew"
        ) from error
    return maker


def open_store(url: str) -> EventStore:
    """Open a store to write to."""
    return backend_of(url).open_store()


def open_reader(url: str) -> StoreReader:
    """Open a store to read. A reader of `memory:` sees an empty store: use the reader of the writer's backend."""
    return backend_of(url).open_reader()


def default_store_url(state_dir: Path) -> str:
    """The SQLite file in the folder of local state."""
    return f"sqlite:///{(state_dir / 'store.sqlite3').absolute()}"

"""Which store the reading commands (`invoice`, `stuck`, `export`) look into, and how they say that they cannot.

Not here: what they show. Exit codes: 1 what was asked for is not there, 2 the store could not be read.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from bems_streams.adapters.stores import default_store_url, open_reader
from bems_streams.config import Settings
from bems_streams.ports import StoreReader, StoreUnavailableError, StoreUnusableError

_F = TypeVar("_F", bound=Callable[..., Any])


class StoreUnreadableError(click.ClickException):
    """The store is missing, or cannot be read: nothing is known about what was asked."""

    exit_code = 2


class OpenStore(NamedTuple):
    """A store that exists, and how to name it in messages."""

    reader: StoreReader
    url: str


def store_options(function: _F) -> _F:
    """`--state-dir` and `--store`."""
    for option in (
        click.option("--store", help="URL of the store, sqlite:///path. [BEMS_STORE, the one in the state folder]"),
        click.option(
            "--state-dir", type=click.Path(path_type=Path), help="Folder of the default store. [BEMS_STATE_DIR, .bems]"
        ),
    ):
        function = option(function)
    return function


def store_url(settings: Settings, state_dir: Path | None, store: str | None) -> str:
    """Options before environment; the store itself before the folder it is in."""
    if store or state_dir is None:
        return store or settings.store or default_store_url(settings.state_dir)
    return default_store_url(state_dir)


@contextmanager
def reading(url: str) -> Iterator[OpenStore]:
    """A reader of a store that is there, closed at the end. Trouble with the store ends the command with a message."""
    try:
        reader = open_reader(url)
        try:
            if not reader.exists():
                raise StoreUnreadableError(
                    f"there is no store at {url}: name the right one with --state-dir or --store; the sink "
                    "(bems worker sink, or bems demo) creates it"
                )
            yield OpenStore(reader, url)
        finally:
            reader.close()
    except (StoreUnavailableError, StoreUnusableError) as error:
        raise StoreUnreadableError(str(error)) from error

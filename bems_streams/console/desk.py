"""One thread with one store reader, asked with a timeout, so that a slow store never stops the page.

Not here: what is asked (snapshot.py, app.py).
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from bems_streams.ports import StoreReader, StoreUnavailableError

log = logging.getLogger(__name__)
T = TypeVar("T")


class StoreAwayError(Exception):
    """The store gave no answer. The message says why and what to do, for people."""


class Desk:
    """Opens a reader when first asked and again after every failure. Readers never leave the desk's thread."""

    def __init__(self, open_reader: Callable[[], StoreReader], where: str) -> None:
        self._open = open_reader
        self._where = where
        self._reader: StoreReader | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="console-store")

    async def ask(self, query: Callable[[StoreReader], T], timeout_seconds: float) -> T:
        """Run `query` on the reader. StoreAwayError when the store is away, fails, or takes too long."""
        future = asyncio.get_running_loop().run_in_executor(self._thread, self._run, query)
        try:
            return await asyncio.wait_for(future, timeout_seconds)
        except TimeoutError:
            raise StoreAwayError(
                f"The store {self._where} did not answer within {timeout_seconds:g} s. It may be locked or on a slow "
                "disk: check disk space and load, and which process holds it."
            ) from None
        except StoreUnavailableError as error:
            raise StoreAwayError(
                f"The store {self._where} cannot be read: {error}. Check that the sink runs (bems worker sink) and "
                "that both use the same state directory or store."
            ) from error
        except Exception as error:
            log.exception("reading the store failed store=%s", self._where)
            raise StoreAwayError(
                f"Reading the store {self._where} failed: {type(error).__name__}: {error}. The console's log has the "
                "details; the console tries again by itself."
            ) from error

    def _run(self, query: Callable[[StoreReader], T]) -> T:
        if self._reader is None:
            self._reader = self._open()
        try:
            return query(self._reader)
        except Exception:
            self._drop()
            raise

    def _drop(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def close(self) -> None:
        """Close the reader after the queries already asked; do not wait for it."""
        self._thread.submit(self._drop)
        self._thread.shutdown(wait=False)

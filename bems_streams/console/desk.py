"""Asks the store on a thread of its own, with a timeout, so that a slow store never stops the page.

Not here: what is asked (snapshot.py, app.py).
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from bems_streams.ports import StoreReader, StoreUnavailableError, StoreUnusableError

log = logging.getLogger(__name__)
T = TypeVar("T")


class StoreAwayError(Exception):
    """The store gave no answer. The message says why and what to do, for people."""


class Desk:
    """One query at a time; those that wait longer than their timeout are never run."""

    def __init__(self, reader: StoreReader, name: str) -> None:
        self._reader = reader
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"console-{name}")

    async def ask(self, query: Callable[[StoreReader], T], timeout_seconds: float) -> T:
        """Run `query` on the reader. StoreAwayError when the store is missing, away, fails, or takes too long."""
        future = asyncio.get_running_loop().run_in_executor(self._thread, query, self._reader)
        try:
            return await asyncio.wait_for(future, timeout_seconds)
        except TimeoutError:
            raise StoreAwayError(
                f"The store did not answer within {timeout_seconds:g} s: look at the load and the disk of its machine."
            ) from None
        except (StoreUnavailableError, StoreUnusableError) as error:
            raise StoreAwayError(f"{error}.") from error
        except Exception as error:
            log.exception("a query failed")
            raise StoreAwayError(
                f"A query failed: {type(error).__name__}: {error}. The console's log has the details; it tries again."
            ) from error

    def close(self) -> None:
        """Take no further questions; do not wait for the one that runs."""
        self._thread.shutdown(wait=False, cancel_futures=True)

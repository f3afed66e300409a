"""Leaving at once: the only way out of a worker when something unexpected happened, before anything can be acked.

Faust's own shutdown acks cancelled work and commits it; a process that is gone cannot.
Not here: what counts as expected (flows return typed outcomes for that).
"""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

logger = logging.getLogger(__name__)

EXIT_FAILED: Final = 70
"""EX_SOFTWARE of sysexits.h: the supervisor restarts the worker, which then replays what was not acked."""


def die(reason: str) -> NoReturn:
    """Log `reason` and end the process now: no cleanup, no ack, no commit."""
    logger.critical("worker stops, nothing of the work at hand is acknowledged: %s", reason, exc_info=sys.exc_info()[1])
    for handler in logging.getLogger().handlers:
        handler.flush()
    os._exit(EXIT_FAILED)


@contextmanager
def fail_fast(doing: str) -> Iterator[None]:
    """Turn any error in the block into `die`; let cancellation pass, which never acks by itself."""
    try:
        yield
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        die(f"{doing}: {type(error).__name__}: {error}")


class ShutdownWatchdog:
    """Ends the process when an orderly stop takes longer than its budget (a hung call must not outlive the pod)."""

    def __init__(self, budget_seconds: float) -> None:
        self._timer = threading.Timer(budget_seconds, die, [f"orderly stop took longer than {budget_seconds:g} s"])
        self._timer.daemon = True

    def start(self) -> None:
        """Begin the countdown."""
        self._timer.start()

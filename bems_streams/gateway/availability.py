"""Whether events can be made durable now, so that the gateway refuses fast instead of queueing for nobody.

Not here: how to find out (adapters/kafka_producer.py, the composition root).
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from bems_streams.topics_plan import TopicAdminError, UnsafeClusterError

log = logging.getLogger(__name__)

COMPARE_EVERY_SECONDS: Final = 60.0


class Availability:
    """The newest knowledge. `reason` is None when events can be taken; `readiness` also knows of stopping."""

    def __init__(self) -> None:
        self.reason: str | None = "no contact with the broker yet"
        self._stopping = False

    def stop(self) -> None:
        """From now on not ready, while requests already under way are still carried out."""
        self._stopping = True

    def readiness(self) -> str | None:
        """None when ready, else why not."""
        return "stopping" if self._stopping else self.reason

    def learn(self, reason: str | None) -> None:
        """Take note of a check's result; changes are news for the operator."""
        if reason != self.reason:
            if reason is None:
                log.info("taking events")
            else:
                log.warning("refusing events: %s", reason)
        self.reason = reason


class ClusterCheck:
    """Why events cannot be made durable now, else None. Blocking; not thread-safe.

    `refuse_unsafe` compares the cluster with the catalogue: at every first and regained contact, and once a minute,
    because somebody may change topics meanwhile.
    """

    def __init__(
        self,
        unreachable: Callable[[], str | None],
        refuse_unsafe: Callable[[], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._unreachable = unreachable
        self._refuse_unsafe = refuse_unsafe
        self._now = now
        self._found_safe: float | None = None

    def __call__(self) -> str | None:
        """One check."""
        reason = self._unreachable()
        if reason is None and (self._found_safe is None or self._now() - self._found_safe >= COMPARE_EVERY_SECONDS):
            reason = self._compare()
        if reason is not None:
            self._found_safe = None
        return reason

    def _compare(self) -> str | None:
        try:
            self._refuse_unsafe()
        except UnsafeClusterError as error:
            return str(error)
        except TopicAdminError as error:
            if self._found_safe is None:
                return str(error)
            log.warning("the topics could not be compared again, going on with what was found before: %s", error)
            return None
        self._found_safe = self._now()
        return None


async def watch(availability: Availability, check: Callable[[], str | None], interval_seconds: float) -> None:
    """Check for ever, on a thread because it blocks. A check that fails unexpectedly is a reason not to take events."""
    while True:
        try:
            availability.learn(await asyncio.to_thread(check))
        except Exception as error:
            log.exception("the check of the broker failed")
            availability.learn(f"the check of the broker failed ({type(error).__name__}); see the gateway's log")
        await asyncio.sleep(interval_seconds)

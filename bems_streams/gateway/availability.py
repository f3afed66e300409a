"""Whether events can be made durable now, so that the gateway refuses fast instead of queueing for nobody.

Not here: how to find out (adapters/kafka_producer.py, the composition root).
"""

import asyncio
import logging
from collections.abc import Callable

from bems_streams.topics_plan import TopicAdminError, UnsafeClusterError

log = logging.getLogger(__name__)


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
    """Why events cannot be made durable now, else None. Blocking.

    `refuse_unsafe` compares the cluster with the catalogue; it runs at every first and regained contact, because
    topics may have been changed meanwhile.
    """

    def __init__(self, unreachable: Callable[[], str | None], refuse_unsafe: Callable[[], None]) -> None:
        self._unreachable = unreachable
        self._refuse_unsafe = refuse_unsafe
        self._known_safe = False

    def __call__(self) -> str | None:
        """One check."""
        reason = self._unreachable()
        if reason is None and not self._known_safe:
            try:
                self._refuse_unsafe()
            except (TopicAdminError, UnsafeClusterError) as error:
                reason = str(error)
        self._known_safe = reason is None
        return reason


async def watch(availability: Availability, check: Callable[[], str | None], interval_seconds: float) -> None:
    """Check for ever, on a thread because it blocks. A check that fails unexpectedly is a reason not to take events."""
    while True:
        try:
            availability.learn(await asyncio.to_thread(check))
        except Exception as error:
            log.exception("the check of the broker failed")
            availability.learn(f"the check of the broker failed ({type(error).__name__}); see the gateway's log")
        await asyncio.sleep(interval_seconds)

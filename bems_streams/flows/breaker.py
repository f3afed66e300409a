"""The circuit breaker of an agent: while its destination is down as a whole, the agent waits, and says so.

Nothing moves meanwhile: no record goes to a lane, no offset is committed. The batch at hand is the probe, tried again
ever more slowly until it is taken. Not here: what counts as down (the ports' exceptions).
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from bems_streams.domain.event import instant
from bems_streams.domain.failures import Transient
from bems_streams.metrics import AgentMetrics
from bems_streams.ports import Clock

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 5.0

Pause = Callable[[float], Awaitable[None]]
"""Sleeps so many seconds. Raises when the work at hand is no longer this worker's: it is abandoned then, unacked."""


class Breaker:
    """Closed: the destination takes what it is given. Open: since when, why."""

    def __init__(self, clock: Clock, metrics: AgentMetrics, pause: Pause) -> None:
        self._clock = clock
        self._metrics = metrics
        self._pause = pause
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._open_since_us: int | None = None
        self._why = ""

    def reason_not_ready(self) -> str | None:
        """For /readyz: None while closed."""
        if self._open_since_us is None:
            return None
        return f"paused since {instant(self._open_since_us).isoformat(timespec='seconds')}: {self._why}"

    async def failed(self, kind: type[Transient], why: str) -> None:
        """The destination did not take it. Returns when it is time to try again."""
        self._why = why
        if self._open_since_us is None:
            self._open_since_us = self._clock.now_us()
            self._metrics.pause(kind.code)
            logger.warning("paused, nothing is acknowledged: %s", why)
        await self._pause(self._pause_seconds)
        self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)

    def succeeded(self) -> None:
        """The destination took it."""
        if self._open_since_us is not None:
            seconds = (self._clock.now_us() - self._open_since_us) / 1e6
            logger.warning("goes on after a pause of %.1f s", seconds)
            self._metrics.resume()
        self._open_since_us = None
        self._pause_seconds = FIRST_PAUSE_SECONDS

"""Keeps one snapshot fresh for all viewers, and says since when and why it is not.

Not here: how the store is asked (desk.py), what is asked (snapshot.py).
"""

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import Final

from bems_streams.console.desk import Desk, StoreAwayError
from bems_streams.console.snapshot import Look, Snapshot, take
from bems_streams.metrics import ConsoleMetrics

log = logging.getLogger(__name__)

PERIOD_SECONDS: Final = 1.0
SHARE_OF_TIME: Final = 0.25  # a slow store is asked less often: looking takes at most this share of the time
TIMEOUT_SECONDS: Final = 10.0
STALE_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the newest look failed, and since when looks fail."""

    message: str
    since_us: int


class Live:
    """`snapshot` is the newest one that succeeded; `trouble` is None while looks succeed."""

    def __init__(self, desk: Desk, look: Look, metrics: ConsoleMetrics) -> None:
        self._desk, self._look, self._metrics = desk, look, metrics
        self.snapshot: Snapshot | None = None
        self.trouble: Trouble | None = None

    async def refresh(self, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """Look once. Never raises for a store that is away: that becomes `trouble`."""
        try:
            with self._metrics.look_seconds.time():
                self.snapshot = await self._desk.ask(partial(take, look=self._look), timeout_seconds)
        except StoreAwayError as error:
            self._metrics.look("failed")
            if self.trouble is None:
                log.warning("store away: %s", error)
            since_us = self.trouble.since_us if self.trouble else self._look.clock.now_us()
            self.trouble = Trouble(str(error), since_us)
            return
        self._metrics.look("taken")
        if self.trouble is not None:
            log.info("store is back")
        self.trouble = None

    async def run(self) -> None:
        """Look for ever, once a period."""
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            await self.refresh()
            took = loop.time() - started
            await asyncio.sleep(max(PERIOD_SECONDS - took, took * (1 / SHARE_OF_TIME - 1)))

    def age_us(self) -> int | None:
        """Age of the snapshot; None without one."""
        return max(0, self._look.clock.now_us() - self.snapshot.taken_us) if self.snapshot else None

    def unready(self) -> str | None:
        """None when what is shown is fresh, else the reason why not."""
        if self.trouble is not None:
            return self.trouble.message
        age_us = self.age_us()
        if age_us is None:
            return "the store has not been read yet"
        if age_us > STALE_SECONDS * 1_000_000:
            return f"what is shown is {age_us / 1e6:.0f} s old: the store answers slowly"
        return None

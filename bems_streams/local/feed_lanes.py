"""Collects events into batches, a lane for each connection, and says how long a lane keeps trying.

Not here: sending (feeder.py).
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from random import uniform
from typing import Final, NamedTuple

from bems_streams.local.feed_types import FeedOptions, Offer

ROUNDS_AHEAD: Final = 2


class Batch(NamedTuple):
    """What one request carries. `bare`: one event as the whole body, instead of an array of them."""

    stage: str
    offers: Sequence[Offer]
    bare: bool = False

    def halves(self) -> "tuple[Batch, Batch]":
        """The same events in two smaller batches."""
        middle = len(self.offers) // 2
        return self._replace(offers=self.offers[:middle]), self._replace(offers=self.offers[middle:])


class Lane:
    """One connection's share of the invoices. Batches leave in the order in which their first events came, and those
    of a stage so that its events keep their order.
    """

    def __init__(self, options: FeedOptions) -> None:
        self._options = options
        self._collected: list[Batch] = []
        self._growing: dict[str, list[Offer]] = {}
        self._events = self._bytes = 0
        self._room = asyncio.Semaphore(ROUNDS_AHEAD)
        self._rounds: asyncio.Queue[list[Batch] | None] = asyncio.Queue()

    async def add(self, offer: Offer) -> None:
        """Collect an event that is JSON at once, then wait while the gateway can not keep up."""
        group = self._growing.get(offer.stage)
        if group is None:
            group = self._growing[offer.stage] = []
            self._collected.append(Batch(offer.stage, group))
        group.append(offer)
        await self._added(offer)

    async def add_bare(self, offer: Offer) -> None:
        """The same for one that is to be a body of its own, as what is not JSON must be."""
        self._growing.pop(offer.stage, None)
        self._collected.append(Batch(offer.stage, [offer], bare=True))
        await self._added(offer)

    async def _added(self, offer: Offer) -> None:
        self._events += 1
        self._bytes += len(offer.raw) + 1
        if self._events >= self._options.batch_events or self._bytes >= self._options.batch_bytes:
            await self.flush()

    async def flush(self) -> None:
        """Hand over what was collected. Cancelled while waiting, it hands over nothing and loses nothing."""
        if not self._events:
            return
        await self._room.acquire()
        batches, self._collected, self._growing = self._collected, [], {}
        self._events = self._bytes = 0
        self._rounds.put_nowait(batches)

    async def finish(self) -> None:
        """Hand over the rest; nothing comes after it."""
        await self.flush()
        self._rounds.put_nowait(None)

    async def rounds(self) -> AsyncIterator[list[Batch]]:
        """What was handed over, until `finish`."""
        while (batches := await self._rounds.get()) is not None:
            yield batches
            self._room.release()


class Patience:
    """How often and how long to try, for one lane. Success forgets earlier failures."""

    def __init__(self, options: FeedOptions) -> None:
        self._options = options
        self._since: float | None = None
        self._tries = 0

    def reset(self) -> None:
        """The gateway settled something."""
        self._since, self._tries = None, 0

    def next_wait_seconds(self, now: float, asked_seconds: float | None) -> float | None:
        """How long to wait before the next try; None when it has been too long. `now` is a monotonic clock."""
        options = self._options
        self._since = now if self._since is None else self._since
        left = self._since + options.give_up_after_seconds - now
        if left <= 0:
            return None
        backoff = min(options.longest_backoff_seconds, options.backoff_seconds * 2.0**self._tries)
        self._tries = min(self._tries + 1, 30)
        jitter = uniform(0.5, 1.0)  # noqa: S311 - spreads senders, keeps no secret
        return min(left, max(backoff * jitter, (asked_seconds or 0.0) * (0.5 + jitter)))

"""What an agent loops over: all batches that wait, taken together, acked together or not at all.

Not here: what is done with them (flows), where they come from (transport.py).
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Any

from bems_streams.ports import RawRecord
from bems_streams.runtime.batch import Batch
from bems_streams.runtime.failfast import die
from bems_streams.runtime.transport import BatchConsumer


class PartitionsMovedError(Exception):
    """The batch belongs to an earlier assignment: somebody else reads it again. Not a failure."""


class Work:
    """Batches of one epoch. Use as `async with work:`; leaving the block acks, an error in it ends the process."""

    def __init__(self, consumer: BatchConsumer, events: Sequence[Any]) -> None:
        self._consumer = consumer
        self._events = events
        self.batches: Sequence[Batch] = [event.value for event in events]
        self.epoch = self.batches[0].epoch

    @property
    def records(self) -> list[RawRecord]:
        """All records; those of one topic partition in offset order."""
        return [record for batch in self.batches for record in batch.records]

    async def __aenter__(self) -> "Work":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            for event in self._events:
                self._consumer.ack(event.message)
            return False
        if isinstance(error, PartitionsMovedError):
            for event in self._events:
                self._consumer.abandon(event.message)
            return True
        if not isinstance(error, asyncio.CancelledError):
            first, last = self.batches[0].records[0].at, self.batches[-1].records[-1].at
            die(f"work from {first} to {last} failed: {type(error).__name__}: {error}")
        return False


async def coalesced(app: Any, stream: Any, max_records: int, pace_seconds: float = 0.0) -> AsyncGenerator[Work, None]:
    """Everything that waits on `stream`, as one piece of work of at most about `max_records` records, again and again.

    While one piece is in progress the next ones gather, so a slow broker makes transactions larger, not more numerous.
    What was fetched together goes into one piece: a transaction for each of its partitions would cost as much as one
    for all of them.
    Pieces begin at least `pace_seconds` apart unless `max_records` wait: at mid load most of what an event costs is its
    share of a piece. What comes after a rest is taken at once.
    """
    waiting: deque[Any] = deque()
    arrived = asyncio.Event()

    async def pump() -> None:
        async for event in stream.noack().events():
            waiting.append(event)
            arrived.set()
        if not app.should_stop:
            die("the stream of batches ended by itself")

    pumping = asyncio.ensure_future(pump())
    pumping.add_done_callback(_end_with_pump)
    loop = asyncio.get_running_loop()
    next_at = loop.time()
    try:
        while True:
            arrived.clear()
            if not waiting:
                await arrived.wait()
            await app.consumer.handed_over.wait()
            early_seconds = next_at - loop.time()
            if early_seconds > 0 and sum(len(event.value) for event in waiting) < max_records:
                await asyncio.sleep(early_seconds)
            next_at = loop.time() + pace_seconds
            taken = _take(app.consumer, waiting, max_records)
            if taken:
                yield Work(app.consumer, taken)
    finally:
        pumping.cancel()


def _take(consumer: BatchConsumer, waiting: deque[Any], max_records: int) -> list[Any]:
    taken: list[Any] = []
    records = 0
    while waiting and records < max_records:
        event = waiting.popleft()
        if event.value.epoch != consumer.epoch:
            consumer.abandon(event.message)
            continue
        taken.append(event)
        records += len(event.value)
    return taken


def _end_with_pump(pumping: "asyncio.Future[None]") -> None:
    if not pumping.cancelled() and (error := pumping.exception()) is not None:
        die(f"reading the stream failed: {type(error).__name__}: {error}")

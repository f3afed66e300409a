"""A consumer and a stream of batches in memory, as agents see them.

Not here: Kafka, Faust, or what is done with the batches.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bems_streams.adapters.clock import SystemClock
from bems_streams.ports import RawRecord
from bems_streams.runtime.batch import Batch, Pipeline
from bems_streams.runtime.holding import LaneRule

NO_LANES = LaneRule({}, SystemClock())


async def until(condition: Callable[[], bool], timeout_seconds: float = 10.0) -> None:
    """Let everything else run until it holds."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to hold in time"
        await asyncio.sleep(0)


@dataclass(eq=False)
class Message:
    """Faust's, as far as acking goes."""

    value: Batch


@dataclass(eq=False)
class Event:
    """Faust's: one element of a stream."""

    message: Message

    @property
    def value(self) -> Batch:
        """The batch."""
        return self.message.value


class Consumer:
    """What acks come to."""

    def __init__(self) -> None:
        self.epoch = 1
        self.pipeline = Pipeline()
        self.handed_over = asyncio.Event()
        self.handed_over.set()
        self.acked: list[Batch] = []
        self.abandoned: list[Batch] = []

    def ack(self, message: Message) -> bool:
        """As BatchConsumer.ack."""
        self.acked.append(message.value)
        self.pipeline.ack(message.value)
        return True

    def abandon(self, message: Message) -> None:
        """As BatchConsumer.abandon."""
        self.abandoned.append(message.value)


class Stream:
    """Batches that a test puts in, in order. An exception is raised where it stands; None ends the stream."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._queue: asyncio.Queue[Event | Exception | None] = asyncio.Queue()

    def put(self, records: Sequence[RawRecord], epoch: int | None = None) -> Batch:
        """A batch of one topic partition, of the consumer's epoch unless told otherwise."""
        at = records[0].at
        batch = Batch(at.topic, at.partition, self._consumer.epoch if epoch is None else epoch, records)
        self._consumer.pipeline.deliver(batch)
        self._queue.put_nowait(Event(Message(batch)))
        return batch

    def end(self, error: Exception | None = None) -> None:
        """Nothing follows."""
        self._queue.put_nowait(error)

    def noack(self) -> "Stream":
        """As Faust: the stream does not ack by itself."""
        return self

    async def events(self) -> AsyncIterator[Event]:
        """As Faust."""
        while (item := await self._queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item


class Signal:
    """Faust's signals: receivers are kept, and called by nobody."""

    def connect(self, receiver: Any) -> None:
        """As Faust."""
        self.receiver = receiver


class App:
    """What agents and ownership need of a Faust application. Agents and timers are kept for the test to run."""

    def __init__(self) -> None:
        self.consumer = Consumer()
        self.should_stop = False
        self.on_rebalance_complete = Signal()
        self.on_partitions_revoked = Signal()
        self.loops: dict[str, Any] = {}

    def agent(self, channel: Any, *, name: str) -> Any:
        """As Faust: a decorator."""
        return lambda loop: self.loops.setdefault(name, loop)

    def timer(self, interval_seconds: float, *, name: str) -> Any:
        """As Faust: a decorator."""
        return lambda tick: self.loops.setdefault(name, tick)

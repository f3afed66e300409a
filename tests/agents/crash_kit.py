"""Processes that end at any chosen moment, over a world that outlives them.

A process is built as the composition root builds it: the agents' own loops, work, ownership, flows; only Kafka, disk
and clock are in memory. A crash is an exception that everything lets pass without acking, as the end of a process does.
Not here: what is true after a crash (test_delivery_order.py).
"""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import Any, Final

from prometheus_client import CollectorRegistry

from agents.sink import add_sink
from agents.tracker import add_tracker
from bems_streams.adapters.memory import MemoryBackend
from bems_streams.flows.breaker import Breaker
from bems_streams.flows.store import SinkParts, Store
from bems_streams.flows.track import Track
from bems_streams.flows.watch import Watch
from bems_streams.metrics import AgentMetrics
from bems_streams.ports import Appended, Change, OutRecord, RawRecord, StoreBatch, WriteResult
from bems_streams.runtime.membership import Membership
from bems_streams.runtime.ownership import Owned, Ownership
from bems_streams.runtime.session import OwnedLog, Settled
from tests.unit.flow_kit import (
    ALERTS,
    LEDGER,
    STAGE_OF,
    STATUS,
    FrozenClock,
    MemoryBroker,
    MemoryPublisher,
    MemoryTable,
    Place,
    Tracker,
    lanes_of,
)
from tests.unit.work_kit import App, Consumer, Stream, until

TOPICS: Final = tuple(STAGE_OF)
MEMBERSHIP: Final = Membership("bems-tracker", 1, "member", None)


class Killed(asyncio.CancelledError):
    """The process is gone."""


class Crash:
    """Ends the process at the chosen points, counted over all processes; none when the list is empty."""

    def __init__(self, *points: int) -> None:
        self._points = set(points)
        self.passed = 0
        self.fired: list[str] = []

    def point(self, name: str) -> None:
        """A moment between two things that happen."""
        self.passed += 1
        if self.passed - 1 in self._points:
            self.fired.append(name)
            raise Killed(name)


class Disk(Enum):
    """What a crash leaves of the local table."""

    KEPT = "kept"
    WRITE_LOST = "last write lost"
    EMPTY = "empty"


class World:
    """What outlives processes: topics, committed offsets, the disk, the store, the clock."""

    def __init__(self, crash: Crash, disk: Disk = Disk.KEPT) -> None:
        self.crash = crash
        self.clock = FrozenClock()
        self.broker = MemoryBroker()
        self.topics: dict[Place, list[RawRecord]] = {}
        self.table = MemoryTable()
        self.table_before = MemoryTable()
        self.store = MemoryBackend()
        self._disk = disk

    def accept(self, *records: RawRecord) -> None:
        """Records are appended to their topics; the test gives them their offsets."""
        for record in records:
            log = self.topics.setdefault((record.at.topic, record.at.partition), [])
            assert record.at.offset == len(log)
            log.append(record)

    def unread(self) -> dict[Place, list[RawRecord]]:
        """By place, what has not been committed yet."""
        return {place: log[self.broker.committed.get(place, 0) :] for place, log in sorted(self.topics.items())}

    def numbers(self) -> list[int]:
        """Partition numbers in use."""
        return sorted({number for _, number in self.topics}) or [0]

    def after_crash(self) -> None:
        """The disk as the next process finds it."""
        if self._disk is Disk.WRITE_LOST:
            self.table = self.table_before
        elif self._disk is Disk.EMPTY:
            self.table = MemoryTable()


class CrashingSteps:
    """The steps of a flow with a crash point on every arrow."""

    def __init__(self, steps: Any, crash: Crash) -> None:
        self._steps = steps
        self._crash = crash

    def decide(self, given: Any) -> Any:
        """Steps 1 and 2."""
        self._crash.point("before deciding")
        decision = self._steps.decide(given)
        self._crash.point("decided, nothing published")
        return decision

    async def publish(self, decision: Any) -> Any:
        """Step 3."""
        proof = await self._steps.publish(decision)
        self._crash.point("published, nothing written")
        return proof

    async def write(self, decision: Any, proof: Any) -> Any:
        """Step 4."""
        result = await self._steps.write(decision, proof)
        self._crash.point("written, not counted")
        return result

    def count(self, decision: Any, result: Any) -> None:
        """Step 5."""
        self._steps.count(decision, result)
        self._crash.point("counted, not acked")


class CrashingLog:
    """A transaction that happens or not, and whose answer may be lost."""

    def __init__(self, world: World, ownership: Ownership) -> None:
        self._world = world
        self._ownership = ownership

    async def publish(
        self, records: Sequence[OutRecord], offsets: Mapping[Place, int], membership: Membership
    ) -> Mapping[Place, int]:
        """As KafkaFencedLog."""
        assert membership == MEMBERSHIP
        assert self._ownership.busy.locked(), "partitions could be given back in the middle of this"
        self._world.crash.point("transaction open")
        await asyncio.sleep(0)
        ends = await self._world.broker.publish(records, offsets)
        self._world.crash.point("transaction committed, answer lost")
        return ends


class CrashingTable:
    """The table on the disk; each write is whole or not there."""

    def __init__(self, world: World) -> None:
        self._world = world

    def get_many(self, number: int, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """See InvoiceTable."""
        return self._world.table.get_many(number, keys)

    def apply(self, number: int, changes: Mapping[bytes, Change], changelog_offset: int) -> None:
        """See InvoiceTable."""
        self._world.crash.point(f"table {number} not written")
        self._world.table_before = copy.deepcopy(self._world.table)
        self._world.table.apply(number, changes, changelog_offset)
        self._world.crash.point(f"table {number} written")

    def due(self, number: int, until_us: int, limit: int) -> Sequence[bytes]:
        """See InvoiceTable."""
        return self._world.table.due(number, until_us, limit)


class CrashingConsumer(Consumer):
    """Acks may be lost, and the broker tells where topics end."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def ack(self, message: Any) -> bool:
        """As BatchConsumer."""
        self._world.crash.point("before the ack")
        super().ack(message)
        self._world.crash.point("acked, nothing committed")
        return True

    def highwater(self, tp: Any) -> int:
        """As Faust's consumer."""
        return len(self._world.topics.get((tp.topic, tp.partition), ()))

    def passed(self, tp: Any) -> int:
        """As BatchConsumer: no transactions upstream."""
        return 0

    def polled_us(self, tp: Any) -> int:
        """The broker answers always."""
        return self._world.clock.us


class Process:
    """One process of an agent; `loop` names its stream loop."""

    def __init__(self, world: World, loop: str) -> None:
        self.world = world
        self.app = App()
        self.app.consumer = CrashingConsumer(world)
        self.ownership = Ownership(self.app, TOPICS, {}, None)
        self._loop = loop

    def own(self) -> None:
        """As after an assignment: where the group stands is asked of the broker."""
        numbers = self.world.numbers()
        places = {(topic, number) for topic in TOPICS for number in numbers} | self.world.topics.keys()
        positions = {place: self.world.broker.committed.get(place, 0) for place in places}
        self.ownership.owned = Owned(self.app.consumer.epoch, MEMBERSHIP, numbers, positions, {})

    async def drain(self, batch_records: int, at_once: int, commit: Callable[[], None] = lambda: None) -> None:
        """Read all that is unread in batches of this size, so many at once; `commit` runs in between."""
        stream, consumer = Stream(self.app.consumer), self.app.consumer
        loop = asyncio.ensure_future(self.app.loops[self._loop](stream))
        chunks = [
            unread[first : first + batch_records]
            for unread in self.world.unread().values()
            for first in range(0, len(unread), batch_records)
        ]
        try:
            for first in range(0, len(chunks), at_once):
                for chunk in chunks[first : first + at_once]:
                    stream.put(chunk)
                done = min(first + at_once, len(chunks))
                await until(lambda: len(consumer.acked) >= done or loop.done())  # noqa: B023
                if loop.done():
                    await loop
                commit()
        finally:
            loop.cancel()
            await asyncio.wait([loop])


def tracker_process(world: World) -> Process:
    """A tracker that has restored its table and owns its partitions."""
    process = Process(world, "tracker")
    for number in world.numbers():
        world.table.restore(world.broker, number)
    process.own()
    log: Any = CrashingLog(world, process.ownership)
    made = Tracker(world.broker, world.table, world.clock)
    parts = replace(made.parts, table=CrashingTable(world), log=OwnedLog(process.ownership, log))
    track: Any = CrashingSteps(Track(parts), world.crash)
    watch: Any = CrashingSteps(Watch(parts, Settled(process.app, process.ownership, TOPICS)), world.crash)
    add_tracker(process.app, None, process.ownership, track, watch, pace_seconds=0.0)
    return process


class CrashingStore:
    """One store transaction: whole or not there."""

    def __init__(self, world: World, ownership: Ownership) -> None:
        self._ownership = ownership
        self._store = world.store.open_store()
        self._crash = world.crash

    def write(self, batch: StoreBatch) -> WriteResult:
        """See EventStore."""
        assert self._ownership.busy.locked(), "partitions could be given back in the middle of this"
        self._crash.point("store not written")
        result = self._store.write(batch)
        self._crash.point("store written, answer lost")
        return result

    def close(self) -> None:
        """See EventStore."""


class CrashingPublisher:
    """Records go out one by one."""

    def __init__(self, world: World) -> None:
        self._publisher = MemoryPublisher(world.broker)
        self._crash = world.crash

    async def publish(self, records: Sequence[OutRecord]) -> Sequence[Appended]:
        """See Publisher."""
        proofs: list[Appended] = []
        for record in records:
            self._crash.point("dead letter not sent")
            proofs += await self._publisher.publish([record])
        self._crash.point("dead letters sent, answer lost")
        return proofs


def sink_process(world: World) -> Process:
    """A sink that owns its partitions."""
    process = Process(world, "sink")
    process.own()
    metrics = AgentMetrics(CollectorRegistry(), "sink")
    parts = SinkParts(
        stage_of=STAGE_OF,
        status_topic=STATUS,
        alerts_topic=ALERTS,
        ledger_topic=LEDGER,
        lanes=lanes_of("sink"),
        clock=world.clock,
        publisher=CrashingPublisher(world),
        store=CrashingStore(world, process.ownership),
        breaker=Breaker(world.clock, metrics, process.ownership.pause),
        metrics=metrics,
    )
    store: Any = CrashingSteps(Store(parts), world.crash)
    add_sink(process.app, None, process.ownership, store, pace_seconds=0.0)
    return process


async def survive(world: World, start: Callable[[World], Process], do: Callable[[Process], Awaitable[None]]) -> None:
    """Do it with process after process until one gets to the end."""
    while True:
        try:
            process = start(world)
            await do(process)
        except Killed:
            world.after_crash()
        else:
            return

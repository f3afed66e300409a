"""Records of lanes: delivered when they are due, in order, and nothing else waits for them."""

from pathlib import Path
from typing import Any

import pytest
from faust.types import TP

from bems_streams.ports import Coordinates, RawRecord
from bems_streams.runtime.app import GroupSettings, build_app
from bems_streams.runtime.holding import Holding, LaneRule
from bems_streams.runtime.transport import BatchConsumer, BatchSettings
from tests.unit.flow_kit import FrozenClock

WAIT_US = 5_000
LANE, OTHER = TP("lane", 0), TP("lane", 1)


def waiting(offset: int, due_us: int, tp: TP = LANE) -> RawRecord:
    """A record appended so long before it is due as its lane waits."""
    return RawRecord(Coordinates(tp.topic, tp.partition, offset), None, b"v", (), due_us - WAIT_US)


def rule(clock: FrozenClock) -> LaneRule:
    """One lane."""
    return LaneRule({"lane": WAIT_US}, clock)


def test_a_record_is_due_at_its_moment_and_not_before() -> None:
    """The oldest first, as many as are due, at most the limit; what is left keeps waiting."""
    clock = FrozenClock(99_000)
    holding = Holding(rule(clock))
    first, second, third = waiting(0, 100_000), waiting(1, 100_000), waiting(2, 101_000)
    holding.keep(LANE, [first, second])
    holding.keep(LANE, [third])

    assert holding.take_due(LANE, 10) == []
    clock.us = 100_000
    assert holding.take_due(LANE, 1) == [first]
    assert holding.take_due(LANE, 10) == [second]
    assert holding.holds(LANE)
    clock.us = 101_000
    assert holding.take_due(LANE, 10) == [third]
    assert not holding.holds(LANE)
    assert holding.places() == []


def test_one_partition_of_a_lane_never_waits_for_another() -> None:
    """A long wait at the head of one leaves the others alone."""
    clock = FrozenClock(10_000)
    holding = Holding(rule(clock))
    due = waiting(0, 10_000, OTHER)
    holding.keep(LANE, [waiting(0, 1_000_000)])
    holding.keep(OTHER, [due])

    assert [holding.take_due(tp, 10) for tp in holding.places()] == [[], [due]]


@pytest.fixture
async def consumer(tmp_path: Path) -> BatchConsumer:
    """A real one, of a real application, without a broker; what it delivers is kept."""
    clock = FrozenClock(0)
    app = build_app(GroupSettings("lanes", "127.0.0.1:1", tmp_path), dense=["in"], fenced=False, lanes=rule(clock))
    found: Any = app.consumer
    found.clock, found.delivered = clock, []

    async def keep(message: Any) -> None:
        found.delivered.append(message.value)

    found.callback = keep
    found.flow_active = True
    found._thread.thread_loop.close()  # opened for a thread that never starts here
    assert isinstance(found, BatchConsumer)
    return found


def fetched(*records: RawRecord) -> dict[TP, list[RawRecord]]:
    """As they come out of one fetch."""
    by_place: dict[TP, list[RawRecord]] = {}
    for record in records:
        by_place.setdefault(TP(record.at.topic, record.at.partition), []).append(record)
    return by_place


def offsets(consumer: Any) -> list[tuple[str, list[int]]]:
    """What was delivered, batch by batch."""
    return [(batch.topic, [record.at.offset for record in batch.records]) for batch in consumer.delivered]


async def test_a_lane_holds_up_neither_itself_nor_the_stage_topics(consumer: Any) -> None:
    """What is not due is kept while other records of the same fetch are delivered; due, it follows in order."""
    stage = RawRecord(Coordinates("in", 0, 5), b"k", b"v", (), 0)
    await consumer._deliver_all(
        consumer.epoch, 0, fetched(waiting(0, 50_000), waiting(1, 60_000), waiting(2, 70_000), stage)
    )
    assert offsets(consumer) == [("in", [5])]
    assert consumer._holds(LANE)
    assert consumer.passed(LANE) == 0

    consumer.clock.us = 60_000
    await consumer._deliver_due()
    assert offsets(consumer)[1:] == [("lane", [0, 1])]

    consumer.clock.us = 70_000
    await consumer._deliver_due()
    assert offsets(consumer)[2:] == [("lane", [2])]
    assert not consumer._holds(LANE)


async def test_what_is_due_waits_for_room_like_everything_else(consumer: Any) -> None:
    """A slow agent has at most so many batches of a partition in hand, from lanes as well."""
    consumer.clock.us = 100_000
    for offset in range(BatchSettings.DEPTH + 1):
        await consumer._deliver_all(consumer.epoch, 0, fetched(waiting(offset, 50_000)))
        await consumer._deliver_due()

    assert len(consumer.delivered) == BatchSettings.DEPTH
    assert consumer._holds(LANE)


@pytest.mark.parametrize("moment", ["assigned", "revoked"])
async def test_what_was_held_is_forgotten_when_partitions_move(consumer: Any, moment: str) -> None:
    """It was never committed: whoever owns the lane next fetches it again, and nobody handles it twice at once."""

    async def nothing(*_: Any) -> None:
        """Stands for what Faust does next."""

    consumer._on_partitions_assigned = consumer._on_partitions_revoked = nothing
    consumer.app.on_rebalance_return = lambda: None
    consumer.app.rebalancing_count = 1
    await consumer._deliver_all(consumer.epoch, 0, fetched(waiting(0, 50_000)))

    if moment == "assigned":
        await consumer.on_partitions_assigned({LANE}, 2)
    else:
        await consumer.on_partitions_revoked({LANE})

    consumer.clock.us = 100_000
    await consumer._deliver_due()
    assert offsets(consumer) == []
    assert not consumer._holds(LANE)


async def test_a_lane_fetched_before_a_seek_is_dropped(consumer: Any) -> None:
    """The seek reads it again; kept as well, it would be delivered twice and out of order."""
    await consumer._deliver_all(consumer.epoch - 1, 0, fetched(waiting(0, 0)))
    await consumer._deliver_all(consumer.epoch, 7, fetched(waiting(0, 0)))

    assert not consumer._holds(LANE)

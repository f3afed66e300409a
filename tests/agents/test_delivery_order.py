"""A crash at every arrow of the delivery order, and then again: the result is that of a run without any.

Outputs that share a transaction with their source offsets are equal byte for byte, so each is there exactly once.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bems_streams.ports import RawRecord, StoreCounts
from tests.agents.crash_kit import Crash, Disk, Process, World, sink_process, survive, tracker_process
from tests.unit.flow_kit import (
    LIMITS_US,
    SECOND_US,
    START_US,
    STATUS,
    MemoryTable,
    event_record,
    raw,
)
from tests.unit.work_kit import Stream, until

SECOND = SECOND_US
Batches = tuple[int, int]
"""Records per batch, and how many batches an agent finds waiting at once."""

LATER_US = START_US + LIMITS_US["ingestion"] + 5 * SECOND


def first_events() -> list[RawRecord]:
    """Two partition numbers; a copy, and poison among the good."""
    return [
        event_record("A1", invoice_id="A", offset=0),
        raw(b"poison", 1, key=b"A"),
        event_record("A1", invoice_id="A", offset=2),
        event_record("C1", invoice_id="C", offset=3),
        event_record("B1", invoice_id="B", offset=0, partition=1),
        event_record("B2", "reconciliation", invoice_id="B", partition=1, occurred_us=START_US + 1),
    ]


def later_events() -> list[RawRecord]:
    """After A and C became stuck: A moves on, B closes; C stays where it is."""
    moment: dict[str, Any] = {"occurred_us": LATER_US, "accepted_us": LATER_US}
    return [
        event_record("A2", "reconciliation", 0, invoice_id="A", **moment),
        event_record("B3", "posting", 0, invoice_id="B", partition=1, **moment),
        event_record("B2", "reconciliation", 1, invoice_id="B", partition=1, occurred_us=START_US + 1),
        raw(b"{}", 1, key=b"A", topic="invoices.posting", partition=1),
    ]


async def tracked(crash: Crash, disk: Disk = Disk.KEPT, batches: Batches = (2, 1)) -> World:
    """Events, deadlines, more events, deadlines again; each part until it is done, however many processes it takes."""
    world = World(crash, disk)

    async def drain(process: Process) -> None:
        await process.drain(*batches)

    async def watch(process: Process) -> None:
        await process.app.loops["watch"]()

    world.accept(*first_events())
    await survive(world, tracker_process, drain)
    world.clock.us = LATER_US
    await survive(world, tracker_process, watch)
    world.accept(*later_events())
    await survive(world, tracker_process, drain)
    world.clock.us = LATER_US + LIMITS_US["reconciliation"] + 5 * SECOND
    for _ in range(2):
        await survive(world, tracker_process, watch)
    return world


ARROWS = (
    "before deciding",
    "decided, nothing published",
    "published, nothing written",
    "written, not counted",
    "counted, not acked",
    "before the ack",
    "acked, nothing committed",
)
TRACKING_ARROWS = (
    "transaction open",
    "transaction committed, answer lost",
    *(f"table {number} {done}" for number in (0, 1) for done in ("not written", "written")),
)
STORING_ARROWS = (
    "dead letter not sent",
    "dead letters sent, answer lost",
    "store not written",
    "store written, answer lost",
    "before the commit",
    "committed",
)


def left(world: World) -> tuple[Any, ...]:
    """All that remains when the processes are gone."""
    return world.broker.logs, world.broker.committed, world.table.states, world.table.index, world.table.ends


async def test_without_a_crash_the_tracker_does_what_the_others_are_compared_with() -> None:
    """The undisturbed run has everything in it: status, alerts raised and ended, dead letters."""
    world = await tracked(Crash())

    assert {i: (s.stage, s.events) for i, s in world.broker.last_statuses().items()} == {
        "A": ("reconciliation", 2), "B": ("posting", 3), "C": ("ingestion", 1),
    }  # fmt: skip
    alerts = Counter((invoice_id, stage, kind) for invoice_id, stage, _, kind in world.broker.alert_ids())
    assert alerts == Counter(
        [
            ("A", "ingestion", "stuck"),
            ("A", "ingestion", "cleared"),
            ("A", "reconciliation", "stuck"),
            ("C", "ingestion", "stuck"),
        ]
    )
    assert [dict(letter.headers)["bems-origin-offset"] for letter in world.broker.dead()] == [b"1", b"1"]
    assert {place: offset for place, offset in world.broker.committed.items() if offset} == {
        place: len(log) for place, log in world.topics.items()
    }


@pytest.mark.parametrize("disk", Disk)
@pytest.mark.parametrize("batches", [(1, 1), (3, 1), (2, 9)])
async def test_a_crash_at_any_arrow_of_tracking_leaves_no_trace(disk: Disk, batches: Batches) -> None:
    """State, status, alerts, dead letters and offsets are those of a run without it, each exactly once."""
    undisturbed = await tracked(Crash(), disk, batches)
    arrows: set[str] = set()

    for point in range(undisturbed.crash.passed):
        world = await tracked(Crash(point), disk, batches)
        assert left(world) == left(undisturbed), f"crash {point}: {world.crash.fired}"
        arrows.update(world.crash.fired)

    assert arrows == {*ARROWS, *TRACKING_ARROWS}


@given(st.data())
async def test_any_number_of_crashes_leaves_no_trace(data: st.DataObject) -> None:
    """Also one during the replay after another."""
    disk, batches = data.draw(st.sampled_from(Disk)), (data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4)))
    undisturbed = await tracked(Crash(), disk, batches)
    points = data.draw(st.lists(st.integers(0, 2 * undisturbed.crash.passed), min_size=2, max_size=12))

    world = await tracked(Crash(*points), disk, batches)

    assert left(world) == left(undisturbed)


async def test_a_table_built_from_the_changelog_alone_is_the_one_that_grew() -> None:
    """What a crash rebuilds is complete: states, deadlines, positions."""
    world = await tracked(Crash())
    rebuilt = MemoryTable()

    for number in world.numbers():
        rebuilt.restore(world.broker, number)

    assert (rebuilt.states, rebuilt.index, rebuilt.ends) == (world.table.states, world.table.index, world.table.ends)


# ------------------------------------------------------------------------------------------------------------- sink


async def stored(source: World, crash: Crash, batches: Batches) -> World:
    """Everything of a tracked world into the store; offsets are committed by a timer, after acks."""
    world = World(crash)
    world.clock.us = source.clock.us
    world.topics = dict(source.topics)
    statuses = [raw(value, offset, topic=STATUS) for offset, value in enumerate(source.broker.values(STATUS))]
    world.accept(*statuses, raw(b"no status", len(statuses), topic=STATUS))

    async def drain(process: Process) -> None:
        def commit() -> None:
            crash.point("before the commit")
            world.broker.committed.update(process.app.consumer.pipeline.committable())
            crash.point("committed")

        await process.drain(*batches, commit)

    await survive(world, sink_process, drain)
    return world


def rows(world: World) -> tuple[Any, ...]:
    """All that the store holds."""
    reader = world.store.open_reader()
    return list(reader.events()), list(reader.invoices()), list(reader.dead_letters()), reader.counts()


async def test_without_a_crash_the_sink_accounts_for_every_record() -> None:
    """The undisturbed run: accepted = stored + duplicates + dead letters."""
    world = await stored(await tracked(Crash()), Crash(), (2, 1))

    assert rows(world)[-1] == StoreCounts(stored=6, duplicates=2, dead_lettered=2, invoices=3, stuck=2)
    assert len(world.broker.dead()) == 3
    assert world.broker.committed == {place: len(log) for place, log in world.topics.items()}


@pytest.mark.parametrize("batches", [(1, 1), (3, 1), (2, 9)])
async def test_a_crash_at_any_arrow_of_storing_changes_no_row(batches: Batches) -> None:
    """Rows, notes and offsets as without it; a dead letter is never lost, and a copy of it is equal in every byte."""
    source = await tracked(Crash())
    undisturbed = await stored(source, Crash(), batches)
    letters, arrows = Counter(map(repr, undisturbed.broker.dead())), set[str]()

    for point in range(undisturbed.crash.passed):
        world = await stored(source, Crash(point), batches)
        assert rows(world) == rows(undisturbed), f"crash {point}: {world.crash.fired}"
        arrows.update(world.crash.fired)
        assert world.broker.committed == undisturbed.broker.committed
        found = Counter(map(repr, world.broker.dead()))
        assert found.keys() == letters.keys()
        assert all(found[letter] - letters[letter] in (0, 1) for letter in letters)

    assert arrows == {*ARROWS, *STORING_ARROWS}


# ---------------------------------------------------------------------------------------------------- what guards it


def worlds() -> Iterator[tuple[str, Any]]:
    """Both agents."""
    yield "tracker", tracker_process
    yield "sink", sink_process


@pytest.mark.parametrize(("loop", "start"), list(worlds()))
@pytest.mark.parametrize("moved", ["given back", "epoch ended", "another epoch"])
async def test_work_of_partitions_that_moved_is_neither_done_nor_acked(loop: str, start: Any, moved: str) -> None:
    """It was taken while the partitions were ours; before it began they were not. Their owner reads it again."""
    world = World(Crash())
    world.accept(event_record())
    process = start(world)
    stream = Stream(process.app.consumer)
    async with process.ownership.busy:
        running = asyncio.ensure_future(process.app.loops[loop](stream))
        batch = stream.put(world.topics["invoices.ingestion", 0])
        for _ in range(10):
            await asyncio.sleep(0)
        if moved == "given back":
            process.ownership.owned = None
        else:
            process.app.consumer.epoch += 1
            if moved == "another epoch":
                process.own()

    await until(lambda: batch in process.app.consumer.abandoned)
    running.cancel()
    await asyncio.wait([running])

    assert process.app.consumer.acked == []
    assert (world.broker.logs, world.broker.committed) == ({}, {})
    assert rows(world)[-1] == StoreCounts(0, 0, 0, 0, 0)


async def test_the_watch_does_nothing_while_partitions_move() -> None:
    """Whoever owns the invoices now raises their alerts."""
    world = World(Crash())
    world.accept(event_record())
    process = tracker_process(world)
    await process.drain(1, 1)
    world.clock.us = LATER_US
    process.app.consumer.epoch += 1

    await process.app.loops["watch"]()

    assert world.broker.alerts() == []


async def test_the_watch_waits_for_the_batch_in_progress() -> None:
    """Both change the same invoices: one after the other, never in between."""
    world = World(Crash())
    world.accept(event_record())
    process = tracker_process(world)
    await process.drain(1, 1)
    world.clock.us = LATER_US
    async with process.ownership.busy:
        watching = asyncio.ensure_future(process.app.loops["watch"]())
        for _ in range(10):
            await asyncio.sleep(0)
        assert world.broker.alerts() == []

    await watching

    assert len(world.broker.alerts()) == 1

"""Repairing the ledger: what the log holds and the store lacks is taken again, and nothing else changes."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bems_streams.flows.ledger.evidence import Evidence
from bems_streams.flows.ledger.findings import Kind
from bems_streams.flows.ledger.repair import repair_all, repairable
from bems_streams.flows.store import Store
from bems_streams.ports import Coordinates, Extent, RecordOutcome
from tests.unit.ledger_kit import POISON, STAGE_OF, TOPIC, World, named
from tests.unit.test_store_flow import Sink


def at(offset: int) -> Coordinates:
    return Coordinates(TOPIC, 0, offset)


def repaired(world: World) -> tuple[int, Sink]:
    """Verify, then take again what is lacking; the sink that did it."""
    sink = Sink()
    store = Store(replace(sink.parts, store=world.store))
    evidence = Evidence(world.log, world.reader, STAGE_OF)
    return asyncio.run(repair_all(world.reconciler.verify, evidence, store)), sink


@pytest.fixture
def world() -> World:
    """A minute of events, a marker, a copy and poison; then another minute; then one more."""
    world = World()
    world.accept("E-0", "1.00")
    world.log.mark((TOPIC, 0), world.clock.us)
    world.accept("E-2", "2.00")
    world.accept("E-2", "2.00")
    world.accept_bytes(POISON)
    world.handle()
    for number in (5, 6):
        world.pass_seconds(60)
        world.accept(f"E-{number}", f"{number}.00")
        world.handle()
    return world


def test_a_deleted_row_comes_back_under_its_own_receipt(world: World) -> None:
    """With everything it had; the ledger is closed, and its counts are those of before."""
    before = world.reconciler.verify()
    world.delete_row(at(0))
    world.delete_row(at(5))

    taken, sink = repaired(world)

    after = world.reconciler.verify()
    assert (taken, after.closed) == (2, True)
    assert (after.lines, after.totals) == (before.lines, before.totals)
    assert world.tables.stored_at[at(5)].invoice_amount == "5.00"
    assert sink.broker.dead() == []


def test_a_ledger_range_that_was_never_written_is_written(world: World) -> None:
    """From the records themselves; rows that are there stay as they are."""
    rows = dict(world.tables.stored_at)
    before = world.reconciler.verify()
    world.delete_entry("sink", at(5))

    repaired(world)

    after = world.reconciler.verify()
    assert (after.closed, after.lines, after.totals) == (True, before.lines, before.totals)
    assert world.tables.stored_at == rows


def test_rows_and_ledger_of_a_whole_minute_come_back(world: World) -> None:
    """Copies are duplicates again, poison is a dead letter again, with its bytes in the dead-letter topic."""
    before = world.reconciler.verify()
    world.delete_entry("sink", at(0))
    for offset in (0, 2, 3, 4):
        world.delete_row(at(offset))

    taken, sink = repaired(world)

    after = world.reconciler.verify()
    assert (taken, after.closed, after.lines) == (4, True, before.lines)
    assert [record.value for record in sink.broker.dead()] == [POISON]


def test_a_second_repair_finds_nothing_to_do(world: World) -> None:
    """Nor does one of a ledger that is closed."""
    world.delete_row(at(2))
    repaired(world)

    assert repaired(world)[0] == 0


def test_changed_amounts_and_other_agents_are_left_alone(world: World) -> None:
    """Nobody overwrites what somebody else wrote; and each agent accounts for itself."""
    row = world.tables.stored_at[at(5)]
    changed = row._replace(invoice_amount="9.00")
    world.tables.stored_at[at(5)] = world.tables.events[row.invoice_id, row.event_id] = changed
    world.delete_entry("tracker", at(6))
    world.delete_entry("tracker", at(5))
    world.delete_entry("tracker", at(0))

    taken, _ = repaired(world)

    assert taken == 0
    assert world.tables.stored_at[at(5)] == changed


def test_what_lies_between_two_lacking_records_is_not_taken(world: World) -> None:
    """It is handled; taking it would say that the sink read it twice."""
    world.delete_row(at(0))
    world.delete_row(at(6))

    taken, _ = repaired(world)

    assert (taken, named(world.reconciler.verify())) == (2, [])


def test_what_retention_deleted_stays_missing(world: World) -> None:
    """Only the archive has it then."""
    world.delete_row(at(5))
    world.expire(6)

    taken, _ = repaired(world)

    assert taken == 0
    assert world.reconciler.verify().count(Kind.MISSING) == 1


@given(st.lists(st.sampled_from(["row", "entry"]), min_size=1, max_size=6), st.data())
def test_whatever_is_lacking_comes_back(damages: Sequence[str], data: st.DataObject) -> None:
    """Any rows, any entries, in any order, copies among them; and each record has one row again."""
    world = World()
    for minute in range(4):
        world.accept("E-copy", "0.01")
        for number in range(2):
            world.accept(f"E-{minute}-{number}", f"{minute}.{number}0")
        world.handle()
        world.pass_seconds(60)
    before = world.reconciler.verify()
    for damage in damages:
        victim = at(data.draw(st.integers(0, 11)))
        if damage == "row":
            world.delete_row(victim)
        elif any(
            entry.first_offset <= victim.offset < entry.next_offset for entry in world.reader.ledger("sink", 0, 2**62)
        ):
            world.delete_entry("sink", victim)

    repaired(world)

    after = world.reconciler.verify()
    tail = after.pending["sink"]  # neither row nor entry at the end: nothing tells it from what was never handled
    assert after.findings == ()
    assert sum(line.accepted for key, line in after.lines.items() if key.agent == "sink") + tail == 12
    if not tail:
        assert (after.lines, after.totals) == (before.lines, before.totals)


def test_more_rows_than_are_named_at_once_get_their_entries() -> None:
    """Again and again, until none is left."""
    world = World()
    for number in range(1_200):
        world.accept(f"E-{number}")
    world.handle()
    world.delete_entry("sink", at(0))

    taken, _ = repaired(world)

    assert (taken, world.reconciler.verify().closed) == (1_200, True)


def test_only_what_is_lacking_is_chosen() -> None:
    """Ranges of the sink, joined where they touch."""
    world = World()
    for number in range(4):
        world.accept(f"E-{number}")
    world.handle(**{"E-3": RecordOutcome.RETRYING})
    for offset in (0, 1, 3):
        world.delete_row(at(offset))

    assert repairable(world.reconciler.verify().findings) == {(TOPIC, 0): [Extent(0, 2), Extent(3, 4)]}

"""The account of a cell in memory: what counts as accepted, and when it is closed."""

import pytest

from bems_streams.local.account import Accountant
from bems_streams.ports import Coordinates, RecordOutcome, StoreBatch
from tests.contract.rows import invoice
from tests.unit.ledger_kit import POISON, STAGE_OF, TOPIC, World


@pytest.fixture
def world() -> World:
    return World()


def accountant(world: World) -> Accountant:
    return Accountant("nowhere", list(STAGE_OF), 2, world.reader, world.log)


def test_what_upstream_wrote_in_transactions_is_counted_by_records(world: World) -> None:
    """Markers and aborted records are no events: neither between records, nor at the end."""
    for number in range(3):
        world.accept(f"E-{number}")
        world.log.mark((TOPIC, 0), world.clock.us)
    before = accountant(world).account()
    world.handle()
    after = accountant(world).account()

    assert (before.accepted, before.closed) == (3, False)
    assert (after.accepted, after.stored, after.closed) == (3, 3, True)


def test_each_outcome_is_part_of_the_equation(world: World) -> None:
    """Closed while one waits in a lane, settled only when none does."""
    world.accept("E-1")
    world.accept("E-1")
    world.accept_bytes(POISON)
    waits = world.accept("E-2")
    world.handle(**{"E-2": RecordOutcome.RETRYING})
    world.store.write(StoreBatch(invoices=[invoice(events=2)]))

    account = accountant(world).account()
    assert (account.accepted, account.stored, account.duplicates) == (4, 1, 1)
    assert (account.dead_lettered, account.retrying, account.closed, account.settled) == (1, 1, True, False)

    world.redeliver(waits)
    account = accountant(world).account()
    assert (account.accepted, account.stored, account.retrying, account.settled) == (4, 2, 0, True)


def test_a_row_too_few_is_not_closed(world: World) -> None:
    """Nor is a ledger entry that was never written."""
    world.accept("E-1")
    world.handle()
    world.delete_row(Coordinates(TOPIC, 0, 0))

    assert not accountant(world).account().closed


def test_what_is_handled_between_two_questions_is_counted_once(world: World) -> None:
    """The log is asked first, then the ledger."""
    world.accept("E-1")
    world.handle()
    world.accept("E-2")
    world.log.on_extents = world.handle

    assert accountant(world).account().accepted == 2


def test_a_long_queue_is_not_read_to_be_counted(world: World) -> None:
    """Its offsets do."""
    for number in range(5_000):
        world.accept(f"E-{number}")

    assert accountant(world).account().accepted == 5_000
    assert world.log.offsets_read <= 200

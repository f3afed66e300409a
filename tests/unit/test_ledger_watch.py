"""Watching the ledger: every slice of time in turn, and what probes, metrics and the log are told."""

import logging
from collections.abc import Callable, Sequence

import pytest
from prometheus_client import CollectorRegistry

from bems_streams.cli.ledger_watch import STALE_US, Patrol
from bems_streams.flows.ledger.findings import Kind
from bems_streams.flows.ledger.rounds import BUDGET_US, SLICE_US, Rounds
from bems_streams.flows.reconcile import PROMISE_US, Scope
from bems_streams.metrics import LedgerMetrics
from bems_streams.ports import MINUTE_US, Coordinates, Span, Tally
from tests.unit.ledger_kit import SINK, STAGE_OF, TOPIC, TRACKER, World

SLICES = 30
EVER = 2**62


def at(offset: int) -> Coordinates:
    return Coordinates(TOPIC, 0, offset)


@pytest.fixture
def world() -> World:
    """One event in each slice of time, the newest a moment ago."""
    world = World()
    for number in range(SLICES):
        world.pass_seconds(SLICE_US / 1e6)
        world.accept(f"E-{number}")
        world.handle()
    return world


class Watched:
    """A patrol over a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.registry = CollectorRegistry()
        self.stopping = False
        self.rounds = Rounds(world.reconciler, world.clock, lambda: self.stopping)
        scope = Scope(STAGE_OF, 2, [SINK, TRACKER])
        self.patrol = Patrol(self.rounds, world.clock, LedgerMetrics(self.registry), scope, "c1")

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"bems_ledger_{name}", labels)


@pytest.fixture
def watched(world: World) -> Watched:
    return Watched(world)


def test_rows_of_any_age_are_missed_on_the_next_look(watched: Watched, world: World) -> None:
    """As far as the log reaches, while one look has the time for all of it."""
    assert watched.rounds.look().reason is None
    for offset in (0, 17, SLICES - 1):
        world.delete_row(at(offset))

    standing = watched.rounds.look()

    assert sorted(found.event_id or "" for found in standing.findings) == ["E-0", "E-17", f"E-{SLICES - 1}"]
    assert standing.reason == "the ledger is not closed: 3 events missing; run: bems ledger verify"
    assert standing.whole_us == world.clock.us


def test_a_look_that_has_no_time_for_everything_goes_on_where_it_stopped(watched: Watched, world: World) -> None:
    """Slices whose last look is longest ago come first; what they showed stands until they are looked at again."""
    world.delete_row(at(3))
    world.log.on_extents = lambda: world.pass_seconds(BUDGET_US / 5e6)  # a question takes a fifth of the time

    looks = [watched.rounds.look() for _ in range(20)]

    assert [look.whole_us > 0 for look in looks[:5]] == [False] * 5
    assert looks[-1].whole_us > 0
    seen = [bool(list(look.findings)) for look in looks]
    assert seen == sorted(seen)
    assert seen[-1]


def test_older_slices_get_on_however_long_the_newest_take(watched: Watched, world: World) -> None:
    """One of them on every look at least."""
    world.log.on_extents = lambda: world.pass_seconds(2 * BUDGET_US / 1e6)

    def older() -> int:
        return sum(look.until_us - look.since_us == SLICE_US for look in watched.rounds.look().looks)

    assert [older() for _ in range(3)] == [1, 2, 3]


def when_amounts_are_asked(world: World, then: Callable[[Sequence[Span]], None]) -> None:
    """Called with the spans."""
    tally = world.reader.tally

    def asked(spans: Sequence[Span], *, valued: bool = True) -> Sequence[Tally]:
        if valued and spans:
            then(spans)
        return tally(spans, valued=valued)

    world.reader.tally = asked  # type: ignore[method-assign]


def change_amount(world: World, offset: int) -> None:
    """By hand, behind everybody's back."""
    row = world.tables.stored_at[at(offset)]
    changed = row._replace(invoice_amount="1")
    world.tables.stored_at[at(offset)] = world.tables.events[row.invoice_id, row.event_id] = changed


def test_a_changed_amount_stays_found_as_it_grows_old(watched: Watched, world: World) -> None:
    """Although rows are only counted once their amounts were right."""
    change_amount(world, SLICES - 1)
    watched.rounds._compare_at_us = EVER

    world.pass_seconds((PROMISE_US + MINUTE_US) / 1e6)
    for _ in range(8):
        assert watched.rounds.look().count(Kind.CHANGED) == 1
        world.pass_seconds(SLICE_US / 3e6)


def test_an_amount_that_is_changed_later_is_found_in_turn(watched: Watched, world: World) -> None:
    """Amounts are asked for whenever that is a twentieth of the time; rows are counted on every look."""
    when_amounts_are_asked(world, lambda _: world.pass_seconds(BUDGET_US / 1e6))
    assert watched.rounds.look().reason is None
    change_amount(world, 3)

    found = []
    for _ in range(6 * SLICES):
        found.append(watched.rounds.look().count(Kind.CHANGED))
        world.pass_seconds(30)

    assert found[0] == 0
    assert found[-1] == 1
    assert found == sorted(found)


def test_amounts_that_were_right_are_not_asked_for_on_every_look(watched: Watched, world: World) -> None:
    """But once: when everything of their minute is to be handled. Rows are counted before and after."""
    world.pass_seconds(300)
    watched.rounds.look()
    world.accept("E-new")
    world.handle()
    watched.rounds._compare_at_us = EVER
    asked: list[Span] = []
    when_amounts_are_asked(world, asked.extend)

    numbers = []
    for _ in range(20):
        assert watched.rounds.look().reason is None
        numbers.append(sum(span.agent == "sink" for span in asked))
        world.pass_seconds(15)

    assert [numbers[0], numbers[-1]] == [0, 1]
    assert {span.first_offset for span in asked if span.agent == "sink"} == {SLICES}
    world.delete_row(at(SLICES - 1))
    assert watched.rounds.look().reason is not None


@pytest.mark.parametrize("age_seconds", range(0, 600, 60))
def test_a_row_that_is_new_is_missed_on_the_next_look(watched: Watched, world: World, age_seconds: int) -> None:
    """Before its amount is compared, and after."""
    for _ in range(age_seconds // 60):
        assert watched.rounds.look().reason is None
        world.pass_seconds(60)
    watched.rounds._budget_us = -1
    world.delete_row(at(SLICES - 1))

    for _ in range(3):
        assert watched.rounds.look().count(Kind.MISSING) == 1
        world.pass_seconds(30)


def test_what_is_handled_as_late_as_was_promised_has_its_amount_compared(watched: Watched, world: World) -> None:
    """A minute is not done with before everything of it is to be handled."""
    watched.rounds._compare_at_us = EVER
    world.accept("E-late")
    for _ in range(7):
        assert watched.rounds.look().reason is None
        world.pass_seconds(15)
    world.handle()
    change_amount(world, SLICES)

    found = []
    for _ in range(8):
        found.append(watched.rounds.look().count(Kind.CHANGED))
        world.pass_seconds(15)

    assert found == sorted(found)
    assert found[-1] == 1


def test_slices_that_retention_deleted_are_forgotten(watched: Watched, world: World) -> None:
    """What the log no longer holds is no part of the watch; `bems ledger verify` still counts its rows."""
    world.delete_row(at(2))
    assert watched.rounds.look().reason is not None

    world.expire(5)

    assert watched.rounds.look().reason is None


def test_an_order_to_stop_is_heard_between_two_slices(watched: Watched, world: World) -> None:
    """The look ends with what it has."""
    watched.stopping = True

    assert all(look.until_us > world.clock.us - 2 * SLICE_US for look in watched.rounds.look().looks)


def test_probes_and_metrics_tell_what_is_wrong_until_it_is_right_again(watched: Watched, world: World) -> None:
    """503 with the reason and the command; gauges by agent and stage; zero when there is nothing."""
    assert watched.patrol.not_ready() == "the ledger was not verified: the first look is under way"
    watched.patrol.look()
    assert watched.patrol.not_ready() is None
    assert watched.metric("missing_events", agent="sink", stage="ingestion") == 0
    row = world.tables.stored_at[at(4)]
    world.delete_row(at(4))
    world.delete_entry("tracker", at(6))

    watched.patrol.look()

    assert watched.patrol.not_ready() == (
        "the ledger is not closed: 2 events missing, 1 ranges without a ledger entry; run: bems ledger verify"
    )
    assert watched.metric("missing_events", agent="sink", stage="ingestion") == 1
    assert watched.metric("missing_events", agent="tracker", stage="ingestion") == 1
    assert watched.metric("missing_events", agent="sink", stage="posting") == 0
    assert watched.metric("unaccounted_ranges", agent="tracker") == 1
    assert watched.metric("last_verified_timestamp_seconds") == world.clock.us / 1e6

    world.tables.stored_at[at(4)] = world.tables.events[row.invoice_id, row.event_id] = row
    world.next["tracker"].clear()
    world.tracker()
    watched.patrol.look()

    assert watched.patrol.not_ready() is None
    assert watched.metric("missing_events", agent="sink", stage="ingestion") == 0
    assert watched.metric("unaccounted_ranges", agent="tracker") == 0


def test_overdue_miscounted_and_changed_have_their_gauges(watched: Watched, world: World) -> None:
    """Each kind of trouble has one."""
    entries = world.tables.ledger["sink", TOPIC, 0]
    entries[0] = entries[0]._replace(stored=0, duplicates=1)
    row = world.tables.stored_at[at(2)]
    world.tables.stored_at[at(2)] = world.tables.events[row.invoice_id, row.event_id] = row._replace(invoice_amount="1")
    world.accept("E-late", stage="posting")
    world.pass_seconds(121)

    watched.patrol.look()

    assert watched.metric("overdue_events", agent="tracker", stage="posting") == 1
    assert watched.metric("miscounts", agent="sink") == 1
    assert watched.metric("value_differences", agent="sink") == 1


def test_every_missing_event_is_written_to_the_log_once(
    watched: Watched, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """By receipt and event id, with nothing in it that could forge a line."""
    world.accept("E\nforged")
    world.handle()
    world.delete_row(at(7))
    world.delete_row(at(SLICES))

    watched.patrol.look()
    watched.patrol.look()

    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [line.partition(":")[0] for line in sorted(errors)] == [
        f"c1/{TOPIC}/0/{SLICES} missing (sink)",
        f"c1/{TOPIC}/0/7 missing (sink)",
    ]
    assert "event E-7 of invoice INV-1" in sorted(errors)[1]
    assert "\n" not in sorted(errors)[0]


def test_a_broker_that_is_away_leaves_the_last_look_standing_for_a_while(watched: Watched, world: World) -> None:
    """Then nobody knows, and that is said."""
    watched.patrol.look()
    verified = watched.metric("last_verified_timestamp_seconds")
    world.log.away = True

    watched.patrol.look()
    assert watched.patrol.not_ready() is None
    world.pass_seconds(STALE_US / 1e6 + 1)
    watched.patrol.look()

    reason = watched.patrol.not_ready() or ""
    assert reason.startswith("the ledger was not verified since ")
    assert reason.endswith("no broker answers; start it")
    assert watched.metric("last_verified_timestamp_seconds") == verified

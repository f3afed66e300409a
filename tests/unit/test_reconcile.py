"""Verifying the ledger: each way in which an event can get lost is found and named, and nothing else is."""

from decimal import Decimal

import pytest

from bems_streams.flows.ledger.findings import Grouping, Kind, Line, LineKey, Reconciliation, Total
from bems_streams.flows.reconcile import Look, Reconciler, Scope
from bems_streams.ports import (
    Coordinates,
    DeadLetterRow,
    Handled,
    LogUnavailableError,
    RecordOutcome,
    Span,
    StoreBatch,
)
from tests.unit.flow_kit import START_US
from tests.unit.ledger_kit import MINUTE_US, POISON, SINK, STAGE_OF, TOPIC, TRACKER, World, named

AT = "c1/invoices.ingestion/0/"


@pytest.fixture
def world() -> World:
    """Two good events, a duplicate, poison, and one that waits in a lane; all handled."""
    world = World()
    world.accept("E-1", "10.50")
    world.accept("E-2", "0.10")
    world.accept("E-1", "10.50")
    world.accept_bytes(POISON)
    world.accept("E-3", "7", "USD")
    world.accept("E-4", "1.00", partition=1)
    world.handle(**{"E-3": RecordOutcome.RETRYING})
    return world


def place_of(offset: int, partition: int = 0) -> Coordinates:
    return Coordinates(TOPIC, partition, offset)


class TestClosed:
    def test_every_record_with_one_outcome_is_closed(self, world: World) -> None:
        """Lines add up, and every currency to the cent."""
        result = world.reconciler.verify()

        assert (result.findings, result.closed) == ((), True)
        assert result.lines[LineKey("sink", TOPIC, 0)] == Line(5, stored=2, duplicates=1, dead_lettered=1, retrying=1)
        assert result.lines[LineKey("tracker", TOPIC, 0)] == Line(5, stored=3, dead_lettered=1, retrying=1)
        assert [(t.currency, t.accepted, t.stored) for t in result.totals] == [
            ("EUR", Decimal("22.10"), Decimal("22.10")),
            ("USD", Decimal(7), Decimal(7)),
        ]

    def test_an_empty_cell_is_closed(self) -> None:
        """Nothing accepted, nothing missing."""
        result = World().reconciler.verify()

        assert (result.closed, dict(result.lines), list(result.totals)) == (True, {}, [])

    def test_the_log_itself_agrees_when_every_record_is_read(self, world: World) -> None:
        """Deep: the totals come from the original bytes as well."""
        result = world.reconciler.verify(look=Look.DEEP)

        assert result.closed
        assert {total.currency: total.in_log for total in result.totals} == {"EUR": Decimal("22.10"), "USD": Decimal(7)}

    def test_without_suspicion_nothing_is_read_from_the_log(self, world: World) -> None:
        """But for its oldest records, which tell where time begins."""
        world.reconciler.verify(START_US)

        assert world.log.offsets_read == 0

    def test_what_older_code_could_not_read_is_no_changed_amount(self) -> None:
        """Its dead letter has none; that today's code finds one in the bytes is no difference."""
        world = World()
        at = world.accept("E-1", "10.50")
        letter = DeadLetterRow(at, "sink", "invalid_event", "?", world.clock.us, world.clock.us)
        world.store.write(StoreBatch(dead_letters=[letter], handled=[Handled("sink", *at, at.offset + 1)]))
        world.tracker()

        result = world.reconciler.verify(look=Look.DEEP)

        assert (result.findings, result.closed) == ((), True)

    @pytest.mark.parametrize("look", Look)
    def test_markers_of_transactions_are_never_a_loss(self, look: Look) -> None:
        """Neither between spans, nor within one, nor at the end of the log for longer than promised."""
        world = World()
        world.log.mark((TOPIC, 0), world.clock.us)
        world.accept("E-1")
        world.log.mark((TOPIC, 0), world.clock.us)
        world.accept("E-2")
        world.handle()
        world.log.mark((TOPIC, 0), world.clock.us)
        world.accept("E-3")
        world.handle()
        for _ in range(150):
            world.log.mark((TOPIC, 0), world.clock.us)
        world.pass_seconds(1_000)

        result = world.reconciler.verify(look=look)

        assert (result.findings, result.closed, result.waiting) == ((), True, False)

    def test_what_was_proven_of_the_log_is_not_read_again(self) -> None:
        """Markers cost one look, not one every time."""
        world = World()
        world.accept("E-1")
        world.log.mark((TOPIC, 0), world.clock.us)
        world.accept("E-2")
        world.handle()
        world.log.mark((TOPIC, 0), world.clock.us)
        world.accept("E-3")
        world.handle()
        world.log.mark((TOPIC, 0), world.clock.us)
        world.reconciler.verify(START_US)
        before = world.log.offsets_read

        world.reconciler.verify(START_US)

        assert 0 < before == world.log.offsets_read

    def test_a_record_that_comes_back_from_a_lane_stays_accounted_for(self, world: World) -> None:
        """Its count moves; nothing is missing before or after."""
        world.redeliver(place_of(4))

        result = world.reconciler.verify()

        assert result.closed
        assert result.lines[LineKey("sink", TOPIC, 0)] == Line(5, stored=3, duplicates=1, dead_lettered=1)

    def test_a_clock_set_back_on_the_broker_confuses_nobody(self) -> None:
        """Offsets grow while acceptance times do not: a window sees only its own minutes, and no gap."""
        world = World()
        world.accept("E-1")
        world.pass_seconds(600)
        world.accept("E-2")
        world.pass_seconds(-300)
        world.accept("E-3")
        world.pass_seconds(330)
        world.accept("E-4")
        world.handle()

        window = world.reconciler.verify(world.clock.us - 60_000_000)

        assert (window.findings, window.closed) == ((), True)
        assert world.reconciler.verify().closed


def test_a_total_that_differs_is_not_closed() -> None:
    """Even if nobody can name a record for it."""
    same, other = Total("EUR", Decimal("1.00"), Decimal(1)), Total("EUR", Decimal(1), Decimal("1.01"))

    assert Reconciliation(0, 0, 0, {}, [same]).closed
    assert not Reconciliation(0, 0, 0, {}, [same, other]).closed
    assert not Reconciliation(0, 0, 0, {}, [same._replace(in_log=Decimal("0.99"))]).closed


class TestRows:
    @pytest.mark.parametrize(
        ("offset", "event_id"), [(0, "E-1"), (1, "E-2"), (2, "E-1"), (3, "unreadable"), (4, "E-3")]
    )
    def test_a_row_that_was_deleted_is_named(self, world: World, offset: int, event_id: str) -> None:
        """Whatever kind of row it was: by receipt, and by the ids in the accepted bytes."""
        world.delete_row(place_of(offset))

        result = world.reconciler.verify(by=Grouping.MINUTE)

        assert named(result) == [("missing", "sink", f"{AT}{offset}", event_id)]
        assert result.lines[LineKey("sink", TOPIC, 0, START_US + MINUTE_US - START_US % MINUTE_US)].missing == 1
        assert not result.closed

    def test_what_retention_deleted_is_named_by_its_receipt(self, world: World) -> None:
        """The bytes are gone, so nobody knows the event any more."""
        world.delete_row(place_of(1))
        world.expire(3)

        result = world.reconciler.verify()

        assert named(result) == [("missing", "sink", f"{AT}1", None)]
        assert "archive" in result.findings[0].detail

    def test_what_retention_deleted_among_markers_is_counted_within_its_range(self) -> None:
        """Which of the offsets were records cannot be told any more; how many are missing can."""
        world = World()
        world.accept("E-1")
        world.log.mark((TOPIC, 0), world.clock.us)
        world.accept("E-2")
        world.accept("E-3")
        world.handle()
        world.delete_row(place_of(2))
        world.expire(3)

        result = world.reconciler.verify()

        assert named(result) == [("missing", "sink", f"{AT}0..2", None)]
        assert result.count(Kind.MISSING, "sink") == 1

    def test_what_retention_deleted_and_what_it_did_not_are_told_apart(self, world: World) -> None:
        """Within one entry."""
        world.delete_row(place_of(1))
        world.delete_row(place_of(4))
        world.expire(2)

        result = world.reconciler.verify()

        assert sorted(named(result), key=str) == [
            ("missing", "sink", f"{AT}1", None),
            ("missing", "sink", f"{AT}4", "E-3"),
        ]

    def test_a_changed_amount_is_named_with_both_amounts(self, world: World) -> None:
        """To the cent: the accepted bytes against the row."""
        row = world.tables.stored_at[place_of(1)]
        changed = row._replace(invoice_amount="0.11")
        world.tables.stored_at[place_of(1)] = world.tables.events["INV-1", "E-2"] = changed

        result = world.reconciler.verify()

        assert named(result) == [("changed", "sink", f"{AT}1", "E-2")]
        assert result.findings[0].detail == "accepted with 0.10 EUR, but its row has 0.11 EUR"
        assert [(t.currency, t.accepted - t.stored) for t in result.totals] == [
            ("EUR", Decimal("-0.01")),
            ("USD", Decimal(0)),
        ]

    @pytest.mark.parametrize("look", Look)
    def test_amounts_that_changed_against_each_other_are_found_by_reading_everything(
        self, world: World, look: Look
    ) -> None:
        """Sums alone would not show it."""
        for offset, amount in ((0, "10.40"), (1, "0.20")):
            row = world.tables.stored_at[place_of(offset)]
            changed = row._replace(invoice_amount=amount)
            world.tables.stored_at[place_of(offset)] = world.tables.events["INV-1", row.event_id] = changed

        result = world.reconciler.verify(look=look)

        expected = [("changed", "sink", f"{AT}0", "E-1"), ("changed", "sink", f"{AT}1", "E-2")]
        assert named(result) == (expected if look is Look.DEEP else [])

    def test_two_rows_for_one_record_are_named(self, world: World) -> None:
        """A retry that was stored and still waits would be counted twice."""
        row = world.tables.retrying["sink", place_of(4)]
        world.tables.retrying["sink", place_of(1)] = row._replace(at=place_of(1), currency=None, invoice_amount=None)

        assert named(world.reconciler.verify()) == [("miscounted", "sink", f"{AT}1", "E-2")]


class TestLedger:
    @pytest.mark.parametrize("agent", ["sink", "tracker"])
    def test_an_entry_that_was_never_written_is_found_in_the_middle(self, world: World, agent: str) -> None:
        """Rows show that the sink handled the records; nothing shows it of the tracker."""
        world.pass_seconds(60)
        world.accept("E-5")
        world.handle()
        world.delete_entry(agent, place_of(0))

        result = world.reconciler.verify()

        assert named(result, Kind.UNRECORDED) == [("unrecorded", agent, f"{AT}0..4", None)]
        events = ["E-1", "E-2", "E-1", "unreadable", "E-3"] if agent == "tracker" else []
        assert named(result, Kind.MISSING) == [
            ("missing", "tracker", f"{AT}{offset}", event) for offset, event in enumerate(events)
        ]

    def test_a_range_without_entry_has_its_part_in_the_totals(self, world: World) -> None:
        """What was accepted, what has rows, and what the log says, whether or not the ledger knows of it."""
        world.pass_seconds(60)
        world.accept("E-5", "100.00")
        world.handle()
        world.delete_entry("sink", place_of(0))
        world.delete_row(place_of(1))

        result = world.reconciler.verify(look=Look.DEEP)

        euros = next(total for total in result.totals if total.currency == "EUR")
        assert (euros.accepted, euros.stored, euros.in_log) == (Decimal("122.10"), Decimal("122.00"), Decimal("122.10"))

    def test_rows_without_entry_are_found_though_retention_deleted_their_records(self, world: World) -> None:
        """From the rows alone."""
        world.pass_seconds(60)
        world.accept("E-5")
        world.handle()
        world.delete_entry("sink", place_of(0))
        world.expire(5)

        assert named(world.reconciler.verify()) == [("unrecorded", "sink", f"{AT}0..4", None)]

    def test_an_entry_that_was_never_written_is_found_at_the_end(self, world: World) -> None:
        """Before the promise is over: there are rows that no entry covers."""
        world.pass_seconds(60)
        world.accept("E-5")
        world.handle()
        world.delete_entry("sink", place_of(5))

        assert named(world.reconciler.verify()) == [("unrecorded", "sink", f"{AT}5", None)]

    def test_a_range_without_entry_and_without_row_names_its_events(self, world: World) -> None:
        """The worst case: handled says the position, but nothing is there."""
        world.pass_seconds(60)
        world.accept("E-5")
        world.handle()
        world.pass_seconds(60)
        world.accept("E-6")
        world.handle()
        world.delete_row(place_of(5))
        world.delete_entry("sink", place_of(5))

        result = world.reconciler.verify()

        assert named(result) == [("unrecorded", "sink", f"{AT}5", None), ("missing", "sink", f"{AT}5", "E-5")]

    def test_what_lacks_below_rows_without_entries_is_missing_at_once(self, world: World) -> None:
        """The sink was there: later rows of the partition show it, though the ledger's end does not."""
        world.pass_seconds(60)
        for number in (5, 6, 7):
            world.accept(f"E-{number}")
        world.handle()
        world.delete_row(place_of(6))
        world.delete_entry("sink", place_of(6))

        result = world.reconciler.verify()

        assert named(result) == [("unrecorded", "sink", f"{AT}5..7", None), ("missing", "sink", f"{AT}6", "E-6")]

    def test_an_entry_that_miscounts_is_shown_beside_the_rows(self, world: World) -> None:
        """No event is missing, but the account is wrong."""
        entries = world.tables.ledger["sink", TOPIC, 0]
        entries[0] = entries[0]._replace(stored=3, duplicates=0)

        result = world.reconciler.verify()

        assert named(result) == [("miscounted", "sink", f"{AT}0..4", None)]
        assert "3 stored, 0 duplicates" in result.findings[0].detail
        assert "2 stored, 1 duplicates" in result.findings[0].detail

    @pytest.mark.parametrize("agent", ["sink", "tracker"])
    def test_an_entry_that_counts_fewer_records_than_the_log_holds_is_named(self, world: World, agent: str) -> None:
        """One record of the stretch was skipped."""
        entries = world.tables.ledger[agent, TOPIC, 0]
        entries[0] = entries[0]._replace(stored=entries[0].stored - 1)

        result = world.reconciler.verify()

        assert named(result) == [("miscounted", agent, f"{AT}0..4", None)]
        assert result.findings[0].detail == "the log holds 5 records here, the ledger counts 4"

    def test_an_entry_with_another_sum_than_its_records_is_named(self, world: World) -> None:
        """The rows are right, the ledger's control total is not."""
        entries = world.tables.ledger["sink", TOPIC, 0]
        entries[0] = entries[0]._replace(value={"EUR": "21.10", "USD": "8"})

        result = world.reconciler.verify()

        assert named(result) == [("changed", "sink", f"{AT}0..4", None)]
        assert "21.10 EUR, 8 USD" in result.findings[0].detail

    def test_offsets_that_two_entries_count_are_named(self, world: World) -> None:
        """Spans never overlap."""
        world.tables.ledger["tracker", TOPIC, 0][3] = Span("tracker", TOPIC, 0, 3, 5, world.clock.us, 2, 0, 0, 0, {})

        result = world.reconciler.verify()

        assert ("two ledger entries count these", 3, 5) in [
            (f.detail, f.first_offset, f.next_offset) for f in result.findings
        ]

    def test_a_set_aside_record_of_the_tracker_without_its_note_is_found(self, world: World) -> None:
        """Its dead letters and retries have rows, though what it folds has none."""
        del world.tables.dead_letters["tracker", place_of(3)]

        assert named(world.reconciler.verify()) == [("miscounted", "tracker", f"{AT}0..4", None)]

    def test_a_log_that_ends_before_the_ledger_is_said(self, world: World) -> None:
        """The broker lost what it had acknowledged."""
        del world.log.slots[TOPIC, 0][4:]

        result = world.reconciler.verify()

        lost = named(result, Kind.LOG_LOST)
        assert lost == [("log_lost", "sink", f"{AT}4", None), ("log_lost", "tracker", f"{AT}4", None)]

    def test_what_lies_in_a_gap_that_retention_deleted_is_said_to_be_unprovable(self, world: World) -> None:
        """Markers or records: nobody can tell any more, so it is a number, not a loss."""
        for second in (60, 60):
            world.pass_seconds(second)
            world.accept(f"E-{world.clock.us}")
            world.handle()
        world.delete_entry("tracker", place_of(5))
        world.expire(6)

        result = world.reconciler.verify()

        assert (result.closed, result.unprovable) == (True, 1)


class TestWaiting:
    def test_what_is_handled_in_time_is_pending_not_missing(self, world: World) -> None:
        """Nobody is alarmed before the promise is broken."""
        world.accept("E-5")
        world.pass_seconds(119)

        result = world.reconciler.verify()

        assert (result.closed, result.pending) == (True, {"sink": 1, "tracker": 1})

    def test_what_waits_longer_than_promised_is_named(self, world: World) -> None:
        """By each agent that has not handled it."""
        world.accept("E-5")
        world.tracker()
        world.pass_seconds(121)

        assert named(world.reconciler.verify()) == [("overdue", "sink", f"{AT}5", "E-5")]

    def test_a_broker_that_does_not_know_its_times_makes_nothing_overdue(self, world: World) -> None:
        """A leader that is just back may answer with the end of the log, whatever moment it was asked for."""
        world.accept("E-5")
        world.log.times_known = False

        assert world.reconciler.verify().closed

    def test_a_standstill_names_the_oldest_and_counts_all(self, world: World) -> None:
        """A list of a million names helps nobody."""
        for number in range(300):
            world.accept(f"N-{number}")
        world.tracker()
        world.pass_seconds(121)

        result = world.reconciler.verify()

        assert [found.event_id for found in result.findings] == [None, *(f"N-{number}" for number in range(20))]
        assert result.count(Kind.OVERDUE, "sink") == 300
        assert result.pending == {"sink": 300, "tracker": 0}

    def test_overdue_records_behind_a_long_aborted_transaction_are_named(self, world: World) -> None:
        """Whose offsets belong to no record."""
        for _ in range(150):
            world.log.mark((TOPIC, 0), world.clock.us)
        world.accept("E-5")
        world.accept("E-6")
        world.pass_seconds(121)
        world.accept("E-7")
        world.tracker()

        result = world.reconciler.verify()

        assert named(result) == [("overdue", "sink", f"{AT}155", "E-5"), ("overdue", "sink", f"{AT}156", "E-6")]
        assert result.pending == {"sink": 3, "tracker": 0}

    def test_what_was_handled_between_two_questions_is_no_loss(self, world: World) -> None:
        """The broker is asked first; what agents do then only brings the ledger further."""

        def handle_more() -> None:
            world.accept(f"E-{len(world.log.slots[TOPIC, 0])}")
            world.handle()

        world.log.on_extents = handle_more

        for _ in range(3):
            result = world.reconciler.verify()

            assert (result.findings, result.closed) == ((), True)

    def test_a_broker_that_is_away_is_an_error_not_an_empty_log(self, world: World) -> None:
        """Nothing is known then."""
        world.log.away = True

        with pytest.raises(LogUnavailableError):
            world.reconciler.verify()


class TestWindows:
    def test_a_window_looks_at_its_own_minutes_only(self, world: World) -> None:
        """What is wrong elsewhere is left to other looks; the edges are no gaps."""
        world.pass_seconds(120)
        world.accept("E-5")
        world.handle()
        world.pass_seconds(120)
        world.accept("E-6")
        world.handle()
        world.delete_row(place_of(5))
        newest = world.clock.us - world.clock.us % MINUTE_US

        assert world.reconciler.verify(newest).closed
        assert world.reconciler.verify(0, newest - 2 * MINUTE_US).closed
        inside = world.reconciler.verify(newest - 2 * MINUTE_US, newest, by=Grouping.MINUTE)
        assert named(inside) == [("missing", "sink", f"{AT}5", "E-5")]
        assert inside.lines[LineKey("sink", TOPIC, 0, newest - 2 * MINUTE_US)] == Line(1, missing=1)

    def test_a_narrowed_scope_leaves_the_rest_alone(self, world: World) -> None:
        """Neither findings nor lines of other topics and agents."""
        world.delete_entry("sink", place_of(0))
        world.delete_entry("tracker", place_of(0))
        world.accept("P-1", stage="posting")
        world.handle()
        scope = Scope(STAGE_OF, 2, [SINK, TRACKER]).only(["invoices.posting"], ["sink"])

        result = Reconciler(world.log, world.reader, world.clock, scope).verify()

        assert (result.findings, list(result.lines)) == ((), [LineKey("sink", "invoices.posting", 0)])

    def test_a_window_begins_with_a_whole_minute(self, world: World) -> None:
        """Entries are by minute: half of one cannot be counted."""
        result = world.reconciler.verify(world.clock.us)

        assert world.clock.us % MINUTE_US
        assert result.lines[LineKey("sink", TOPIC, 0)].accepted == 5

    def test_a_gap_that_another_minute_covers_is_looked_into_every_time(self) -> None:
        """The broker's clock was set back: the entry stands elsewhere, and may be lost later."""
        world = World()
        world.accept("E-1")
        world.handle()
        world.pass_seconds(600)
        world.accept("E-2")
        world.pass_seconds(-300)
        middle = world.accept("E-3")
        world.pass_seconds(330)
        world.accept("E-4")
        world.handle()
        since_us = world.clock.us - 60_000_000
        assert world.reconciler.verify(since_us).closed

        world.delete_entry("tracker", middle)

        assert ("missing", "tracker", f"{AT}2", "E-3") in named(world.reconciler.verify(since_us))

    def test_hours_without_end_are_looked_at_one_by_one(self) -> None:
        """The whole ledger is never in memory, and nothing falls between two hours."""
        world = World()
        for hour in range(30):
            world.accept(f"E-{hour}")
            world.handle()
            world.pass_seconds(3_600)
        world.delete_row(place_of(17))

        result = world.reconciler.verify()

        assert named(result) == [("missing", "sink", f"{AT}17", "E-17")]
        assert result.lines[LineKey("sink", TOPIC, 0)] == Line(30, stored=29, missing=1)

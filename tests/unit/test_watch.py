"""Deadlines on the wall clock: one alert per invoice, stage and deadline, ended once, and none that is not true."""

import logging
from collections import Counter
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bems_streams.domain.codec import CorruptStateError, TrackedInvoice, encode_tracked
from bems_streams.domain.journey import Journey, StageLostError
from bems_streams.domain.state import InvoiceState, Step
from bems_streams.flows import watch
from bems_streams.flows.deliver import deliver
from bems_streams.flows.track import Track
from bems_streams.flows.watch import Watch
from bems_streams.ports import RawRecord
from tests.unit.flow_kit import (
    CHANGELOG,
    LIMITS_US,
    SECOND_US,
    STAGE_OF,
    STAGES,
    START_US,
    FrozenClock,
    MemoryBroker,
    MemoryTable,
    Tracker,
    batches,
    event_record,
    journey,
    raw,
)

INGESTION_US: Final = LIMITS_US["ingestion"]


async def track(tracker: Tracker, *records: RawRecord) -> None:
    """One batch."""
    await deliver(Track(tracker.parts), batches(records))


async def watched(tracker: Tracker, settled_us: int | None = None) -> None:
    """One round over partition 0, with every event known up to `settled_us` (None: up to now)."""
    steps = Watch(tracker.parts, lambda number, now_us: now_us if settled_us is None else settled_us)
    await deliver(steps, [0])


def after(tracker: Tracker, journey: Journey | None = None, *, wiped: bool = False) -> Tracker:
    """A new process on what the old one left: its disk, or an empty one, brought up to the changelog."""
    table = MemoryTable() if wiped else tracker.table
    table.restore(tracker.broker)
    return Tracker(tracker.broker, table, tracker.clock, journey or tracker.parts.journey)


async def stuck_in_ingestion() -> Tracker:
    """INV-1 has been too long in ingestion, and the alert is out."""
    tracker = Tracker()
    await track(tracker, event_record("E-1", occurred_us=START_US))
    tracker.clock.us = START_US + INGESTION_US
    await watched(tracker)
    return tracker


STUCK: Final = ("INV-1", "ingestion", INGESTION_US, "stuck")
CLEARED: Final = ("INV-1", "ingestion", INGESTION_US, "cleared")


async def test_silence_alone_makes_an_invoice_stuck() -> None:
    """No event arrives; at the deadline, not before, one alert says so, and the status record with it."""
    tracker = Tracker()
    await track(tracker, event_record("E-1", invoice_amount="99.90", currency="EUR"))

    tracker.clock.us = START_US + INGESTION_US - 1
    await watched(tracker)
    assert tracker.broker.alerts() == []

    tracker.clock.us += 1
    await watched(tracker)

    (alert,) = tracker.broker.alerts()
    assert tracker.broker.alert_ids() == [STUCK]
    assert (alert.reason, alert.invoice_amount, alert.currency) == (
        "10 seconds in ingestion, limit 10 seconds",
        "99.90",
        "EUR",
    )
    status = tracker.broker.last_statuses()["INV-1"]
    assert (status.revision, status.stuck_since) == (2, alert.deadline)
    labels = {"stage": "ingestion", "kind": "stuck"}
    assert tracker.registry.get_sample_value("bems_table_alerts_total", labels) == 1


async def test_a_round_without_anything_due_publishes_nothing() -> None:
    """A quiet cell writes no transaction every second."""
    tracker = Tracker()
    await track(tracker, event_record())
    before = {place: len(log) for place, log in tracker.broker.logs.items()}

    await watched(tracker)

    assert {place: len(log) for place, log in tracker.broker.logs.items()} == before


@pytest.mark.parametrize("restart", ["same process", "same disk", "empty disk"])
async def test_one_alert_however_often_the_watch_runs(restart: str) -> None:
    """Rounds, days and restarts later there is still one alert per invoice, stage and deadline."""
    tracker = await stuck_in_ingestion()

    for _ in range(5):
        if restart != "same process":
            tracker = after(tracker, wiped=restart == "empty disk")
        tracker.clock.us += INGESTION_US
        await watched(tracker)

    assert tracker.broker.alert_ids() == [STUCK]
    assert len(tracker.broker.logs[CHANGELOG, 0]) == 2


@pytest.mark.parametrize("restart", ["same process", "same disk", "empty disk"])
async def test_an_alert_ends_once_when_the_invoice_moves_on(restart: str) -> None:
    """The end names the stage and deadline of the alert and where the invoice went; later events do not repeat it."""
    tracker = await stuck_in_ingestion()
    if restart != "same process":
        tracker = after(tracker, wiped=restart == "empty disk")

    now_us = tracker.clock.us
    await track(tracker, event_record("E-2", "reconciliation", 0, occurred_us=START_US + 1, accepted_us=now_us))
    await track(tracker, event_record("E-3", "reconciliation", 1, occurred_us=START_US + 2, accepted_us=now_us))

    assert tracker.broker.alert_ids() == [STUCK, CLEARED]
    assert tracker.broker.alerts()[1].moved_to == "reconciliation"
    assert tracker.broker.last_statuses()["INV-1"].stuck_since is None
    assert tracker.table.index[0] == {(now_us + LIMITS_US["reconciliation"], b"INV-1")}


async def test_an_alert_ends_once_when_the_invoice_closes() -> None:
    """A closed invoice is watched no more."""
    tracker = await stuck_in_ingestion()

    await track(tracker, event_record("E-2", "posting", occurred_us=START_US + 1))
    tracker.clock.us += 1000 * INGESTION_US
    await watched(tracker)

    assert tracker.broker.alert_ids() == [STUCK, CLEARED]
    assert tracker.table.index[0] == set()


async def test_an_alert_ends_when_a_late_event_shows_that_the_stay_began_later() -> None:
    """An event of another stage falls between two of this one: the invoice had left, so it entered later."""
    tracker = Tracker()
    later_us = START_US + INGESTION_US - SECOND_US
    await track(
        tracker,
        event_record("E-1", offset=0, occurred_us=START_US, accepted_us=START_US),
        event_record("E-2", offset=1, occurred_us=START_US + 10, accepted_us=later_us),
    )
    tracker.clock.us = START_US + INGESTION_US
    await watched(tracker)

    await track(tracker, event_record("E-3", "authorization", occurred_us=START_US + 5, accepted_us=tracker.clock.us))
    await watched(tracker)

    assert tracker.broker.alert_ids() == [STUCK, CLEARED]
    assert tracker.broker.last_statuses()["INV-1"].stage == "ingestion"
    tracker.clock.us = later_us + INGESTION_US
    await watched(tracker)
    second_us = later_us + INGESTION_US - START_US
    assert tracker.broker.alert_ids() == [STUCK, CLEARED, ("INV-1", "ingestion", second_us, "stuck")]


async def test_more_events_in_the_same_stage_do_not_end_an_alert() -> None:
    """Activity is not progress."""
    tracker = await stuck_in_ingestion()

    await track(tracker, event_record("E-2", offset=1, occurred_us=START_US + 9, accepted_us=tracker.clock.us))
    await watched(tracker)

    assert tracker.broker.alert_ids() == [STUCK]
    assert tracker.broker.last_statuses()["INV-1"].stuck_since is not None


async def test_an_invoice_that_comes_back_can_be_stuck_anew() -> None:
    """Another stay, another deadline, another alert."""
    tracker = await stuck_in_ingestion()
    back_us = tracker.clock.us
    await track(
        tracker,
        event_record("E-2", "reconciliation", 0, occurred_us=START_US + 1, accepted_us=back_us),
        event_record("E-3", "ingestion", 1, occurred_us=START_US + 2, accepted_us=back_us),
    )

    tracker.clock.us = back_us + INGESTION_US
    await watched(tracker)

    assert tracker.broker.alert_ids() == [STUCK, CLEARED, ("INV-1", "ingestion", 2 * INGESTION_US, "stuck")]


async def test_no_alert_while_the_event_that_moved_the_invoice_on_may_be_in_the_backlog() -> None:
    """After a night away the watch judges only up to where events are known, so catching up raises no false alarm."""
    tracker = Tracker()
    await track(tracker, event_record("E-1"))
    tracker.clock.us = START_US + 100 * INGESTION_US

    await watched(tracker, settled_us=0)
    await watched(tracker, settled_us=START_US + INGESTION_US - 1)
    assert tracker.broker.alerts() == []

    moved_us = START_US + INGESTION_US - 2
    await track(tracker, event_record("E-2", "posting", occurred_us=START_US + 1, accepted_us=moved_us))
    await watched(tracker)
    assert tracker.broker.alerts() == []


async def test_a_longer_limit_moves_the_deadline_instead_of_raising_an_alert() -> None:
    """The index was written under the old limit; the state, under the new one, decides."""
    before = Tracker()
    await track(before, event_record())
    tracker = after(before, journey(ingestion=3 * INGESTION_US))

    tracker.clock.us = START_US + INGESTION_US
    await watched(tracker)

    assert tracker.broker.alerts() == []
    assert tracker.table.index[0] == {(START_US + 3 * INGESTION_US, b"INV-1")}
    tracker.clock.us = START_US + 3 * INGESTION_US
    await watched(tracker)
    assert tracker.broker.alert_ids() == [("INV-1", "ingestion", 3 * INGESTION_US, "stuck")]


async def test_a_moved_deadline_waits_for_the_events_before_it_as_well() -> None:
    """Past on the wall clock is not enough: the event that moved the invoice on may be in the backlog."""
    before = Tracker()
    await track(before, event_record())
    tracker = after(before, journey(ingestion=3 * INGESTION_US))
    tracker.clock.us = START_US + 10 * INGESTION_US

    await watched(tracker, settled_us=START_US + 2 * INGESTION_US)
    assert tracker.broker.alerts() == []

    await watched(tracker)
    assert tracker.broker.alert_ids() == [("INV-1", "ingestion", 3 * INGESTION_US, "stuck")]


async def test_a_limit_taken_away_ends_the_watch() -> None:
    """No limit, no deadline, no alert."""
    before = Tracker()
    await track(before, event_record())
    tracker = after(before, journey(ingestion=None))

    tracker.clock.us = START_US + 100 * INGESTION_US
    await watched(tracker)

    assert tracker.broker.alerts() == []
    assert tracker.table.index[0] == set()


async def test_a_changed_limit_ends_the_alert_that_was_raised_under_the_old_one() -> None:
    """The next event of the invoice ends it and the new deadline holds."""
    tracker = after(await stuck_in_ingestion(), journey(ingestion=5 * INGESTION_US))

    await track(tracker, event_record("E-2", offset=1, occurred_us=START_US + 1, accepted_us=tracker.clock.us))

    assert tracker.broker.alert_ids() == [STUCK, CLEARED]
    assert tracker.table.index[0] == {(START_US + 5 * INGESTION_US, b"INV-1")}


async def test_more_than_one_round_can_publish_is_spread_over_several(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oldest first, none twice, none left out: a surge of deadlines does not hold up the events."""
    monkeypatch.setattr(watch, "MAX_DUE", 10)
    tracker = Tracker()
    records = [event_record(f"E-{n}", invoice_id=f"INV-{n:02}", offset=n, accepted_us=START_US + n) for n in range(25)]
    await track(tracker, *records)
    tracker.clock.us = START_US + 2 * INGESTION_US

    published = []
    for _ in range(4):
        await watched(tracker)
        published.append(len(tracker.broker.alerts()))

    assert published == [10, 20, 25, 25]
    assert [alert.invoice_id for alert in tracker.broker.alerts()] == [f"INV-{n:02}" for n in range(25)]


async def test_a_round_covers_every_partition_number_given() -> None:
    """One transaction for all of them, with the source positions that fence it; others are left alone."""
    tracker = Tracker()
    await track(tracker, *(event_record(invoice_id=f"INV-{n}", partition=n) for n in range(3)))
    tracker.clock.us = START_US + INGESTION_US

    await deliver(Watch(tracker.parts, lambda number, now_us: now_us), [0, 2])

    assert sorted(alert.invoice_id for alert in tracker.broker.alerts()) == ["INV-0", "INV-2"]
    assert [number for number in range(3) if tracker.table.index[number]] == [1]
    assert {place for place in tracker.broker.committed if place[1] != 1} >= {(t, n) for t in STAGE_OF for n in (0, 2)}


async def test_alerts_leave_the_source_offsets_where_they_are() -> None:
    """The watch names them only so that the broker can refuse it."""
    tracker = Tracker()
    await track(tracker, event_record("E-1", offset=4), event_record("E-2", "posting", 8, invoice_id="INV-2"))
    tracker.clock.us = START_US + INGESTION_US

    await watched(tracker)

    moved = {place: offset for place, offset in tracker.broker.committed.items() if offset}
    assert moved == {("invoices.ingestion", 0): 5, ("invoices.posting", 0): 9}
    assert len(tracker.broker.alerts()) == 1


async def test_a_state_that_cannot_be_read_keeps_no_other_invoice_from_being_watched(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named once in the log; it takes no place in a round, however many there are."""
    monkeypatch.setattr(watch, "MAX_DUE", 2)
    tracker = Tracker()
    await track(tracker, *(event_record(invoice_id=f"INV-{n}", offset=n, accepted_us=START_US + n) for n in range(6)))
    for n in range(3):
        tracker.table.states[0][b"INV-%d" % n] = b"\x01garbage"
    tracker.clock.us = START_US + 2 * INGESTION_US
    steps = Watch(tracker.parts, lambda number, now_us: now_us)

    with caplog.at_level(logging.ERROR):
        for _ in range(6):
            await deliver(steps, [0])

    assert [alert.invoice_id for alert in tracker.broker.alerts()] == ["INV-3", "INV-4", "INV-5"]
    named = [record.getMessage() for record in caplog.records]
    assert [sum(f"INV-{n}" in line for line in named) for n in range(3)] == [1, 1, 1]
    assert caplog.records[0].exc_info and caplog.records[0].exc_info[0] is CorruptStateError


async def test_a_stage_lost_from_the_catalogue_stops_the_watch() -> None:
    """The catalogue is wrong, not the invoice: nothing is published until somebody mends it."""
    tracker = Tracker()
    state = InvoiceState(seen=[1], stage=9, stay=[Step(START_US, 1, START_US)])
    tracker.table.states[0][b"INV-1"] = encode_tracked(TrackedInvoice(1, START_US, 0, 0, 0, state))
    tracker.table.index[0].add((START_US, b"INV-1"))

    with pytest.raises(StageLostError):
        await watched(tracker)

    assert tracker.broker.logs == {}


# ------------------------------------------------------------------------------------------- any interleaving at all


class Cell:
    """A tracker that reads topics at its own pace, by a clock that everybody shares, and may restart at any moment."""

    def __init__(self) -> None:
        self.tracker = Tracker(MemoryBroker(), MemoryTable(), FrozenClock())
        self.topics: dict[str, list[RawRecord]] = {topic: [] for topic in STAGE_OF}
        self.events = 0

    def accept(self, stage: str, invoice_id: str, age_us: int, copy: bool) -> None:
        """An event arrives now; or a copy of the newest one of its topic does."""
        topic = f"invoices.{stage}"
        log, now_us = self.topics[topic], self.tracker.clock.us
        if copy and log:
            again = log[-1]
            log.append(raw(again.value, len(log), key=again.key, topic=topic, accepted_us=now_us))
            return
        self.events += 1
        log.append(
            event_record(
                f"E{self.events}",
                stage,
                len(log),
                invoice_id=invoice_id,
                occurred_us=now_us - age_us,
                accepted_us=now_us,
            )
        )

    def position(self, topic: str) -> int:
        """Where the tracker goes on."""
        return self.tracker.broker.committed.get((topic, 0), 0)

    async def read(self, topic: str, count: int) -> None:
        """The tracker handles the next records of one topic."""
        if batch := self.topics[topic][self.position(topic) :][:count]:
            await track(self.tracker, *batch)

    def settled(self, _: int, now_us: int) -> int:
        """Up to when everything accepted has been handled."""
        waiting = [log[self.position(topic)] for topic, log in self.topics.items() if self.position(topic) < len(log)]
        return min((record.accepted_us - 1 for record in waiting), default=now_us)

    async def watch(self) -> None:
        """One round; every alert must be true of all events accepted up to its deadline."""
        before = len(self.tracker.broker.alerts())
        await deliver(Watch(self.tracker.parts, self.settled), [0])
        for alert in self.tracker.broker.alerts()[before:]:
            status = self.tracker.broker.last_statuses()[alert.invoice_id]
            assert (status.stage, status.deadline, status.stuck_since) == (alert.stage, alert.deadline, alert.deadline)
            assert alert.deadline <= alert.raised_at

    def restart(self, wiped: bool) -> None:
        """A new process."""
        self.tracker = after(self.tracker, wiped=wiped)


steps = st.one_of(
    st.tuples(
        st.just("accept"), st.sampled_from(STAGES), st.sampled_from(["A", "B"]), st.integers(0, 40), st.booleans()
    ),
    st.tuples(st.just("read"), st.sampled_from(sorted(STAGE_OF)), st.integers(1, 3)),
    st.tuples(st.just("wait"), st.integers(1, 60)),
    st.tuples(st.just("watch")),
    st.tuples(st.just("restart"), st.booleans()),
)


@settings(max_examples=300)
@given(st.lists(steps, min_size=5, max_size=40))
async def test_alerts_are_exact_in_any_order_of_events_rounds_and_restarts(history: list[tuple[object, ...]]) -> None:
    """Never twice, never ended without having been raised or twice, never forgotten."""
    cell = Cell()
    for step in history:
        match step:
            case ("accept", str(stage), str(invoice_id), int(age), bool(copy)):
                cell.accept(stage, invoice_id, age * SECOND_US, copy)
            case ("read", str(topic), int(count)):
                await cell.read(topic, count)
            case ("wait", int(seconds)):
                cell.tracker.clock.us += seconds * SECOND_US
            case ("watch",):
                await cell.watch()
            case ("restart", bool(wiped)):
                cell.restart(wiped)
    for topic in STAGE_OF:
        await cell.read(topic, 1000)
    cell.tracker.clock.us += 1000 * SECOND_US
    await cell.watch()

    assert all(count == 1 for count in Counter(cell.tracker.broker.alert_ids()).values())
    out: dict[str, tuple[str, int]] = {}
    for invoice_id, stage, deadline_us, kind in cell.tracker.broker.alert_ids():
        if kind == "stuck":
            assert invoice_id not in out
            out[invoice_id] = (stage, deadline_us)
        else:
            assert out.pop(invoice_id) == (stage, deadline_us)
    open_now = {i: status for i, status in cell.tracker.broker.last_statuses().items() if status.stage != "posting"}
    assert {i: stage for i, (stage, _) in out.items()} == {i: status.stage for i, status in open_now.items()}
    assert all(status.stuck_since == status.deadline for status in open_now.values())

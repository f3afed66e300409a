"""What the sink cannot store: who waits, in which lane, how often, and what is left of it in the end."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from bems_streams.domain.failures import Failure, OutsideHotWindow, Problem, StoreRefused, Throttled
from bems_streams.flows.decode import MOST_AHEAD_US
from bems_streams.flows.envelope import disclose
from bems_streams.ports import (
    Coordinates,
    EventRow,
    EventStore,
    RawRecord,
    RecordOutcome,
    StoreBatch,
    StoreUnavailableError,
    WriteOutcome,
    WriteResult,
)
from bems_streams.runtime.work import PartitionsMovedError
from tests.unit.flow_kit import SECOND_US, START_US, WAITS_US, event_record, not_before_us, payload, raw
from tests.unit.test_store_flow import Sink

FIRST, SECOND, LATE, REDRIVE = (f"invoices.sink.{lane}" for lane in ("retry-1", "retry-2", "late", "redrive"))

Rule = Callable[[EventRow, bool], Failure | None]
"""(row, came by the way for late events) -> why the store refuses it."""


class ChoosyStore:
    """A store that refuses single records, as the port allows: the others are written, nothing is accounted for."""

    def __init__(self, store: EventStore, rule: Rule) -> None:
        self._store = store
        self.rule = rule

    def write(self, batch: StoreBatch) -> WriteResult:
        """See EventStore."""
        rows = [*((row, False) for row in batch.events), *((row, True) for row in batch.late_events)]
        refused = [self.rule(*row) for row in rows]
        if not any(refused):
            return self._store.write(batch)
        taken = replace(
            batch,
            events=[row for (row, late), why in zip(rows, refused, strict=True) if not why and not late],
            late_events=[row for (row, late), why in zip(rows, refused, strict=True) if not why and late],
            handled=(),
        )
        outcomes = iter(self._store.write(taken).outcomes)
        return WriteResult([why or next(outcomes) for why in refused])

    def close(self) -> None:
        """See EventStore."""


def choosy(sink: Sink, rule: Rule) -> ChoosyStore:
    """Put such a store under the sink."""
    store = ChoosyStore(sink.store, rule)
    sink.parts = replace(sink.parts, store=store)
    return store


def refuse(*event_ids: str) -> Rule:
    """Refuse these events."""
    why = StoreRefused((Problem("", "no"),))
    return lambda row, late: why if row.event_id in event_ids else None


def accept(row: EventRow, late: bool) -> Failure | None:
    """Refuse nothing."""
    return None


def outcomes(sink: Sink) -> dict[str, int]:
    """What the ledger says of all stage topics together."""
    spans = sink.reader.ledger("sink", 0, 2**62)
    return {
        outcome: sum(getattr(span, outcome) for span in spans)
        for outcome in ("stored", "duplicates", "retrying", "dead_lettered")
    }


async def test_a_refused_record_waits_in_its_lane_while_the_others_are_stored() -> None:
    """One record that the store refuses holds up nobody; the ledger says that it is being retried."""
    sink = Sink()
    choosy(sink, refuse("E-2"))

    await sink.take(*(event_record(f"E-{n}", offset=n) for n in (1, 2, 3)))

    assert [row.event_id for row in sink.reader.events()] == ["E-1", "E-3"]
    (waiting,) = sink.broker.lane(FIRST)
    assert not_before_us(waiting) == sink.clock.us + WAITS_US[0]
    assert waiting.value == payload("E-2")
    (row,) = sink.reader.retrying()
    assert (row.at, row.code, row.attempts, row.event_id) == (
        Coordinates("invoices.ingestion", 0, 2),
        "store_refused",
        1,
        "E-2",
    )
    assert outcomes(sink) == {"stored": 2, "duplicates": 0, "retrying": 1, "dead_lettered": 0}
    assert (sink.counted("stored"), sink.counted("retrying")) == (2, 1)
    assert sink.sample("bems_agent_retries_total", agent="sink", code="store_refused") == 1


async def test_a_retried_record_that_the_store_takes_now_keeps_its_first_coordinates() -> None:
    """Its receipt goes on to name it; the ledger moves it from retrying to stored."""
    sink = Sink()
    store = choosy(sink, refuse("E-1"))
    await sink.take(event_record("E-1", offset=7))
    store.rule = accept

    await sink.take(*sink.broker.lane(FIRST))

    (row,) = sink.reader.events()
    assert (row.event_id, row.at, row.accepted_us) == ("E-1", Coordinates("invoices.ingestion", 0, 7), START_US)
    assert sink.reader.retrying() == []
    assert outcomes(sink) == {"stored": 1, "duplicates": 0, "retrying": 0, "dead_lettered": 0}


async def test_a_schedule_that_is_used_up_ends_in_the_dead_letters() -> None:
    """After the last wait there is no further lane: the original bytes, headers and coordinates are kept."""
    sink = Sink()
    choosy(sink, refuse("E-1"))
    record = event_record("E-1", offset=7)._replace(headers=[("correlation-id", b"c-1")])

    await sink.take(record)
    await sink.take(*sink.broker.lane(FIRST))
    (again,) = sink.broker.lane(SECOND)
    assert not_before_us(again) == sink.clock.us + WAITS_US[1]
    await sink.take(again)

    (letter,) = sink.broker.dead()
    opened = disclose(RawRecord(Coordinates("dlq", 0, 0), letter.key, letter.value, letter.headers, 0))
    assert not isinstance(opened, Failure)
    original, passage = opened
    assert original == record
    assert (passage.attempts, passage.code, passage.agent) == (3, "store_refused", "sink")
    (note,) = sink.reader.dead_letters()
    assert (note.at, note.event_id) == (record.at, "E-1")
    assert sink.reader.retrying() == []
    assert outcomes(sink) == {"stored": 0, "duplicates": 0, "retrying": 0, "dead_lettered": 1}


async def test_a_redriven_record_gets_one_try() -> None:
    """Whoever redrives wants to know at once whether it failed again."""
    sink = Sink()
    choosy(sink, refuse("E-1"))
    await sink.take(event_record("E-1", offset=7))
    (waiting,) = sink.broker.lane(FIRST)
    redriven = waiting._replace(
        at=Coordinates(REDRIVE, 0, 0),
        headers=[(name, b"run-1" if name == "bems-redrive-run" else value) for name, value in waiting.headers],
    )

    await sink.take(redriven)

    assert len(sink.broker.dead()) == 1
    assert len(sink.broker.lane(FIRST)) == 1
    assert dict(sink.broker.dead()[0].headers)["bems-redrive-run"] == b"run-1"
    assert outcomes(sink) == {"stored": 0, "duplicates": 0, "retrying": 0, "dead_lettered": 1}


async def test_an_event_of_the_far_future_waits_and_heals_when_its_time_comes() -> None:
    """A day ahead no clock is; it would hold its invoice in that stage until then."""
    sink = Sink()
    ahead_us = sink.clock.us + MOST_AHEAD_US
    good = raw(payload("E-0", occurred_us=ahead_us), 0)
    early = raw(payload("E-1", occurred_us=ahead_us + WAITS_US[0]), 1)

    await sink.take(good, early)
    assert [row.event_id for row in sink.reader.events()] == ["E-0"]
    (waiting,) = sink.broker.lane(FIRST)
    assert dict(waiting.headers)["bems-code"] == b"future_dated"
    sink.clock.us = not_before_us(waiting)
    await sink.take(waiting)

    assert sorted(row.event_id for row in sink.reader.events()) == ["E-0", "E-1"]
    assert outcomes(sink) == {"stored": 2, "duplicates": 0, "retrying": 0, "dead_lettered": 0}


async def test_a_clock_that_is_days_behind_refuses_nothing() -> None:
    """What was in time by the broker's clock when it was accepted is in time."""
    sink = Sink()
    sink.clock.us -= 3 * MOST_AHEAD_US

    await sink.take(event_record("E-1"))

    assert [row.event_id for row in sink.reader.events()] == ["E-1"]
    assert sink.broker.logs == {}


async def test_a_late_event_goes_in_by_the_way_for_late_ones() -> None:
    """The store takes it there at once: it waits for no schedule; refused there as well, it is a dead letter."""
    sink = Sink()
    why = OutsideHotWindow((Problem("occurred_at", "too old"),))
    store = choosy(sink, lambda row, late: None if late and row.event_id == "E-1" else why)

    await sink.take(event_record("E-1", offset=1), event_record("E-2", offset=2))
    late = sink.broker.lane(LATE)
    assert [not_before_us(record) <= sink.clock.us for record in late] == [True, True]
    await sink.take(*late)

    assert [row.event_id for row in sink.reader.events()] == ["E-1"]
    assert [dict(letter.headers)["bems-code"] for letter in sink.broker.dead()] == [b"outside_hot_window"]
    assert outcomes(sink) == {"stored": 1, "duplicates": 0, "retrying": 0, "dead_lettered": 1}
    assert store.rule is not accept


async def test_a_record_without_its_origin_in_a_lane_is_set_aside() -> None:
    """Whatever somebody writes into a lane stops nobody."""
    sink = Sink()

    await sink.take(raw(b"x", 0, topic=FIRST), event_record("E-1"))

    (letter,) = sink.broker.dead()
    assert dict(letter.headers)["bems-code"] == b"bad_envelope"
    assert dict(letter.headers)["bems-origin-topic"] == FIRST.encode()
    assert outcomes(sink) == {"stored": 1, "duplicates": 0, "retrying": 0, "dead_lettered": 0}


async def test_a_batch_that_is_replayed_after_a_refusal_accounts_for_each_record_once() -> None:
    """The worker ended between the lane and the ack: the same records again, and the ledger is as it was."""
    sink = Sink()
    choosy(sink, refuse("E-2"))
    batch = [event_record(f"E-{n}", offset=n) for n in (1, 2, 1)]
    batch[2] = event_record("E-1", offset=3)

    await sink.take(*batch)
    once = outcomes(sink)
    await sink.take(*batch)

    assert outcomes(sink) == once == {"stored": 1, "duplicates": 1, "retrying": 1, "dead_lettered": 0}
    assert sink.counted("stored") == 1


async def test_nothing_moves_into_lanes_while_the_store_is_away() -> None:
    """The breaker is open: not ready, one pause counted, no lane or dead letter; then all of it is stored."""
    sink = Sink(failures=20)
    seen: list[str | None] = []

    class Watching:
        async def __call__(self, seconds: float) -> None:
            seen.append(sink.parts.breaker.reason_not_ready())
            sink.clock.us += round(seconds * SECOND_US)

    sink.parts.breaker._pause = Watching()

    await sink.take(*(event_record(f"E-{n}", offset=n) for n in range(50)))

    assert len(seen) == 20
    assert all(reason is not None and "locked" in reason and "paused since" in reason for reason in seen)
    assert sink.parts.breaker.reason_not_ready() is None
    assert sink.broker.logs == {}
    assert sink.reader.counts().stored == 50
    assert sink.sample("bems_agent_pauses_total", agent="sink", code="store_away") == 1
    assert sink.sample("bems_agent_paused", agent="sink") == 0


async def test_the_metric_says_paused_while_it_is_and_why() -> None:
    """An alert rests on it; a store that asks for fewer writes is named as such."""
    sink = Sink()

    class Overloaded:
        def write(self, batch: StoreBatch) -> WriteResult:
            raise StoreUnavailableError("slow down", Throttled)

        def close(self) -> None:
            """See EventStore."""

    async def moved(seconds: float) -> None:
        raise PartitionsMovedError

    sink.parts = replace(sink.parts, store=Overloaded())
    sink.parts.breaker._pause = moved

    with pytest.raises(PartitionsMovedError):
        await sink.take(event_record("E-1"))

    assert sink.sample("bems_agent_paused", agent="sink") == 1
    assert sink.sample("bems_agent_pauses_total", agent="sink", code="throttled") == 1
    assert sink.counted("stored") == 0


async def test_outcomes_stand_beside_the_rows_they_are_of() -> None:
    """Refused first and in the middle, stored around them: what is counted is what happened."""
    sink = Sink()
    choosy(sink, refuse("E-0", "E-2"))

    await sink.take(*(event_record(f"E-{n}", offset=n) for n in range(4)), event_record("E-3", offset=4))

    assert (sink.counted("stored"), sink.counted("duplicate"), sink.counted("retrying")) == (2, 1, 2)
    assert sink.sample("bems_agent_visibility_seconds_count") == 2


def test_the_ledger_speaks_of_the_same_outcomes_as_writing() -> None:
    """One name for one thing."""
    shared: Sequence[WriteOutcome] = (WriteOutcome.STORED, WriteOutcome.DUPLICATE)
    assert {outcome.value for outcome in shared} < {outcome.value for outcome in RecordOutcome}

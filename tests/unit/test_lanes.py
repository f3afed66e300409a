"""Where a record goes that an agent could not handle, and how it comes back."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bems_streams.domain.failures import (
    FAILURES,
    BadEnvelope,
    Failure,
    InvalidEvent,
    Lane,
    OutsideHotWindow,
    Problem,
    StoreAway,
    StoreRefused,
)
from bems_streams.flows.envelope import disclose, enclose
from bems_streams.flows.lanes import Arrival, Lanes, SetAside
from bems_streams.ports import RawRecord
from bems_streams.topics import load_catalogue
from tests.support import REPOSITORY
from tests.unit.flow_kit import SECOND_US, START_US, raw

CATALOGUE = load_catalogue(REPOSITORY / "topics.yaml")
LANES = Lanes.of(CATALOGUE, "sink", "c1", "eu")
REFUSED = StoreRefused((Problem("invoice_amount", "too many digits for the store"),))
LATE = OutsideHotWindow((Problem("occurred_at", "older than 24 hours"),))
POISON = InvalidEvent((Problem("stage", "required"),))
RECORD = raw(b"value", 42, topic="invoices.posting", partition=7, accepted_us=START_US - 5, headers=[("a", b"1")])
RETRIES = ("invoices.sink.retry-1", "invoices.sink.retry-2", "invoices.sink.retry-3")
DEAD = "invoices.posting.sink.dlq"


def in_lane(aside: SetAside, offset: int = 0) -> RawRecord:
    """What was set aside, as its next reader reads it."""
    out = aside.out
    return raw(out.value, offset, key=out.key, topic=out.topic, partition=out.partition or 0, headers=out.headers)


def journey(record: RawRecord, failures: Sequence[Failure], lanes: Lanes = LANES) -> list[SetAside]:
    """One failure after another, a second apart, until the record is dead."""
    steps: list[SetAside] = []
    for now_us, failure in enumerate(failures):
        steps.append(lanes.set_aside(lanes.arrival(record), failure, START_US + now_us * SECOND_US))
        if steps[-1].dead:
            break
        record = in_lane(steps[-1], offset=len(steps))
    return steps


def redriven(record: RawRecord, *, agent: str = "sink", partition: int | None = None) -> RawRecord:
    """A dead letter that a redrive sent back."""
    dead = journey(record, [POISON])[-1]
    passage = dead.passage._replace(attempts=0, redrives=1, run="run-1", agent=agent)
    out = enclose(record, passage, LANES.redrive_topic)
    lane_partition = record.at.partition if partition is None else partition
    return raw(out.value, key=out.key, topic=out.topic, partition=lane_partition, headers=out.headers)


def test_the_lanes_are_those_of_the_catalogue() -> None:
    """Waits and topics belong together; each topic that the agent reads has its dead letters."""
    assert list(zip(LANES.retry_topics, LANES.waits_us, strict=True)) == [
        (RETRIES[0], 5 * SECOND_US),
        (RETRIES[1], 60 * SECOND_US),
        (RETRIES[2], 600 * SECOND_US),
    ]
    assert LANES.waits.keys() == {*CATALOGUE.lanes("sink")}
    assert [LANES.waits[topic] for topic in (LANES.late_topic or "", LANES.redrive_topic)] == [0, 0]
    assert LANES.dead_letter_of.keys() == {*CATALOGUE.reads("sink")}
    with pytest.raises(LookupError, match="it has tracker, sink"):
        Lanes.of(CATALOGUE, "nobody", "c1", "eu")


def test_a_record_of_the_agents_own_topic_arrives_as_it_is() -> None:
    """Also when it imitates one of ours: only lanes are believed."""
    imitating = RECORD._replace(headers=redriven(RECORD).headers)

    assert LANES.arrival(RECORD) == Arrival(RECORD, None)
    assert LANES.arrival(imitating) == Arrival(imitating, None)


def test_a_record_that_is_refused_waits_longer_each_time_and_then_is_dead() -> None:
    """Each lane once, in the order of the schedule; due on the wall clock, counted from the failure."""
    steps = journey(RECORD, [REFUSED] * 9)

    assert [step.out.topic for step in steps] == [*RETRIES, DEAD]
    assert [step.passage.attempts for step in steps] == [1, 2, 3, 4]
    assert [step.dead for step in steps] == [False, False, False, True]
    waits_us = [step.passage.not_before_us - step.passage.failed_us for step in steps]
    assert waits_us == [5 * SECOND_US, 60 * SECOND_US, 600 * SECOND_US, 0]
    assert {step.passage.first_failed_us for step in steps} == {START_US}
    assert [step.passage.failed_us for step in steps] == [START_US + n * SECOND_US for n in range(4)]


def test_a_dead_letter_names_its_agent_its_reason_and_its_cell() -> None:
    """Those of the last failure, which is what somebody must act on."""
    passage = journey(RECORD, [REFUSED, POISON])[-1].passage

    assert (passage.agent, passage.code, passage.reason) == ("sink", "invalid_event", "stage: required")
    assert (passage.redrives, passage.run, passage.cell, passage.region) == (0, "", "c1", "eu")


def test_poison_is_dead_at_once() -> None:
    """Waiting would not help it."""
    (step,) = journey(RECORD, [POISON])

    assert (step.out.topic, step.dead, step.passage.attempts) == (DEAD, True, 1)


def test_a_late_record_goes_to_the_late_lane_once() -> None:
    """What even the way in for late events does not take is dead."""
    first, second = journey(RECORD, [LATE, LATE])

    assert (first.out.topic, first.dead) == ("invoices.sink.late", False)
    assert first.passage.not_before_us == first.passage.failed_us
    assert LANES.arrival(in_lane(first)).late
    assert (second.out.topic, second.dead) == (DEAD, True)


def test_an_agent_without_a_late_lane_gives_late_records_up() -> None:
    """The tracker's store is its own: it has no way in for late events."""
    lanes = Lanes.of(CATALOGUE, "tracker", "c1", "eu")
    (step,) = journey(RECORD, [LATE], lanes)

    assert lanes.late_topic is None
    assert (step.out.topic, step.dead) == ("invoices.posting.tracker.dlq", True)


def test_a_redriven_record_that_is_late_goes_by_the_way_for_late_ones() -> None:
    """Once: it is still of its run there, and a dead letter when that way refuses it as well."""
    late = LANES.set_aside(LANES.arrival(redriven(RECORD)), LATE, START_US + 99)
    assert (late.out.topic, late.dead, late.passage.run) == (LANES.late_topic, False, "run-1")

    again = LANES.set_aside(LANES.arrival(in_lane(late)), REFUSED, START_US + 100)

    assert (again.out.topic, again.dead, again.passage.run) == (DEAD, True, "run-1")


@pytest.mark.parametrize("failure", [REFUSED, POISON], ids=lambda failure: failure.code)
def test_a_redriven_record_gets_one_try(failure: Failure) -> None:
    """Then it is a dead letter again, with its history: no schedule, no loop."""
    step = LANES.set_aside(LANES.arrival(redriven(RECORD)), failure, START_US + 99)

    assert (step.out.topic, step.dead) == (DEAD, True)
    assert (step.passage.attempts, step.passage.redrives, step.passage.run) == (1, 1, "run-1")
    assert step.passage.first_failed_us == START_US


@given(st.lists(st.sampled_from([REFUSED, LATE, POISON]), min_size=9, max_size=9))
def test_whatever_fails_however_often_a_record_ends(failures: list[Failure]) -> None:
    """At most one try per wait and two in the late lane, and none is tried for ever."""
    steps = journey(RECORD, failures)

    assert steps[-1].dead
    assert [step.dead for step in steps].count(True) == 1
    assert [step.passage.attempts for step in steps] == list(range(1, len(steps) + 1))


@given(st.sampled_from([REFUSED, LATE, POISON]), st.integers(0, 98), st.none() | st.binary(max_size=20))
def test_the_record_comes_back_as_it_was_on_its_own_partition(
    failure: Failure, partition: int, value: bytes | None
) -> None:
    """At its original coordinates, so that no lane changes a receipt; with the same worker, whose state it needs."""
    record = RECORD._replace(at=RECORD.at._replace(partition=partition), value=value)

    for step in journey(record, [failure] * 4):
        assert step.out.partition == partition
        assert disclose(in_lane(step)) == (record, step.passage)
        if not step.dead:
            arrival = LANES.arrival(in_lane(step))
            assert (arrival.record, arrival.passage, arrival.failure) == (record, step.passage, None)


def test_a_shorter_schedule_gives_up_what_a_longer_one_left_in_its_lanes() -> None:
    """After a change of the catalogue, a record with more attempts than there are waits is dead at its next failure."""
    shorter = replace(LANES, waits_us=LANES.waits_us[:1], retry_topics=LANES.retry_topics[:1])
    first = LANES.set_aside(LANES.arrival(RECORD), REFUSED, START_US)

    assert shorter.set_aside(shorter.arrival(in_lane(first)), REFUSED, START_US).dead


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (raw(b"value", 3, topic=RETRIES[0], partition=7, headers=[]), "no header bems-origin-topic"),
        (redriven(RECORD, partition=6), "it says partition 7, and is on 6"),
        (redriven(RECORD, agent="tracker"), "it belongs to agent 'tracker', and is in a lane of sink"),
        (
            redriven(RECORD._replace(at=RECORD.at._replace(topic="orders"))),
            "sink does not read 'orders', where it says it came from",
        ),
    ],
)
def test_a_record_that_has_no_business_in_a_lane_is_poison_where_it_stands(record: RawRecord, reason: str) -> None:
    """Its own bytes and place in the lane go to the dead letters, and the lane goes on."""
    arrival = LANES.arrival(record)
    assert isinstance(arrival.failure, BadEnvelope)
    assert reason in arrival.failure.reason
    assert (arrival.record, arrival.passage) == (record, None)

    step = LANES.set_aside(arrival, arrival.failure, START_US)

    assert step.dead
    assert step.out.topic in LANES.dead_letter_of.values()
    disclosed = disclose(in_lane(step))
    assert not isinstance(disclosed, BadEnvelope)
    assert disclosed[0] == record


def test_every_kind_of_failure_has_one_way() -> None:
    """What waits is never handed to a lane; each other kind leads to a topic that the cluster has."""
    made = {spec.name for spec in CATALOGUE.topics()}
    for kind in FAILURES.values():
        if kind.lane is not Lane.WAIT:
            (step,) = journey(RECORD, [kind((Problem("", "no"),))])
            assert step.out.topic in made
            assert step.dead is (kind.lane is Lane.DEAD_LETTER)


def test_a_destination_that_is_down_is_no_reason_to_move_a_record() -> None:
    """Else an outage would end as dead letters: whoever asks for it has forgotten to wait."""
    with pytest.raises(AssertionError, match="store_away is for the agent to wait for"):
        LANES.set_aside(Arrival(RECORD, None), StoreAway((Problem("", "down"),)), 0)

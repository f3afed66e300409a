"""Batches of stage events on their way into invoices: what is kept, published, set aside, and what is not repeated."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bems_streams.domain.codec import NewerStateError, TrackedInvoice, decode_tracked, encode_tracked
from bems_streams.domain.journey import Stage, StageCode, StageLostError
from bems_streams.domain.state import Facts, InvoiceState, InvoiceStatus, StageRecord, Step
from bems_streams.domain.views import StatusDocument
from bems_streams.flows.deliver import deliver
from bems_streams.flows.track import MAX_STATE_BYTES, Track
from bems_streams.ports import RawRecord
from tests.unit.flow_kit import (
    CHANGELOG,
    JOURNEY,
    LIMITS_US,
    SECOND_US,
    STAGES,
    START_US,
    STATUS,
    MemoryBroker,
    MemoryTable,
    Tracker,
    batches,
    event_record,
    raw,
)


async def track(tracker: Tracker, *records: RawRecord) -> None:
    """One batch."""
    await deliver(Track(tracker.parts), batches(records))


def put(tracker: Tracker, invoice_id: str, stored: bytes, number: int = 0) -> None:
    """Bytes that some earlier release left in the table."""
    tracker.table.states[number][invoice_id.encode()] = stored


async def test_a_new_event_becomes_state_status_changelog_and_an_offset() -> None:
    """One event: the table holds it, subscribers see it, a restore would find it, and it is not read again."""
    tracker = Tracker()

    await track(tracker, event_record("E-1", offset=7, invoice_amount="10.50", currency="EUR"))

    (status,) = tracker.broker.statuses()
    assert (status.revision, status.status, status.stage, status.events) == (1, InvoiceStatus.OPEN, "ingestion", 1)
    assert (status.invoice_amount, status.currency, status.cell, status.region) == ("10.50", "EUR", "c1", "eu")
    (change,) = tracker.broker.logs[CHANGELOG, 0]
    assert (change.key, change.value) == (b"INV-1", tracker.table.states[0][b"INV-1"])
    assert tracker.table.ends[0] == 1
    assert tracker.table.index[0] == {(START_US + LIMITS_US["ingestion"], b"INV-1")}
    assert tracker.broker.committed == {("invoices.ingestion", 0): 8}
    assert tracker.counted("ingestion", "folded") == 1


async def test_records_go_to_the_partition_number_that_their_event_came_from() -> None:
    """Status, changelog and table of an invoice share its partition number, whatever the key hashes to."""
    tracker = Tracker()

    await track(tracker, event_record(invoice_id="A", partition=3), event_record(invoice_id="B", partition=5))

    assert {place for place in tracker.broker.logs if place[0] in (STATUS, CHANGELOG)} == {
        (STATUS, 3), (STATUS, 5), (CHANGELOG, 3), (CHANGELOG, 5),
    }  # fmt: skip
    assert {number: list(states) for number, states in tracker.table.states.items()} == {3: [b"A"], 5: [b"B"]}
    assert tracker.table.ends == {3: 1, 5: 1}


async def test_many_events_of_an_invoice_in_one_batch_are_one_change() -> None:
    """Coalescing: three events, one status record, one revision."""
    tracker = Tracker()

    await track(
        tracker,
        event_record("E-1", "ingestion"),
        event_record("E-2", "reconciliation", occurred_us=START_US + 1),
        event_record("E-3", "posting", occurred_us=START_US + 2),
    )

    (status,) = tracker.broker.statuses()
    assert (status.revision, status.status, status.events) == (1, InvoiceStatus.CLOSED, 3)
    assert tracker.table.index[0] == set()


async def test_the_revision_grows_by_one_with_each_published_change() -> None:
    """Readers order records by it and can tell that none is missing."""
    tracker = Tracker()

    for offset in range(5):
        await track(tracker, event_record(f"E-{offset}", offset=offset))

    assert [status.revision for status in tracker.broker.statuses()] == [1, 2, 3, 4, 5]


async def test_duplicates_publish_nothing_but_move_the_offsets() -> None:
    """A batch of copies leaves table, status and changelog alone, and is not read again."""
    tracker = Tracker()
    await track(tracker, event_record("E-1", offset=0))
    before = tracker.table.states[0][b"INV-1"]

    await track(tracker, event_record("E-1", offset=1), event_record("E-1", offset=2))

    assert len(tracker.broker.statuses()) == len(tracker.broker.logs[CHANGELOG, 0]) == 1
    assert tracker.table.states[0][b"INV-1"] == before
    assert tracker.broker.committed == {("invoices.ingestion", 0): 3}
    assert (tracker.counted("ingestion", "folded"), tracker.counted("ingestion", "duplicate")) == (1, 2)


async def test_a_copy_that_was_accepted_earlier_counts_and_is_published() -> None:
    """A broker's clock may step back on failover: what the copy changes about the deadline must not stay in memory."""
    tracker = Tracker()
    await track(tracker, event_record("E-1", accepted_us=START_US))

    await track(tracker, event_record("E-1", offset=1, accepted_us=START_US - 1000))

    deadline_us = START_US - 1000 + LIMITS_US["ingestion"]
    assert tracker.table.index[0] == {(deadline_us, b"INV-1")}
    assert tracker.table.tracked().state.entered_us == START_US - 1000
    assert [status.revision for status in tracker.broker.statuses()] == [1, 2]
    assert tracker.counted("ingestion", "duplicate") == 1


async def test_poison_becomes_dead_letters_and_the_rest_of_the_batch_goes_on() -> None:
    """Bad records keep bytes, key and headers, say where they came from and why; good ones around them are folded."""
    tracker = Tracker()
    headers = [("correlation-id", b"c-9"), ("odd", b"\xff\x00")]

    await track(
        tracker,
        event_record("E-1", offset=0),
        raw(b"\xff{not json", 1, key=b"\x00key", headers=headers, accepted_us=START_US + 5),
        raw(None, 2),
        event_record("E-2", offset=3),
    )

    broken, empty = tracker.broker.dead()
    assert (broken.topic, broken.key, broken.value) == ("invoices.ingestion.dlq", b"\x00key", b"\xff{not json")
    assert list(broken.headers[:2]) == headers
    ours = dict(broken.headers[2:])
    assert ours["bems-origin-topic"] == b"invoices.ingestion"
    assert (ours["bems-origin-partition"], ours["bems-origin-offset"]) == (b"0", b"1")
    assert (ours["bems-agent"], ours["bems-code"]) == (b"tracker", b"not_json")
    assert ours["bems-reason"]
    assert (empty.key, empty.value) == (b"INV-1", None)
    assert tracker.table.tracked().state.events == 2
    assert tracker.broker.committed == {("invoices.ingestion", 0): 4}
    assert tracker.counted("ingestion", "dead_lettered") == 2
    labels = {"agent": "tracker", "code": "not_json"}
    assert tracker.registry.get_sample_value("bems_agent_dead_letters_total", labels) == 2


async def test_a_batch_of_poison_alone_moves_the_offsets() -> None:
    """Nothing to fold is no reason to read it again."""
    tracker = Tracker()

    await track(tracker, raw(b"{}", 4))

    assert len(tracker.broker.dead()) == 1
    assert tracker.broker.committed == {("invoices.ingestion", 0): 5}
    assert tracker.table.ends == {}


def strange_states() -> dict[str, bytes]:
    """Bytes that no release wrote, or that decode and yet make no sense."""
    no_facts = InvoiceState(seen=[1], stage=1, stay=[Step(START_US, 1, START_US)], facts=[Facts(0, 1, 1, ["short"])])
    no_stay = InvoiceState(seen=[1], stage=0, before=(START_US * 2, 1, 1), stay=[])
    late = InvoiceState(seen=[1], stage=1, stay=[Step(START_US, 1, START_US)], stages={2: StageRecord(1, 0, 2**62, 0)})
    return {
        "empty": b"",
        "garbage": b"\x01\xc1\xc1",
        "other shape": b"\x01" + msgspec.msgpack.encode([1, 2, 3]),
        "unknown format": b"\x00abc",
        "facts of another release": encode_tracked(TrackedInvoice(1, 0, 0, 0, 0, no_facts)),
        "an event in the year 140000": encode_tracked(TrackedInvoice(1, 0, 0, 0, 0, late)),
        "deadline that is no moment": encode_tracked(TrackedInvoice(1, 0, 1, 0, 2**62, no_stay)),
    }


@pytest.mark.parametrize("kind", strange_states())
async def test_corrupt_state_sets_aside_that_invoice_and_no_other(kind: str) -> None:
    """Its events become dead letters with the reason; what is stored of it stays; other invoices go on."""
    tracker = Tracker()
    stored = strange_states()[kind]
    put(tracker, "BAD", stored)

    await track(
        tracker,
        event_record("E-1", invoice_id="GOOD", offset=0),
        event_record("E-2", invoice_id="BAD", offset=1),
        event_record("E-3", invoice_id="BAD", offset=2),
    )

    codes = [dict(letter.headers)["bems-code"] for letter in tracker.broker.dead()]
    assert codes == [b"unfoldable", b"unfoldable"]
    assert [letter.key for letter in tracker.broker.dead()] == [b"BAD", b"BAD"]
    assert tracker.table.states[0][b"BAD"] == stored
    assert tracker.table.tracked("GOOD").state.events == 1
    assert [record.key for record in tracker.broker.logs[CHANGELOG, 0]] == [b"GOOD"]
    assert tracker.broker.committed == {("invoices.ingestion", 0): 3}


async def test_state_of_a_later_release_stops_the_worker() -> None:
    """Nothing is wrong with it: its events must not become dead letters because somebody rolled back."""
    tracker = Tracker()
    put(tracker, "INV-1", b"\x63anything")

    with pytest.raises(NewerStateError):
        await track(tracker, event_record())

    assert tracker.broker.logs == {}
    assert tracker.broker.committed == {}


async def test_a_stage_lost_from_the_catalogue_stops_the_worker() -> None:
    """The catalogue is at fault, so no event may go to the dead letters, and none is acknowledged."""
    tracker = Tracker()
    state = InvoiceState(seen=[1], stage=9, stay=[Step(START_US, 1, START_US)])
    put(tracker, "INV-1", encode_tracked(TrackedInvoice(1, 0, 0, 0, 0, state)))

    with pytest.raises(StageLostError):
        await track(tracker, event_record())

    assert tracker.broker.logs == {}
    assert tracker.broker.committed == {}


async def test_an_invoice_that_would_not_fit_any_more_keeps_the_state_that_did() -> None:
    """Events beyond the limit become dead letters instead of a changelog record that the broker refuses for ever."""
    tracker = Tracker()
    state = InvoiceState(seen=list(range(1 << 62, (1 << 62) + MAX_STATE_BYTES // 9)), stage=1)
    state.stay = [Step(START_US, 1 << 62, START_US)]
    stored = encode_tracked(TrackedInvoice(7, 0, 0, 0, 0, state))
    put(tracker, "BIG", stored)

    await track(tracker, event_record("E-1", invoice_id="BIG"), event_record("E-2", invoice_id="SMALL", offset=1))

    (letter,) = tracker.broker.dead()
    assert letter.key == b"BIG"
    assert b"too many events in one invoice" in (dict(letter.headers)["bems-reason"] or b"")
    assert tracker.table.states[0][b"BIG"] == stored
    assert list(tracker.broker.last_statuses()) == ["SMALL"]
    assert tracker.counted("ingestion", "dead_lettered") == tracker.counted("ingestion", "folded") == 1


async def test_nothing_is_counted_or_written_when_publishing_fails() -> None:
    """The transaction is the point of no return: before it, nothing has happened."""

    class Refusing(MemoryBroker):
        async def publish(self, records: object, offsets: object) -> dict[tuple[str, int], int]:
            raise ConnectionError("fenced")

    tracker = Tracker(Refusing())

    with pytest.raises(ConnectionError):
        await track(tracker, event_record(), raw(b"{", 1))

    assert not any(tracker.table.states.values())
    assert tracker.counted("ingestion", "folded") == tracker.counted("ingestion", "dead_lettered") == 0


# ------------------------------------------------------------------------- any split, any repetition: the same invoices

INVOICES = ("A", "B")


@st.composite
def logs(draw: st.DrawFn) -> list[RawRecord]:
    """What came in on all topics, in one order that keeps each topic's own: events, copies of them, and poison."""
    pool: list[tuple[str, str, str, int]] = []
    for number in range(draw(st.integers(1, 12))):
        stage, invoice_id = draw(st.sampled_from(STAGES)), draw(st.sampled_from(INVOICES))
        pool.append((f"E{number}", stage, invoice_id, START_US + draw(st.integers(0, 5))))
    arrivals = draw(st.permutations(pool)) + draw(st.lists(st.sampled_from(pool), max_size=8))
    records: list[RawRecord] = []
    ends = dict.fromkeys(STAGES, 0)
    for event_id, stage, invoice_id, occurred_us in arrivals:
        accepted_us = START_US + draw(st.integers(-3, 3)) * SECOND_US
        records.append(
            event_record(
                event_id, stage, ends[stage], invoice_id=invoice_id, occurred_us=occurred_us, accepted_us=accepted_us
            )
        )
        ends[stage] += 1
        if draw(st.integers(0, 9)) == 0:
            records.append(raw(b"poison", ends[stage], topic=f"invoices.{stage}"))
            ends[stage] += 1
    return records


@st.composite
def deliveries(draw: st.DrawFn, records: Sequence[RawRecord]) -> list[Sequence[RawRecord]]:
    """The records in batches; now and then everything from an earlier point on comes again."""
    batches: list[Sequence[RawRecord]] = []
    place, repeats = 0, 0
    while place < len(records):
        end = draw(st.integers(place + 1, len(records)))
        batches.append(records[place:end])
        place = end
        if repeats < 3 and draw(st.booleans()):
            place, repeats = draw(st.integers(0, place)), repeats + 1
    return batches


def known(tracker: Tracker) -> dict[bytes, object]:
    """All that is stored, save the number of publications that it took."""
    found: dict[bytes, object] = {}
    for key, stored in tracker.table.states[0].items():
        tracked = decode_tracked(stored)
        tracked.revision = 0
        found[key] = tracked
    return found


def newest(tracker: Tracker) -> dict[str, StatusDocument]:
    """The last status of each invoice, save the number of publications."""
    statuses = tracker.broker.last_statuses()
    return {invoice_id: msgspec.structs.replace(status, revision=0) for invoice_id, status in statuses.items()}


@given(st.data())
async def test_batches_of_any_split_and_repetition_end_in_the_same_invoices(data: st.DataObject) -> None:
    """Table, deadline index and newest status are those of one event at a time, delivered once."""
    records = data.draw(logs())
    once, other = Tracker(), Tracker()
    for record in records:
        await track(once, record)

    for batch in data.draw(deliveries(records)):
        await track(other, *batch)

    assert known(other) == known(once)
    assert other.table.index == once.table.index
    assert newest(other) == newest(once)
    for invoice_id in other.broker.last_statuses():
        revisions = [status.revision for status in other.broker.statuses(invoice_id)]
        assert revisions == list(range(1, len(revisions) + 1))
    restored = MemoryTable()
    restored.restore(other.broker)
    assert (restored.states, restored.index) == (other.table.states, other.table.index)


async def test_the_newest_status_is_what_the_table_says() -> None:
    """Status and state leave in one transaction, so neither can run ahead of the other."""
    tracker = Tracker()
    for number, stage in enumerate(STAGES):
        await track(tracker, event_record(f"E-{number}", stage, occurred_us=START_US + number))
        status = tracker.broker.last_statuses()["INV-1"]
        tracked = tracker.table.tracked()
        assert (status.revision, status.stage) == (tracked.revision, tracked.state.current_stage(JOURNEY).name)


def test_the_journey_of_these_tests_is_the_one_of_the_catalogue() -> None:
    """Stages in this order, the last one without a limit."""
    assert [stage.name for stage in JOURNEY.stages] == list(STAGES)
    assert JOURNEY.final == Stage("posting", StageCode(4))

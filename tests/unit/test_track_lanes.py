"""What the tracker tells the ledger, and what becomes of records that come back from its lanes."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bems_streams.domain.accounting import decode_account, encode_accounting
from bems_streams.flows.accounts import account_of, documents, spans
from bems_streams.flows.decode import MOST_AHEAD_US
from bems_streams.flows.deliver import deliver
from bems_streams.flows.track import Track
from bems_streams.ports import MINUTE_US, Account, Coordinates, Note, RawRecord, RecordOutcome
from tests.unit.flow_kit import LEDGER, START_US, WAITS_US, Tracker, batches, event_record, not_before_us, payload, raw

FIRST = "invoices.tracker.retry-1"


async def take(tracker: Tracker, *records: RawRecord) -> list[Account]:
    """One batch; what the ledger was told of it."""
    before = len(tracker.broker.values(LEDGER))
    await deliver(Track(tracker.parts), batches(records))
    return [account_of(value) for value in tracker.broker.values(LEDGER)[before:]]


async def test_every_record_of_a_batch_is_accounted_for() -> None:
    """Folded, duplicate and dead-lettered records of one partition make one span without a gap."""
    tracker = Tracker()

    (account,) = await take(
        tracker,
        event_record("E-1", offset=5),
        event_record("E-1", offset=6),
        raw(b"{", 7),
        event_record("E-2", offset=8),
    )

    (span,) = account.spans
    assert (account.agent, span.topic, span.partition) == ("tracker", "invoices.ingestion", 0)
    assert (span.first_offset, span.next_offset, span.accepted) == (5, 9, 4)
    assert (span.stored, span.duplicates, span.dead_lettered, span.retrying) == (2, 1, 1, 0)
    assert span.minute_us == START_US - START_US % MINUTE_US
    (note,) = account.notes
    assert (note.at, note.outcome, note.code) == (Coordinates("invoices.ingestion", 0, 7), "dead_lettered", "not_json")


async def test_each_partition_number_has_an_account_of_its_own() -> None:
    """They stay in order however partitions move between workers, since each goes to its own partition."""
    tracker = Tracker()
    records = [event_record(f"E-{n}", invoice_id=f"INV-{n}", partition=n, offset=3) for n in (0, 1)]
    posting = event_record("E-9", "posting", 4, invoice_id="INV-1", partition=1)

    accounts = await take(tracker, *records, posting)

    assert [[(span.topic, span.partition) for span in account.spans] for account in accounts] == [
        [("invoices.ingestion", 0)],
        [("invoices.ingestion", 1), ("invoices.posting", 1)],
    ]
    places = sorted(place for place in tracker.broker.logs if place[0] == LEDGER)
    assert places == [(LEDGER, 0), (LEDGER, 1)]


async def test_an_event_of_the_far_future_waits_in_the_trackers_lane_and_is_folded_later() -> None:
    """Nothing of it is in the state meanwhile; the ledger hears of both."""
    tracker = Tracker()
    future = raw(payload("E-1", occurred_us=START_US + MOST_AHEAD_US + WAITS_US[0]), 2)

    (account,) = await take(tracker, future)
    assert account.spans[0].retrying == 1
    assert (account.notes[0].outcome, account.notes[0].attempts) == (RecordOutcome.RETRYING, 1)
    assert tracker.table.states[0] == {}
    (waiting,) = tracker.broker.lane(FIRST)
    assert waiting.at.partition == 0
    tracker.clock.us = not_before_us(waiting)
    (account,) = await take(tracker, waiting)

    assert tracker.table.tracked().state.events == 1
    assert account.spans == []
    assert [(note.at, note.outcome) for note in account.notes] == [(future.at, RecordOutcome.STORED)]
    assert tracker.broker.committed[FIRST, 0] == 1


async def test_a_retried_copy_of_a_folded_event_is_a_duplicate() -> None:
    """A dead letter that is redriven twice changes nothing the second time."""
    tracker = Tracker()
    future = raw(payload("E-1", occurred_us=START_US + MOST_AHEAD_US + 1), 2)
    await take(tracker, future)
    (waiting,) = tracker.broker.lane(FIRST)
    tracker.clock.us += WAITS_US[0]
    await take(tracker, waiting)
    before = tracker.table.tracked()

    (account,) = await take(tracker, waiting._replace(at=Coordinates(FIRST, 0, 1)))

    assert account.notes[0].outcome is RecordOutcome.DUPLICATE
    assert tracker.table.tracked() == before


async def test_a_record_in_a_lane_that_belongs_to_no_stage_is_set_aside() -> None:
    """It is in no span, because nobody accepted it; it stops nobody."""
    tracker = Tracker()

    accounts = await take(tracker, raw(b"x", 0, topic=FIRST), event_record("E-1"))

    assert [span.accepted for account in accounts for span in account.spans] == [1]
    assert [dict(letter.headers)["bems-code"] for letter in tracker.broker.dead()] == [b"bad_envelope"]
    assert [note for account in accounts for note in account.notes] == []


accounted = st.tuples(
    st.sampled_from([0, 1, 30_000_000, MINUTE_US, -MINUTE_US]), st.integers(0, 2), st.sampled_from(RecordOutcome)
)


@given(st.lists(st.lists(accounted, min_size=1, max_size=12), min_size=1, max_size=5))
def test_spans_cover_every_record_once_and_split_at_minutes(steps: list[list[tuple[int, int, RecordOutcome]]]) -> None:
    """Also when a new leader's clock goes back, and when markers of transactions lie between records."""
    outcomes: dict[int, RecordOutcome] = {}
    given_batches: list[list[RawRecord]] = []
    offset, now_us = 10, START_US
    for batch in steps:
        given_batches.append([])
        for step_us, gap, outcome in batch:
            now_us, offset = now_us + step_us, offset + gap
            given_batches[-1].append(raw(b"", offset, topic="t", partition=3, accepted_us=now_us))
            outcomes[offset] = outcome
            offset += 1
    unlike = {offset: outcome for offset, outcome in outcomes.items() if outcome is not RecordOutcome.STORED}

    made = spans("tracker", given_batches, {("t", 3): unlike})

    records = [record for batch in given_batches for record in batch]
    assert [span.first_offset for span in made] == [records[0].at.offset, *(span.next_offset for span in made[:-1])]
    assert made[-1].next_offset == offset
    assert sum(span.accepted for span in made) == len(records)
    for span in made:
        inside = [r for r in records if span.first_offset <= r.at.offset < span.next_offset]
        assert {r.accepted_us // MINUTE_US * MINUTE_US for r in inside} == {span.minute_us}
        counts = Counter(outcomes[r.at.offset] for r in inside)
        assert counts == Counter(
            {
                RecordOutcome.STORED: span.stored,
                RecordOutcome.DUPLICATE: span.duplicates,
                RecordOutcome.DEAD_LETTERED: span.dead_lettered,
                RecordOutcome.RETRYING: span.retrying,
            }
        )


def test_a_document_holds_all_of_an_account() -> None:
    """What the ledger reads is what the tracker meant, to the microsecond."""
    at = Coordinates("invoices.posting", 4, 12)
    records = [raw(b"", at.offset, topic=at.topic, partition=at.partition)]
    made = spans("tracker", [records], {at[:2]: {at.offset: RecordOutcome.RETRYING}})
    note = Note(at, RecordOutcome.RETRYING, START_US, START_US + 1, "future_dated", "why", 2, START_US + 5, "INV", "E")
    account = Account("tracker", made, [note, Note(at, RecordOutcome.STORED, START_US, START_US + 9)])

    (document,) = documents(account, "c1", "eu").values()

    assert document.partition == 4
    assert account_of(encode_accounting(document)) == account
    assert decode_account(encode_accounting(document)).cell == "c1"

"""What every store writes down of what the sink handled. Runs on each store of the registry."""

from collections.abc import Sequence

import pytest

from bems_streams.ports import MINUTE_US, EventRow, Span, StoreBatch, WriteOutcome
from tests.contract.by_hand import delete_span
from tests.contract.conftest import Pair
from tests.contract.rows import MINUTE, NOW_US, at, dead_letter, event, handled, retry, span

EUR = {"EUR": "10.50"}


def events(*offsets: int) -> list[EventRow]:
    """A new event at each offset, of 10.50 EUR."""
    return [event(f"e-{offset}", offset) for offset in offsets]


def ledger(pair: Pair, agent: str = "sink") -> Sequence[Span]:
    return list(pair.reader.ledger(agent, 0, 2 * NOW_US))


def counts(pair: Pair) -> tuple[int, int, int, int]:
    """stored, duplicates, dead_lettered, retrying of the only span."""
    (only,) = ledger(pair)
    return only.stored, only.duplicates, only.dead_lettered, only.retrying


def test_what_was_handled_is_accounted_for_by_outcome_and_amount(pair: Pair) -> None:
    """Every record that carries an amount counts with it, whatever became of it; the sums are exact."""
    pair.store.write(
        StoreBatch(
            events=[
                event("a", 10, invoice_amount="0.1"),
                event("a", 11, invoice_amount="0.2"),
                event("b", 12, invoice_amount="999999999999999.999999", currency="USD"),
                event("c", 13, invoice_amount=None, currency=None),
            ],
            dead_letters=[dead_letter(14), dead_letter(15, currency="EUR", invoice_amount="0.01")],
            retrying=[retry(16, currency="USD", invoice_amount="0.000001")],
            handled=[handled(10, 17)],
        )
    )

    value = {"EUR": "0.31", "USD": "1000000000000000.00"}
    assert ledger(pair) == [span(10, 17, 3, 1, 2, 1, value=value)]
    assert pair.reader.ledger_positions("sink") == {("invoices.ingestion", 0): 17}


def test_what_follows_within_the_minute_extends_the_span(pair: Pair) -> None:
    """A row for each minute, not for each write."""
    pair.store.write(StoreBatch(events=events(0, 1), handled=[handled(0, 2)]))

    pair.store.write(StoreBatch(events=events(2), dead_letters=[dead_letter(3)], handled=[handled(2, 4)]))

    assert ledger(pair) == [span(0, 4, 3, 0, 1, value={"EUR": "31.50"})]


def test_each_minute_of_acceptance_has_its_span(pair: Pair) -> None:
    """Split where the minute changes, also when the broker's clock goes back; offsets of no record belong to one."""
    moments = {3: MINUTE + MINUTE_US - 1, 4: MINUTE + MINUTE_US, 6: MINUTE + MINUTE_US + 1, 7: MINUTE}
    rows = [event(f"e-{offset}", offset, accepted_us=moment) for offset, moment in moments.items()]

    pair.store.write(StoreBatch(events=rows, handled=[handled(2, 9)]))

    later = span(4, 7, 2, minute_us=MINUTE + MINUTE_US, value={"EUR": "21.00"})
    assert ledger(pair) == [span(2, 4, 1, value=EUR), later, span(7, 9, 1, value=EUR)]


def test_partitions_and_topics_are_accounted_for_apart(pair: Pair) -> None:
    """Offsets mean something within one partition only."""
    other = event("x", at=at(0, partition=1)), event("y", at=at(0, topic="invoices.posting"))
    places = [handled(0, 1), handled(0, 1, partition=1), handled(0, 1, topic="invoices.posting")]

    pair.store.write(StoreBatch(events=[*events(0), *other], handled=places))

    assert [(row.topic, row.partition, row.stored) for row in ledger(pair)] == [
        ("invoices.ingestion", 0, 1),
        ("invoices.ingestion", 1, 1),
        ("invoices.posting", 0, 1),
    ]


def test_a_gap_before_what_was_handled_stays_visible(pair: Pair) -> None:
    """A range that nobody accounts for must not vanish in a span."""
    pair.store.write(StoreBatch(events=events(0, 1), handled=[handled(0, 2)]))

    pair.store.write(StoreBatch(events=events(5), handled=[handled(5, 6)]))

    assert [(row.first_offset, row.next_offset) for row in ledger(pair)] == [(0, 2), (5, 6)]


def test_handled_offsets_without_any_record_make_no_span(pair: Pair) -> None:
    """Markers of transactions are accepted in no minute."""
    pair.store.write(StoreBatch(handled=[handled(0, 3)]))

    assert ledger(pair) == []


@pytest.mark.parametrize("first, until", [(0, 4), (0, 2), (1, 3), (3, 4)])
def test_a_batch_again_or_in_part_changes_nothing(pair: Pair, first: int, until: int) -> None:
    """After a crash the log is read again from anywhere."""
    batch = StoreBatch(
        events=[*events(0, 1), event("e-0", 2)],
        retrying=[retry(3)],
        handled=[handled(0, 4)],
    )
    pair.store.write(batch)
    before = ledger(pair)

    again = StoreBatch(
        events=[row for row in batch.events if first <= row.at.offset < until],
        retrying=[row for row in batch.retrying if first <= row.at.offset < until],
        handled=[handled(first, until)],
    )
    pair.store.write(again)

    assert ledger(pair) == before == [span(0, 4, 2, 1, 0, 1, value={"EUR": "31.50"})]


def test_a_batch_that_overlaps_counts_only_what_is_new(pair: Pair) -> None:
    """Read from before the end of the ledger to beyond it."""
    pair.store.write(StoreBatch(events=events(0, 1, 2), handled=[handled(0, 3)]))

    pair.store.write(StoreBatch(events=events(1, 2, 3, 4), handled=[handled(1, 5)]))

    assert ledger(pair) == [span(0, 5, 5, value={"EUR": "52.50"})]


def test_late_events_are_accounted_for_like_others(pair: Pair) -> None:
    """This store keeps no second way in; their outcomes come last."""
    outcomes = pair.store.write(
        StoreBatch(late_events=events(0), events=[*events(1), event("e-1", 2)], handled=[handled(0, 3)])
    ).outcomes

    assert list(outcomes) == [WriteOutcome.STORED, WriteOutcome.DUPLICATE, WriteOutcome.STORED]
    assert counts(pair) == (2, 1, 0, 0)


@pytest.mark.parametrize("before", ["dead_lettered", "retrying"])
@pytest.mark.parametrize("becomes", ["stored", "duplicate"])
def test_a_record_that_comes_back_from_a_lane_moves_its_count(pair: Pair, before: str, becomes: str) -> None:
    """Settled: its note goes, and the span that holds its offset says what became of it."""
    event_id = "new" if becomes == "stored" else "e-0"
    letter = dead_letter(1, currency="EUR", invoice_amount="10.50")
    waiting = retry(1, currency="EUR", invoice_amount="10.50")
    pair.store.write(
        StoreBatch(
            events=events(0, 2),
            dead_letters=[letter] if before == "dead_lettered" else [],
            retrying=[waiting] if before == "retrying" else [],
            handled=[handled(0, 3)],
        )
    )
    assert counts(pair) == ((2, 0, 1, 0) if before == "dead_lettered" else (2, 0, 0, 1))

    pair.store.write(StoreBatch(events=[event(event_id, 1)]))

    assert counts(pair) == ((3, 0, 0, 0) if becomes == "stored" else (2, 1, 0, 0))
    assert ledger(pair)[0].value == {"EUR": "31.50"}
    assert (list(pair.reader.dead_letters()), list(pair.reader.retrying())) == ([], [])


def test_an_amount_that_was_unknown_counts_once_its_record_is_read(pair: Pair) -> None:
    """A dead letter that did not decode has no amount; mended code stores it, to the cent."""
    pair.store.write(StoreBatch(events=events(0), dead_letters=[dead_letter(1)], handled=[handled(0, 2)]))

    pair.store.write(StoreBatch(events=[event("e-1", 1, invoice_amount="0.07")]))

    assert ledger(pair) == [span(0, 2, 2, value={"EUR": "10.57"})]


def test_a_record_that_exhausts_its_retries_becomes_a_dead_letter(pair: Pair) -> None:
    """Its note is replaced and its count moves."""
    pair.store.write(StoreBatch(retrying=[retry(0)], handled=[handled(0, 1)]))

    pair.store.write(StoreBatch(dead_letters=[dead_letter(0)]))

    assert counts(pair) == (0, 0, 1, 0)
    assert [list(pair.reader.dead_letters()), list(pair.reader.retrying())] == [[dead_letter(0)], []]


def test_only_a_further_try_replaces_a_retry(pair: Pair) -> None:
    """Replays of an earlier try do not turn the clock back."""
    pair.store.write(StoreBatch(retrying=[retry(0, attempts=2)], handled=[handled(0, 1)]))

    pair.store.write(StoreBatch(retrying=[retry(0, attempts=1)]))
    pair.store.write(StoreBatch(retrying=[retry(0, attempts=2, reason="another")]))
    assert list(pair.reader.retrying()) == [retry(0, attempts=2)]
    pair.store.write(StoreBatch(retrying=[retry(0, attempts=3)]))

    assert list(pair.reader.retrying()) == [retry(0, attempts=3)]
    assert counts(pair) == (0, 0, 0, 1)


def test_a_dead_letter_that_waits_again_is_retrying(pair: Pair) -> None:
    """Somebody let the agent read it anew, and it failed in a way that may heal."""
    letter = dead_letter(0)
    pair.store.write(StoreBatch(dead_letters=[letter], handled=[handled(0, 1)]))

    again = retry(0, not_before_us=letter.stored_us + 1)
    pair.store.write(StoreBatch(retrying=[again]))

    assert counts(pair) == (0, 0, 0, 1)
    assert [list(pair.reader.dead_letters()), list(pair.reader.retrying())] == [[], [again]]


def test_an_old_wait_does_not_bring_a_dead_letter_back(pair: Pair) -> None:
    """A write that was repeated because its answer got lost: by now its wait is over, and the record was given up."""
    batch = StoreBatch(retrying=[retry(0)], handled=[handled(0, 1)])
    letter = dead_letter(0, stored_us=retry(0).not_before_us)
    pair.store.write(batch)
    pair.store.write(StoreBatch(dead_letters=[letter]))

    pair.store.write(batch)

    assert counts(pair) == (0, 0, 1, 0)
    assert [list(pair.reader.dead_letters()), list(pair.reader.retrying())] == [[letter], []]


@pytest.mark.parametrize("offset", [0, 1], ids=["stored", "duplicate"])
def test_no_note_is_taken_of_a_record_that_is_in_the_store(pair: Pair, offset: int) -> None:
    """Whatever an older or newer release thinks of it."""
    pair.store.write(StoreBatch(events=[event(offset=0), event(offset=1)], handled=[handled(0, 2)]))

    pair.store.write(
        StoreBatch(dead_letters=[dead_letter(offset)], retrying=[retry(offset)], handled=[handled(offset, offset + 1)])
    )

    assert counts(pair) == (1, 1, 0, 0)
    assert [list(pair.reader.dead_letters()), list(pair.reader.retrying())] == [[], []]


def test_a_lane_that_overtakes_is_counted_when_its_batch_comes_again(pair: Pair) -> None:
    """The worker died after its records went to the lane, before it wrote: the lane is read first, then the batch."""
    pair.store.write(
        StoreBatch(
            events=[event("a", 0), event("a", 1)], dead_letters=[dead_letter(2)], retrying=[retry(3, attempts=2)]
        )
    )
    assert ledger(pair) == []

    pair.store.write(StoreBatch(retrying=[retry(offset) for offset in range(4)], handled=[handled(0, 4)]))

    letter = dead_letter(2)
    assert retry(2).not_before_us > letter.stored_us
    assert ledger(pair) == [span(0, 4, 1, 1, 0, 2, value={"EUR": "21.00"})]
    assert sorted((row.at.offset, row.attempts) for row in pair.reader.retrying()) == [(2, 1), (3, 2)]


def test_notes_of_other_agents_are_left_alone(pair: Pair) -> None:
    """That the sink stored an event does not settle what the tracker gave up."""
    letter, waiting = dead_letter(0, agent="tracker"), retry(1, agent="tracker")
    own = dead_letter(0), retry(1)
    pair.store.write(StoreBatch(dead_letters=[letter, own[0]], retrying=[waiting, own[1]], handled=[handled(0, 2)]))

    pair.store.write(StoreBatch(events=events(0, 1)))

    assert [list(pair.reader.dead_letters()), list(pair.reader.retrying())] == [[letter], [waiting]]
    assert counts(pair) == (2, 0, 0, 0)
    assert ledger(pair, "tracker") == []


def test_refused_records_are_accounted_for_with_their_notes(pair: Pair) -> None:
    """A store that refuses some records leaves them out; the write that brings their notes fills the ledger's holes."""
    whole = StoreBatch(events=events(0, 1, 2, 3), handled=[handled(0, 4)])

    pair.store.write(whole.without({at(1), at(3)}))
    refused = ledger(pair)
    pair.store.write(StoreBatch(retrying=[retry(1)], dead_letters=[dead_letter(3)], handled=[handled(0, 4)]))

    assert refused == [span(0, 1, 1, value=EUR), span(2, 3, 1, value=EUR)]
    assert ledger(pair) == [span(0, 2, 1, 0, 0, 1, value=EUR), span(2, 4, 1, 0, 1, value=EUR)]


def test_what_an_earlier_write_brought_is_accounted_for_by_the_one_that_names_it(pair: Pair) -> None:
    """A store that refuses a record may leave the whole stretch for the second write, which brings only the note."""
    pair.store.write(StoreBatch(events=[*events(0), event("e-0", 2)]))

    pair.store.write(StoreBatch(retrying=[retry(1)], handled=[handled(0, 3)]))

    assert ledger(pair) == [span(0, 3, 1, 1, 0, 1, value={"EUR": "21.00"})]


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_ledger_entry_that_was_lost_comes_back_with_a_replay(pair: Pair, gone: int) -> None:
    """Reading the stage topic again heals it, wherever it was, and counts nothing twice."""
    rows = [event(f"e-{offset // 2}", offset, accepted_us=MINUTE + offset * MINUTE_US) for offset in range(3)]
    batch = StoreBatch(events=rows, handled=[handled(0, 3)])
    pair.store.write(batch)
    before = ledger(pair)
    delete_span(pair.backend, before[gone])

    pair.store.write(batch)

    assert ledger(pair) == before
    assert [row.accepted for row in before] == [1, 1, 1]


def test_the_ledger_is_asked_by_minute_of_acceptance(pair: Pair) -> None:
    """First minute inclusive, last exclusive; in order of place."""
    rows = [event(f"e-{offset}", offset, accepted_us=MINUTE + offset * MINUTE_US) for offset in range(4)]
    pair.store.write(StoreBatch(events=rows, handled=[handled(0, 4)]))

    found = pair.reader.ledger("sink", MINUTE + MINUTE_US, MINUTE + 3 * MINUTE_US)

    assert [row.first_offset for row in found] == [1, 2]
    assert list(pair.reader.ledger("tracker", 0, 2 * NOW_US)) == []


def test_positions_are_the_ends_of_each_partition(pair: Pair) -> None:
    """Of this agent alone; partitions without entries are absent."""
    rows = [
        event(f"{topic}-{part}-{n}", at=at(n, part, topic)) for topic in ("a", "b") for part in (0, 7) for n in (0, 9)
    ]
    places = [handled(n, n + 1, part, topic) for topic in ("a", "b") for part in (0, 7) for n in (0, 9)]
    tracker = [place._replace(agent="tracker", next_offset=99) for place in places]

    pair.store.write(StoreBatch(events=rows, handled=[*places, *tracker]))

    assert pair.reader.ledger_positions("sink") == {("a", 0): 10, ("a", 7): 10, ("b", 0): 10, ("b", 7): 10}
    assert pair.reader.ledger_positions("tracker") == {}


def test_counts_tell_what_waits_and_what_was_given_up(pair: Pair) -> None:
    """accepted == stored + duplicates + dead_lettered + retrying."""
    pair.store.write(
        StoreBatch(
            events=[*events(0, 1), event("e-0", 2)],
            dead_letters=[dead_letter(3), dead_letter(0, agent="tracker")],
            retrying=[retry(4), retry(5), retry(1, agent="tracker")],
            handled=[handled(0, 6)],
        )
    )

    found = pair.reader.counts()

    assert (found.stored, found.duplicates, found.dead_lettered, found.retrying) == (2, 1, 1, 2) == counts(pair)


def test_what_waits_is_listed_the_next_due_first(pair: Pair) -> None:
    """For an operator who asks what comes when."""
    rows = [retry(1, attempts=2), retry(2), retry(0), retry(0, agent="tracker")]
    pair.store.write(StoreBatch(retrying=rows))

    assert list(pair.reader.retrying()) == [rows[2], rows[3], rows[1], rows[0]]
    assert list(pair.reader.retrying(1)) == [rows[2]]
    assert list(pair.reader.retrying(0)) == []


def test_a_timeline_shows_what_waits_for_its_invoice(pair: Pair) -> None:
    """An event that the page does not show yet is on its way."""
    mine, other = retry(0, currency="EUR", invoice_amount="1.00", event_id="e-1"), retry(1, invoice_id="INV-2")
    pair.store.write(StoreBatch(retrying=[other, mine]))

    assert list(pair.reader.timeline("INV-1").retrying) == [mine]


def test_an_amount_of_a_note_that_is_not_a_decimal_writes_nothing(pair: Pair) -> None:
    """All or nothing, also for what lanes bring."""
    with pytest.raises(ValueError, match="'ten' is not a decimal"):
        pair.store.write(
            StoreBatch(
                events=events(0), retrying=[retry(1, currency="EUR", invoice_amount="ten")], handled=[handled(0, 2)]
            )
        )

    assert pair.reader.counts().stored == 0
    assert ledger(pair) == []

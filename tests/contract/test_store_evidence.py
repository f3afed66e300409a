"""What proves, or disproves, the ledger of a store: rows counted anew. Runs on each store of the registry."""

from collections.abc import Callable

import pytest

from bems_streams.ports import Account, DuplicateRow, Fate, Note, RecordOutcome, StoreBatch, StoreReader, Tally
from tests.contract.by_hand import delete_duplicate, delete_event, delete_span
from tests.contract.conftest import Pair
from tests.contract.rows import MINUTE, NOW_US, at, dead_letter, event, handled, retry, span

QUESTIONS: dict[str, tuple[Callable[[StoreReader], object], object]] = {
    "retrying": (lambda reader: list(reader.retrying()), []),
    "fate": (lambda reader: reader.fate(at(0)), Fate()),
    "find": (lambda reader: reader.find([("INV-1", "e-1")]), {}),
    "ledger": (lambda reader: list(reader.ledger("sink", 0, NOW_US)), []),
    "ledger_positions": (lambda reader: reader.ledger_positions("sink"), {}),
    "tally": (lambda reader: list(reader.tally([span(0, 9), span(9, 10)])), [Tally(), Tally()]),
    "held": (lambda reader: list(reader.held("sink", "invoices.ingestion", 0, 0, 9)), []),
    "rows_outside_ledger": (lambda reader: list(reader.rows_outside_ledger("sink")), []),
}


def plain(answer: object) -> object:
    """Fates compare by their parts' content, whatever sequence holds them."""
    if isinstance(answer, Fate):
        return answer.event, answer.duplicate, list(answer.dead_letters), list(answer.retrying)
    return answer


@pytest.mark.parametrize("created", [False, True], ids=["not created", "created"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_an_empty_store_answers_every_question(pair: Pair, question: str, created: bool) -> None:
    """The ledger may be verified before anything was accepted."""
    ask, expected = QUESTIONS[question]
    if created:
        pair.store.write(StoreBatch())

    assert plain(ask(pair.reader)) == plain(expected)


def write_some(pair: Pair) -> None:
    """Offsets 0 to 5: stored, stored, duplicate of 0, dead letter, waiting, stored. The tracker gave 0 and 3 up."""
    letters = [dead_letter(3), dead_letter(0, agent="tracker"), dead_letter(3, agent="tracker")]
    pair.store.write(
        StoreBatch(
            events=[
                event("a", 0, invoice_amount="0.10"),
                event("b", 1, invoice_amount="0.20"),
                event("a", 2, invoice_amount="0.40"),
                event("c", 5, invoice_amount=None),
            ],
            dead_letters=letters,
            retrying=[retry(4, currency="USD", invoice_amount="-7")],
            handled=[handled(0, 6)],
        )
    )


def test_a_tally_counts_the_rows_of_a_stretch(pair: Pair) -> None:
    """First offset inclusive, next exclusive, this partition only; one tally for each span, in their order."""
    write_some(pair)
    pair.store.write(StoreBatch(events=[event("x", at=at(0, partition=1)), event("y", at=at(0, topic="t"))]))

    tallies = pair.reader.tally([span(0, 6), span(2, 4), span(1, 2), span(6, 99)])

    assert list(tallies) == [
        Tally(3, 1, 1, 1, {"EUR": "0.70", "USD": "-7.00"}),
        Tally(0, 1, 1, 0, {"EUR": "0.40"}),
        Tally(1, 0, 0, 0, {"EUR": "0.20"}),
        Tally(),
    ]
    counted = pair.reader.tally([span(0, 6), span(2, 4), span(1, 2), span(6, 99)], valued=False)
    assert list(counted) == [Tally(3, 1, 1, 1), Tally(0, 1, 1, 0), Tally(1), Tally()]


def test_of_other_agents_a_tally_counts_what_they_set_aside(pair: Pair) -> None:
    """They have no rows of what they handled."""
    write_some(pair)
    pair.store.write(StoreBatch(retrying=[retry(1, agent="tracker")]))

    assert list(pair.reader.tally([span(0, 6, agent="tracker")])) == [Tally(dead_lettered=2, retrying=1)]


def test_held_names_every_offset_that_has_a_row(pair: Pair) -> None:
    """Of any kind, of this agent."""
    write_some(pair)

    assert set(pair.reader.held("sink", "invoices.ingestion", 0, 1, 5)) == {1, 2, 3, 4}
    assert set(pair.reader.held("tracker", "invoices.ingestion", 0, 0, 9)) == {0, 3}
    assert set(pair.reader.held("sink", "invoices.ingestion", 1, 0, 9)) == set()


def test_a_row_that_was_deleted_is_missing_from_tally_and_held_but_not_from_the_ledger(pair: Pair) -> None:
    """So that whoever compares them can name it."""
    write_some(pair)
    (before,) = pair.reader.ledger("sink", 0, 2 * NOW_US)

    delete_event(pair.backend, event("b", 1))
    delete_duplicate(pair.backend, at(2))

    (after,) = pair.reader.ledger("sink", 0, 2 * NOW_US)
    assert after == before
    assert (after.stored, after.duplicates, after.value["EUR"]) == (3, 1, "0.70")
    assert list(pair.reader.tally([after])) == [Tally(2, 0, 1, 1, {"EUR": "0.10", "USD": "-7.00"})]
    assert set(pair.reader.held("sink", "invoices.ingestion", 0, 0, 6)) == {0, 3, 4, 5}
    assert list(pair.reader.rows_outside_ledger("sink")) == []


def test_a_row_that_was_deleted_comes_back_with_a_replay_and_is_not_counted_again(pair: Pair) -> None:
    """Reading the stage topic again is the repair."""
    write_some(pair)
    (before,) = pair.reader.ledger("sink", 0, 2 * NOW_US)
    delete_event(pair.backend, event("b", 1))

    pair.store.write(StoreBatch(events=[event("b", 1, invoice_amount="0.20")], handled=[handled(1, 2)]))

    assert list(pair.reader.ledger("sink", 0, 2 * NOW_US)) == [before]
    assert [tally.accepted for tally in pair.reader.tally([before])] == [6]


def test_a_record_that_was_deleted_and_fails_since_stays_missing(pair: Pair) -> None:
    """The ledger says that it was stored: a note that it is now given up would hide that it is not."""
    write_some(pair)
    (before,) = pair.reader.ledger("sink", 0, 2 * NOW_US)
    delete_event(pair.backend, event("b", 1))

    pair.store.write(StoreBatch(dead_letters=[dead_letter(1)], handled=[handled(1, 2)]))

    assert list(pair.reader.ledger("sink", 0, 2 * NOW_US)) == [before]
    assert set(pair.reader.held("sink", "invoices.ingestion", 0, 0, 6)) == {0, 2, 3, 4, 5}


def test_rows_whose_ledger_entry_was_deleted_are_named(pair: Pair) -> None:
    """In order, each record once; rows of the other agent need entries of their own."""
    write_some(pair)
    (entry,) = pair.reader.ledger("sink", 0, 2 * NOW_US)
    assert list(pair.reader.rows_outside_ledger("sink")) == []
    assert list(pair.reader.rows_outside_ledger("tracker")) == [at(0), at(3)]

    delete_span(pair.backend, entry)

    assert list(pair.reader.rows_outside_ledger("sink")) == [at(offset) for offset in range(6)]


def test_rows_before_between_and_after_the_spans_are_named(pair: Pair) -> None:
    """And those of partitions that have no entry at all."""
    elsewhere = [event("x", at=at(5, partition=3)), event("y", at=at(7, topic="a"))]
    pair.store.write(
        StoreBatch(
            events=[event("a", 2), event("a", 3), *elsewhere],
            dead_letters=[dead_letter(0), dead_letter(8)],
            retrying=[retry(6), retry(9)],
        )
    )

    pair.store.write(
        StoreBatch(
            events=[event("b", 1), event("c", 4), event("d", 5), event("e", 7)],
            handled=[handled(1, 2), handled(4, 6), handled(7, 8)],
        )
    )

    outside = [at(7, topic="a"), at(0), at(2), at(3), at(6), at(8), at(9), at(5, partition=3)]
    assert list(pair.reader.rows_outside_ledger("sink")) == outside


def test_rows_outside_the_ledger_are_named_up_to_a_thousand(pair: Pair) -> None:
    """A ledger that was lost as a whole must not fill the memory of who asks."""
    rows = [event(f"e-{n}", at=at(n, partition=n % 3)) for n in range(1500)]
    pair.store.write(StoreBatch(events=rows))

    named = list(pair.reader.rows_outside_ledger("sink"))

    assert named == sorted(row.at for row in rows)[:1000]


def test_the_fate_of_a_stored_record_is_its_row(pair: Pair) -> None:
    """With what other agents could not do with it."""
    write_some(pair)

    found = pair.reader.fate(at(0))

    assert plain(found) == (event("a", 0, invoice_amount="0.10"), None, [dead_letter(0, agent="tracker")], [])


def test_the_fate_of_a_duplicate_names_the_event_that_was_stored(pair: Pair) -> None:
    """Its own row, and the one from other coordinates."""
    write_some(pair)

    found = pair.reader.fate(at(2))

    assert found.event == event("a", 0, invoice_amount="0.10")
    assert found.duplicate == DuplicateRow(at(2), "INV-1", "a", NOW_US, NOW_US + 20_000, "EUR", "0.40")


def test_the_fate_of_what_was_set_aside_is_told_by_agent(pair: Pair) -> None:
    """Given up by two agents, waiting with one; and nothing of a record that nobody has handled."""
    write_some(pair)

    assert plain(pair.reader.fate(at(3))) == (None, None, [dead_letter(3), dead_letter(3, agent="tracker")], [])
    assert plain(pair.reader.fate(at(4))) == (None, None, [], [retry(4, currency="USD", invoice_amount="-7")])
    assert plain(pair.reader.fate(at(3, partition=1))) == (None, None, [], [])
    assert plain(pair.reader.fate(at(99))) == (None, None, [], [])


def test_events_are_found_by_their_ids_many_at_once(pair: Pair) -> None:
    """Those stored, where they were accepted first; odd ids as well; those that are not stored are absent."""
    odd = "Ünïcode ' \" \x00 end"
    pair.store.write(StoreBatch(events=[event(f"e-{n}", n) for n in range(3000)]))
    pair.store.write(StoreBatch(events=[event("e-7", 5000), event(odd, 5001, invoice_id=odd)]))

    found = pair.reader.find([*(("INV-1", f"e-{n}") for n in range(5, 9000)), ("INV-2", "e-7"), (odd, odd)])

    assert found == {("INV-1", f"e-{n}"): at(n) for n in range(5, 3000)} | {(odd, odd): at(5001)}


def test_the_trackers_account_covers_its_own_notes(pair: Pair) -> None:
    """What it gave up is inside its ledger, whatever the sink's says."""
    entry = span(0, 9, 8, 0, 1, agent="tracker", minute_us=MINUTE)
    given_up = Note(at(3), RecordOutcome.DEAD_LETTERED, NOW_US, NOW_US, "unfoldable", "full")

    pair.store.write(StoreBatch(accounts=[Account("tracker", [entry], [given_up])]))

    assert list(pair.reader.rows_outside_ledger("tracker")) == []
    assert list(pair.reader.rows_outside_ledger("sink")) == []

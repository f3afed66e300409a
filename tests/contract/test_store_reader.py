"""What every store promises to readers. Runs on each store of the registry."""

from collections.abc import Callable

import pytest

from bems_streams.ports import (
    EventRow,
    InvoiceRow,
    RatePoint,
    StageActivity,
    StageStanding,
    StoreBatch,
    StoreCounts,
    StoreReader,
    Timeline,
    Visibility,
)
from tests.contract.conftest import Pair
from tests.contract.rows import NOW_US, SECOND_US, alert, at, dead_letter, event, invoice, retry


def store_events(pair: Pair, *events: EventRow) -> None:
    pair.store.write(StoreBatch(events=events))


def store_invoices(pair: Pair, *invoices: InvoiceRow) -> None:
    pair.store.write(StoreBatch(invoices=invoices))


QUESTIONS: dict[str, tuple[Callable[[StoreReader], object], object]] = {
    "counts": (lambda reader: reader.counts(), StoreCounts(0, 0, 0, 0, 0)),
    "activity": (lambda reader: list(reader.activity(0, NOW_US)), []),
    "standing": (lambda reader: list(reader.standing()), []),
    "rates": (lambda reader: list(reader.rates(0, NOW_US, SECOND_US)), []),
    "newest_stored_us": (lambda reader: reader.newest_stored_us(), None),
    "stored_since": (lambda reader: list(reader.stored_since(0, 10)), []),
    "visibility": (lambda reader: reader.visibility(0, NOW_US), Visibility(0, None, None)),
    "timeline": (lambda reader: reader.timeline("INV-1"), Timeline(None)),
    "stuck": (lambda reader: list(reader.stuck()), []),
    "dead_letters": (lambda reader: list(reader.dead_letters()), []),
    "events": (lambda reader: list(reader.events()), []),
    "invoices": (lambda reader: list(reader.invoices()), []),
}


def _plain(answer: object) -> object:
    """Timelines compare by their parts' content, whatever sequence holds them."""
    if isinstance(answer, Timeline):
        return (
            answer.invoice,
            *map(list, (answer.events, answer.duplicates, answer.alerts, answer.dead_letters, answer.retrying)),
        )
    return answer


@pytest.mark.parametrize("created", [False, True], ids=["not created", "created"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_an_empty_store_answers_every_question(pair: Pair, question: str, created: bool) -> None:
    """The console starts before the sink: no store reads like an empty one."""
    ask, expected = QUESTIONS[question]
    if created:
        pair.store.write(StoreBatch())

    answer = ask(pair.reader)

    assert _plain(answer) == _plain(expected)
    assert pair.reader.exists() is created


def test_a_reader_opened_first_finds_the_store_once_it_appears(pair: Pair) -> None:
    """Asking does not create the store, and needs no new reader afterwards."""
    assert not pair.reader.exists()
    assert pair.reader.counts().stored == 0

    store_events(pair, event())

    assert pair.reader.exists()
    assert pair.reader.counts().stored == 1


def test_counts_are_the_numbers_of_rows(pair: Pair) -> None:
    """accepted == stored + duplicates + dead_lettered + retrying, for nine records; of notes only the sink's count."""
    events = [event(f"e-{number}", offset=number) for number in range(5)]
    copies = [event("e-0", offset=5), event("e-1", offset=6)]
    letters = [dead_letter(offset=7), dead_letter(offset=8, agent="tracker"), dead_letter(offset=0, agent="tracker")]
    waiting = [retry(offset=8), retry(offset=1, agent="tracker")]
    states = [invoice("INV-1"), invoice("INV-2", stuck_since_us=NOW_US), invoice("INV-3", stuck_since_us=NOW_US)]

    pair.store.write(StoreBatch(events=[*events, *copies], dead_letters=letters, retrying=waiting, invoices=states))

    assert pair.reader.counts() == StoreCounts(5, duplicates=2, dead_lettered=1, invoices=3, stuck=2, retrying=1)


def test_activity_sums_money_exactly_by_stage_and_currency(pair: Pair) -> None:
    """Amounts that binary fractions, or 28 digits, would round; events without an amount count without value."""
    store_events(
        pair,
        event("a", 0, invoice_amount="0.1"),
        event("b", 1, invoice_amount="0.2"),
        event("c", 2, invoice_amount="999999999999999.999999", currency="USD"),
        event("d", 3, invoice_amount="999999999999999.000001", currency="USD"),
        event("e", 4, invoice_amount="1" + "0" * 40 + ".01", currency="IDR"),
        event("f", 5, invoice_amount="1" + "0" * 40 + ".01", currency="IDR"),
        event("g", 6, invoice_amount=None, currency=None),
        event("h", 7, stage="posting", invoice_amount="5"),
        event("i", 8, stage="authorization", invoice_amount=None),
    )

    activity = pair.reader.activity(NOW_US, NOW_US + SECOND_US)

    assert list(activity) == [
        StageActivity("authorization", 1, {}),
        StageActivity("ingestion", 7, {"EUR": "0.30", "IDR": "2" + "0" * 40 + ".02", "USD": "1999999999999999.00"}),
        StageActivity("posting", 1, {"EUR": "5.00"}),
    ]


@pytest.mark.parametrize("since_us", [0, 1, 999_999, 1_000_000, 1_500_000, 2_000_000])
@pytest.mark.parametrize("length_us", [0, 1, 400_000, 1_000_000, 2_000_000, 2_500_001])
def test_a_window_takes_its_first_microsecond_and_not_its_last(pair: Pair, since_us: int, length_us: int) -> None:
    """Whatever the window cuts, activity, rates and visibility count the very same events."""
    begins_us, ends_us = NOW_US + since_us, NOW_US + since_us + length_us
    accepted = [NOW_US + step * 100_000 + slip for step in range(50) for slip in (-1, 0, 1)]
    store_events(
        pair, *(event(f"e-{n}", n, accepted_us=moment, invoice_amount="1") for n, moment in enumerate(accepted))
    )

    activity = pair.reader.activity(begins_us, ends_us)
    rates = pair.reader.rates(begins_us, ends_us, 2 * SECOND_US)
    visibility = pair.reader.visibility(begins_us, ends_us)

    inside = sum(begins_us <= moment < ends_us for moment in accepted)
    assert [(row.events, row.value["EUR"]) for row in activity] == ([(inside, f"{inside}.00")] if inside else [])
    assert sum(point.events for point in rates) == inside
    assert visibility.events == inside


@pytest.mark.parametrize("bucket_us", [1, 300_000, SECOND_US, 1_500_000, 60 * SECOND_US])
def test_rates_fall_into_buckets_that_start_at_multiples(pair: Pair, bucket_us: int) -> None:
    """Buckets without events are absent; stages are counted apart."""
    accepted = [NOW_US + 70_001 * step for step in range(100)]
    stages = ["posting" if step % 3 == 0 else "ingestion" for step in range(100)]
    store_events(
        pair,
        *(
            event(f"e-{n}", n, accepted_us=moment, stage=stage)
            for n, (moment, stage) in enumerate(zip(accepted, stages, strict=True))
        ),
    )

    rates = pair.reader.rates(NOW_US, NOW_US + 60 * SECOND_US, bucket_us)

    expected: dict[tuple[str, int], int] = {}
    for moment, stage in zip(accepted, stages, strict=True):
        place = (stage, moment // bucket_us * bucket_us)
        expected[place] = expected.get(place, 0) + 1
    assert list(rates) == [RatePoint(stage, start, number) for (stage, start), number in sorted(expected.items())]


def test_replayed_and_duplicate_records_do_not_count_as_activity(pair: Pair) -> None:
    """Money that arrives twice is there once."""
    store_events(pair, event(offset=1))

    store_events(pair, event(offset=1), event(offset=2))

    assert list(pair.reader.activity(0, 2 * NOW_US)) == [StageActivity("ingestion", 1, {"EUR": "10.50"})]
    assert list(pair.reader.rates(0, 2 * NOW_US, SECOND_US)) == [RatePoint("ingestion", NOW_US, 1)]


def test_standing_follows_invoices_as_they_move(pair: Pair) -> None:
    """Numbers and values move along, to the cent; a place that everybody left is absent."""
    store_invoices(
        pair,
        invoice("INV-1", 1, invoice_amount="10.10"),
        invoice("INV-2", 1, invoice_amount="20.20", stuck_since_us=NOW_US),
        invoice("INV-3", 1, invoice_amount=None, currency=None, stuck_since_us=NOW_US),
        invoice("INV-4", 1, invoice_amount="4.444", currency="USD", stage="posting"),
    )
    before = list(pair.reader.standing())

    store_invoices(
        pair,
        invoice("INV-4", 2, invoice_amount="4.4", currency="USD", stage="authorization"),
        invoice("INV-2", 2, invoice_amount="20.21"),
        invoice("INV-1", 1, stage="posting"),
    )

    assert before == [
        StageStanding("ingestion", 3, 2, 1, {"EUR": "30.30"}, {"EUR": "20.20"}),
        StageStanding("posting", 1, 0, 0, {"USD": "4.444"}, {}),
    ]
    assert list(pair.reader.standing()) == [
        StageStanding("authorization", 1, 0, 0, {"USD": "4.40"}, {}),
        StageStanding("ingestion", 3, 1, 1, {"EUR": "30.31"}, {}),
    ]


def test_visibility_is_by_nearest_rank(pair: Pair) -> None:
    """Of delays 1..200 ms the 100th and the 198th."""
    delays_ms = [*range(200, 0, -1)]
    store_events(pair, *(event(f"e-{n}", n, stored_us=NOW_US + delay * 1000) for n, delay in enumerate(delays_ms)))

    assert pair.reader.visibility(NOW_US, NOW_US + 1) == Visibility(200, 100.0, 198.0)


def test_visibility_of_one_event_is_its_own(pair: Pair) -> None:
    """Both percentiles are that event."""
    store_events(pair, event(stored_us=NOW_US + 1_500))

    assert pair.reader.visibility(NOW_US, NOW_US + 1) == Visibility(1, 1.5, 1.5)


def test_a_probe_follows_stored_events_by_sequence(pair: Pair) -> None:
    """Strictly growing, in the order of writing, nothing twice, nothing left out, `limit` at a time."""
    store_events(pair, event("a", 5, accepted_us=NOW_US + 9), event("b", 4), event("a", 6))
    first = list(pair.reader.stored_since(0, 100))
    store_events(pair, event("c", 3, accepted_us=NOW_US - 9), event("d", 2), event("e", 1))

    later = list(pair.reader.stored_since(first[-1][0], 2))
    last = list(pair.reader.stored_since(later[-1][0], 2))

    sequences = [row[0] for row in (*first, *later, *last)]
    assert sequences == sorted(set(sequences))
    assert [row[1] - NOW_US for row in (*first, *later, *last)] == [9, 0, -9, 0, 0]
    assert (len(first), len(later), len(last)) == (2, 2, 1)
    assert list(pair.reader.stored_since(last[-1][0], 2)) == []


def test_the_newest_storing_time_is_that_of_the_last_write(pair: Pair) -> None:
    """Duplicates and replays are no news."""
    store_events(pair, event("a", 1, stored_us=NOW_US + 5))

    store_events(pair, event("b", 2, stored_us=NOW_US + 9))
    store_events(pair, event("a", 1, stored_us=NOW_US + 11), event("a", 3, stored_us=NOW_US + 12))

    assert pair.reader.newest_stored_us() == NOW_US + 9


def test_a_timeline_is_in_business_order_and_holds_only_its_invoice(pair: Pair) -> None:
    """Events by when they occurred, then by where they stand in the log, not by when they came."""
    late = event("late", 9, occurred_us=NOW_US - 90 * SECOND_US)
    tie_9, tie_10 = event("z", 9), event("a", 10)
    store_events(pair, tie_10, event("other", 11, invoice_id="INV-2"), tie_9, late)
    pair.store.write(
        StoreBatch(
            events=[event("late", 20), event("other", 21, invoice_id="INV-2")],
            invoices=[invoice("INV-1"), invoice("INV-2")],
            alerts=[alert("INV-2"), alert("INV-1")],
            dead_letters=[dead_letter(30), dead_letter(31, invoice_id="INV-1")],
        )
    )

    timeline = pair.reader.timeline("INV-1")

    assert list(timeline.events) == [late, tie_9, tie_10]
    assert timeline.invoice == invoice("INV-1")
    assert [row.at for row in timeline.duplicates] == [at(20)]
    assert list(timeline.alerts) == [alert("INV-1")]
    assert [row.at.offset for row in timeline.dead_letters] == [31]


def test_stuck_invoices_come_longest_first(pair: Pair) -> None:
    """By when they got stuck, then by id; invoices that moved on are gone."""
    store_invoices(
        pair,
        invoice("INV-1", stuck_since_us=NOW_US),
        invoice("INV-2", stuck_since_us=NOW_US - 5),
        invoice("INV-0", stuck_since_us=NOW_US),
        invoice("INV-3", stuck_since_us=NOW_US - 9),
        invoice("INV-4"),
    )
    store_invoices(pair, invoice("INV-3", 2))

    assert [row.invoice_id for row in pair.reader.stuck()] == ["INV-2", "INV-0", "INV-1"]
    assert [row.invoice_id for row in pair.reader.stuck(2)] == ["INV-2", "INV-0"]
    assert list(pair.reader.stuck(0)) == []


def test_dead_letters_come_newest_first(pair: Pair) -> None:
    """By when they were noted, then by coordinates."""
    letters = [dead_letter(1), dead_letter(2, stored_us=NOW_US), dead_letter(3)]
    pair.store.write(StoreBatch(dead_letters=letters))

    assert [row.at.offset for row in pair.reader.dead_letters()] == [3, 1, 2]
    assert [row.at.offset for row in pair.reader.dead_letters(1)] == [3]
    assert list(pair.reader.dead_letters(0)) == []


def test_exports_are_in_order_and_of_one_moment(pair: Pair) -> None:
    """What is written while an export runs is not in it, and does not wait for it."""
    store_events(pair, *(event(f"e-{n:04}", n, invoice_id=f"INV-{n % 7}") for n in range(3000)))
    store_invoices(pair, *(invoice(f"INV-{n:04}") for n in range(3000)))
    events, invoices = pair.reader.events(), pair.reader.invoices()
    begun = (next(events), next(invoices))

    pair.store.write(
        StoreBatch(events=[event("new", 9999, invoice_id="INV-9")], invoices=[invoice("INV-2999", 2), invoice("INV-9")])
    )

    exported_events = [begun[0], *events]
    assert [(row.invoice_id, row.at.offset) for row in exported_events] == sorted(
        (f"INV-{n % 7}", n) for n in range(3000)
    )
    assert [begun[1], *invoices] == [invoice(f"INV-{n:04}") for n in range(3000)]
    assert pair.reader.counts().stored == 3001


def test_an_export_that_is_given_up_lets_the_reader_go_on(pair: Pair) -> None:
    """`bems export | head` ends before the store does."""
    store_events(pair, *(event(f"e-{n}", n) for n in range(3000)))
    abandoned = pair.reader.events()
    next(abandoned)
    del abandoned

    assert len(list(pair.reader.events())) == 3000


def test_text_is_kept_as_it_came(pair: Pair) -> None:
    """Quotes, other scripts, emoji, a NUL, and ids that differ only in case."""
    odd = "Ünïcode ' \" ; DROP TABLE events; -- \N{PILE OF POO} \x00 end"
    rows = [event("e", 0, invoice_id=odd, payee_code=odd), event("E", 1, invoice_id=odd.upper())]

    store_events(pair, *rows)

    assert list(pair.reader.timeline(odd).events) == [rows[0]]
    assert list(pair.reader.timeline(odd.upper()).events) == [rows[1]]

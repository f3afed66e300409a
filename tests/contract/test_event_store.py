"""What every event store promises to writers. Runs on each store of the registry."""

import pytest

from bems_streams.domain.failures import Failure
from bems_streams.ports import DuplicateRow, EventRow, StoreBatch, StoreCounts, WriteOutcome
from tests.contract.conftest import Pair
from tests.contract.rows import NOW_US, alert, at, dead_letter, event, invoice

STORED, REPLAYED, DUPLICATE = WriteOutcome.STORED, WriteOutcome.REPLAYED, WriteOutcome.DUPLICATE


def write(pair: Pair, *events: EventRow) -> list[WriteOutcome | Failure]:
    return list(pair.store.write(StoreBatch(events=events)).outcomes)


def test_a_new_event_is_stored_and_read_back_field_by_field(pair: Pair) -> None:
    """What was written is what is read, the optional fields included."""
    full = event(
        activity="Record receipt",
        correlation_id="c-1",
        matched_amount="10.00",
        authorized_amount="0.000001",
        ppv="-0.10",
        pqv="999999999999999.999999",
    )
    bare = EventRow("e-2", "INV-1", "posting", "erp", NOW_US, NOW_US, NOW_US, at(1))

    assert write(pair, full, bare) == [STORED, STORED]

    assert list(pair.reader.timeline("INV-1").events) == [full, bare]
    assert list(pair.reader.events()) == [full, bare]


def test_the_same_record_again_changes_nothing(pair: Pair) -> None:
    """A replay after a crash brings the same coordinates with a later storing time: the first row stays."""
    first = event()
    write(pair, first)

    assert write(pair, first._replace(stored_us=NOW_US + 999_999)) == [REPLAYED]

    assert list(pair.reader.events()) == [first]
    assert pair.reader.counts() == StoreCounts(1, 0, 0, 0, 0)


def test_the_same_event_from_other_coordinates_is_noted_as_a_duplicate(pair: Pair) -> None:
    """The row stored first stays as it is, even when the copy differs in content."""
    first, copy = event(offset=4), event(offset=9, invoice_amount="99.00", stored_us=NOW_US + 50_000)
    write(pair, first)

    assert write(pair, copy) == [DUPLICATE]

    timeline = pair.reader.timeline("INV-1")
    assert list(timeline.events) == [first]
    assert list(timeline.duplicates) == [DuplicateRow(at(9), "INV-1", "e-1", NOW_US, NOW_US + 50_000, "EUR", "99.00")]


def test_a_duplicate_again_is_replayed(pair: Pair) -> None:
    """Each DUPLICATE outcome is one row more, so that outcomes add up to row counts whatever is replayed."""
    write(pair, event(offset=4), event(offset=9))

    assert write(pair, event(offset=4), event(offset=9)) == [REPLAYED, REPLAYED]

    assert pair.reader.counts().duplicates == 1


def test_copies_within_one_batch_are_told_apart(pair: Pair) -> None:
    """In one write: new, its duplicate, the same record twice, the duplicate twice."""
    outcomes = write(pair, event(offset=1), event(offset=2), event(offset=1), event(offset=2), event("e-2", offset=3))

    assert outcomes == [STORED, DUPLICATE, REPLAYED, REPLAYED, STORED]
    assert pair.reader.counts() == StoreCounts(2, 1, 0, 0, 0)


def test_an_event_id_is_unique_within_its_invoice_only(pair: Pair) -> None:
    """Two invoices may use the same event id."""
    assert write(pair, event(offset=1), event(offset=2, invoice_id="INV-2")) == [STORED, STORED]


def test_other_events_at_known_coordinates_are_kept(pair: Pair) -> None:
    """A topic that was made anew counts from zero again: its events are new all the same."""
    write(pair, event("before", offset=0))

    assert write(pair, event("after", offset=0)) == [STORED]

    assert sorted(row.event_id for row in pair.reader.events()) == ["after", "before"]


def test_a_dead_letter_is_noted_once_per_agent_and_counted_once(pair: Pair) -> None:
    """Two agents may give the same record up; counts are the sink's."""
    first = dead_letter(offset=3)
    pair.store.write(StoreBatch(dead_letters=[first, dead_letter(offset=3, agent="tracker")]))

    pair.store.write(StoreBatch(dead_letters=[first._replace(reason="other", stored_us=NOW_US + 1)]))

    assert sorted(row.agent for row in pair.reader.dead_letters()) == ["sink", "tracker"]
    assert first in pair.reader.dead_letters()
    assert pair.reader.counts().dead_lettered == 1


@pytest.mark.parametrize("first_stored_offset", [3, 1], ids=["stored", "found a duplicate"])
def test_a_dead_letter_goes_once_its_record_is_stored_or_a_duplicate(pair: Pair, first_stored_offset: int) -> None:
    """Mended code replays the record from the same coordinates: it must not count twice."""
    pair.store.write(StoreBatch(dead_letters=[dead_letter(offset=3), dead_letter(offset=4)]))

    write(pair, event(offset=first_stored_offset), event(offset=3))

    assert [row.at.offset for row in pair.reader.dead_letters()] == [4]


@pytest.mark.parametrize("offset", [1, 3], ids=["stored", "duplicate"])
def test_a_record_that_is_in_the_store_is_not_noted_as_a_dead_letter(pair: Pair, offset: int) -> None:
    """A release that cannot read what an earlier one stored does not unstore it."""
    write(pair, event(offset=1), event(offset=3))

    pair.store.write(StoreBatch(dead_letters=[dead_letter(offset=offset)]))

    assert list(pair.reader.dead_letters()) == []


def test_a_record_stored_and_dead_lettered_in_one_batch_is_stored(pair: Pair) -> None:
    """Stored beats dead-lettered, in whatever order they come."""
    pair.store.write(StoreBatch(events=[event(offset=1)], dead_letters=[dead_letter(offset=1)]))

    assert pair.reader.counts() == StoreCounts(1, 0, 0, 0, 0)


def test_only_a_higher_revision_replaces_an_invoice(pair: Pair) -> None:
    """The status topic may be replayed, and its partitions may be read twice."""
    newer = invoice(revision=3, stage="posting", stuck_since_us=None, deadline_us=None, payee_code=None)
    pair.store.write(StoreBatch(invoices=[invoice(revision=2, stuck_since_us=NOW_US), newer]))

    pair.store.write(StoreBatch(invoices=[invoice(revision=3, status="closed"), invoice(revision=1)]))

    assert list(pair.reader.invoices()) == [newer]


def test_an_alert_is_kept_once(pair: Pair) -> None:
    """Invoice, stage, deadline and kind are its key; the first row stays."""
    stuck, cleared = alert(), alert(kind="cleared", raised_us=NOW_US + 9_000_000)
    pair.store.write(StoreBatch(alerts=[stuck, cleared]))

    pair.store.write(StoreBatch(alerts=[stuck._replace(document="{}"), cleared]))

    assert list(pair.reader.timeline("INV-1").alerts) == [stuck, cleared]


def test_an_amount_that_is_not_a_decimal_is_a_defect_and_nothing_of_its_batch_is_written(pair: Pair) -> None:
    """All or nothing: neither the good event before it nor the invoice beside it."""
    good, bad = event("e-1"), event("e-2", offset=1, invoice_amount="ten")

    with pytest.raises(ValueError, match="'ten' is not a decimal"):
        pair.store.write(StoreBatch(events=[good, bad], invoices=[invoice()]))

    assert pair.reader.counts() == StoreCounts(0, 0, 0, 0, 0)
    assert write(pair, good) == [STORED]


def test_an_empty_write_changes_nothing(pair: Pair) -> None:
    """A batch may hold nothing to store."""
    assert write(pair) == []
    assert pair.reader.counts() == StoreCounts(0, 0, 0, 0, 0)


def test_a_reader_sees_a_write_as_soon_as_it_returned(pair: Pair) -> None:
    """Visibility is measured at that moment."""
    for number in range(3):
        write(pair, event(f"e-{number}", offset=number))

        assert pair.reader.counts().stored == number + 1


def test_a_second_writer_adds_to_what_the_first_left(pair: Pair) -> None:
    """A worker that is started again finds its rows."""
    write(pair, event(offset=1))
    pair.store.close()

    second = pair.backend.open_store()
    outcomes = second.write(StoreBatch(events=[event(offset=1), event("e-2", offset=2)])).outcomes
    second.close()

    assert list(outcomes) == [REPLAYED, STORED]

"""A file that the first version filled becomes one of this version, with a ledger that is closed."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bems_streams.adapters import sqlite_rows as rows
from bems_streams.adapters.sqlite import SqliteBackend
from bems_streams.adapters.sqlite_schema import MIGRATIONS, migrate
from bems_streams.adapters.stores_ledger import duplicate_of
from bems_streams.ports import MINUTE_US, DeadLetterRow, EventRow, Span, StoreBatch, StoreReader
from tests.contract.rows import MINUTE, NOW_US, at, dead_letter, event, handled, span

NEXT_MINUTE = {"accepted_us": MINUTE + MINUTE_US}
OLD_DUPLICATE = rows.DUPLICATE[:7]
OLD_DEAD_LETTER = rows.DEAD_LETTER[:9]


def filled_by_version_1(
    path: Path, events: list[EventRow], duplicates: list[EventRow], letters: list[DeadLetterRow]
) -> SqliteBackend:
    """As its writer left them."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, path, MIGRATIONS[:1])
        connection.executemany(rows.insert("events", rows.EVENT), map(rows.event_values, events))
        notes = [(*row.at, row.invoice_id, row.event_id, row.accepted_us, row.stored_us) for row in duplicates]
        connection.executemany(rows.insert("duplicates", OLD_DUPLICATE), notes)
        given_up = [rows.note_values(row)[:9] for row in letters]
        connection.executemany(rows.insert("dead_letters", OLD_DEAD_LETTER), given_up)
    return SqliteBackend(path)


@pytest.fixture
def old(tmp_path: Path) -> SqliteBackend:
    """Offsets 0 to 6 and 9 of one partition over two minutes, and two of another; the tracker gave one up as well."""
    return filled_by_version_1(
        tmp_path / "store.sqlite3",
        events=[
            event("a", at=at(0, partition=1), invoice_id="INV-0", invoice_amount="1" + "0" * 40 + ".01"),
            event("d", 9, **NEXT_MINUTE, invoice_amount="4"),
            event("a", 0, invoice_amount="0.1"),
            event("b", 1, invoice_amount="0.2"),
            event("c", 5, **NEXT_MINUTE, invoice_amount="-0.01", currency="USD"),
            event("e", 4, invoice_amount=None),
            event("y", at=at(1, partition=1), invoice_amount="1" + "0" * 40 + ".01"),
        ],
        duplicates=[event("a", 2), event("a", 6, **NEXT_MINUTE)],
        letters=[dead_letter(3), dead_letter(3, agent="tracker")],
    )


def ledger(reader: StoreReader, agent: str = "sink") -> list[Span]:
    return list(reader.ledger(agent, 0, 2 * NOW_US))


def test_rows_of_version_1_are_accounted_for(old: SqliteBackend) -> None:
    """A span for each minute, broken where an offset has no row; it agrees with the rows, and all of them are in it."""
    old.open_store().close()

    with closing(old.open_reader()) as reader:
        spans = ledger(reader)
        tallies = reader.tally(spans)
        outside = [list(reader.rows_outside_ledger(agent)) for agent in ("sink", "tracker")]
        positions = reader.ledger_positions("sink")
        counts = reader.counts()
    assert spans == [
        span(0, 5, 3, 1, 1, value={"EUR": "0.40"}),
        span(5, 7, 1, 1, minute_us=MINUTE + MINUTE_US, value={"EUR": "0.10", "USD": "-0.01"}),
        span(9, 10, 1, minute_us=MINUTE + MINUTE_US, value={"EUR": "4.00"}),
        span(0, 2, 2, partition=1, value={"EUR": "2" + "0" * 40 + ".02"}),
    ]
    assert [(tally.accepted, tally.value) for tally in tallies] == [(row.accepted, row.value) for row in spans]
    assert outside == [[], [at(3)]]
    assert positions == {("invoices.ingestion", 0): 10, ("invoices.ingestion", 1): 2}
    assert (counts.stored, counts.duplicates, counts.dead_lettered) == (7, 2, 1)


def test_a_migrated_file_goes_on_where_it_was(old: SqliteBackend) -> None:
    """Replays are not counted again, a mended dead letter moves, what is new extends the last span."""
    with closing(old.open_store()) as store, closing(old.open_reader()) as reader:
        before = ledger(reader)
        replayed = [event("a", 0, invoice_amount="0.1"), event("b", 1, invoice_amount="0.2"), event("a", 2)]
        store.write(StoreBatch(events=replayed, handled=[handled(0, 3)]))
        assert ledger(reader) == before

        store.write(StoreBatch(events=[event("z", 3, invoice_amount="0.7")]))
        store.write(StoreBatch(events=[event("n", 10, **NEXT_MINUTE)], handled=[handled(10, 11)]))

        assert ledger(reader)[:3] == [
            span(0, 5, 4, 1, value={"EUR": "1.10"}),
            before[1],
            span(9, 11, 2, minute_us=MINUTE + MINUTE_US, value={"EUR": "14.50"}),
        ]


def test_what_version_1_did_not_keep_is_told_by_the_event_or_reads_as_unknown(old: SqliteBackend) -> None:
    """A duplicate has the amount of the event that it repeats; which event a dead letter was, nobody knows."""
    old.open_store().close()

    with closing(old.open_reader()) as reader:
        duplicate, letter = reader.fate(at(2)).duplicate, reader.fate(at(3)).dead_letters[0]
    assert duplicate == duplicate_of(event("a", 2, invoice_amount="0.1"))
    assert letter == dead_letter(3)


def test_an_empty_file_of_version_1_has_an_empty_ledger(tmp_path: Path) -> None:
    """A cell that never accepted anything."""
    old = filled_by_version_1(tmp_path / "store.sqlite3", [], [], [])
    old.open_store().close()

    with closing(old.open_reader()) as reader:
        assert ledger(reader) == []


def test_two_rows_at_one_place_make_no_spans_that_overlap(tmp_path: Path) -> None:
    """A topic that was made anew counted from zero again: both rows count, at their one offset."""
    old = filled_by_version_1(
        tmp_path / "store.sqlite3", [event("a", 0), event("b", 0, **NEXT_MINUTE), event("c", 1)], [], []
    )
    old.open_store().close()

    with closing(old.open_reader()) as reader:
        assert ledger(reader) == [span(0, 2, 3, value={"EUR": "31.50"})]
        assert [tally.stored for tally in reader.tally(ledger(reader))] == [3]

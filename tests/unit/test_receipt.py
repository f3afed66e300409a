"""What a receipt resolves to: every standing, from the store, from the log, from what is left of either."""

import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bems_streams.adapters.memory import MemoryStore
from bems_streams.adapters.memory_ledger import MemoryTables
from bems_streams.adapters.memory_reader import MemoryReader
from bems_streams.adapters.stores import default_store_url, open_reader, open_store
from bems_streams.domain.event import instant
from bems_streams.domain.standing import Standing, State, StoredFirst
from bems_streams.flows.receipt import Malformed, Receipt, parse_receipt, receipt_text
from bems_streams.flows.resolve import Away, OtherCell, Unknown
from bems_streams.ports import (
    Account,
    Coordinates,
    DeadLetterRow,
    Fate,
    Handled,
    Note,
    Offsets,
    RecordOutcome,
    StoreBatch,
    StoreReader,
    StoreUnavailableError,
    StoreUnusableError,
)
from tests.contract.rows import NOW_US, at, dead_letter, event, retry
from tests.unit.receipt_kit import CELL, TOPIC, FakeLog, receipts, store_of, text

ACCEPTED_AT = instant(NOW_US)
STORED_AT = instant(NOW_US + 20_000)
NOTED_AT = instant(NOW_US + 30_000)
THREE = [event(f"e-{offset}", offset) for offset in range(3)]


def handled(first: int, after: int) -> Handled:
    """What the sink accounts for."""
    return Handled("sink", TOPIC, 0, first, after)


def standing(store: StoreReader, log: FakeLog, receipt: str) -> Standing:
    """The receipt resolves."""
    found = receipts(store, log).resolve(receipt)
    assert isinstance(found, Standing), found
    assert found.receipt == receipt
    return found


# ------------------------------------------------------------------------------------------------ the text


@given(
    st.text(st.characters(exclude_characters="\n"), min_size=1, max_size=64).filter(str.isprintable),
    st.from_regex(r"[a-zA-Z0-9._-]{1,249}", fullmatch=True),
    st.integers(0, 98),
    st.integers(0, 10**17),
)
def test_a_receipt_is_read_back_from_its_text(cell: str, topic: str, partition: int, offset: int) -> None:
    """Also when the name of the cell has slashes in it."""
    at = Coordinates(topic, partition, offset)

    assert parse_receipt(receipt_text(cell, at)) == Receipt(cell, at)


@pytest.mark.parametrize(
    "slip",
    [
        "",
        "cell-7",
        "cell-7/invoices.ingestion/0",
        "/invoices.ingestion/0/5",
        "cell-7/invoices.ingestion/0/5/",
        "cell-7/invoices.ingestion/0/-5",
        "cell-7/invoices.ingestion/0/05",
        "cell-7/invoices.ingestion/+0/5",
        "cell-7/invoices.ingestion/0/5 ",
        "cell-7/invoices.ingestion/0/\N{ARABIC-INDIC DIGIT FIVE}",
        "cell-7/invoices ingestion/0/5",
        "cell-7//0/5",
        "cell-7/invoices.ingestion/0/" + "9" * 30,
        "x" * 100_000,
    ],
)
def test_what_is_no_receipt_is_told_its_form(slip: str) -> None:
    """Without repeating all of it."""
    found = receipts(store_of(), FakeLog()).resolve(slip)

    assert isinstance(found, Malformed)
    assert "cell/topic/partition/offset" in found.reason
    assert len(found.reason) < 600


def test_a_receipt_of_another_cell_is_sent_there() -> None:
    """Nothing crosses cells: neither store nor log of this one is asked."""
    log = FakeLog(end=9)

    found = receipts(store_of(StoreBatch(events=[event()])), log).resolve(text(0, cell="eu-2"))

    assert isinstance(found, OtherCell)
    assert "cell 'eu-2'" in found.reason
    assert CELL in found.reason
    assert log.asked == []


# ------------------------------------------------------------------------------------------- told by the store


def test_a_stored_event_has_its_times_and_its_names() -> None:
    """The log is not asked: its broker may be away."""
    found = standing(store_of(StoreBatch(events=[event("e-1", 5)])), FakeLog(away="down"), text(5))

    assert (found.state, found.accepted_at, found.stored_at) == (State.STORED, ACCEPTED_AT, STORED_AT)
    assert (found.invoice_id, found.event_id, found.duplicate_of, found.agents) == ("INV-1", "e-1", None, ())
    assert "20 ms after" in found.detail


def test_a_duplicate_names_the_receipt_that_counts() -> None:
    """With its times, so that the sender need not ask again."""
    again = event("e-1", 8, accepted_us=NOW_US + 1_000_000, stored_us=NOW_US + 1_500_000)

    found = standing(store_of(StoreBatch(events=[event("e-1", 5), again])), FakeLog(away="down"), text(8))

    assert (found.state, found.event_id) == (State.DUPLICATE, "e-1")
    assert found.accepted_at == ACCEPTED_AT + timedelta(seconds=1)
    assert found.duplicate_of == StoredFirst(receipt=text(5), accepted_at=ACCEPTED_AT, stored_at=STORED_AT)
    assert found.stored_at is None


def test_a_dead_letter_says_who_gave_it_up_why_and_how_to_see_it() -> None:
    """Its bytes are kept."""
    letter = dead_letter(5, invoice_id="INV-1", event_id="e-1")

    found = standing(store_of(StoreBatch(dead_letters=[letter], handled=[handled(5, 6)])), FakeLog(away="x"), text(5))

    assert (found.state, found.accepted_at, found.stored_at) == (State.DEAD_LETTERED, ACCEPTED_AT, None)
    assert (found.invoice_id, found.event_id) == ("INV-1", "e-1")
    (note,) = found.agents
    assert (note.agent, note.code, note.reason) == ("sink", "invalid_event", "stage: required")
    assert (note.state, note.noted_at, note.attempts) == (State.DEAD_LETTERED, NOTED_AT, None)
    assert note.show == f"bems dlq show {text(5)} --agent sink"
    assert note.show in found.detail


def test_a_record_that_waits_in_a_lane_says_when_it_is_tried_again() -> None:
    """And how often it was tried, and why it failed."""
    store = store_of(StoreBatch(retrying=[retry(5, attempts=2)], handled=[handled(5, 6)]))

    found = standing(store, FakeLog(away="x"), text(5))

    (note,) = found.agents
    assert (found.state, note.state, note.code, note.reason) == (State.RETRYING, State.RETRYING, "store_refused", "no")
    assert (note.attempts, note.next_try_at, note.show) == (2, ACCEPTED_AT + timedelta(seconds=10), None)
    assert "tries again at 2023-11-14T22:13:30Z" in found.detail


def test_the_storing_agent_makes_the_headline_and_the_others_are_told_too() -> None:
    """A stored event whose invoice cannot take it is stored, and somebody must look at the tracker's dead letter."""
    account = Account("tracker", (), [Note(at(5), RecordOutcome.DEAD_LETTERED, NOW_US, NOW_US, "unfoldable", "full")])
    store = store_of(StoreBatch(events=[event("e-1", 5)], accounts=[account]))

    found = standing(store, FakeLog(away="x"), text(5))

    assert found.state is State.STORED
    assert [(note.agent, note.state, note.code) for note in found.agents] == [
        ("tracker", State.DEAD_LETTERED, "unfoldable")
    ]


def test_notes_of_both_agents_begin_with_the_one_that_stores() -> None:
    """Its outcome is the state."""
    store = store_of(
        StoreBatch(retrying=[retry(5)], dead_letters=[dead_letter(5, "archiver"), dead_letter(5, "tracker")])
    )

    found = standing(store, FakeLog(away="x"), text(5))

    assert found.state is State.RETRYING
    assert [note.agent for note in found.agents] == ["sink", "archiver", "tracker"]


def test_what_another_agent_gave_up_before_the_sink_came_to_it_is_accepted() -> None:
    """The tracker may be ahead. No need to ask the log: the note proves that it was accepted."""
    store = store_of(StoreBatch(dead_letters=[dead_letter(5, "tracker")], handled=[handled(0, 3)], events=THREE))

    found = standing(store, FakeLog(away="x"), text(5))

    assert (found.state, found.accepted_at) == (State.ACCEPTED, ACCEPTED_AT)
    assert "2 offsets of its partition come first" in found.detail
    assert [note.agent for note in found.agents] == ["tracker"]


# --------------------------------------------------------------------------------------------- told by the log


def test_what_the_sink_has_not_come_to_is_accepted() -> None:
    """With the time of acceptance from the log, and how much comes first."""
    store = store_of(StoreBatch(events=THREE, handled=[handled(0, 3)]))

    next_one, later = (standing(store, FakeLog(end=9), text(offset)) for offset in (3, 7))

    assert (next_one.state, next_one.accepted_at, next_one.stored_at) == (State.ACCEPTED, ACCEPTED_AT, None)
    assert next_one.detail == "durable; the sink has not handled it yet: it is next"
    assert later.detail == "durable; the sink has not handled it yet: 4 offsets of its partition come first"


def test_before_there_is_a_store_a_receipt_is_accepted_on_the_word_of_the_log() -> None:
    """Never unknown: it was given."""
    found = standing(store_of(), FakeLog(end=9), text(8))

    assert (found.state, found.accepted_at) == (State.ACCEPTED, ACCEPTED_AT)
    assert "no store yet" in found.detail


def test_an_event_behind_an_open_transaction_is_accepted() -> None:
    """Readers do not see it, so its time is not known; but the receipt was given, and the event is durable."""
    found = standing(store_of(), FakeLog(end=9, stable_end=4), text(8))

    assert (found.state, found.accepted_at) == (State.ACCEPTED, None)


@pytest.mark.parametrize(
    ("receipt", "reason"),
    [
        (text(9), "ends before offset 9"),
        (text(10**17), "ends before offset 9"),
        (text(4), "a transaction's own"),
        (text(0, partition=12), "its partitions are 0 to 11"),
        (text(0, partition=11), "ends before offset 0"),
        (text(0, topic="orders"), "events are accepted on invoices.ingestion, invoices.posting only"),
        (text(0, topic="invoices.sink.retry-1"), "events are accepted on invoices.ingestion, invoices.posting only"),
    ],
)
def test_a_receipt_that_was_never_given_is_unknown(receipt: str, reason: str) -> None:
    """Past the end, of no event, of another topic: it says what is there instead."""
    store = store_of(StoreBatch(events=THREE, handled=[handled(0, 3)]))

    found = receipts(store, FakeLog(end=9, holes=[4])).resolve(receipt)

    assert isinstance(found, Unknown)
    assert reason in found.reason


def test_a_stage_that_was_removed_since_is_still_known_to_the_store() -> None:
    """The receipt was given when the catalogue had it."""
    store = store_of(StoreBatch(events=[event(at=at(5, topic="invoices.approval"))]))

    assert standing(store, FakeLog(), text(5, topic="invoices.approval")).state is State.STORED


# ---------------------------------------------------------------------------- what is left, and what is away


def test_what_retention_has_taken_from_the_log_is_known_to_the_store() -> None:
    """Receipts outlive the topic: stored, duplicate, dead-lettered."""
    store = store_of(
        StoreBatch(events=[event("e-0", 0), event("e-0", 1)], dead_letters=[dead_letter(2)], handled=[handled(0, 3)])
    )
    log = FakeLog(start=100, end=200)

    states = [standing(store, log, text(offset)).state for offset in range(3)]

    assert states == [State.STORED, State.DUPLICATE, State.DEAD_LETTERED]


def test_what_neither_log_nor_store_has_is_missing() -> None:
    """It was accepted, since the log has gone on past it; no one may call that unknown."""
    store = store_of(StoreBatch(events=THREE, handled=[handled(0, 3)]))

    found = standing(store, FakeLog(start=100, end=200), text(50))

    assert (found.state, found.accepted_at) == (State.MISSING, None)
    assert "the log has let go of it" in found.detail
    assert "bems ledger verify" in found.detail


@pytest.mark.parametrize("notes", [(), (dead_letter(1, "tracker"),)], ids=["no row", "a note of the tracker"])
def test_a_row_that_somebody_deleted_is_missing(tmp_path: Path, notes: Sequence[DeadLetterRow]) -> None:
    """The ledger says that the sink handled the record: it is not waiting for anything."""
    with closing(open_store(default_store_url(tmp_path))) as store:
        store.write(StoreBatch(events=THREE, handled=[handled(0, 3)], dead_letters=notes))
    with closing(sqlite3.connect(tmp_path / "store.sqlite3")) as by_hand:
        assert by_hand.execute("DELETE FROM events WHERE offset = 1").rowcount == 1
        by_hand.commit()

    with closing(open_reader(default_store_url(tmp_path))) as reader:
        found = standing(reader, FakeLog(end=9), text(1))
        others = [standing(reader, FakeLog(end=9), text(offset)).state for offset in (0, 2, 3)]

    assert (found.state, found.accepted_at) == (State.MISSING, ACCEPTED_AT)
    assert "the ledger says that it was handled" in found.detail
    assert others == [State.STORED, State.STORED, State.ACCEPTED]


def test_a_duplicate_of_a_row_that_somebody_deleted_says_so(tmp_path: Path) -> None:
    """It does not point at a receipt that counts no more."""
    with closing(open_store(default_store_url(tmp_path))) as store:
        store.write(StoreBatch(events=[event("e-1", 0), event("e-1", 1)], handled=[handled(0, 2)]))
    with closing(sqlite3.connect(tmp_path / "store.sqlite3")) as by_hand:
        by_hand.execute("DELETE FROM events")
        by_hand.commit()

    with closing(open_reader(default_store_url(tmp_path))) as reader:
        found = standing(reader, FakeLog(away="x"), text(1))

    assert (found.state, found.duplicate_of) == (State.DUPLICATE, None)
    assert "bems ledger verify" in found.detail


def test_a_broker_that_is_away_leaves_in_doubt_only_what_the_store_has_not_heard_of() -> None:
    """With what the adapter says must be done."""
    found = receipts(store_of(StoreBatch(events=THREE)), FakeLog(away="no broker answers; check --bootstrap"))

    assert isinstance(found.resolve(text(1)), Standing)
    away = found.resolve(text(7))
    assert away == Away("the store has not heard of it, and no broker answers; check --bootstrap")


@pytest.mark.parametrize("error", [StoreUnavailableError("locked; try later"), StoreUnusableError("a newer schema")])
def test_a_store_that_is_away_leaves_in_doubt_what_became_of_it(error: Exception) -> None:
    """The log alone must not call accepted what may be stored, or given up."""

    class AwayStore(MemoryReader):
        """Nobody can read it."""

        def fate(self, at: Coordinates) -> Fate:
            raise error

    tables = MemoryTables(threading.Lock())
    MemoryStore(tables)
    found = receipts(AwayStore(tables), FakeLog(end=9)).resolve(text(1))

    assert found == Away(f"the store cannot be asked: {error}")


def test_without_a_store_what_the_log_has_let_go_of_is_in_doubt_not_missing() -> None:
    """The gateway may be told of the wrong store; the reason says how to name the right one."""
    found = receipts(store_of(), FakeLog(start=100, end=200)).resolve(text(50))

    assert isinstance(found, Away)
    assert "--store" in found.reason


def test_a_record_that_is_stored_while_it_is_looked_up_is_never_called_missing() -> None:
    """What is accounted for is read before the rows: the other way round, a write in between would look like a loss."""
    tables = MemoryTables(threading.Lock())
    store = MemoryStore(tables)
    store.write(StoreBatch(events=THREE, handled=[handled(0, 3)]))

    class Racing(MemoryReader):
        """The sink writes between any two questions."""

        def ledger_positions(self, agent: str) -> Offsets:
            found = super().ledger_positions(agent)
            self._go_on()
            return found

        def fate(self, at: Coordinates) -> Fate:
            found = super().fate(at)
            self._go_on()
            return found

        def _go_on(self) -> None:
            store.write(StoreBatch(events=[event("e-3", 3)], handled=[handled(3, 4)]))

    found = standing(Racing(tables), FakeLog(end=9), text(3))

    assert found.state is State.STORED

"""However a sink crashes, rewinds and repeats itself, its ledger ends up closed. Runs on each store of the registry."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bems_streams.adapters.stores import STORES
from bems_streams.ports import MINUTE_US, DeadLetterRow, EventRow, EventStore, RetryRow, StoreBatch, StoreReader
from tests.contract.conftest import Pair, fresh
from tests.contract.rows import MINUTE, NOW_US, SECOND_US, at, dead_letter, event, handled, retry

TRIES = 3
MENDED = 99
"""More tries than any record needs: what mended code does with it."""


@dataclass(frozen=True)
class Accepted:
    """A record of the log: its event, how often it fails before it is taken, and whether it decodes until then."""

    row: EventRow
    fails: int
    decodes: bool


@dataclass(frozen=True)
class Waiting:
    """A record in a lane, which has been tried so often."""

    offset: int
    tries: int


@dataclass
class Sink:
    """What is durable of a sink: its log and lanes with committed positions, and its store. Time passes as it works."""

    log: Sequence[Accepted]
    store: EventStore
    now_us: int = NOW_US
    stage_at: int = 0
    lane: list[Waiting] = field(default_factory=list)
    lane_at: int = 0
    written: list[StoreBatch] = field(default_factory=list)

    def work(self, stage: int, lane: int, crash: str) -> None:
        """One batch of so many records of each. A crash comes before the write (the lane's records are out already),
        after it (nothing is committed), or not at all.
        """
        self.now_us += 3600 * SECOND_US
        stage_until, lane_until = min(self.stage_at + stage, len(self.log)), min(self.lane_at + lane, len(self.lane))
        given = [Waiting(offset, 0) for offset in range(self.stage_at, stage_until)]
        rows = [self._decide(each) for each in (*given, *self.lane[self.lane_at : lane_until])]
        batch = StoreBatch(
            events=[row for row in rows if isinstance(row, EventRow)],
            dead_letters=[row for row in rows if isinstance(row, DeadLetterRow)],
            retrying=[row for row in rows if isinstance(row, RetryRow)],
            handled=[handled(self.stage_at, stage_until)] if given else [],
        )
        if crash == "before":
            return
        self._write(batch)
        if crash != "after":
            self.stage_at, self.lane_at = stage_until, lane_until

    def _decide(self, given: Waiting) -> EventRow | DeadLetterRow | RetryRow:
        record, tries = self.log[given.offset], given.tries + 1
        row = record.row._replace(stored_us=self.now_us)
        if given.tries >= record.fails:
            return row
        amounts = (row.invoice_id, row.event_id, row.currency, row.invoice_amount) if record.decodes else ()
        if tries > TRIES or not record.decodes:
            return DeadLetterRow(row.at, "sink", "code", "reason", row.accepted_us, self.now_us, *amounts)
        self.lane.append(Waiting(given.offset, tries))
        due_us = self.now_us + tries * SECOND_US
        return RetryRow(row.at, "sink", "code", "reason", tries, due_us, row.accepted_us, self.now_us, *amounts)

    def _write(self, batch: StoreBatch) -> None:
        self.store.write(batch)
        self.written.append(batch)

    def redrive(self, reader: StoreReader) -> None:
        """With mended code: every dead letter goes through its lane once more."""
        self.lane += [Waiting(row.at.offset, MENDED) for row in reader.dead_letters()]

    def repeat(self, number: int) -> None:
        """A batch of long ago, whose answer got lost."""
        if self.written:
            self.store.write(self.written[number % len(self.written)])

    def finish(self) -> None:
        """Until nothing is left to read."""
        while self.stage_at < len(self.log) or self.lane_at < len(self.lane):
            self.work(3, 3, "never")


@st.composite
def logs(draw: st.DrawFn) -> list[Accepted]:
    """Few events, some of them at several offsets; over two minutes that may be out of order."""
    log = []
    for offset in range(draw(st.integers(1, 10))):
        minute_us = MINUTE + draw(st.integers(0, 1)) * MINUTE_US
        name, decodes = draw(st.sampled_from("abcd")), draw(st.booleans())
        amount = {"a": "0.10", "b": "-3", "c": "12345678901234567890.000001", "d": None}[name]
        currency = "EUR" if name in "ac" else "USD"
        row = event(name, offset, accepted_us=minute_us, invoice_amount=amount, currency=currency)
        fails = draw(st.integers(0, TRIES + 1)) if decodes else draw(st.sampled_from([0, 1]))
        log.append(Accepted(row, fails, decodes))
    return log


works = st.tuples(st.just("work"), st.integers(0, 6), st.integers(0, 6), st.sampled_from(["never", "before", "after"]))
steps = st.one_of(works, works, works, st.tuples(st.just("redrive")), st.tuples(st.just("repeat"), st.integers(0, 99)))


@pytest.mark.parametrize("scheme", sorted(STORES))
@settings(max_examples=150, deadline=None)
@given(log=logs(), taken=st.lists(steps, max_size=14))
def test_however_a_sink_works_its_ledger_is_closed_in_the_end(
    scheme: str, log: list[Accepted], taken: list[tuple[str, int, int, str]]
) -> None:
    """At every moment spans agree with rows; in the end every record counts once, in its minute, with its amount."""
    with fresh(scheme) as backend:
        store, reader = backend.open_store(), backend.open_reader()
        sink = Sink(log, store)
        for step in taken:
            if step[0] == "work":
                sink.work(*step[1:])
            elif step[0] == "redrive":
                sink.redrive(reader)
            else:
                sink.repeat(step[1])
            assert_spans_are_what_the_rows_say(reader)
        sink.finish()
        before = content(reader)
        for number in range(len(sink.written)):
            sink.repeat(number)

        assert content(reader) == before
        assert_spans_are_what_the_rows_say(reader)
        assert_everything_is_accounted_for(log, reader)
        store.close()
        reader.close()


def content(reader: StoreReader) -> tuple[object, ...]:
    """Ledger and notes."""
    spans = list(reader.ledger("sink", 0, 2 * NOW_US))
    return reader.counts(), spans, list(reader.dead_letters()), list(reader.retrying())


def assert_spans_are_what_the_rows_say(reader: StoreReader) -> None:
    """Counted from the rows anew, to the cent."""
    spans = reader.ledger("sink", 0, 2 * NOW_US)
    for span, tally in zip(spans, reader.tally(spans), strict=True):
        counts = (tally.stored, tally.duplicates, tally.dead_lettered, tally.retrying)
        assert span[6:10] == counts
        assert span.value == tally.value


def assert_everything_is_accounted_for(log: Sequence[Accepted], reader: StoreReader) -> None:
    """Against the log alone."""
    spans = reader.ledger("sink", 0, 2 * NOW_US)
    accepted: defaultdict[int, int] = defaultdict(int)
    for record in log:
        accepted[record.row.accepted_us] += 1
    accounted: defaultdict[int, int] = defaultdict(int)
    for span in spans:
        accounted[span.minute_us] += span.accepted
    assert accounted == accepted
    assert [place for span in spans for place in range(span.first_offset, span.next_offset)] == [*range(len(log))]
    given_up = {row.at.offset for row in reader.dead_letters()}
    assert given_up <= {offset for offset, record in enumerate(log) if record.fails > (TRIES if record.decodes else 0)}
    kept = [record for offset, record in enumerate(log) if offset not in given_up]
    assert sum(span.stored for span in spans) == len({record.row.event_id for record in kept})
    assert sum(span.retrying for span in spans) == 0
    assert sum(span.dead_lettered for span in spans) == len(given_up)
    for currency in ("EUR", "USD"):
        said = sum((Decimal(span.value.get(currency, "0")) for span in spans), Decimal(0))
        assert said == sum(
            (
                Decimal(record.row.invoice_amount)
                for offset, record in enumerate(log)
                if record.row.invoice_amount is not None
                and record.row.currency == currency
                and (record.decodes or offset not in given_up)
            ),
            Decimal(0),
        )


def test_the_sink_of_these_tests_reaches_every_outcome() -> None:
    """A property that holds of nothing would be worth nothing."""
    log = [
        Accepted(event("a", 0), 0, decodes=True),
        Accepted(event("a", 1), 2, decodes=True),
        Accepted(event("b", 2), TRIES + 1, decodes=True),
        Accepted(event("c", 3), 1, decodes=False),
    ]
    with fresh("memory") as backend:
        store, reader = backend.open_store(), backend.open_reader()
        sink = Sink(log, store)
        seen = []
        for step in ((4, 0), (0, 9), (0, 9), (0, 9)):
            sink.work(*step, "never")
            seen.append(reader.ledger("sink", 0, 2 * NOW_US)[0][6:10])
        sink.redrive(reader)
        sink.finish()

    assert seen == [(1, 0, 1, 2), (1, 0, 1, 2), (1, 1, 1, 1), (1, 1, 2, 0)]
    assert reader.ledger("sink", 0, 2 * NOW_US)[0][6:10] == (3, 1, 0, 0)
    assert at(3) in reader.find([("INV-1", "c")]).values()


def test_notes_go_for_the_records_that_came_and_for_no_others(pair: Pair) -> None:
    """One batch brings records of several partitions back, some far apart; notes between and beside them stay."""
    waiting = [(0, 4), (0, 5), (0, 6), (1, 5), (2, 5), (2, 3_000), (2, 900_000)]
    notes = [retry(at=at(offset, partition)) for partition, offset in waiting]
    given_up = [dead_letter(at=at(7, partition)) for partition in (0, 1)]
    pair.store.write(StoreBatch(retrying=notes, dead_letters=given_up))

    came = [at(5), at(7), at(5, 2), at(900_000, 2), at(5, 3)]
    pair.store.write(StoreBatch(events=[event(f"e-{n}", at=place) for n, place in enumerate(came)]))

    left = {row.at for row in pair.reader.retrying()}, {row.at for row in pair.reader.dead_letters()}
    assert left == ({at(4), at(6), at(5, 1), at(3_000, 2)}, {at(7, 1)})


def test_one_duplicate_among_many_is_told_from_the_others(pair: Pair) -> None:
    """New, repeated within the batch, replayed, and stored before from elsewhere: each in its place among new ones."""
    pair.store.write(StoreBatch(events=[event("a", 0), event("b", 1)]))

    given = [event("c", 2), event("a", 3), event("d", 4), event("b", 1), event("c", 2), event("d", 5), event("e", 6)]
    result = pair.store.write(StoreBatch(events=given))

    assert [str(outcome) for outcome in result.outcomes] == [
        "stored", "duplicate", "stored", "replayed", "replayed", "duplicate", "stored",
    ]  # fmt: skip
    counts = pair.reader.counts()
    assert (counts.stored, counts.duplicates) == (5, 2)

"""How rows become the ledger, the same for every store: what is newly accounted for, and how counts move later.

Everything is decided by coverage: an offset that a span covers is accounted for, once; whatever comes again moves its
count or changes nothing. So any order, cut and repetition of writes ends in the same ledger, and replaying a hole fills
it. Not here: where spans and notes stand (sqlite_ledger.py, memory_ledger.py), which events are new (the stores).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple, Protocol

from bems_streams.adapters.stores_records import Record, Records, by_place, texts, total
from bems_streams.adapters.stores_summary import Valued, valued
from bems_streams.ports import (
    MINUTE_US,
    STORE_AGENT,
    Account,
    Coordinates,
    DeadLetterRow,
    DuplicateRow,
    EventRow,
    Handled,
    Note,
    RecordOutcome,
    RetryRow,
    Span,
    StoreBatch,
)

STORED, DUPLICATE = RecordOutcome.STORED, RecordOutcome.DUPLICATE
_COUNT_OF: Final = {
    STORED: "stored",
    DUPLICATE: "duplicates",
    RecordOutcome.DEAD_LETTERED: "dead_lettered",
    RecordOutcome.RETRYING: "retrying",
}

Line = tuple[str, str, int]
"""(agent, topic, partition): what one row of spans is about."""
NoteRow = DeadLetterRow | RetryRow
NONE: Final = Records((), (), (), ())


class Books(Protocol):
    """What a store must be able to look up and change, within one write."""

    def spans_back(self, line: Line, before: int) -> Iterator[Span]:
        """Spans that begin before this offset, the last first."""

    def put_span(self, span: Span) -> None:
        """In place of the one that begins at the same offset."""

    def notes(self, asked: Mapping[Line, Collection[int]]) -> Sequence[NoteRow]:
        """The agents' notes about the records at these offsets, at most one each."""

    def put_note(self, note: NoteRow) -> None:
        """There is none yet about this record."""

    def drop_note(self, note: NoteRow) -> None:
        """It is there."""

    def kept(self, at: Coordinates) -> bool:
        """Whether the record at these coordinates is stored, or noted as a duplicate."""

    def held(self, line: Line, first: int, until: int) -> Mapping[int, Record]:
        """Every record of the stretch that has a row, by offset."""


def keep_books(
    books: Books,
    batch: StoreBatch,
    events: Sequence[EventRow],
    outcomes: Sequence[RecordOutcome],
    values: Sequence[Valued],
) -> None:
    """Take the batch's notes, and account for what it handled. `events` (with what became of them) are written."""
    records = by_place(events, outcomes, values)
    for note in books.notes({(STORE_AGENT, *place): of_place.offsets for place, of_place in records.items()}):
        _, outcome, value = records[note.at[:2]].at(note.at.offset)
        books.drop_note(note)
        _move(books, note, outcome, value)
    notes: list[NoteRow] = [*batch.dead_letters, *batch.retrying]
    for note in notes:
        _take(books, note)
    for handled in batch.handled:
        _account(books, handled, records.get((handled.topic, handled.partition), NONE))
    for account in batch.accounts:
        _apply(books, account)


def duplicate_of(row: EventRow) -> DuplicateRow:
    """The note about a record whose event was stored before."""
    of_record = (row.accepted_us, row.stored_us, row.currency, row.invoice_amount)
    return DuplicateRow(row.at, row.invoice_id, row.event_id, *of_record)


def span_at(books: Books, line: Line, offset: int) -> Span | None:
    """The span that accounts for an offset."""
    span = next(books.spans_back(line, offset + 1), None)
    return span if span is not None and offset < span.next_offset else None


def _line(note: NoteRow) -> Line:
    return note.agent, note.at.topic, note.at.partition


def _outcome(note: NoteRow) -> RecordOutcome:
    return RecordOutcome.RETRYING if isinstance(note, RetryRow) else RecordOutcome.DEAD_LETTERED


def _take(books: Books, note: NoteRow) -> None:
    """Write the note, unless more is known of its record: that it is stored, that the agent has settled it, or a newer
    note.
    """
    if note.agent == STORE_AGENT and books.kept(note.at):
        return
    present = next(iter(books.notes({_line(note): [note.at.offset]})), None)
    if present is None:
        if span_at(books, _line(note), note.at.offset) is None:
            books.put_note(note)
    elif _replaces(note, present):
        books.drop_note(present)
        books.put_note(note)
        _move(books, present, _outcome(note), valued(note.currency, note.invoice_amount))


def _replaces(note: NoteRow, present: NoteRow) -> bool:
    """Whether a note is news. A wait that ends before the present one, or that was over when the record was given up,
    is not: its batch was written again.
    """
    if isinstance(note, DeadLetterRow):
        return isinstance(present, RetryRow)
    if isinstance(present, RetryRow):
        return (note.not_before_us, note.attempts) > (present.not_before_us, present.attempts)
    return note.not_before_us > present.stored_us


def _move(books: Books, note: NoteRow, outcome: RecordOutcome, value: Valued) -> None:
    """The record of a note that was dropped counts under another outcome now, and maybe with an amount now."""
    span, was = span_at(books, _line(note), note.at.offset), _COUNT_OF[_outcome(note)]
    if span is None or not getattr(span, was):
        return
    counts = {name: getattr(span, name) for name in _COUNT_OF.values()}
    counts[was] -= 1
    counts[_COUNT_OF[outcome]] += 1
    currency, amount = valued(note.currency, note.invoice_amount)
    change = total([(currency, amount.copy_negate()), value])
    books.put_span(span._replace(**counts, value=_added(span.value, change)))


def _account(books: Books, handled: Handled, records: Records) -> None:
    line = (handled.agent, handled.topic, handled.partition)
    for first, until, before in _uncovered(books, line, handled.first_offset, handled.next_offset):
        given = records.between(first, until)
        if len(given.offsets) < until - first:  # the rest are notes, came by an earlier write, or belong to no record
            given = Records.of(books.held(line, first, until))
        last = before
        for span in _spans(line, first, until, given):
            last = _joined(last, span)
            books.put_span(last)


class _Gap(NamedTuple):
    """Offsets that no span accounts for, and the span before them."""

    first: int
    until: int
    before: Span | None


def _uncovered(books: Books, line: Line, first: int, until: int) -> Sequence[_Gap]:
    """The parts of [first, until) that no span accounts for. Nearly always all of it, at the price of one look."""
    found = []
    for span in books.spans_back(line, until):
        if max(first, span.next_offset) < until:
            found.append(_Gap(max(first, span.next_offset), until, span))
        until = min(until, span.first_offset)
        if until <= first or span.next_offset <= first:
            return found
    if first < until:
        found.append(_Gap(first, until, None))
    return found


def _spans(line: Line, first: int, until: int, records: Records) -> Iterator[Span]:
    """One for each minute, without holes from `first` to `until`; none when there is no record in between."""
    for minute, begin, end in records.minutes():
        tally = records.tally(begin, end)
        yield Span(
            *line,
            first_offset=records.offsets[begin] if begin else first,
            next_offset=records.offsets[end] if end < len(records.offsets) else until,
            minute_us=minute * MINUTE_US,
            stored=tally.stored,
            duplicates=tally.duplicates,
            dead_lettered=tally.dead_lettered,
            retrying=tally.retrying,
            value=tally.value,
        )


def _joined(last: Span | None, span: Span) -> Span:
    """A span that nothing covers yet; it becomes one with the span before when they meet within a minute."""
    if last is None or (last.next_offset, last.minute_us) != (span.first_offset, span.minute_us):
        return span
    counts = {name: getattr(last, name) + getattr(span, name) for name in _COUNT_OF.values()}
    value = _added(last.value, {currency: Decimal(text) for currency, text in span.value.items()})
    return last._replace(next_offset=span.next_offset, **counts, value=value)


def _apply(books: Books, account: Account) -> None:
    """A span that is covered was applied before, with the notes about its records. Other notes come from lanes."""
    spans = [span._replace(agent=account.agent) for span in account.spans]
    new = [span for span in spans if [gap[:2] for gap in _uncovered(books, span[:3], *span[3:5])] == [span[3:5]]]
    for note in account.notes:
        if _within(new, note.at) or not _within(spans, note.at):
            _note(books, account.agent, note)
    for span in new:
        books.put_span(_joined(next(books.spans_back(span[:3], span.first_offset), None), span))


def _within(spans: Iterable[Span], at: Coordinates) -> bool:
    return any(span[1:3] == at[:2] and span.first_offset <= at.offset < span.next_offset for span in spans)


def _note(books: Books, agent: str, note: Note) -> None:
    at, code, reason = note.at, note.code or "", note.reason or ""
    times, ids = (note.accepted_us, note.noted_us), (note.invoice_id, note.event_id)
    if note.outcome is RecordOutcome.DEAD_LETTERED:
        _take(books, DeadLetterRow(at, agent, code, reason, *times, *ids))
    elif note.outcome is RecordOutcome.RETRYING:
        _take(books, RetryRow(at, agent, code, reason, note.attempts, note.not_before_us, *times, *ids))
    else:
        for row in books.notes({(agent, at.topic, at.partition): [at.offset]}):
            books.drop_note(row)
            _move(books, row, note.outcome, valued(row.currency, row.invoice_amount))


def _added(value: Mapping[str, str], change: Mapping[str, Decimal]) -> dict[str, str]:
    return texts(total([*((currency, Decimal(text)) for currency, text in value.items()), *change.items()]))

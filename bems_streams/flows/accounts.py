"""What an agent without a store tells the ledger: spans of offsets by outcome, and notes on records set aside.

Not here: what the ledger does with it (adapters), when it is published (track.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from bems_streams.domain.accounting import AccountDocument, NoteDocument, SpanDocument, decode_account
from bems_streams.domain.event import instant, microseconds
from bems_streams.ports import MINUTE_US, Account, Coordinates, Note, Place, RawRecord, RecordOutcome, Span

Unlike = Mapping[Place, Mapping[int, RecordOutcome]]
"""By partition and offset, the outcomes of records that were not stored: few, as a rule."""


def spans(agent: str, batches: Iterable[Sequence[RawRecord]], unlike: Unlike) -> list[Span]:
    """Runs of one partition and minute. A batch is of one partition, in offset order, and so are its batches.

    What lies between two records that the log returned one after the other belongs to no record: it is inside a span.
    """
    runs: list[_Run] = []
    newest: dict[Place, _Run] = {}
    for records in batches:
        first = records[0].at
        place = first.topic, first.partition
        for minute_us, piece in _by_minute(records):
            run = newest.get(place)
            if run is None or run.minute_us != minute_us:
                run = newest[place] = _Run(place, first.offset if run is None else run.next_offset, minute_us)
                runs.append(run)
            run.add(piece, unlike.get(place))
    return [run.span(agent) for run in runs]


def _by_minute(records: Sequence[RawRecord]) -> Iterable[tuple[int, Sequence[RawRecord]]]:
    """Pieces accepted within one minute. As a rule there is one: told by the extremes, since a clock may go back."""
    times = [record.accepted_us for record in records]
    minute = min(times) // MINUTE_US
    if minute == max(times) // MINUTE_US:
        return [(minute * MINUTE_US, records)]
    pieces = groupby(records, lambda record: record.accepted_us // MINUTE_US)
    return [(each * MINUTE_US, list(piece)) for each, piece in pieces]


class _Run:
    """A span in the making."""

    __slots__ = ("_accepted", "_first_offset", "_others", "_place", "minute_us", "next_offset")

    def __init__(self, place: Place, first_offset: int, minute_us: int) -> None:
        self._place = place
        self._first_offset = first_offset
        self.minute_us = minute_us
        self.next_offset = first_offset
        self._accepted = 0
        self._others: list[RecordOutcome] = []

    def add(self, records: Sequence[RawRecord], unlike: Mapping[int, RecordOutcome] | None) -> None:
        self._accepted += len(records)
        self.next_offset = records[-1].at.offset + 1
        if unlike:
            offsets = [record.at.offset for record in records]
            self._others += [unlike[offset] for offset in offsets if offset in unlike]

    def span(self, agent: str) -> Span:
        others = self._others
        return Span(
            agent=agent,
            topic=self._place[0],
            partition=self._place[1],
            first_offset=self._first_offset,
            next_offset=self.next_offset,
            minute_us=self.minute_us,
            stored=self._accepted - len(others),
            duplicates=others.count(RecordOutcome.DUPLICATE),
            dead_lettered=others.count(RecordOutcome.DEAD_LETTERED),
            retrying=others.count(RecordOutcome.RETRYING),
            value={},
        )


def documents(account: Account, cell: str, region: str) -> Mapping[int, AccountDocument]:
    """One document per partition number, so that those of one number stay in order."""
    numbers = sorted({span.partition for span in account.spans} | {note.at.partition for note in account.notes})
    return {
        number: AccountDocument(
            agent=account.agent,
            partition=number,
            spans=tuple(_span_document(span) for span in account.spans if span.partition == number),
            notes=tuple(_note_document(note) for note in account.notes if note.at.partition == number),
            cell=cell,
            region=region,
        )
        for number in numbers
    }


def account_of(raw: bytes) -> Account:
    """A document as the ledger takes it. ValueError or TypeError for anything else."""
    document = decode_account(raw)
    return Account(
        document.agent,
        [_span_of(document, span) for span in document.spans],
        [_note_of(document, note) for note in document.notes],
    )


def _span_document(span: Span) -> SpanDocument:
    return SpanDocument(
        topic=span.topic,
        first_offset=span.first_offset,
        next_offset=span.next_offset,
        minute=instant(span.minute_us),
        stored=span.stored,
        duplicates=span.duplicates,
        dead_lettered=span.dead_lettered,
        retrying=span.retrying,
    )


def _note_document(note: Note) -> NoteDocument:
    return NoteDocument(
        topic=note.at.topic,
        offset=note.at.offset,
        outcome=note.outcome.value,
        accepted_at=instant(note.accepted_us),
        noted_at=instant(note.noted_us),
        code=note.code,
        reason=note.reason,
        attempts=note.attempts,
        not_before=instant(note.not_before_us) if note.not_before_us else None,
        invoice_id=note.invoice_id,
        event_id=note.event_id,
    )


def _span_of(document: AccountDocument, span: SpanDocument) -> Span:
    return Span(
        agent=document.agent,
        topic=span.topic,
        partition=document.partition,
        first_offset=span.first_offset,
        next_offset=span.next_offset,
        minute_us=microseconds(span.minute),
        stored=span.stored,
        duplicates=span.duplicates,
        dead_lettered=span.dead_lettered,
        retrying=span.retrying,
        value={},
    )


def _note_of(document: AccountDocument, note: NoteDocument) -> Note:
    return Note(
        at=Coordinates(note.topic, document.partition, note.offset),
        outcome=RecordOutcome(note.outcome),
        accepted_us=microseconds(note.accepted_at),
        noted_us=microseconds(note.noted_at),
        code=note.code,
        reason=note.reason,
        attempts=note.attempts,
        not_before_us=0 if note.not_before is None else microseconds(note.not_before),
        invoice_id=note.invoice_id,
        event_id=note.event_id,
    )

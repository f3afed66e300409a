"""What an agent without a store tells the ledger: spans of offsets by outcome, and notes on records set aside.

Not here: what the ledger does with it (adapters), when it is published (track.py).
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from bems_streams.domain.accounting import AccountDocument, NoteDocument, SpanDocument, decode_account
from bems_streams.domain.event import instant, microseconds
from bems_streams.ports import MINUTE_US, Account, Coordinates, Note, RecordOutcome, Span


class Accounted(NamedTuple):
    """One record read from its stage topic, and what was done with it."""

    at: Coordinates
    accepted_us: int
    outcome: RecordOutcome


def spans(agent: str, accounted: Iterable[Accounted]) -> list[Span]:
    """Runs of one partition and minute; records of one partition must come in offset order.

    What lies between two records that the log returned one after the other belongs to no record: it is inside a span.
    """
    runs: list[tuple[Coordinates, int, list[Accounted]]] = []
    newest: dict[tuple[str, int], list[Accounted]] = {}
    for record in accounted:
        place = record.at.topic, record.at.partition
        run = newest.get(place)
        if run is None or run[-1].accepted_us // MINUTE_US != record.accepted_us // MINUTE_US:
            first = record.at if run is None else record.at._replace(offset=run[-1].at.offset + 1)
            run = newest[place] = []
            runs.append((first, record.accepted_us - record.accepted_us % MINUTE_US, run))
        run.append(record)
    return [_span(agent, first, minute_us, run) for first, minute_us, run in runs]


def _span(agent: str, first: Coordinates, minute_us: int, run: list[Accounted]) -> Span:
    outcomes = [record.outcome for record in run]
    return Span(
        agent=agent,
        topic=first.topic,
        partition=first.partition,
        first_offset=first.offset,
        next_offset=run[-1].at.offset + 1,
        minute_us=minute_us,
        stored=outcomes.count(RecordOutcome.STORED),
        duplicates=outcomes.count(RecordOutcome.DUPLICATE),
        dead_lettered=outcomes.count(RecordOutcome.DEAD_LETTERED),
        retrying=outcomes.count(RecordOutcome.RETRYING),
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

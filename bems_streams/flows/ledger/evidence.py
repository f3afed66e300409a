"""What log and rows say of single records: both are asked in large steps, and only about the offsets of interest.

Not here: what is made of it (spans.py, gaps.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from typing import Final, NamedTuple

import msgspec

from bems_streams.domain.event import Event
from bems_streams.flows.decode import decode_event
from bems_streams.flows.ledger.coverage import together
from bems_streams.flows.ledger.findings import Finding, Kind
from bems_streams.flows.ledger.sheet import Value, same_value
from bems_streams.ports import Coordinates, Extent, LogReader, Place, RawRecord, RecordOutcome, Span, StoreReader, Tally

BATCH_RECORDS: Final = 500
READ_THROUGH_OFFSETS: Final = 5_000
"""Stretches nearer than this are read in one go: starting a read costs more."""
MAX_PROVEN: Final = 200_000
UNREADABLE: Final = "unreadable"


class Books(NamedTuple):
    """An agent that accounts for stage topics. `recounted`: outcomes of which the store has a row per record."""

    agent: str
    recounted: frozenset[RecordOutcome]

    @property
    def row_per_record(self) -> bool:
        """Of the agent that writes the store."""
        return RecordOutcome.STORED in self.recounted

    def agree(self, span: Span, recount: Tally) -> bool:
        """Whether the rows are those that the ledger counts, with the amounts that it says."""
        return all(number(span, outcome) == number(recount, outcome) for outcome in self.recounted) and (
            not self.row_per_record or same_value(span.value, recount.value)
        )


def number(counts: Span | Tally, outcome: RecordOutcome) -> int:
    """How many records of this outcome."""
    return {
        RecordOutcome.STORED: counts.stored,
        RecordOutcome.DUPLICATE: counts.duplicates,
        RecordOutcome.DEAD_LETTERED: counts.dead_lettered,
        RecordOutcome.RETRYING: counts.retrying,
    }[outcome]


class Ids(msgspec.Struct, frozen=True):
    """What names an event, of bytes that may be no good event otherwise."""

    invoice_id: str = UNREADABLE
    event_id: str = UNREADABLE


_read_ids: Final = msgspec.json.Decoder(Ids).decode


def ids_of(value: bytes | None) -> Ids:
    """`unreadable` for what the bytes do not tell."""
    try:
        return _read_ids(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Ids()


def record_finding(kind: Kind, agent: str, record: RawRecord, detail: str) -> Finding:
    """A finding about a record that the log still holds."""
    ids, (topic, partition, offset) = ids_of(record.value), record.at
    return Finding(
        kind, agent, topic, partition, offset, offset + 1, detail, record.accepted_us, ids.invoice_id, ids.event_id
    )


class Evidence:
    """Asks log and store. Remembers what was proven of the log, which does not change, so as not to read it again."""

    def __init__(self, log: LogReader, store: StoreReader, stage_of: Mapping[str, str]) -> None:
        self.store = store
        self._log = log
        self.stage_of = stage_of
        self._proven: set[tuple[object, ...]] = set()

    def records(self, ranges: Mapping[Place, Sequence[Extent]]) -> Iterator[list[RawRecord]]:
        """What the log holds in these ranges, in batches; those of one partition in order."""
        stretches = [
            [(place, stretch) for stretch in together(own, READ_THROUGH_OFFSETS)] for place, own in ranges.items()
        ]
        for in_one_go in zip_longest(*stretches):
            spans = dict(entry for entry in in_one_go if entry is not None)
            records = self._log.read(spans)
            while batch := list(islice(records, BATCH_RECORDS)):
                yield batch

    def first_records(self, spans: Mapping[Place, Extent], offsets: int) -> Mapping[Place, Sequence[RawRecord]]:
        """Those within the first `offsets` of each span; all of a span where these hold none (aborted transactions).

        Places without any are left out.
        """
        beginnings = {place: Extent(start, min(end, start + offsets)) for place, (start, end) in spans.items()}
        found = self._by_place(beginnings)
        empty = {place: span for place, span in spans.items() if place not in found and span != beginnings[place]}
        return {**found, **self._by_place(empty)}

    def _by_place(self, spans: Mapping[Place, Extent]) -> dict[Place, list[RawRecord]]:
        found: dict[Place, list[RawRecord]] = {}
        for record in self._log.read(spans) if spans else ():
            found.setdefault((record.at.topic, record.at.partition), []).append(record)
        return found

    def log_extents(self, places: Sequence[Place]) -> Mapping[Place, Extent]:
        """How far the log reaches now. Ask after reading: what retention took meanwhile is not missing."""
        return self._log.extents(places)

    def rows(self, agent: str, places: Sequence[Coordinates]) -> Sequence[Tally]:
        """What rows there are for each record, in one snapshot."""
        return self.store.tally([Span(agent, *at, at.offset + 1, 0, 0, 0, 0, 0, {}) for at in places])

    def value(self, record: RawRecord) -> Value:
        """The amount that was accepted, if the record is a good event with one."""
        event = decode_event(record, self.stage_of[record.at.topic])
        if not isinstance(event, Event) or event.currency is None or event.invoice_amount is None:
            return {}
        return {event.currency: event.invoice_amount}

    def is_proven(self, *fact: object) -> bool:
        """Whether it was found to be so before."""
        return fact in self._proven

    def remember(self, *fact: object) -> None:
        """A fact about the log that stays true."""
        if len(self._proven) >= MAX_PROVEN:
            self._proven.clear()
        self._proven.add(fact)

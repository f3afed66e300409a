"""A cell in memory for the ledger's tests: a log with markers and retention, the store in memory, agents by hand.

Not here: any rule of the verification.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from bems_streams.adapters.memory import MemoryBackend
from bems_streams.adapters.memory_ledger import MemoryTables
from bems_streams.domain.event import Event
from bems_streams.flows.accounts import spans
from bems_streams.flows.decode import decode_event
from bems_streams.flows.ledger.evidence import Books
from bems_streams.flows.ledger.findings import Finding, Kind, Reconciliation
from bems_streams.flows.reconcile import ROW_PER_RECORD, ROW_WHEN_SET_ASIDE, Reconciler, Scope
from bems_streams.flows.rows import event_row
from bems_streams.ports import (
    Account,
    Coordinates,
    DeadLetterRow,
    Extent,
    Handled,
    LogUnavailableError,
    Note,
    Offsets,
    Place,
    RawRecord,
    RecordOutcome,
    RetryRow,
    StoreBatch,
)
from tests.unit.flow_kit import SECOND_US, START_US, FrozenClock, payload

STAGE_OF: Final = {"invoices.ingestion": "ingestion", "invoices.posting": "posting"}
TOPIC: Final = "invoices.ingestion"
SINK: Final = Books("sink", ROW_PER_RECORD)
TRACKER: Final = Books("tracker", ROW_WHEN_SET_ASIDE)
MINUTE_US: Final = 60 * SECOND_US
POISON: Final = b"\xff no event"


class MemoryLog:
    """LogReader in memory. An offset may hold a record, or none: a marker, or an aborted record."""

    def __init__(self) -> None:
        self.slots: defaultdict[Place, list[RawRecord | int]] = defaultdict(list)
        self.starts: defaultdict[Place, int] = defaultdict(int)
        self.away = False
        self.times_known = True
        self.offsets_read = 0
        self.on_extents: Callable[[], None] = lambda: None

    def append(self, place: Place, key: bytes | None, value: bytes | None, accepted_us: int) -> Coordinates:
        """One record."""
        at = Coordinates(*place, len(self.slots[place]))
        self.slots[place].append(RawRecord(at, key, value, (), accepted_us))
        return at

    def mark(self, place: Place, accepted_us: int) -> None:
        """An offset without a record."""
        self.slots[place].append(accepted_us)

    def record(self, at: Coordinates) -> RawRecord:
        """What stands there."""
        found = self.slots[at.topic, at.partition][at.offset]
        assert isinstance(found, RawRecord)
        return found

    def extents(self, places: Sequence[Place]) -> Mapping[Place, Extent]:
        """See LogReader."""
        if self.away:
            raise LogUnavailableError("no broker answers; start it")
        found = {place: Extent(self.starts[place], len(self.slots[place])) for place in places}
        self.on_extents()
        return found

    def offsets_at(self, places: Sequence[Place], moment_us: int) -> Offsets:
        """See LogReader."""
        return {place: self._offset_at(place, moment_us) for place in places}

    def _offset_at(self, place: Place, moment_us: int) -> int:
        for offset in range(self.starts[place], len(self.slots[place]) if self.times_known else 0):
            slot = self.slots[place][offset]
            if (slot.accepted_us if isinstance(slot, RawRecord) else slot) >= moment_us:
                return offset
        return len(self.slots[place])

    def read(self, spans: Mapping[Place, Extent]) -> Iterator[RawRecord]:
        """See LogReader."""
        for place, (start, end) in spans.items():
            for offset in range(max(start, self.starts[place]), min(end, len(self.slots[place]))):
                self.offsets_read += 1
                slot = self.slots[place][offset]
                if isinstance(slot, RawRecord):
                    yield slot


class World:
    """One cell: what is appended is accepted now; `handle` lets sink and tracker take everything that waits."""

    def __init__(self) -> None:
        self.clock = FrozenClock(START_US + MINUTE_US)
        self.log = MemoryLog()
        self.backend = MemoryBackend()
        self.store = self.backend.open_store()
        self.reader = self.backend.open_reader()
        self.next: defaultdict[str, defaultdict[Place, int]] = defaultdict(lambda: defaultdict(int))
        self.reconciler = Reconciler(self.log, self.reader, self.clock, Scope(STAGE_OF, 2, [SINK, TRACKER]))

    @property
    def tables(self) -> MemoryTables:
        """What the store holds, for a hand that damages it."""
        return self.backend._tables

    def accept(
        self, event_id: str, amount: str | None = "10.50", currency: str = "EUR", partition: int = 0, **more: Any
    ) -> Coordinates:
        """One good event."""
        stage = more.pop("stage", "ingestion")
        if amount is not None:
            more |= {"invoice_amount": amount, "currency": currency}
        value = payload(event_id, stage=stage, **more)
        return self.log.append((f"invoices.{stage}", partition), b"INV-1", value, self.clock.us)

    def accept_bytes(self, value: bytes | None, partition: int = 0) -> Coordinates:
        """Whatever an upstream writes."""
        return self.log.append((TOPIC, partition), b"INV-1", value, self.clock.us)

    def pass_seconds(self, seconds: float) -> None:
        """Time goes on."""
        self.clock.us += round(seconds * SECOND_US)

    def handle(self, **outcomes: RecordOutcome) -> None:
        """Both agents. `outcomes`: records by event id that do not go the usual way."""
        self.sink(**outcomes)
        self.tracker(**outcomes)

    def waiting(self, agent: str) -> Iterator[tuple[Place, list[RawRecord]]]:
        """What the agent has not read yet, by place; it has read it then."""
        for place, slots in list(self.log.slots.items()):
            records = [slot for slot in slots[self.next[agent][place] :] if isinstance(slot, RawRecord)]
            if records:
                yield place, records
                self.next[agent][place] = records[-1].at.offset + 1

    def sink(self, **outcomes: RecordOutcome) -> None:
        """Write rows and ledger."""
        for place, records in self.waiting("sink"):
            events, dead, retrying = [], [], []
            for record in records:
                event = decode_event(record, STAGE_OF[place[0]])
                if not isinstance(event, Event):
                    dead.append(
                        DeadLetterRow(record.at, "sink", event.code, event.reason, record.accepted_us, self.clock.us)
                    )
                elif outcomes.get(event.event_id) is RecordOutcome.RETRYING:
                    retrying.append(_retry_row(record, event, self.clock.us))
                else:
                    events.append(event_row(record, event, self.clock.us))
            handled = Handled("sink", *place, records[0].at.offset, records[-1].at.offset + 1)
            self.store.write(StoreBatch(events=events, dead_letters=dead, retrying=retrying, handled=[handled]))

    def redeliver(self, at: Coordinates) -> None:
        """The sink takes a record back from a lane."""
        record = self.log.record(at)
        event = decode_event(record, STAGE_OF[at.topic])
        assert isinstance(event, Event)
        self.store.write(StoreBatch(events=[event_row(record, event, self.clock.us)]))

    def tracker(self, **outcomes: RecordOutcome) -> None:
        """Account, as the sink applies it."""
        for place, records in self.waiting("tracker"):
            unlike: dict[int, RecordOutcome] = {}
            notes = []
            for record in records:
                event = decode_event(record, STAGE_OF[place[0]])
                good = isinstance(event, Event)
                outcome = RecordOutcome.STORED if good else RecordOutcome.DEAD_LETTERED
                if isinstance(event, Event):
                    outcome = outcomes.get(event.event_id, outcome)
                if outcome is not RecordOutcome.STORED:
                    unlike[record.at.offset] = outcome
                if outcome in {RecordOutcome.DEAD_LETTERED, RecordOutcome.RETRYING}:
                    notes.append(Note(record.at, outcome, record.accepted_us, self.clock.us, "code", "reason", 1, 1))
            account = Account("tracker", spans("tracker", [records], {place: unlike}), notes)
            self.store.write(StoreBatch(accounts=[account]))

    def delete_row(self, at: Coordinates) -> None:
        """By hand, behind everybody's back."""
        row = self.tables.stored_at.pop(at, None)
        if row is not None:
            del self.tables.events[row.invoice_id, row.event_id]
        self.tables.duplicates.pop(at, None)
        for notes in (self.tables.dead_letters, self.tables.retrying):
            notes.pop(("sink", at), None)

    def delete_entry(self, agent: str, at: Coordinates) -> None:
        """The ledger's entry that covers the record."""
        entries = self.tables.ledger[agent, at.topic, at.partition]
        first = next(first for first, span in entries.items() if first <= at.offset < span.next_offset)
        del entries[first]

    def expire(self, before: int, place: Place = (TOPIC, 0)) -> None:
        """Retention deletes what is older."""
        self.log.starts[place] = before


def _retry_row(record: RawRecord, event: Event, now_us: int) -> RetryRow:
    row = event_row(record, event, now_us)
    known = (event.invoice_id, event.event_id, row.currency, row.invoice_amount)
    return RetryRow(record.at, "sink", "store_refused", "no", 1, now_us, record.accepted_us, now_us, *known)


def named(result: Reconciliation, kind: Kind | None = None) -> list[tuple[str, str, str, str | None]]:
    """(kind, agent, receipt, event id) of every finding."""
    return [_name(found) for found in result.findings if kind in {None, found.kind}]


def _name(found: Finding) -> tuple[str, str, str, str | None]:
    return found.kind.value, found.agent, found.receipt("c1"), found.event_id

"""A cell's remains in memory, as they are when every promise was kept; tests then tamper with them.

They are made by the product's own pure parts, which the judge does not use. Not here: any test.
"""

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from zlib import crc32

import msgspec

from bems_streams.domain.codec import TrackedInvoice
from bems_streams.domain.event import Event, parse_event
from bems_streams.domain.failures import Poison
from bems_streams.domain.fold import fold
from bems_streams.domain.views import (
    AlertDocument,
    cleared_alert,
    encode_document,
    status_document,
    stuck_alert,
)
from bems_streams.flows.decode import decode_event
from bems_streams.flows.lanes import Arrival, Lanes
from bems_streams.flows.rows import alert_row, event_row, invoice_row, set_aside_row
from bems_streams.local.prove.evidence import SINK, TRACKER, Evidence, Verdict
from bems_streams.local.prove.judge import judge
from bems_streams.local.prove.load_source import LoadSource
from bems_streams.local.simulator_poison import poison
from bems_streams.ports import (
    AlertRow,
    Coordinates,
    DeadLetterRow,
    DuplicateRow,
    EventKey,
    EventRow,
    Extent,
    InvoiceRow,
    Offsets,
    OutRecord,
    Place,
    RawRecord,
    RetryRow,
    Span,
    Tally,
    Timeline,
)
from bems_streams.topics import Catalogue, Overrides, load_catalogue

PARTITIONS = 3
TIME_SCALE = 17_280.0  # an invoice may stay in ingestion for 5 s
BEGIN_US = 1_780_000_000_000_000
STEP_US = 400_000
CATALOGUE = load_catalogue(overrides=Overrides(partitions=PARTITIONS))
JOURNEY = CATALOGUE.journey(TIME_SCALE)


Row = EventRow | DuplicateRow | DeadLetterRow | RetryRow


class FakeLog:
    """A LogReader over lists. `None` stands for a marker of a transaction."""

    def __init__(self) -> None:
        self.records: defaultdict[Place, list[RawRecord | None]] = defaultdict(list)

    def append(self, out: OutRecord, accepted_us: int) -> RawRecord:
        number = out.partition if out.partition is not None else crc32(out.key or b"") % PARTITIONS
        place = out.topic, number
        at = Coordinates(*place, len(self.records[place]))
        record = RawRecord(at, out.key, out.value, list(out.headers), accepted_us)
        self.records[place].append(record)
        return record

    def replace(self, record: RawRecord) -> None:
        """Tamper: another record at the same coordinates."""
        self.records[record.at.topic, record.at.partition][record.at.offset] = record

    def remove(self, at: Coordinates) -> None:
        """Tamper: nothing is there any more."""
        self.records[at.topic, at.partition][at.offset] = None

    def of(self, topic: str) -> list[RawRecord]:
        """Everything in a topic."""
        found = [record for place, records in sorted(self.records.items()) if place[0] == topic for record in records]
        return [record for record in found if record is not None]

    def extents(self, places: Sequence[Place]) -> Mapping[Place, Extent]:
        return {place: Extent(0, len(self.records[place])) for place in places}

    def offsets_at(self, places: Sequence[Place], moment_us: int) -> Offsets:
        raise NotImplementedError("the judge asks for no moments")

    def read(self, spans: Mapping[Place, Extent]) -> Iterator[RawRecord]:
        for place, span in spans.items():
            yield from (record for record in self.records[place][span.start : span.end] if record is not None)


class FakeGroup:
    """An agent that has handled everything, save what a test says."""

    def __init__(self, log: FakeLog) -> None:
        self._log = log
        self.behind: dict[Place, int] = {}

    def committed(self, places: Sequence[Place]) -> Offsets:
        ends = {place: extent.end for place, extent in self._log.extents(places).items()}
        return {place: end - self.behind.get(place, 0) for place, end in ends.items()}


@dataclass
class FakeStore:
    """A Witness over lists, which tests change as they like."""

    rows: list[EventRow] = field(default_factory=list)
    duplicates: list[DuplicateRow] = field(default_factory=list)
    letters: list[DeadLetterRow] = field(default_factory=list)
    waiting: list[RetryRow] = field(default_factory=list)
    states: dict[str, InvoiceRow] = field(default_factory=dict)
    alerts: list[AlertRow] = field(default_factory=list)
    unfindable: set[EventKey] = field(default_factory=set)

    def events(self) -> Iterator[EventRow]:
        return iter(sorted(self.rows, key=lambda row: (row.invoice_id, row.occurred_us, row.at)))

    def invoices(self) -> Iterator[InvoiceRow]:
        return iter(sorted(self.states.values()))

    def dead_letters(self, limit: int | None = None) -> Sequence[DeadLetterRow]:
        return self.letters[:limit]

    def retrying(self, limit: int | None = None) -> Sequence[RetryRow]:
        return self.waiting[:limit]

    def held(self, agent: str, topic: str, partition: int, first_offset: int, next_offset: int) -> Collection[int]:
        return {at.offset for at, _ in self._values(agent, topic, partition) if first_offset <= at.offset < next_offset}

    def _values(self, agent: str, topic: str, partition: int) -> list[tuple[Coordinates, Row]]:
        aside: list[DeadLetterRow | RetryRow] = [*self.letters, *self.waiting]
        rows: list[Row] = [row for row in aside if row.agent == agent]
        rows += [*self.rows, *self.duplicates] if agent == SINK else []
        return [(row.at, row) for row in rows if (row.at.topic, row.at.partition) == (topic, partition)]

    def find(self, keys: Collection[EventKey]) -> Mapping[EventKey, Coordinates]:
        known = {(row.invoice_id, row.event_id): row.at for row in self.rows}
        return {key: known[key] for key in keys if key in known and key not in self.unfindable}

    def tally(self, spans: Sequence[Span], *, valued: bool = True) -> Sequence[Tally]:
        return [self._tally(span) for span in spans]

    def _tally(self, span: Span) -> Tally:
        rows = [
            row
            for at, row in self._values(span.agent, span.topic, span.partition)
            if span.first_offset <= at.offset < span.next_offset
        ]
        value: defaultdict[str, Decimal] = defaultdict(Decimal)
        for row in rows:
            if row.currency and row.invoice_amount is not None:
                value[row.currency] += Decimal(row.invoice_amount)

        def number(kind: type) -> int:
            return sum(isinstance(row, kind) for row in rows)

        return Tally(
            number(EventRow),
            number(DuplicateRow),
            number(DeadLetterRow),
            number(RetryRow),
            {currency: str(amount) for currency, amount in value.items()},
        )

    def timeline(self, invoice_id: str) -> Timeline:
        return Timeline(
            self.states.get(invoice_id), alerts=[row for row in self.alerts if row.invoice_id == invoice_id]
        )


class Remains:
    """What a cell leaves behind: log, store, groups, the load's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = FakeLog()
        self.store = FakeStore()
        self.groups = {agent: FakeGroup(self.log) for agent in CATALOGUE.agents}
        self.now_us = BEGIN_US
        self._stages = {topic: stage for stage, topic in CATALOGUE.stage_topics.items()}
        self._lanes = {agent: Lanes.of(CATALOGUE, agent, "c", "r") for agent in (TRACKER, SINK)}
        self._tracked: dict[str, TrackedInvoice] = defaultdict(TrackedInvoice.new)
        self._numbers: dict[str, int] = {}
        self._acknowledged: list[bytes] = []

    @property
    def catalogue(self) -> Catalogue:
        return CATALOGUE

    def live(self, events: int, bad: int) -> "Remains":
        """Accept, store and track so many events, then be silent until everything open is stuck."""
        for offer in itertools.islice(LoadSource(5, 40, 86_400).offers(), events):
            event = parse_event(offer.raw)
            if isinstance(event, Event):
                out = OutRecord(
                    CATALOGUE.stage_topics[event.stage], event.invoice_id.encode(), offer.raw, [("x", b"y")]
                )
                self.acknowledge(self.accept(out), event.event_id, event.invoice_id)
        for out in poison("run", 3, bad, CATALOGUE.stage_topics):
            self.poisoned(self.accept(out))
        for place in [*self.log.records]:
            if place[0] == CATALOGUE.status_topic:
                self.log.records[place].append(None)
        self.now_us += 600_000_000
        self._watch()
        return self

    def accept(self, out: OutRecord) -> RawRecord:
        """One record into the log, and through both agents."""
        self.now_us += STEP_US
        self._watch()
        record = self.log.append(out, self.now_us)
        event = decode_event(record, self._stages[record.at.topic])
        if isinstance(event, Poison):
            for agent in (TRACKER, SINK):
                self.set_aside(agent, record, event)
        else:
            self._store(record, event)
            self._track(record, event)
        return record

    def set_aside(self, agent: str, record: RawRecord, failure: Poison) -> None:
        """A dead letter in the topic, and its note in the store."""
        aside = self._lanes[agent].set_aside(Arrival(record, None), failure, self.now_us)
        self.log.append(aside.out, self.now_us)
        row = set_aside_row(aside, None, self.now_us)
        assert isinstance(row, DeadLetterRow)
        self.store.letters.append(row)

    def acknowledge(self, record: RawRecord, event_id: str, invoice_id: str) -> None:
        """A line in the load's file."""
        line = {"event_id": event_id, "invoice_id": invoice_id, **record.at._asdict(), "accepted_at": "T"}
        with (self.folder / "acknowledged.jsonl").open("ab") as lines:
            lines.write(msgspec.json.encode(line) + b"\n")

    def poisoned(self, record: RawRecord) -> None:
        """A line in the load's file."""
        with (self.folder / "poison.jsonl").open("ab") as lines:
            lines.write(msgspec.json.encode(record.at._asdict()) + b"\n")

    def _store(self, record: RawRecord, event: Event) -> None:
        row = event_row(record, event, self.now_us)
        if any((known.invoice_id, known.event_id) == (row.invoice_id, row.event_id) for known in self.store.rows):
            note = DuplicateRow(
                row.at, row.invoice_id, row.event_id, row.accepted_us, row.stored_us, row.currency, row.invoice_amount
            )
            self.store.duplicates.append(note)
        else:
            self.store.rows.append(row)

    def _track(self, record: RawRecord, event: Event) -> None:
        invoice_id, tracked = event.invoice_id, self._tracked[event.invoice_id]
        self._numbers[invoice_id] = record.at.partition
        if not fold(tracked.state, event, record.accepted_us, JOURNEY):
            return
        here = (tracked.state.stage, tracked.state.deadline_us(JOURNEY))
        if tracked.alerted_deadline_us and here != (tracked.alerted_stage, tracked.alerted_deadline_us):
            raised = cleared_alert(invoice_id, tracked, JOURNEY, raised_us=self.now_us, cell="c", region="r")
            self._alert(invoice_id, raised)
            tracked.forget_alert()
        self._publish(invoice_id, tracked)

    def _watch(self) -> None:
        for invoice_id, tracked in self._tracked.items():
            deadline_us = tracked.state.deadline_us(JOURNEY) if tracked.state.stay else None
            if deadline_us is not None and deadline_us < self.now_us and not tracked.alerted_deadline_us:
                tracked.note_alert(deadline_us)
                raised = stuck_alert(invoice_id, tracked, JOURNEY, raised_us=self.now_us, cell="c", region="r")
                self._alert(invoice_id, raised)
                self._publish(invoice_id, tracked)

    def _alert(self, invoice_id: str, alert: AlertDocument) -> None:
        value = encode_document(alert)
        out = OutRecord(CATALOGUE.alerts_topic, invoice_id.encode(), value, partition=self._numbers[invoice_id])
        self.log.append(out, self.now_us)
        self.store.alerts.append(alert_row(value))

    def _publish(self, invoice_id: str, tracked: TrackedInvoice) -> None:
        tracked.revision += 1
        value = encode_document(
            status_document(invoice_id, tracked, JOURNEY, updated_us=self.now_us, cell="c", region="r")
        )
        out = OutRecord(CATALOGUE.status_topic, invoice_id.encode(), value, partition=self._numbers[invoice_id])
        self.log.append(out, self.now_us)
        self.store.states[invoice_id] = invoice_row(value)

    def evidence(self) -> Evidence:
        """For the judge."""
        return Evidence(
            catalogue=CATALOGUE,
            folder=self.folder,
            cell="c",
            time_scale=TIME_SCALE,
            judged_us=self.now_us,
            margin_us=1_000_000,
            log=self.log,
            store=self.store,
            groups=self.groups,
        )

    def verdict(self) -> Verdict:
        """What the judge says."""
        return judge(self.evidence())


def with_other_amount(row: EventRow) -> EventRow:
    """Tamper: a cent more."""
    return row._replace(invoice_amount=str(Decimal(row.invoice_amount or "0") + Decimal("0.01")))

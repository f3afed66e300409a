"""The outside of the flows, in memory: a broker that is durable, a table that can be lost, a clock that stands still.

Not here: crashes (tests/agents), any rule of the flows.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from prometheus_client import CollectorRegistry

from bems_streams.domain.codec import CorruptStateError, TrackedInvoice, decode_tracked
from bems_streams.domain.event import instant
from bems_streams.domain.failures import Failure
from bems_streams.domain.journey import Journey, Stage, StageCode
from bems_streams.domain.views import AlertDocument, StatusDocument, decode_alert, decode_status
from bems_streams.flows.envelope import disclose
from bems_streams.flows.lanes import Lanes
from bems_streams.flows.tracking import TrackingParts
from bems_streams.metrics import AgentMetrics, TableMetrics
from bems_streams.ports import Appended, Change, Coordinates, Headers, OutRecord, RawRecord

Place = tuple[str, int]

START_US: Final = 1_760_000_000_000_000
SECOND_US: Final = 1_000_000
LIMITS_US: Final = {"ingestion": 10 * SECOND_US, "reconciliation": 50 * SECOND_US, "authorization": 30 * SECOND_US}
STAGES: Final = (*LIMITS_US, "posting")
STAGE_OF: Final = {f"invoices.{stage}": stage for stage in STAGES}
STATUS: Final = "invoices.status"
ALERTS: Final = "invoices.alerts"
CHANGELOG: Final = "bems.tracker.changelog"
LEDGER: Final = "invoices.ledger"
WAITS_US: Final = (5_000_000, 60_000_000)


def lanes_of(agent: str) -> Lanes:
    """The lanes of an agent with two waits."""
    return Lanes(
        agent=agent,
        waits_us=WAITS_US,
        retry_topics=[f"invoices.{agent}.retry-{wait}" for wait in range(1, len(WAITS_US) + 1)],
        late_topic=f"invoices.{agent}.late",
        redrive_topic=f"invoices.{agent}.redrive",
        dead_letter_of={topic: f"{topic}.dlq" for topic in (*STAGE_OF, STATUS, ALERTS, LEDGER)},
        cell="c1",
        region="eu",
    )


def journey(**limits_us: int | None) -> Journey:
    """The four stages; a limit may be given in place of the usual one."""
    limits: dict[str, int | None] = {**LIMITS_US, **limits_us}
    return Journey(tuple(Stage(name, StageCode(code), limits.get(name)) for code, name in enumerate(STAGES, 1)))


JOURNEY: Final = journey()


class FrozenClock:
    """Time as the test says."""

    def __init__(self, now_us: int = START_US) -> None:
        self.us = now_us

    def now_us(self) -> int:
        """See Clock."""
        return self.us


def payload(
    event_id: str = "E-1", invoice_id: str = "INV-1", stage: str = "ingestion", occurred_us: int = START_US, **more: Any
) -> bytes:
    """An event as an upstream sends it."""
    required = {"event_id": event_id, "source": "erp", "occurred_at": instant(occurred_us).isoformat()}
    return json.dumps(required | {"invoice_id": invoice_id, "stage": stage} | more).encode()


def raw(
    value: bytes | None,
    offset: int = 0,
    *,
    key: bytes | None = b"INV-1",
    topic: str = "invoices.ingestion",
    partition: int = 0,
    accepted_us: int = START_US,
    headers: Headers = (),
) -> RawRecord:
    """A record as read from a topic."""
    return RawRecord(Coordinates(topic, partition, offset), key, value, headers, accepted_us)


def event_record(
    event_id: str = "E-1",
    stage: str = "ingestion",
    offset: int = 0,
    *,
    invoice_id: str = "INV-1",
    partition: int = 0,
    accepted_us: int = START_US,
    **more: Any,
) -> RawRecord:
    """A good record of the stage's topic."""
    return raw(
        payload(event_id, invoice_id, stage, **more),
        offset,
        key=invoice_id.encode(),
        topic=f"invoices.{stage}",
        partition=partition,
        accepted_us=accepted_us,
    )


def batches(records: Iterable[RawRecord]) -> list[list[RawRecord]]:
    """As an agent gets them: neighbours of one topic partition together."""
    return [list(run) for _, run in groupby(records, lambda record: record.at[:2])]


class MemoryBroker:
    """What survives every crash: topic logs and committed offsets. Fulfils FencedLog and Publisher."""

    def __init__(self) -> None:
        self.logs: defaultdict[Place, list[OutRecord]] = defaultdict(list)
        self.committed: dict[Place, int] = {}

    def positions(self, number: int) -> Mapping[Place, int]:
        """See FencedLog."""
        return {(topic, number): self.committed.get((topic, number), 0) for topic in STAGE_OF}

    async def publish(self, records: Sequence[OutRecord], offsets: Mapping[Place, int]) -> Mapping[Place, int]:
        """See FencedLog: one transaction."""
        assert offsets, "a transaction without offsets would not be fenced"
        ends: dict[Place, int] = {}
        for record in records:
            ends[self._append(record)] = 0
        self.committed.update(offsets)
        return {place: len(self.logs[place]) for place in ends}

    def _append(self, record: OutRecord) -> Place:
        place = (record.topic, record.partition or 0)
        self.logs[place].append(record)
        return place

    def values(self, topic: str) -> list[bytes]:
        """Everything in a topic, partition by partition."""
        places = sorted(place for place in self.logs if place[0] == topic)
        return [record.value or b"" for place in places for record in self.logs[place]]

    def alerts(self) -> list[AlertDocument]:
        """All alerts."""
        return [decode_alert(value) for value in self.values(ALERTS)]

    def alert_ids(self) -> list[tuple[str, str, int, str]]:
        """What identifies each alert: invoice, stage, deadline (microseconds after START_US), kind."""
        start = instant(START_US)
        return [
            (a.invoice_id, a.stage, round((a.deadline - start).total_seconds() * SECOND_US), a.kind.value)
            for a in self.alerts()
        ]

    def statuses(self, invoice_id: str = "INV-1") -> list[StatusDocument]:
        """The status records of one invoice, oldest first."""
        return [status for value in self.values(STATUS) if (status := decode_status(value)).invoice_id == invoice_id]

    def last_statuses(self) -> dict[str, StatusDocument]:
        """The newest status of each invoice."""
        return {status.invoice_id: status for status in map(decode_status, self.values(STATUS))}

    def lane(self, topic: str, first: int = 0) -> list[RawRecord]:
        """What a lane holds, as an agent reads it."""
        logs = [(place, log) for place, log in sorted(self.logs.items()) if place[0] == topic]
        return [
            RawRecord(Coordinates(*place, offset), record.key, record.value, record.headers, START_US)
            for place, log in logs
            for offset, record in enumerate(log)
            if offset >= first
        ]

    def dead(self) -> list[OutRecord]:
        """All dead letters."""
        return [record for (topic, _), log in sorted(self.logs.items()) if topic.endswith(".dlq") for record in log]


def not_before_us(record: RawRecord) -> int:
    """When a record in a lane says that it is due."""
    opened = disclose(record)
    assert not isinstance(opened, Failure)
    return opened[1].not_before_us


class MemoryPublisher:
    """Publisher over a MemoryBroker."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def publish(self, records: Sequence[OutRecord]) -> Sequence[Appended]:
        """See Publisher."""
        places = [self._broker._append(record) for record in records]
        return [Appended(Coordinates(*place, len(self._broker.logs[place]) - 1), START_US) for place in places]


class MemoryTable:
    """InvoiceTable in memory, with the meaning of the one on disk (test_table.py compares them)."""

    def __init__(self) -> None:
        self.states: defaultdict[int, dict[bytes, bytes]] = defaultdict(dict)
        self.index: defaultdict[int, set[tuple[int, bytes]]] = defaultdict(set)
        self.ends: defaultdict[int, int] = defaultdict(int)

    def get_many(self, number: int, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """See InvoiceTable."""
        return [self.states[number].get(key) for key in keys]

    def apply(self, number: int, changes: Mapping[bytes, Change], changelog_offset: int) -> None:
        """See InvoiceTable."""
        for key, change in changes.items():
            self.index[number].discard((change.old_deadline_us, key))
            if change.new_deadline_us:
                self.index[number].add((change.new_deadline_us, key))
            if change.value is None:
                self.states[number].pop(key, None)
            else:
                self.states[number][key] = change.value
        self.ends[number] = changelog_offset

    def due(self, number: int, until_us: int, limit: int) -> Sequence[bytes]:
        """See InvoiceTable."""
        return [key for deadline_us, key in sorted(self.index[number]) if deadline_us <= until_us][:limit]

    def restore(self, broker: MemoryBroker, number: int = 0) -> None:
        """What the runtime does before work begins: apply what the changelog has and this table lacks."""
        log = broker.logs.get((CHANGELOG, number), [])
        for offset in range(self.ends[number], len(log)):
            key, value = log[offset].key or b"", log[offset].value or b""
            stored = self.states[number].get(key)
            old_us = 0 if stored is None else decode_tracked(stored).deadline_us
            self.apply(number, {key: Change(value, old_us, decode_tracked(value).deadline_us)}, offset + 1)

    def tracked(self, invoice_id: str = "INV-1", number: int = 0) -> TrackedInvoice:
        """What is stored of one invoice."""
        return decode_tracked(self.states[number][invoice_id.encode()])


class Tracker:
    """The parts of both tracking journeys, over one broker and one table."""

    def __init__(
        self,
        broker: MemoryBroker | None = None,
        table: MemoryTable | None = None,
        clock: FrozenClock | None = None,
        journey: Journey = JOURNEY,
    ) -> None:
        self.broker = broker or MemoryBroker()
        self.table = table or MemoryTable()
        self.clock = clock or FrozenClock()
        self.registry = CollectorRegistry()
        self.parts = TrackingParts(
            journey=journey,
            stage_of=STAGE_OF,
            lanes=lanes_of("tracker"),
            status_topic=STATUS,
            alerts_topic=ALERTS,
            ledger_topic=LEDGER,
            changelog=CHANGELOG,
            cell="c1",
            region="eu",
            clock=self.clock,
            table=self.table,
            log=self.broker,
            metrics=AgentMetrics(self.registry, "tracker"),
            table_metrics=TableMetrics(self.registry),
        )

    def counted(self, stage: str, outcome: str) -> float:
        """Records counted with this outcome."""
        labels = {"agent": "tracker", "stage": stage, "outcome": outcome}
        return self.registry.get_sample_value("bems_agent_events_total", labels) or 0.0


class AsStored:
    """Deadlines that are what the stored state says: limits never changed."""

    limits = b"as stored"

    def current(self, stored: bytes) -> tuple[bytes, int]:
        """See runtime.table.Deadlines."""
        try:
            return stored, decode_tracked(stored).deadline_us
        except CorruptStateError:
            return stored, 0


AS_STORED = AsStored()

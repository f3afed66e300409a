"""Batches on their way into the store: exact rows, once each, whatever comes twice, is broken, or finds no store."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from bems_streams.adapters.memory import MemoryBackend
from bems_streams.flows.breaker import Breaker
from bems_streams.flows.deliver import deliver
from bems_streams.flows.store import SinkParts, Store
from bems_streams.flows.track import Track
from bems_streams.flows.watch import Watch
from bems_streams.metrics import AgentMetrics
from bems_streams.ports import (
    Coordinates,
    EventStore,
    RawRecord,
    StoreBatch,
    StoreCounts,
    StoreUnavailableError,
    WriteResult,
)
from tests.unit.flow_kit import (
    ALERTS,
    LEDGER,
    LIMITS_US,
    SECOND_US,
    STAGE_OF,
    START_US,
    STATUS,
    FrozenClock,
    MemoryBroker,
    MemoryPublisher,
    Tracker,
    event_record,
    lanes_of,
    payload,
    raw,
)


class FlakyStore:
    """A store that is away for some writes, each of which takes a while to fail."""

    def __init__(self, store: EventStore, clock: FrozenClock, failures: int, takes_seconds: float = 0.0) -> None:
        self._store = store
        self._clock = clock
        self._takes_seconds = takes_seconds
        self.failures = failures

    def write(self, batch: StoreBatch) -> WriteResult:
        """See EventStore."""
        if self.failures:
            self.failures -= 1
            self._clock.us += round(self._takes_seconds * SECOND_US)
            raise StoreUnavailableError("locked")
        return self._store.write(batch)

    def close(self) -> None:
        """See EventStore."""


class Sink:
    """The sink over a store in memory."""

    def __init__(self, failures: int = 0, takes_seconds: float = 0.0) -> None:
        self.clock = FrozenClock(START_US + SECOND_US)
        self.broker = MemoryBroker()
        self.registry = CollectorRegistry()
        backend = MemoryBackend()
        self.reader = backend.open_reader()
        self.store = FlakyStore(backend.open_store(), self.clock, failures, takes_seconds)
        self.pauses_seconds: list[float] = []
        metrics = AgentMetrics(self.registry, "sink")
        self.parts = SinkParts(
            stage_of=STAGE_OF,
            status_topic=STATUS,
            alerts_topic=ALERTS,
            ledger_topic=LEDGER,
            lanes=lanes_of("sink"),
            clock=self.clock,
            publisher=MemoryPublisher(self.broker),
            store=self.store,
            breaker=Breaker(self.clock, metrics, self._pause),
            metrics=metrics,
        )

    async def _pause(self, seconds: float) -> None:
        self.pauses_seconds.append(seconds)
        self.clock.us += round(seconds * SECOND_US)

    async def take(self, *records: RawRecord) -> None:
        """One batch."""
        await deliver(Store(self.parts), records)

    def sample(self, name: str, **labels: str) -> float:
        """A metric's value; 0 when nothing was counted."""
        return self.registry.get_sample_value(name, labels) or 0.0

    def counted(self, outcome: str, stage: str = "ingestion") -> float:
        """Records counted with this outcome."""
        return self.sample("bems_agent_events_total", agent="sink", stage=stage, outcome=outcome)


async def test_an_event_becomes_a_row_with_every_field_exact() -> None:
    """Amounts keep their digits, dates their day, times their microsecond; the record's place and origin are known."""
    sink = Sink()
    facts: dict[str, Any] = {
        "payee_code": "P-1",
        "legal_entity_id": "LE-1",
        "invoice_date": "2026-02-27",
        "invoice_due_date": "2026-04-28",
        "invoice_amount": "123456789012345.678901",
        "currency": "EUR",
        "matched_amount": "0.10",
        "authorized_amount": "0",
        "ppv": "-12.750000",
        "pqv": "3",
        "activity": "Create",
        "attributes": {"plant": "Mäinz"},
    }
    value = payload(occurred_us=START_US + 1, **facts)
    headers = [("other", b"x"), ("correlation-id", b"c-1"), ("correlation-id", b"c-2")]

    await sink.take(raw(value, 7, headers=headers, accepted_us=START_US + 2, partition=3))

    (row,) = sink.reader.events()
    assert {name: getattr(row, name) for name in facts if name != "attributes"} == {
        name: fact for name, fact in facts.items() if name != "attributes"
    }
    assert row.attributes == '{"plant":"Mäinz"}'
    assert (row.event_id, row.invoice_id, row.stage, row.source) == ("E-1", "INV-1", "ingestion", "erp")
    assert (row.occurred_us, row.accepted_us, row.stored_us) == (START_US + 1, START_US + 2, START_US + SECOND_US)
    assert (row.at, row.correlation_id) == (Coordinates("invoices.ingestion", 3, 7), "c-1")


@given(
    st.decimals(-(10**15) + 1, 10**15 - 1, places=6, allow_nan=False).map(lambda amount: amount.normalize()),
    st.sampled_from(["text", "number", "exponent"]),
)
@settings(max_examples=150)
async def test_amounts_reach_the_store_without_a_digit_lost(amount: Decimal, written_as: str) -> None:
    """Sent as text, as a JSON number or with an exponent: the row holds the same number in plain digits."""
    sink = Sink()
    text = {"text": f'"{amount:f}"', "number": f"{amount:f}", "exponent": f"{amount:E}"}[written_as]
    value = payload(currency="EUR", pqv="AMOUNT").replace(b'"AMOUNT"', text.encode())

    await sink.take(raw(value))

    (row,) = sink.reader.events()
    assert row.pqv is not None and "E" not in row.pqv.upper()
    assert Decimal(row.pqv) == amount


async def test_a_replay_changes_nothing_and_measures_nothing_again() -> None:
    """After a crash the same records come again: same rows, and the visibility of what was visible stays measured."""
    sink = Sink()
    batch = (event_record("E-1", offset=0), event_record("E-2", offset=1))
    await sink.take(*batch)
    rows, counts = list(sink.reader.events()), sink.reader.counts()

    sink.clock.us += 3600 * SECOND_US
    await sink.take(*batch)

    assert (list(sink.reader.events()), sink.reader.counts()) == (rows, counts)
    assert (sink.counted("stored"), sink.counted("replayed")) == (2, 2)
    assert sink.sample("bems_agent_visibility_seconds_count") == 2
    assert sink.sample("bems_agent_visibility_seconds_sum") == 2.0


async def test_a_duplicate_is_noted_and_not_stored_twice() -> None:
    """The same event from other coordinates: one row, one note, so that the ledger adds up."""
    sink = Sink()

    await sink.take(event_record("E-1", offset=0), event_record("E-1", offset=1), event_record("E-2", offset=2))

    assert sink.reader.counts() == StoreCounts(stored=2, duplicates=1, dead_lettered=0, invoices=0, stuck=0)
    assert (sink.counted("stored"), sink.counted("duplicate")) == (2, 1)
    assert sink.sample("bems_agent_visibility_seconds_count") == 2


async def test_poison_is_published_noted_and_counted_and_the_rest_is_stored() -> None:
    """Accepted = stored + duplicates + dead letters, and the dead letter is the original record."""
    sink = Sink()

    await sink.take(event_record("E-1", offset=0), raw(b"{}", 1, headers=[("h", b"v")]), event_record("E-2", offset=2))

    (letter,) = sink.broker.dead()
    assert (letter.topic, letter.key, letter.value) == ("invoices.ingestion.dlq", b"INV-1", b"{}")
    assert next(iter(letter.headers)) == ("h", b"v")
    assert dict(letter.headers)["bems-agent"] == b"sink"
    (note,) = sink.reader.dead_letters()
    assert (note.at, note.agent, note.code) == (Coordinates("invoices.ingestion", 0, 1), "sink", "invalid_event")
    assert note.reason.encode() == dict(letter.headers)["bems-reason"]
    assert note.invoice_id == "INV-1"
    assert sink.reader.counts() == StoreCounts(stored=2, duplicates=0, dead_lettered=1, invoices=0, stuck=0)
    assert (sink.counted("stored"), sink.counted("dead_lettered")) == (2, 1)


async def test_the_sink_stores_what_the_tracker_publishes() -> None:
    """Status and alerts end as rows that a console can query without parsing documents."""
    tracker, sink = Tracker(), Sink()
    facts: dict[str, Any] = {
        "invoice_amount": "10.50",
        "currency": "EUR",
        "payee_code": "P-1",
        "legal_entity_id": "LE-1",
    }
    await deliver(Track(tracker.parts), [[event_record(invoice_due_date="2026-04-28", **facts)]])
    tracker.clock.us += LIMITS_US["ingestion"]
    await deliver(Watch(tracker.parts, lambda number, now_us: now_us), [0])
    statuses = [raw(value, n, topic=STATUS) for n, value in enumerate(tracker.broker.values(STATUS))]
    alerts = [raw(value, n, topic=ALERTS) for n, value in enumerate(tracker.broker.values(ALERTS))]

    await sink.take(*alerts, *reversed(statuses), *statuses, *alerts)

    (row,) = sink.reader.invoices()
    deadline_us = START_US + LIMITS_US["ingestion"]
    assert (row.invoice_id, row.revision, row.status, row.stage, row.events) == ("INV-1", 2, "open", "ingestion", 1)
    assert (row.entered_us, row.deadline_us, row.stuck_since_us) == (START_US, deadline_us, deadline_us)
    assert row.updated_us == tracker.clock.us
    assert {name: getattr(row, name) for name in facts} == facts
    assert row.invoice_due_date == "2026-04-28"
    assert row.document.encode() == statuses[-1].value
    (alert,) = sink.reader.timeline("INV-1").alerts
    assert (alert.stage, alert.deadline_us, alert.kind, alert.raised_us) == (
        "ingestion", deadline_us, "stuck", tracker.clock.us,
    )  # fmt: skip
    assert alert.document.encode() == alerts[0].value
    (standing,) = sink.reader.standing()
    assert (standing.stuck, standing.stuck_value) == (1, {"EUR": "10.50"})


async def test_tombstones_say_nothing_new() -> None:
    """A compacted topic's deletion is neither a row nor a dead letter."""
    sink = Sink()

    await sink.take(raw(None, topic=STATUS), raw(None, topic=ALERTS))

    assert (sink.broker.logs, list(sink.reader.invoices())) == ({}, [])


def spoilt(topic: str) -> dict[str, bytes]:
    """Records that are nearly what the tracker publishes, or not at all."""
    good = {
        STATUS: b'{"invoice_id":"INV-1","revision":1,"status":"open","stage":"ingestion","events":1,"stages":{},'
        b'"stage_entered_at":"2026-01-01T00:00:00Z","deadline":null,"stuck_since":null,"skipped_stages":[],'
        b'"last_occurred_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z","cell":"c","region":"r",'
        b'"invoice_amount":"1.00","currency":"EUR"}',
        ALERTS: b'{"invoice_id":"INV-1","kind":"stuck","stage":"ingestion","deadline":"2026-01-01T00:00:00Z",'
        b'"stage_entered_at":"2026-01-01T00:00:00Z","raised_at":"2026-01-01T00:00:00Z","reason":"r","cell":"c",'
        b'"region":"r"}',
    }[topic]
    changed = {
        "nothing": b"",
        "no JSON": b"\xff\xfe",
        "another shape": b"[]",
        "a field missing": good.replace(b'"stage":"ingestion",', b""),
        "text that is not UTF-8 in a field nobody knows": good.replace(b'"cell"', b'"new":"\xff","cell"'),
        "text that is not UTF-8": good.replace(b'"r"', b'"\xff"'),
        "nested without end": good.replace(b'"cell"', b'"new":' + b"[" * 99_999 + b"]" * 99_999 + b',"cell"'),
        "a time without offset": good.replace(b"00Z", b"00"),
    }
    if topic == STATUS:
        changed["an amount that is none"] = good.replace(b'"1.00"', b'"ten"')
        changed["an amount that is endless"] = good.replace(b'"1.00"', b'"Infinity"')
        changed["a revision beyond counting"] = good.replace(b'"revision":1', b'"revision":%d' % 2**63)
        changed["a negative count"] = good.replace(b'"events":1', b'"events":-1')
    assert all(value != good for value in changed.values())
    return changed | {"good": good}


@pytest.mark.parametrize("topic", [STATUS, ALERTS])
async def test_a_derived_record_that_does_not_decode_is_set_aside(topic: str) -> None:
    """Whatever is wrong with it, it becomes a dead letter and the rest of the batch is stored."""
    records = spoilt(topic)
    bad = {kind: value for kind, value in records.items() if kind != "good"}
    for kind, value in bad.items():
        sink = Sink()

        await sink.take(raw(value, 0, topic=topic), raw(records["good"], 1, topic=topic), event_record("E-1"))

        letters = [(letter.topic, letter.value, dict(letter.headers)["bems-code"]) for letter in sink.broker.dead()]
        assert letters == [(f"{topic}.dlq", value, b"invalid_event")], kind
        timeline = sink.reader.timeline("INV-1")
        assert (len(timeline.events), bool(timeline.invoice), len(timeline.alerts)) == (
            1, topic == STATUS, int(topic == ALERTS),
        ), kind  # fmt: skip
        assert sink.reader.counts().dead_lettered == 0  # the ledger is about stage topics


async def test_the_partition_waits_while_the_store_is_away() -> None:
    """Nothing is acked or skipped; once the store is back the batch is in, and rows tell when that really was."""
    sink = Sink(failures=8)

    await sink.take(event_record("E-1"), raw(b"{", 1))

    assert sink.pauses_seconds == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    (row,), (note,) = sink.reader.events(), sink.reader.dead_letters()
    assert row.stored_us == note.stored_us == START_US + SECOND_US + round(16.3 * SECOND_US)
    assert len(sink.broker.dead()) == 1
    assert sink.sample("bems_agent_visibility_seconds_sum") == pytest.approx(17.3)


async def test_a_store_that_is_unusable_stops_at_once() -> None:
    """Only what may heal by itself is waited for."""
    sink = Sink()

    class Full:
        def write(self, batch: StoreBatch) -> WriteResult:
            raise OSError("disk failure")

        def close(self) -> None:
            """See EventStore."""

    with pytest.raises(OSError, match="disk failure"):
        await deliver(Store(replace(sink.parts, store=Full())), [event_record("E-1")])

    assert sink.pauses_seconds == []


async def test_a_dead_letter_that_cannot_be_published_keeps_the_batch_out_of_the_store() -> None:
    """Published first, noted after: a note without its letter would be a loss that looks accounted for."""
    sink = Sink()

    class Refusing:
        async def publish(self, records: Sequence[Any]) -> Sequence[Any]:
            raise ConnectionError("no broker")

    with pytest.raises(ConnectionError):
        await deliver(Store(replace(sink.parts, publisher=Refusing())), [event_record("E-1"), raw(b"{", 1)])

    assert sink.reader.counts() == StoreCounts(0, 0, 0, 0, 0)


@given(st.data())
async def test_batches_of_any_split_and_repetition_end_in_the_same_rows(data: st.DataObject) -> None:
    """At-least-once in, exactly once out; every record is accounted for."""
    ids = data.draw(st.lists(st.sampled_from(["E1", "E2", "E3", "poison"]), min_size=1, max_size=15))
    records = [
        raw(b"poison", n) if event_id == "poison" else event_record(event_id, offset=n)
        for n, event_id in enumerate(ids)
    ]
    once, other = Sink(), Sink()
    for record in records:
        await once.take(record)

    place, repeats = 0, 0
    while place < len(records):
        end = data.draw(st.integers(place + 1, len(records)))
        await other.take(*records[place:end])
        place = end
        if repeats < 3 and data.draw(st.booleans()):
            place, repeats = data.draw(st.integers(0, end)), repeats + 1

    counts = other.reader.counts()
    assert counts == once.reader.counts()
    assert list(other.reader.events()) == list(once.reader.events())
    assert list(other.reader.dead_letters()) == list(once.reader.dead_letters())
    assert counts.stored + counts.duplicates + counts.dead_lettered == len(records)

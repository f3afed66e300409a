"""Fills the stage topics with seeded events, fast: the same bytes in the same partitions for whoever is measured.

Invoices pass the four stages in 14 events, a few thousand at a time; some records come twice. Not here: reading them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Final, NamedTuple

from confluent_kafka import Producer

from bems_streams.adapters.kafka_producer import ProducerConfig
from bems_streams.runtime.positions import log_ends
from bems_streams.topics import Catalogue

VISITS: Final = ("ingestion",) * 3 + ("reconciliation",) * 4 + ("authorization",) * 4 + ("posting",) * 3
BEGINNING_SECONDS: Final = 1_772_438_400  # 2026-03-02, 08:00 UTC
PACE_MS: Final = 10  # between two events, in business time
FILL_SECONDS: Final = 120.0
POLL_EVERY: Final = 1000


@dataclass(frozen=True, slots=True)
class Shape:
    """What a feed looks like.

    live_invoices  how many are under way at once; the next event belongs to any of them
    copies         share of records that repeat one of the latest `recent` records, byte for byte
    """

    live_invoices: int = 4000
    copies: float = 0.02
    recent: int = 3000


USUAL: Final = Shape()


class Record(NamedTuple):
    """One event as it stands in the topic of its stage."""

    stage: str
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Filled:
    """What was appended: `copies` of the `events` say nothing new."""

    events: int
    copies: int
    invoices: int
    payload_bytes: int


class _Invoice:
    """Where one invoice is; what all its events have in common is formatted once per stage."""

    __slots__ = ("_facts", "key", "rest", "stage", "visit")

    def __init__(self, number: int, chance: Random) -> None:
        self.key = b"INV-2026-%09d" % number
        amount, variance = chance.randrange(10_000, 10_000_000), chance.randrange(-5000, 5000)
        self._facts = (number % 9973, number % 37, chance.randrange(1, 29), amount, amount - variance, variance)
        self.visit = 0
        self.enter()

    def enter(self) -> None:
        """Format what comes after the event's own fields, for the stage that begins."""
        self.stage = VISITS[self.visit]
        payee, entity, day, amount, matched, variance = self._facts
        authorized = matched if self.visit >= VISITS.index("authorization") else 0
        self.rest = (
            f'"source":"erp-7","invoice_id":"{self.key.decode()}","stage":"{self.stage}",'
            f'"payee_code":"P-{payee:06d}","legal_entity_id":"LE-DE-{entity:02d}",'
            f'"invoice_date":"2026-02-{day:02d}","invoice_due_date":"2026-04-{day:02d}",'
            f'"invoice_amount":"{_cents(amount)}","currency":"EUR","matched_amount":"{_cents(matched)}",'
            f'"authorized_amount":"{_cents(authorized)}","ppv":"{_cents(variance)}","pqv":"0",'
            f'"activity":"checked","attributes":{{"plant":"Mainz"}}}}'
        ).encode()


class Feed:
    """`events` records, copies included, in the order in which they are appended: the same for the same arguments.

    `copies` and `invoices` count what was handed out so far. To be iterated over once.
    """

    def __init__(self, events: int, seed: int, shape: Shape = USUAL) -> None:
        self.events = events
        self.copies = 0
        self.invoices = 0
        self._shape = shape
        self._chance = Random(seed)
        self._live: list[_Invoice] = []
        self._next_number = 0

    def __iter__(self) -> Iterator[Record]:
        draw, latest = self._chance.random, list[Record]()
        clock = _Clock()
        for place in range(self.events):
            if draw() < self._shape.copies and latest:
                self.copies += 1
                yield latest[int(draw() * len(latest))]
                continue
            record = self._next_event(clock.at(place * PACE_MS))
            if len(latest) < self._shape.recent:
                latest.append(record)
            else:
                latest[place % self._shape.recent] = record
            yield record

    def _next_event(self, occurred_at: bytes) -> Record:
        live = self._live
        if len(live) < self._shape.live_invoices:
            live.append(_Invoice(self._next_number, self._chance))
            self._next_number += 1
        chosen = int(self._chance.random() * len(live))
        invoice = live[chosen]
        if not invoice.visit:
            self.invoices += 1
        own = b'{"event_id":"%032x","occurred_at":"%b",' % (self._chance.getrandbits(128), occurred_at)
        record = Record(invoice.stage, invoice.key, own + invoice.rest)
        invoice.visit += 1
        if invoice.visit == len(VISITS):
            live[chosen] = live[-1]
            live.pop()
        elif VISITS[invoice.visit] != invoice.stage:
            invoice.enter()
        return record


class _Clock:
    """Business time as text; the whole second is formatted once."""

    def __init__(self) -> None:
        self._seconds = -1
        self._text = b""

    def at(self, passed_ms: int) -> bytes:
        seconds, ms = divmod(passed_ms, 1000)
        if seconds != self._seconds:
            moment = datetime.fromtimestamp(BEGINNING_SECONDS + seconds, UTC)
            self._seconds, self._text = seconds, moment.strftime("%Y-%m-%dT%H:%M:%S").encode()
        return b"%b.%03d+00:00" % (self._text, ms)


def fill(
    bootstrap: str,
    catalogue: Catalogue,
    events: int,
    seed: int,
    shape: Shape = USUAL,
    advance: Callable[[int], object] | None = None,
) -> Filled:
    """Append `Feed(events, seed, shape)` to the stage topics of the catalogue, all durable on return.

    `advance` is told now and then how many more were handed over. RuntimeError when the topics did not take them all.
    """
    return fill_topics(bootstrap, catalogue.stage_topics, catalogue.partitions, Feed(events, seed, shape), advance)


def fill_topics(
    bootstrap: str,
    topics: Mapping[str, str],
    partitions: int,
    feed: Feed,
    advance: Callable[[int], object] | None = None,
) -> Filled:
    """The same into topics by the name of the stage; several stages may share one."""
    places = [(topic, number) for topic in set(topics.values()) for number in range(partitions)]
    before = _held(bootstrap, places)
    config = ProducerConfig(bootstrap, "bems-feed", delivery_timeout_seconds=FILL_SECONDS, linger_ms=20)
    producer = Producer(config.librdkafka() | {"batch.size": 1 << 20, "log_level": 3})
    produce, payload_bytes = producer.produce, 0
    for events, (stage, key, value) in enumerate(feed, start=1):
        while True:
            try:
                produce(topics[stage], value, key)
                break
            except BufferError:
                producer.poll(0.05)
        payload_bytes += len(value)
        if not events % POLL_EVERY:
            producer.poll(0)
            if advance is not None:
                advance(POLL_EVERY)
    _await_durable(producer, bootstrap, places, before + feed.events)
    return Filled(feed.events, feed.copies, feed.invoices, payload_bytes)


def _await_durable(producer: Producer, bootstrap: str, places: list[tuple[str, int]], wanted: int) -> None:
    """Counting what the logs hold costs less than a callback for each record."""
    left = producer.flush(FILL_SECONDS)
    held = _held(bootstrap, places)
    if left or held != wanted:
        raise RuntimeError(f"the topics hold {held} records instead of {wanted}, and {left} were not sent")


def _held(bootstrap: str, places: list[tuple[str, int]]) -> int:
    ends = log_ends({"bootstrap.servers": bootstrap}, places, FILL_SECONDS)
    return sum(end - start for start, end in ends.values())


def _cents(amount: int) -> str:
    return f"{'-' if amount < 0 else ''}{abs(amount) // 100}.{abs(amount) % 100:02d}"

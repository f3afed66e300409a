"""Seeded invoices that arrive late, twice, out of order and sometimes broken, and what their log says, computed anew.

No code of the product. Not here: faults, or what a cell is asked (test_chaos_short.py).
"""

import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, NamedTuple

from confluent_kafka import Producer

from tests.support import STAGES, RunningCell

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CLIENT = {
    "partitioner": "murmur2_random", "acks": "all", "enable.idempotence": True, "linger.ms": 5, "log_level": 2,
    "message.timeout.ms": 120_000, "queue.buffering.max.messages": 200_000,
}  # fmt: skip


class Arrival(NamedTuple):
    """One record to send, that many seconds after the start."""

    due_seconds: float
    stage: str
    key: bytes
    value: bytes


class Logged(NamedTuple):
    """One valid record of the log."""

    accepted_us: int
    event: Mapping[str, Any]


def arrivals(seed: int, invoices: int, seconds: float) -> list[Arrival]:
    """In order of time. Some invoices stay in their stage for good; 1 event in 25 comes twice, 1 in 250 is broken."""
    dice, planned, began = random.Random(seed), list[Arrival](), datetime.now(UTC)
    for number in range(invoices):
        invoice, at = f"INV-{number:06d}", dice.uniform(0, seconds * 0.8)
        stages = STAGES[: dice.choices([1, 2, 3, 4], [1, 1, 1, 4])[0]]
        for place, stage in enumerate(stage for stage in stages for _ in range(dice.choice([1, 1, 2]))):
            at += dice.expovariate(0.5)
            event = {
                "event_id": f"e{place}", "source": "chaos", "invoice_id": invoice, "stage": stage,
                "occurred_at": (began + timedelta(seconds=at)).isoformat(),
            }  # fmt: skip
            value, late = json.dumps(event).encode(), dice.choice([0] * 9 + [dice.uniform(0.5, 8)])
            copies = 2 if dice.random() < 0.04 else 1
            planned += [Arrival(at + late + 3 * copy, stage, invoice.encode(), value) for copy in range(copies)]
            if dice.random() < 0.004:
                planned.append(Arrival(at, stage, invoice.encode(), dice.choice([b"", b"{", value[:-1], b"null"])))
    return sorted(arrival for arrival in planned if arrival.due_seconds < seconds)


class Upstream(threading.Thread):
    """Sends arrivals at their time, straight to the topics, through whatever happens to the broker."""

    def __init__(self, running: RunningCell, planned: Sequence[Arrival]) -> None:
        super().__init__(daemon=True)
        self._running, self._planned, self.refused = running, planned, list[str]()

    def run(self) -> None:
        """All are durable on return, or in `refused`."""
        producer, began = Producer({**CLIENT, "bootstrap.servers": self._running.bootstrap}), time.monotonic()
        for due_seconds, stage, key, value in self._planned:
            while (early := due_seconds - (time.monotonic() - began)) > 0:
                producer.poll(min(early, 0.05))
            producer.produce(
                self._running.catalogue.stage_topics[stage], key=key, value=value,
                on_delivery=lambda error, _: self.refused.append(str(error)) if error else None,
            )  # fmt: skip
        self.refused += ["not sent"] * producer.flush(120)


def logged(running: RunningCell) -> tuple[dict[str, list[Logged]], int]:
    """Valid records by invoice in order of acceptance, and the number of broken ones."""
    found, broken = defaultdict[str, list[Logged]](list), 0
    for topic in running.catalogue.stage_topics.values():
        for record in running.records(topic):
            try:
                event = json.loads(record.value())
                found[event["invoice_id"]].append(Logged(record.timestamp()[1] * 1000, event))
            except (ValueError, TypeError):
                broken += 1
    return {invoice: sorted(records, key=lambda one: one.accepted_us) for invoice, records in found.items()}, broken


def micros(text: str | None) -> int | None:
    """RFC 3339 to microseconds since 1970."""
    return None if text is None else (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


def state_of(records: Sequence[Logged], limits_us: Mapping[str, int | None]) -> dict[str, Any]:
    """Stage, entry, deadline and counts that these records give: the newest stay in business order decides."""
    first = dict[str, Logged]()
    for record in records:
        known = first.setdefault(record.event["event_id"], record)
        first[record.event["event_id"]] = min(known, record, key=lambda one: one.accepted_us)
    ordered = sorted(first.values(), key=_business_order)
    stage, stay = ordered[-1].event["stage"], list[int]()
    for record in reversed(ordered):
        if record.event["stage"] != stage:
            break
        stay.append(record.accepted_us)
    limit_us = limits_us[stage]
    return {
        "stage": stage,
        "entered": min(stay),
        "deadline": None if limit_us is None else min(stay) + limit_us,
        "counts": dict(Counter(record.event["stage"] for record in ordered)),
    }


def _business_order(record: Logged) -> tuple[str, int, bytes]:
    event = record.event
    return (
        event["occurred_at"],
        STAGES.index(event["stage"]),
        blake2b(event["event_id"].encode(), digest_size=8).digest(),
    )

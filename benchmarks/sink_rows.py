"""Rows as a sink hands them to its store, without end: the seeded events of feed.py, decoded, at places in the log.

A function of the seed. Not here: writing them (sink_store.py), the broker (sink_process.py).
"""

import zlib
from collections.abc import Iterator
from random import Random
from typing import Final

from bems_streams.domain.event import parse_event
from bems_streams.domain.failures import Failure
from bems_streams.flows.rows import event_row, invoice_row
from bems_streams.ports import STORE_AGENT, Coordinates, EventRow, Handled, InvoiceRow, RawRecord, StoreBatch
from benchmarks.feed import Feed, Record, Shape

BEGAN_US: Final = 1_772_438_400_000_000
EVENT_US: Final = 100
"""Between two acceptances: 10,000 events a second."""
RECENT: Final = 3000
LIVE_INVOICES: Final = 50_000
ENDLESS: Final = 1 << 60
TOPIC: Final = "earlier.{}"
"""Not those of the catalogue: a sink that goes on with such a store reads other records."""

STATUS: Final = """
{"invoice_id":"%s","revision":%d,"status":"open","stage":"authorization","stage_entered_at":"2026-03-02T08:00:01Z",
"deadline":"2026-03-05T08:00:01Z","stuck_since":null,"last_occurred_at":"2026-03-02T08:00:07Z",
"updated_at":"2026-03-02T08:00:09.125Z","events":9,"skipped_stages":[],"stages":{
"ingestion":{"events":3,"first_occurred_at":"2026-03-02T08:00:00Z","last_occurred_at":"2026-03-02T08:00:03Z",
"first_accepted_at":"2026-03-02T08:00:01Z"},"reconciliation":{"events":4,"first_occurred_at":"2026-03-02T08:00:03Z",
"last_occurred_at":"2026-03-02T08:00:04Z","first_accepted_at":"2026-03-02T08:00:05Z"},"authorization":{"events":2,
"first_occurred_at":"2026-03-02T08:00:05Z","last_occurred_at":"2026-03-02T08:00:07Z",
"first_accepted_at":"2026-03-02T08:00:06Z"}},"payee_code":"P-004711","legal_entity_id":"LE-DE-07",
"invoice_date":"2026-02-11","invoice_due_date":"2026-04-11","invoice_amount":"48210.90","currency":"EUR",
"matched_amount":"48200.00","authorized_amount":"48200.00","ppv":"10.90","pqv":"0","cell":"local-1","region":"local"}
""".replace("\n", "")


class RowStream:
    """Batches, one after the other. `invoices`: how many different ones have had an event so far, at most."""

    def __init__(self, seed: int, partitions: int) -> None:
        self._partitions = partitions
        self._feed = iter(Feed(ENDLESS, seed, Shape(live_invoices=LIVE_INVOICES, copies=0.0)))
        self._chance = Random(seed)
        self._recent: list[Record] = []
        self._offsets: dict[tuple[str, int], int] = {}
        self._accepted_us = BEGAN_US
        self._revision = 0
        self._invoice_ids: dict[str, None] = {}

    def events(self, count: int, copies: float = 0.0) -> StoreBatch:
        """So many rows, each place's together and in order; this share of them repeats a recent event elsewhere."""
        rows = sorted((self._row(record) for record in self._records(count, copies)), key=lambda row: row.at)
        first: dict[tuple[str, int], int] = {}
        for row in rows:
            first.setdefault(row.at[:2], row.at.offset)
        handled = [Handled(STORE_AGENT, *place, at, self._offsets[place]) for place, at in first.items()]
        return StoreBatch(events=rows, handled=handled)

    def statuses(self, count: int) -> StoreBatch:
        """So many new states of invoices that have had events, any of them."""
        known = list(self._invoice_ids)
        return StoreBatch(invoices=[self._status(known[self._chance.randrange(len(known))]) for _ in range(count)])

    def first_statuses(self, count: int) -> Iterator[StoreBatch]:
        """One state of every invoice, in batches."""
        known = list(self._invoice_ids)
        for place in range(0, len(known), count):
            yield StoreBatch(invoices=[self._status(invoice_id) for invoice_id in known[place : place + count]])

    def _status(self, invoice_id: str) -> InvoiceRow:
        self._revision += 1
        return invoice_row((STATUS % (invoice_id, self._revision)).encode())

    def _records(self, count: int, copies: float) -> Iterator[Record]:
        for _ in range(count):
            if self._recent and self._chance.random() < copies:
                yield self._chance.choice(self._recent)
                continue
            record = next(self._feed)
            if len(self._recent) < RECENT:
                self._recent.append(record)
            else:
                self._recent[self._chance.randrange(RECENT)] = record
            yield record

    def _row(self, record: Record) -> EventRow:
        event = parse_event(record.value)
        assert not isinstance(event, Failure), event
        place = TOPIC.format(record.stage), zlib.crc32(record.key) % self._partitions
        offset = self._offsets.get(place, 0)
        self._offsets[place] = offset + 1
        self._accepted_us += EVENT_US
        self._invoice_ids[event.invoice_id] = None
        raw = RawRecord(Coordinates(*place, offset), record.key, record.value, (), self._accepted_us // 1000 * 1000)
        return event_row(raw, event, self._accepted_us + 50_000)

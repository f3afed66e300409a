"""The work, as every peer in Python does it per record: the product's own decoding, folding and documents.

Not here: where the state is kept and how often it is written, which is what the engines differ in.
"""

import time

from bems_streams.domain.codec import TrackedInvoice, decode_tracked, encode_tracked
from bems_streams.domain.event import Event, parse_event
from bems_streams.domain.fold import fold
from bems_streams.domain.views import encode_document, status_document
from benchmarks.peers.task import Task


class BadEventError(Exception):
    """The feed holds none, so it is the feed that is wrong."""


class Invoices:
    """Decodes and validates an event, drops what came before, folds the rest; makes the stored and published forms."""

    def __init__(self, task: Task) -> None:
        self._journey = task.stages()
        self._cell, self._region = task.cell, task.region

    def take(self, invoice: TrackedInvoice, value: bytes, timestamp_ms: int) -> bool:
        """Fold one record, appended by the broker at `timestamp_ms`, into its invoice. False for a copy."""
        event = parse_event(value)
        if not isinstance(event, Event):
            raise BadEventError(event.reason)
        new = fold(invoice.state, event, timestamp_ms * 1000, self._journey)
        if new:
            invoice.revision += 1
        return new

    def change(self, stored: bytes | None, value: bytes, timestamp_ms: int) -> TrackedInvoice | None:
        """The same from the stored form. None when nothing changed."""
        invoice = TrackedInvoice.new() if stored is None else decode_tracked(stored)
        if not self.take(invoice, value, timestamp_ms):
            return None
        invoice.deadline_us = invoice.state.deadline_us(self._journey) or 0
        return invoice

    def stored(self, invoice: TrackedInvoice) -> bytes:
        """For the engine's state."""
        return encode_tracked(invoice)

    def status(self, key: bytes, invoice: TrackedInvoice) -> bytes:
        """For the status topic."""
        now_us = time.time_ns() // 1000
        document = status_document(
            key.decode(), invoice, self._journey, updated_us=now_us, cell=self._cell, region=self._region
        )
        return encode_document(document)

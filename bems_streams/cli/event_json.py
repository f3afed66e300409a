"""Stored rows as JSON for people and programs: field names of the event, RFC 3339 times in UTC, amounts as text.

Not here: the documents of status and alerts, which are stored as they were published (domain/views.py).
"""

from typing import Any, Final

import msgspec

from bems_streams.domain.event import instant
from bems_streams.ports import DeadLetterRow, DuplicateRow, EventRow, Timeline

_PLACES: Final = ("topic", "partition", "offset")
_UNDER_OTHER_NAMES: Final = frozenset({"occurred_us", "accepted_us", "stored_us", "at", "attributes"})
encode: Final = msgspec.json.Encoder().encode


def event_object(row: EventRow) -> dict[str, Any]:
    """The event's fields, those that it lacks left out, and what the cell knows of its record."""
    fields = row._asdict()
    known = {name: value for name, value in fields.items() if value is not None and name not in _UNDER_OTHER_NAMES}
    if row.attributes is not None:
        known["attributes"] = msgspec.Raw(row.attributes.encode())
    return known | {
        "occurred_at": instant(row.occurred_us),
        "accepted_at": instant(row.accepted_us),
        "stored_at": instant(row.stored_us),
        **dict(zip(_PLACES, row.at, strict=True)),
    }


def note_object(row: DuplicateRow | DeadLetterRow) -> dict[str, Any]:
    """A duplicate or a dead letter."""
    fields = row._asdict()
    known = {name: value for name, value in fields.items() if value is not None and name not in _UNDER_OTHER_NAMES}
    return known | {
        "accepted_at": instant(row.accepted_us),
        "stored_at": instant(row.stored_us),
        **dict(zip(_PLACES, row.at, strict=True)),
    }


def document_line(document: str) -> bytes:
    """A stored JSON document on one line."""
    raw = document.encode()
    return msgspec.json.format(raw, indent=-1) if b"\n" in raw else raw


def timeline_object(timeline: Timeline) -> dict[str, Any]:
    """All that the store knows of one invoice; `invoice` is null while its state is not there yet."""
    return {
        "invoice": timeline.invoice and msgspec.Raw(timeline.invoice.document.encode()),
        "events": [event_object(row) for row in timeline.events],
        "duplicates": [note_object(row) for row in timeline.duplicates],
        "alerts": [msgspec.Raw(row.document.encode()) for row in timeline.alerts],
        "dead_letters": [note_object(row) for row in timeline.dead_letters],
    }

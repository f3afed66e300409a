"""What the sink stores of an event and of a status: every field in its column."""

import json
from datetime import date, datetime

from bems_streams.domain.codec import TrackedInvoice
from bems_streams.domain.event import Event, microseconds, parse_event
from bems_streams.domain.fold import fold
from bems_streams.domain.journey import Journey, Stage, StageCode
from bems_streams.domain.views import encode_document, status_document
from bems_streams.flows.rows import event_row, invoice_row
from bems_streams.ports import Coordinates, EventRow, InvoiceRow, RawRecord
from tests.unit.test_event import REQUIRED, WHOLE

AT = Coordinates("invoices.authorization", 3, 41)
HOUR_US = 3_600_000_000


def parsed(document: dict[str, object]) -> Event:
    """The event in it."""
    event = parse_event(json.dumps(document).encode())
    assert isinstance(event, Event)
    return event


def test_every_field_of_an_event_is_in_its_column() -> None:
    """Each is stored as it was sent, times in microseconds, attributes as JSON."""
    record = RawRecord(AT, b"INV-1", b"", (("other", b"x"), ("correlation-id", b"trace-7")), 5_000)

    row = event_row(record, parsed(WHOLE), 6_000)

    texts = {name: value for name, value in WHOLE.items() if name not in ("occurred_at", "attributes")}
    assert row == EventRow(
        **texts,
        occurred_us=microseconds(datetime.fromisoformat(WHOLE["occurred_at"])),
        accepted_us=5_000,
        stored_us=6_000,
        at=AT,
        attributes='{"plant":"4711"}',
        correlation_id="trace-7",
    )


def test_what_an_event_does_not_say_is_stored_as_null() -> None:
    """Five fields are enough."""
    event = parsed({name: WHOLE[name] for name in REQUIRED})

    row = event_row(RawRecord(AT, b"INV-1", b"", (), 5_000), event, 6_000)

    assert row[row._fields.index("payee_code") :] == (None,) * 13


def test_every_field_of_a_status_is_in_its_column() -> None:
    """Beside the whole document, what is asked for and summed has columns of its own."""
    journey = Journey((Stage("ingestion", StageCode(1), HOUR_US), Stage("authorization", StageCode(2), HOUR_US)))
    journey = Journey((*journey.stages, Stage("posting", StageCode(3))))
    tracked, event = TrackedInvoice.new(), parsed(WHOLE)
    fold(tracked.state, event, 5_000, journey)
    tracked.revision = 7
    tracked.note_alert(HOUR_US + 5_000)
    value = encode_document(status_document("INV-1", tracked, journey, updated_us=9_000, cell="c1", region="eu"))

    assert invoice_row(value) == InvoiceRow(
        invoice_id="INV-1",
        revision=7,
        status="open",
        stage="authorization",
        entered_us=5_000,
        last_occurred_us=event.occurred_us,
        updated_us=9_000,
        deadline_us=HOUR_US + 5_000,
        stuck_since_us=HOUR_US + 5_000,
        events=1,
        document=value.decode(),
        payee_code="P-7",
        legal_entity_id="LE-42",
        invoice_due_date="2025-11-29",
        invoice_amount="10482.30",
        currency="EUR",
    )


def test_small_and_long_amounts_are_stored_in_plain_digits() -> None:
    """Never with an exponent, in which sums would have to be guessed."""
    event = parsed(WHOLE | {"invoice_amount": "0.000000", "ppv": "0.000001", "pqv": "999999999999999.999999"})

    row = event_row(RawRecord(AT, b"INV-1", b"", (), 5_000), event, 6_000)

    assert (row.invoice_amount, row.ppv, row.pqv) == ("0.000000", "0.000001", "999999999999999.999999")
    assert event.invoice_date == date(2025, 9, 30)

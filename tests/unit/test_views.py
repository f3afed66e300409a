"""The records others read: what they say of an invoice, and how it is written."""

import json
from datetime import UTC, datetime

import pytest

from bems_streams.domain.codec import TrackedInvoice
from bems_streams.domain.event import Event, parse_event
from bems_streams.domain.fold import fold
from bems_streams.domain.journey import Journey, Stage, StageCode, StageLostError
from bems_streams.domain.views import (
    cleared_alert,
    decode_alert,
    decode_status,
    duration_text,
    encode_document,
    status_document,
    stuck_alert,
)

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
T0_US = 1_760_000_000_000_000  # 2025-10-09T08:53:20Z
JOURNEY = Journey(
    (
        Stage("ingestion", StageCode(1), DAY_US),
        Stage("reconciliation", StageCode(2), 5 * DAY_US),
        Stage("authorization", StageCode(3), 3 * DAY_US),
        Stage("posting", StageCode(4)),
    )
)


def event(stage: str, at: str, **more: object) -> Event:
    """One event of the invoice under test, as an upstream would send it."""
    document = {"event_id": f"{stage}@{at}", "source": "erp", "occurred_at": at, "invoice_id": "INV-1", "stage": stage}
    parsed = parse_event(json.dumps(document | more).encode())
    assert isinstance(parsed, Event)
    return parsed


def authorized() -> TrackedInvoice:
    """An invoice that entered authorization at T0, having skipped reconciliation."""
    tracked = TrackedInvoice.new()
    tracked.revision = 2
    facts = {"invoice_amount": "1000.10", "currency": "EUR", "payee_code": "P-7"}
    fold(tracked.state, event("ingestion", "2025-10-08T08:00:00Z", **facts), T0_US - DAY_US, JOURNEY)
    fold(
        tracked.state,
        event("authorization", "2025-10-09T10:00:00.25+02:00", ppv="-0.50", currency="EUR"),
        T0_US,
        JOURNEY,
    )
    return tracked


def test_a_status_says_where_the_invoice_is_and_all_that_is_known() -> None:
    """Every field of the record, as a subscriber reads it."""
    document = status_document("INV-1", authorized(), JOURNEY, updated_us=T0_US + 1, cell="c1", region="eu")

    assert json.loads(encode_document(document)) == {
        "invoice_id": "INV-1",
        "revision": 2,
        "status": "open",
        "stage": "authorization",
        "stage_entered_at": "2025-10-09T08:53:20Z",
        "deadline": "2025-10-12T08:53:20Z",
        "stuck_since": None,
        "last_occurred_at": "2025-10-09T08:00:00.250000Z",
        "updated_at": "2025-10-09T08:53:20.000001Z",
        "events": 2,
        "skipped_stages": ["reconciliation"],
        "stages": {
            "ingestion": {
                "events": 1,
                "first_occurred_at": "2025-10-08T08:00:00Z",
                "last_occurred_at": "2025-10-08T08:00:00Z",
                "first_accepted_at": "2025-10-08T08:53:20Z",
            },
            "authorization": {
                "events": 1,
                "first_occurred_at": "2025-10-09T08:00:00.250000Z",
                "last_occurred_at": "2025-10-09T08:00:00.250000Z",
                "first_accepted_at": "2025-10-09T08:53:20Z",
            },
        },
        "payee_code": "P-7",
        "invoice_amount": "1000.10",
        "currency": "EUR",
        "ppv": "-0.50",
        "cell": "c1",
        "region": "eu",
    }


def test_a_closed_invoice_has_no_deadline() -> None:
    """`deadline` stays in the record, as null, so that readers need not guess."""
    tracked = authorized()
    fold(tracked.state, event("posting", "2025-10-10T08:00:00Z"), T0_US + DAY_US, JOURNEY)

    raw = json.loads(
        encode_document(status_document("INV-1", tracked, JOURNEY, updated_us=T0_US, cell="c1", region="eu"))
    )

    assert (raw["status"], raw["deadline"], raw["stuck_since"]) == ("closed", None, None)


def test_a_stuck_invoice_says_since_when() -> None:
    """An invoice is stuck from the deadline that its alert named."""
    tracked = authorized()
    tracked.note_alert(T0_US + 3 * DAY_US)

    document = status_document("INV-1", tracked, JOURNEY, updated_us=T0_US, cell="c1", region="eu")

    assert document.stuck_since == datetime(2025, 10, 12, 8, 53, 20, tzinfo=UTC)


def test_a_stuck_alert_names_stage_dwell_limit_and_money() -> None:
    """Whoever is woken by it need not look anything up."""
    tracked = authorized()
    tracked.note_alert(T0_US + 3 * DAY_US)

    alert = stuck_alert("INV-1", tracked, JOURNEY, raised_us=T0_US + 3 * DAY_US + 1, cell="c1", region="eu")

    assert json.loads(encode_document(alert)) == {
        "invoice_id": "INV-1",
        "kind": "stuck",
        "stage": "authorization",
        "deadline": "2025-10-12T08:53:20Z",
        "stage_entered_at": "2025-10-09T08:53:20Z",
        "raised_at": "2025-10-12T08:53:20.000001Z",
        "invoice_amount": "1000.10",
        "currency": "EUR",
        "payee_code": "P-7",
        "reason": "3 days in authorization, limit 3 days",
        "cell": "c1",
        "region": "eu",
    }


def test_a_cleared_alert_names_the_alert_it_ends_and_where_the_invoice_went() -> None:
    """Stage, deadline and entry time are those of the stuck alert, although the invoice has left the stage."""
    tracked = authorized()
    tracked.note_alert(T0_US + 3 * DAY_US)
    fold(tracked.state, event("posting", "2025-10-13T10:00:00Z"), T0_US + 4 * DAY_US, JOURNEY)

    alert = cleared_alert("INV-1", tracked, JOURNEY, raised_us=T0_US + 4 * DAY_US + HOUR_US, cell="c1", region="eu")

    assert (alert.kind, alert.stage, alert.moved_to) == ("cleared", "authorization", "posting")
    assert alert.deadline == datetime(2025, 10, 12, 8, 53, 20, tzinfo=UTC)
    assert alert.stage_entered_at == datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)
    assert alert.reason == "moved to posting after 4 days 1 hour in authorization"


def test_an_alert_can_clear_without_a_move() -> None:
    """When a late event or another limit changes the deadline, the reason does not claim that the invoice moved."""
    tracked = authorized()
    tracked.note_alert(T0_US + 3 * DAY_US)

    alert = cleared_alert("INV-1", tracked, JOURNEY, raised_us=T0_US + 4 * DAY_US, cell="c1", region="eu")

    assert alert.moved_to == "authorization"
    assert alert.reason.startswith("still in authorization")


def test_documents_read_back_equal_and_readers_ignore_what_they_do_not_know() -> None:
    """A consumer of today keeps working when a later release adds a field."""
    tracked = authorized()
    tracked.note_alert(T0_US + 3 * DAY_US)
    status = status_document("INV-1", tracked, JOURNEY, updated_us=T0_US, cell="c1", region="eu")
    alert = stuck_alert("INV-1", tracked, JOURNEY, raised_us=T0_US, cell="c1", region="eu")

    assert decode_status(encode_document(status)) == status
    assert decode_alert(encode_document(alert)) == alert
    assert decode_status(encode_document(status)[:-1] + b',"later": 1}') == status


def test_a_lost_stage_is_named_with_the_way_out() -> None:
    """A status is never written with a stage missing from it."""
    shorter = Journey(tuple(stage for stage in JOURNEY.stages if stage.name != "ingestion"))
    with pytest.raises(StageLostError, match=r"code 1.*put the stage back"):
        status_document("INV-1", authorized(), shorter, updated_us=T0_US, cell="c1", region="eu")


@pytest.mark.parametrize(
    ("duration_us", "text"),
    [
        (-1, "0 ms"),
        (0, "0 ms"),
        (250_000, "250 ms"),
        (1_000_000, "1 second"),
        (61_000_000, "1 minute 1 second"),
        (3 * DAY_US, "3 days"),
        (3 * DAY_US + 4 * HOUR_US + 5, "3 days 4 hours"),
        (DAY_US + 59_000_000, "1 day"),
    ],
)
def test_durations_read_well(duration_us: int, text: str) -> None:
    """Two neighbouring units at most, rounded down."""
    assert duration_text(duration_us) == text

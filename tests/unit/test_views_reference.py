"""The status record against one that is written field by field from plain values."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from bems_streams.domain.codec import TrackedInvoice
from bems_streams.domain.event import instant
from bems_streams.domain.journey import Journey, Stage, StageCode
from bems_streams.domain.state import FACT_NAMES
from bems_streams.domain.views import encode_document, status_document
from tests.unit.test_fold import CODES, Record, by_brute_force, folded, histories

YEAR_US = 365 * 86_400_000_000


def plainly(history: list[Record], tracked: TrackedInvoice, limit_us: int | None, updated_us: int) -> bytes:
    """What the record must be, from all events at once."""
    known = by_brute_force(history)
    has_limit = limit_us is not None and known.stage != "posting"
    fields: dict[str, Any] = {
        "invoice_id": "Ré-№7",
        "revision": tracked.revision,
        "status": known.status.value,
        "stage": known.stage,
        "stage_entered_at": instant(known.entered_us),
        "deadline": instant(known.entered_us + (limit_us or 0)) if has_limit else None,
        "stuck_since": instant(tracked.alerted_deadline_us) if tracked.alerted_deadline_us else None,
        "last_occurred_at": instant(known.last_occurred_us),
        "updated_at": instant(updated_us),
        "events": known.events,
        "skipped_stages": known.skipped,
        "stages": {
            name: {
                "events": known.stages[name][0],
                "first_occurred_at": instant(known.stages[name][1]),
                "last_occurred_at": instant(known.stages[name][2]),
                "first_accepted_at": instant(known.stages[name][3]),
            }
            for name in sorted(known.stages, key=CODES.__getitem__)
        },
    }
    facts = {name: known.facts[name] for name in FACT_NAMES if name in known.facts}
    return msgspec.json.encode(fields | facts | {"cell": "c1", "region": "eu"})


@settings(max_examples=150)
@given(
    histories(),
    st.none() | st.integers(1, 900 * YEAR_US),
    st.integers(0, 200 * YEAR_US),
    st.just(0) | st.integers(1, 900 * YEAR_US),
)
def test_a_status_is_to_the_byte_what_its_events_say(
    history: list[Record], limit_us: int | None, updated_us: int, alerted_us: int
) -> None:
    """Fields, their order and the form of times, whatever the order of arrival, the limit and the alert."""
    journey = Journey(tuple(Stage(name, StageCode(code), limit_us) for name, code in CODES.items()))
    tracked = TrackedInvoice.new()
    tracked.revision, tracked.alerted_deadline_us, tracked.state = len(history), alerted_us, folded(history)

    document = status_document("Ré-№7", tracked, journey, updated_us=updated_us, cell="c1", region="eu")

    assert encode_document(document) == plainly(history, tracked, limit_us, updated_us)

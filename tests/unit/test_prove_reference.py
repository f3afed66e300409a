"""The reference that invoices are judged by: it agrees with the product's fold, and with what people work out."""

import itertools
from collections import defaultdict
from random import Random
from typing import Any

import msgspec

from bems_streams.domain.codec import TrackedInvoice
from bems_streams.domain.event import Event, parse_event
from bems_streams.domain.fold import fold
from bems_streams.domain.views import encode_document, status_document
from bems_streams.local.prove.load_source import LoadSource
from bems_streams.local.prove.reference import Rules, StageSum, read_event, shown
from bems_streams.topics import load_catalogue
from tests.support import expected_states, real_lines

JOURNEY = load_catalogue().journey(1000)
LIMITS = {stage.name: stage.stuck_after_us for stage in JOURNEY.stages if stage.stuck_after_us is not None}
RULES = Rules(JOURNEY.names, LIMITS)


def made_up(events: int) -> list[tuple[bytes, int]]:
    """Events with copies, shuffled, each with the moment of its acceptance."""
    raws = [offer.raw for offer in itertools.islice(LoadSource(11, 20, 86_400).offers(), events)]
    rng = Random(3)
    raws += rng.sample(raws, events // 5)
    rng.shuffle(raws)
    return [(raw, 1_000_000 + 137 * place) for place, raw in enumerate(raws) if isinstance(parse_event(raw), Event)]


def test_it_agrees_with_the_fold_of_the_product_on_every_field() -> None:
    """Two ways, one state: for hundreds of invoices whose events come in any order, some of them twice."""
    folded: dict[str, TrackedInvoice] = defaultdict(TrackedInvoice.new)
    by_invoice = defaultdict(list)
    for raw, accepted_us in made_up(4000):
        event, plain = parse_event(raw), read_event(raw, accepted_us)
        assert isinstance(event, Event)
        assert plain is not None
        fold(folded[event.invoice_id].state, event, accepted_us, JOURNEY)
        by_invoice[plain.invoice_id].append(plain)
    assert len(by_invoice) > 200
    for invoice_id, tracked in folded.items():
        document = status_document(invoice_id, tracked, JOURNEY, updated_us=5, cell="c", region="r")
        assert RULES.expected(by_invoice[invoice_id]) == shown(msgspec.json.decode(encode_document(document)))


def event(number: int, stage: str, occurred: str, accepted_us: int, **facts: Any) -> Any:
    """One event of one invoice."""
    fields = {"event_id": f"e{number}", "invoice_id": "i", "stage": stage, "occurred_at": occurred, **facts}
    return read_event(msgspec.json.encode(fields), accepted_us)


def test_a_journey_worked_out_by_hand() -> None:
    """Ingestion, authorization, back to ingestion: reconciliation skipped, the newest facts, the stay that counts."""
    hour = 3_600_000_000
    at = 1_767_225_600_000_000  # 2026-01-01T00:00Z
    state = RULES.expected(
        [
            event(4, "ingestion", "2026-01-01T03:00:00Z", 90, payee_code="P2"),
            event(1, "ingestion", "2026-01-01T01:00:00+01:00", 10, payee_code="P1", invoice_amount="1.50"),
            event(2, "authorization", "2026-01-01T01:00:00Z", 20, invoice_amount=2.25, currency="EUR"),
            event(3, "ingestion", "2026-01-01T02:00:00Z", 95),
            event(4, "ingestion", "2026-01-01T03:00:00Z", 80, payee_code="P2"),
        ]
    )
    assert (state.stage, state.status, state.events, state.skipped) == ("ingestion", "open", 4, ())
    assert (state.entered_us, state.deadline_us) == (80, 80 + LIMITS["ingestion"])
    assert state.last_occurred_us == at + 3 * hour
    assert state.facts == {"payee_code": "P2", "invoice_amount": "2.25", "currency": "EUR"}
    assert state.stages == {
        "ingestion": StageSum(3, at, at + 3 * hour, 10),
        "authorization": StageSum(1, at + hour, at + hour, 20),
    }


def test_a_closed_invoice_has_no_deadline_and_names_what_it_skipped() -> None:
    """The last stage closes it; what comes after reopens it."""
    closed = [event(1, "posting", "2026-01-01T00:00:00Z", 1)]
    assert RULES.expected(closed).deadline_us is None
    assert RULES.expected(closed).skipped == ("ingestion", "reconciliation", "authorization")
    assert RULES.expected([*closed, event(2, "ingestion", "2026-01-02T00:00:00Z", 2)]).status == "reopened"


def test_bytes_in_which_no_event_can_be_seen_are_none() -> None:
    """Whatever poison is made of, reading it does not raise."""
    for raw in (None, b"", b"\xff\xfe", b"[]", b"{}", b'{"event_id":1}', b'{"occurred_at":3}', b"[" * 9999):
        assert read_event(raw) is None


def test_it_reads_every_event_of_the_real_log() -> None:
    """9,704 events, 676 invoices, most of them closed."""
    assert all(read_event(line) is not None for line in real_lines())
    states = expected_states()
    assert sum(state.events for state in states.values()) == 9704
    assert sum(state.status == "closed" for state in states.values()) > 400

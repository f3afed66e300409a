"""What the pure part costs on this machine: microseconds per event parsed, folded, encoded and decoded.

Run `python -m benchmarks.domain [--repeats 15] [--json FILE]`. Not here: anything with a broker, a disk or a network.
"""

import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import click

from bems_streams.domain.codec import TrackedInvoice, decode_tracked, encode_tracked
from bems_streams.domain.event import Event, parse_event
from bems_streams.domain.fold import fold
from bems_streams.domain.journey import Journey, Stage, StageCode
from bems_streams.domain.views import encode_document, status_document

INVOICES: Final = 200
DAY_US: Final = 86_400_000_000
T0_US: Final = 1_760_000_000_000_000
JOURNEY: Final = Journey(
    (
        Stage("ingestion", StageCode(1), DAY_US),
        Stage("reconciliation", StageCode(2), 5 * DAY_US),
        Stage("authorization", StageCode(3), 3 * DAY_US),
        Stage("posting", StageCode(4)),
    )
)
VISITS: Final = ("ingestion",) * 3 + ("reconciliation",) * 5 + ("authorization",) * 4 + ("posting",) * 2


class Cost(NamedTuple):
    """One measured figure."""

    subject: str
    median_us: float
    best_us: float


def payload(invoice: int, place: int) -> bytes:
    """One event of about 450 bytes, as an upstream sends it."""
    document = {
        "event_id": f"4f6d2c1e-{invoice:08x}-{place:04x}",
        "source": "erp-emea-01",
        "occurred_at": f"2025-10-{9 + place:02d}T08:15:{place:02d}.250+02:00",
        "invoice_id": f"INV-2025-{invoice:09d}",
        "stage": VISITS[place],
        "payee_code": "PAYEE-004711",
        "legal_entity_id": "LE-DE-0042",
        "invoice_date": "2025-09-30",
        "invoice_due_date": "2025-11-29",
        "invoice_amount": 10482.37,
        "currency": "EUR",
        "matched_amount": 10480.00,
        "authorized_amount": 10480.00,
        "ppv": 2.37,
        "pqv": 0,
        "activity": "status changed",
        "attributes": {"plant": "4711"},
    }
    return json.dumps(document, separators=(",", ":")).encode()


def folded(events: list[list[Event]]) -> list[TrackedInvoice]:
    """Every invoice with all its events."""
    invoices = []
    for events_of_one in events:
        tracked = TrackedInvoice.new()
        for place, event in enumerate(events_of_one):
            fold(tracked.state, event, T0_US + place, JOURNEY)
        invoices.append(tracked)
    return invoices


def measure(repeats: int, subject: str, operations: int, work: Callable[[], object]) -> Cost:
    """Time `work`, which does `operations` operations, `repeats` times, after one warm-up."""
    work()
    costs_us = []
    for _ in range(repeats):
        started = time.perf_counter_ns()
        work()
        costs_us.append((time.perf_counter_ns() - started) / 1000 / operations)
    return Cost(subject, statistics.median(costs_us), min(costs_us))


def costs(repeats: int) -> list[Cost]:
    """All figures, in the order a record meets them."""
    raws = [payload(invoice, place) for invoice in range(INVOICES) for place in range(len(VISITS))]
    parsed = [event for raw in raws if isinstance(event := parse_event(raw), Event)]
    assert len(parsed) == len(raws)
    per_invoice = [parsed[at : at + len(VISITS)] for at in range(0, len(parsed), len(VISITS))]
    backwards = [events[::-1] for events in per_invoice]
    invoices = folded(per_invoice)
    stored = [encode_tracked(tracked) for tracked in invoices]

    def statuses() -> None:
        for tracked in invoices:
            encode_document(status_document("INV-1", tracked, JOURNEY, updated_us=T0_US, cell="c1", region="eu"))

    size = len(raws[0])
    timed = partial(measure, repeats)
    return [
        timed(f"parse one event of {size} bytes", len(raws), lambda: [parse_event(raw) for raw in raws]),
        timed(f"fold one of {len(VISITS)} events in order", len(raws), lambda: folded(per_invoice)),
        timed(f"fold one of {len(VISITS)} events, newest first", len(raws), lambda: folded(backwards)),
        timed(f"encode a state of {len(stored[0])} bytes", INVOICES, lambda: [encode_tracked(t) for t in invoices]),
        timed(f"decode a state of {len(stored[0])} bytes", INVOICES, lambda: [decode_tracked(raw) for raw in stored]),
        timed("build and encode one status record", INVOICES, statuses),
    ]


@click.command()
@click.option("--repeats", type=click.IntRange(1), default=15, show_default=True, help="Medians are shown.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the figures here.")
def main(repeats: int, json_path: Path | None) -> None:
    """Print one line per figure."""
    figures = costs(repeats)
    for cost in figures:
        print(f"{cost.subject:<45} {cost.median_us:7.2f} µs   (best {cost.best_us:.2f})")
    if json_path is not None:
        json_path.write_text(json.dumps({"figures": [cost._asdict() for cost in figures]}, indent=2))


if __name__ == "__main__":
    main()

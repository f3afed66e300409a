"""What the pure part costs on this machine: CPU per event read, folded and made a row, per state and status written.

Subjects take turns. Run `python -m benchmarks.domain [--quick] [--json FILE]`.
Not here: anything with a broker, a disk or a network.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bems_streams.domain.codec import TrackedInvoice, decode_tracked, encode_tracked
from bems_streams.domain.event import Event, parse_event
from bems_streams.domain.fold import fold, fold_all
from bems_streams.domain.journey import Journey, Stage, StageCode
from bems_streams.domain.views import encode_document, status_document
from bems_streams.flows.decode import judge
from bems_streams.flows.rows import event_row, invoice_row
from bems_streams.ports import Coordinates, RawRecord
from benchmarks.figures import Case, Goal, Run, Target, write_report

INVOICES: Final = 200
REPEATS: Final = 60
QUICK_REPEATS: Final = 3
MANY: Final = 50
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
EVENTS: Final = len(VISITS)
FEWER_FACTS: Final = ("matched_amount", "authorized_amount", "ppv", "pqv")

Arrivals = Sequence[tuple[Event, int]]
"""Events of one invoice, each with its time of acceptance."""


T = TypeVar("T")


class Subject(NamedTuple):
    """What is measured: `work` does `operations` operations."""

    name: str
    measures: str
    operations: int
    work: Callable[[], object]


def payload(invoice: int, place: int) -> bytes:
    """One event of about 450 bytes, as an upstream sends it."""
    return _json(_document(invoice, place))


def payload_of_texts(invoice: int, place: int) -> bytes:
    """The same with amounts as text, most of them different in every event."""
    amount, number = f"{1000 + 37 * invoice}.{invoice % 100:02d}", invoice * EVENTS + place
    own = {
        "invoice_amount": amount,
        "authorized_amount": amount,
        "matched_amount": f"{number}.50",
        "ppv": f"0.{number}",
    }
    return _json(_document(invoice, place) | own | {"pqv": str(place)})


def payload_of_less(invoice: int, place: int) -> bytes:
    """The same from systems that say only what they know: matching is told by three of the events."""
    document = _document(invoice, place)
    return _json({name: value for name, value in document.items() if place in (5, 6, 7) or name not in FEWER_FACTS})


def _document(invoice: int, place: int) -> dict[str, object]:
    return {
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


def _json(document: dict[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def raws(make: Callable[[int, int], bytes]) -> list[bytes]:
    """All events of all invoices."""
    return [make(invoice, place) for invoice in range(INVOICES) for place in range(EVENTS)]


def arrivals(make: Callable[[int, int], bytes]) -> Sequence[Arrivals]:
    """The same, read, by invoice."""
    events = iter([event for raw in raws(make) if isinstance(event := parse_event(raw), Event)])
    found = [[(event, T0_US + place) for place, event in enumerate(islice(events, EVENTS))] for _ in range(INVOICES)]
    assert all(len(of_one) == EVENTS for of_one in found)
    return found


def folded(invoices: Sequence[Arrivals], at_once: int) -> list[TrackedInvoice]:
    """Every invoice with all its events, so many at once; an empty state for each is part of it."""
    found = []
    for of_one in invoices:
        tracked = TrackedInvoice.new()
        for start in range(0, len(of_one), at_once):
            fold_all(tracked.state, of_one[start : start + at_once], JOURNEY)
        found.append(tracked)
    return found


def long_lived(invoice: int, count: int) -> TrackedInvoice:
    """An invoice with so many events."""
    tracked = TrackedInvoice.new()
    for number in range(count):
        document = _document(invoice, number % EVENTS) | {"event_id": f"{invoice:08x}-{number:04x}"}
        event = parse_event(_json(document))
        assert isinstance(event, Event)
        fold(tracked.state, event, T0_US + number, JOURNEY)
    return tracked


def each(work: Callable[[T], object], items: Iterable[T]) -> Callable[[], object]:
    """Do it with every item."""
    found = list(items)
    return lambda: [work(item) for item in found]


def reading() -> list[Subject]:
    """From bytes to an event, and what an agent does with it before it folds or stores it."""
    numbers, texts = raws(payload), raws(payload_of_texts)
    records = [
        RawRecord(
            Coordinates("invoices.x", 0, at), f"INV-2025-{at // EVENTS:09d}".encode(), raw, (), T0_US + 30 * DAY_US
        )
        for at, raw in enumerate(texts)
    ]
    events = [event for raw in texts if isinstance(event := parse_event(raw), Event)]
    stages, count = list(VISITS) * INVOICES, len(texts)
    assert all(isinstance(judge(record, stage, T0_US), Event) for record, stage in zip(records, stages, strict=True))
    return [
        Subject("parse", f"{len(texts[0])} bytes, five amounts as text", count, each(parse_event, texts)),
        Subject(
            "parse, numbers", f"{len(numbers[0])} bytes, five amounts as numbers", count, each(parse_event, numbers)
        ),
        Subject(
            "judge",
            "parse, and compare with topic, key and clock",
            count,
            each(lambda given: judge(*given, T0_US), zip(records, stages, strict=True)),
        ),
        Subject(
            "event row",
            "from an event to the row of the store",
            count,
            each(lambda given: event_row(*given, T0_US), zip(records, events, strict=True)),
        ),
    ]


def folding() -> list[Subject]:
    """From an event to the state of its invoice."""
    alike, fewer = arrivals(payload), arrivals(payload_of_less)
    backwards = [of_one[::-1] for of_one in alike]
    count = INVOICES * EVENTS
    return [
        Subject("fold", "one by one, in order, all facts", count, partial(folded, alike, 1)),
        Subject("fold, fewer facts", "one by one, in order", count, partial(folded, fewer, 1)),
        Subject("fold, newest first", "one by one, all facts", count, partial(folded, backwards, 1)),
        *(
            Subject(f"fold {at_once} at once", "in order, all facts", count, partial(folded, alike, at_once))
            for at_once in (2, 7, EVENTS)
        ),
    ]


def keeping() -> list[Subject]:
    """From a state to stored bytes and back, to the record that others read, and to its row."""
    subjects = []
    for events, stages in ((1, "1 stage"), (EVENTS, "4 stages"), (MANY, "4 stages")):
        states = [long_lived(invoice, events) for invoice in range(INVOICES)]
        stored, documents = [*map(encode_tracked, states)], [*map(status, states)]
        kept = f"{events} events, {stages}: {len(stored[0])} bytes"
        told = f"{events} events, {stages}: {len(documents[0])} bytes"
        subjects += [
            Subject(f"encode a state of {events}", kept, INVOICES, each(encode_tracked, states)),
            Subject(f"decode a state of {events}", kept, INVOICES, each(decode_tracked, stored)),
            Subject(f"status after {events}", told, INVOICES, each(status, states)),
            Subject(f"status row after {events}", told, INVOICES, each(invoice_row, documents)),
        ]
    return subjects


def status(tracked: TrackedInvoice) -> bytes:
    """The record that a tracker publishes."""
    return encode_document(
        status_document("INV-2025-000000001", tracked, JOURNEY, updated_us=T0_US, cell="c1", region="eu")
    )


def measure(subjects: Sequence[Subject], repeats: int, console: Console) -> list[Case]:
    """All in turns, after one round that is not counted."""
    runs: dict[str, list[Run]] = {subject.name: [] for subject in subjects}
    for number in track(range(repeats + 1), "measuring", console=console, transient=True):
        for subject in subjects:
            began, began_cpu = time.perf_counter(), time.process_time()
            subject.work()
            ended_cpu, ended = time.process_time(), time.perf_counter()
            if number:
                runs[subject.name].append(Run(subject.operations, ended - began, ended_cpu - began_cpu))
    settings = {"invoices": INVOICES, "events per invoice": EVENTS, "repeats": repeats}
    return [Case(subject.name, subject.measures, settings, runs[subject.name]) for subject in subjects]


GOALS: Final = {
    "parse": (2.5, "17 fields (0.8 µs) and one call of Python with a pattern per amount (1.4 µs)"),
    "fold": (2.5, "a digest of the event id (0.4 µs), ten facts (0.4 µs), state in plain Python objects"),
    "fold 14 at once": (2.5, "as for one"),
    "status after 14": (4.0, "17 moments become datetimes (1.6 µs) and text (0.9 µs)"),
    "event row": (1.5, "21 columns"),
}
"""Microseconds of CPU, and what bounds them."""


def targets(cases: Sequence[Case]) -> list[Target]:
    """What the tracker's and the sink's budget per event leave for each part."""
    found = {case.name: case.spread("cpu_us_per_event").median for case in cases}
    return [Target(f"{name}, CPU µs", found[name], goal, Goal.AT_MOST, why) for name, (goal, why) in GOALS.items()]


@click.command()
@click.option("--repeats", type=click.IntRange(1), default=REPEATS, show_default=True, help="Rounds over all subjects.")
@click.option("--quick", is_flag=True, help=f"{QUICK_REPEATS} rounds.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the figures here.")
def main(repeats: int, quick: bool, json_path: Path | None) -> None:
    """Print one line per subject."""
    console = Console()
    cases = measure([*reading(), *folding(), *keeping()], QUICK_REPEATS if quick else repeats, console)
    table = Table("subject", "CPU µs, median", "lowest", "highest", "what it is", box=None, pad_edge=False)
    for case in cases:
        spread = case.spread("cpu_us_per_event")
        table.add_row(
            case.name, *(f"{value:.2f}" for value in (spread.median, spread.lowest, spread.highest)), case.measures
        )
    console.print(table)
    if json_path is not None:
        write_report(json_path, cases, targets(cases))


if __name__ == "__main__":
    main()

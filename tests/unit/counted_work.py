"""What handling an event takes, counted, never timed: bytecode instructions, calls into C, memory at the peak.

`python -m tests.unit.counted_work` shows the counts beside those recorded in counted_work.json; with `--record` it
records them for the Python that runs it. Not here: how it is counted (counting.py), what is allowed
(test_counted_work.py).
"""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from prometheus_client import CollectorRegistry

from bems_streams.adapters.sqlite import SqliteBackend, SqliteStore
from bems_streams.domain.event import Event, parse_event
from bems_streams.domain.fold import fold
from bems_streams.domain.state import InvoiceState
from bems_streams.flows.breaker import Breaker
from bems_streams.flows.store import SinkParts, Store
from bems_streams.flows.track import Track
from bems_streams.metrics import AgentMetrics
from bems_streams.ports import Appended, Coordinates, OutRecord, RawRecord
from benchmarks.feed import BEGINNING_SECONDS, Feed, Shape
from tests.unit.counting import count
from tests.unit.flow_kit import (
    ALERTS,
    JOURNEY,
    LEDGER,
    STAGE_OF,
    STATUS,
    FrozenClock,
    MemoryBroker,
    MemoryPublisher,
    Tracker,
    lanes_of,
)
from tests.unit.gateway_kit import ACCEPTED_US, Bench, MemoryLog

EVENTS: Final = 1_000
NOW_US: Final = (BEGINNING_SECONDS + 86_400) * 1_000_000
INVOICES: Final = 60
MANY_INVOICES: Final = 400
BATCH: Final = 100
PARTITIONS: Final = 4
SUBJECTS: Final = (
    "parse",
    "fold",
    "track, many events of an invoice together",
    "track, one or two events of an invoice",
    "store",
    "gateway, one event a request",
    "gateway, a hundred events a request",
)
SQL: Final = "SQLite, per 1,000 events"
RECORDED: Final = Path(__file__).with_suffix(".json")
PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"


def raw_records(invoices: int = INVOICES) -> list[RawRecord]:
    """The same every time: invoices on their way through all stages, two in a hundred records come twice.

    `invoices`: so many are under way at once.
    """
    offsets: dict[tuple[str, int], int] = {}
    records: list[RawRecord] = []
    for stage, key, value in Feed(EVENTS, 1, Shape(live_invoices=invoices)):
        place = f"invoices.{stage}", sum(key) % PARTITIONS
        offsets[place] = offset = offsets.get(place, -1) + 1
        records.append(RawRecord(Coordinates(*place, offset), key, value, (), NOW_US + len(records)))
    return records


def by_partition(records: Sequence[RawRecord]) -> list[list[RawRecord]]:
    """As an agent gets them from a backlog."""
    batches: dict[tuple[str, int], list[RawRecord]] = {}
    for record in records:
        batches.setdefault(record.at[:2], []).append(record)
    return list(batches.values())


def at_once(step: Coroutine[Any, Any, Any]) -> Any:
    """The result of what never really waits."""
    try:
        step.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waited for something")


class ProvingLog(MemoryLog):
    """Proves everything at no cost."""

    def _append(self, record: OutRecord) -> Appended:
        return Appended(Coordinates(record.topic, 0, 1), ACCEPTED_US)


def parsing(records: Sequence[RawRecord]) -> Callable[[], object]:
    """Bytes to events."""
    raws = [record.value or b"" for record in records]
    return lambda: [parse_event(raw) for raw in raws]


def folding(records: Sequence[RawRecord]) -> Callable[[], object]:
    """Events into invoices, in the order of the log."""
    events = [event for record in records if isinstance(event := parse_event(record.value or b""), Event)]
    assert len(events) == len(records)

    def run() -> None:
        states: dict[str, InvoiceState] = {}
        for event in events:
            fold(states.setdefault(event.invoice_id, InvoiceState()), event, NOW_US, JOURNEY)

    return run


def tracking(records: Sequence[RawRecord]) -> Callable[[], object]:
    """The tracker's decision about a batch; the first half is in its table."""
    tracker = Tracker(clock=FrozenClock(NOW_US + EVENTS))
    track = Track(tracker.parts)
    first, second = by_partition(records[: EVENTS // 2]), by_partition(records[EVENTS // 2 :])
    decision = track.decide(first)
    assert not decision.asides, "all events are good ones"
    at_once(track.write(decision, at_once(track.publish(decision))))
    return lambda: [track.decide(second), track.decide(second)]


def sink_parts(store: Any) -> SinkParts:
    """Over memory, except for the store."""
    clock, metrics = FrozenClock(NOW_US + EVENTS), AgentMetrics(CollectorRegistry(), "sink")

    async def no_pause(_: float) -> None:
        return None

    return SinkParts(
        stage_of=STAGE_OF,
        status_topic=STATUS,
        alerts_topic=ALERTS,
        ledger_topic=LEDGER,
        lanes=lanes_of("sink"),
        clock=clock,
        publisher=MemoryPublisher(MemoryBroker()),
        store=store,
        breaker=Breaker(clock, metrics, no_pause),
        metrics=metrics,
    )


def storing(records: Sequence[RawRecord]) -> Callable[[], object]:
    """The sink's decision about a batch, and its write to a new SQLite file."""

    def run() -> None:
        with sqlite_store() as store:
            write(store, records)

    return run


@contextmanager
def sqlite_store() -> Iterator[SqliteStore]:
    """A new one."""
    with TemporaryDirectory() as folder:
        store = SqliteBackend(Path(folder) / "store.sqlite3").open_store()
        yield store
        store.close()


def write(store: SqliteStore, records: Sequence[RawRecord]) -> None:
    """As the sink does it, without its thread."""
    rows = Store(sink_parts(store)).decide(records)
    assert len(rows.events) == len(records), "all events are good ones"
    store.write(rows.batch())


def sql(records: Sequence[RawRecord]) -> dict[str, float]:
    """Statements that SQLite runs, and transactions, for one batch of the sink; per 1,000 events."""
    statements: list[str] = []
    with sqlite_store() as store:
        assert store._connection is not None
        store._connection.set_trace_callback(statements.append)
        write(store, records)
    thousands = len(records) / 1000
    transactions = sum(statement.startswith("BEGIN") for statement in statements)
    return {"statements": len(statements) / thousands, "transactions": transactions / thousands}


def accepting(records: Sequence[RawRecord], at_a_time: int) -> Callable[[], object]:
    """The gateway's answers to requests of that many events."""
    bench = Bench(log=ProvingLog())
    raws = [record.value or b"" for record in records if record.at.topic == "invoices.ingestion"]
    bodies = [raws[start] for start in range(BATCH)] if at_a_time == 1 else [b"[" + b",".join(raws[:BATCH]) + b"]"]

    async def send_all() -> None:
        for body in bodies:
            reply = await bench.send(body)
            assert reply.status == 202, reply

    def run() -> None:
        with closing(asyncio.new_event_loop()) as loop:
            loop.run_until_complete(send_all())

    return run


def subjects() -> Mapping[str, tuple[Callable[[], object], int]]:
    """By name: what to run, and how many events that handles."""
    records = raw_records()
    return {
        "parse": (parsing(records), EVENTS),
        "fold": (folding(records), EVENTS),
        "track, many events of an invoice together": (tracking(records), EVENTS),
        "track, one or two events of an invoice": (tracking(raw_records(MANY_INVOICES)), EVENTS),
        "store": (storing(records), EVENTS),
        "gateway, one event a request": (accepting(records, 1), BATCH),
        "gateway, a hundred events a request": (accepting(records, BATCH), BATCH),
    }


def counted() -> dict[str, dict[str, float]]:
    """By subject and counter."""
    counts = {name: count(*subject)._asdict() for name, subject in subjects().items()}
    return {**counts, SQL: sql(raw_records())}


def recorded() -> dict[str, dict[str, dict[str, float]]]:
    """By Python, subject and counter."""
    found: dict[str, dict[str, dict[str, float]]] = json.loads(RECORDED.read_bytes()) if RECORDED.exists() else {}
    return found


def main() -> None:
    """Show, and record when asked to."""
    counts, before = counted(), recorded()
    for name, work in counts.items():
        known = before.get(PYTHON, {}).get(name, {})
        print(f"{name:<32}", "  ".join(f"{what} {now:,.2f} ({known.get(what, 0):,.2f})" for what, now in work.items()))
    if "--record" in sys.argv:
        before[PYTHON] = {name: {what: round(now, 2) for what, now in work.items()} for name, work in counts.items()}
        RECORDED.write_text(json.dumps(before, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

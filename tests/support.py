"""What several tiers need: a cell of real processes, waiting with a deadline, and the log of real events.

Not here: fixtures (conftest.py files).
"""

import gzip
import json
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from confluent_kafka import Consumer, Producer, TopicPartition

from bems_streams.adapters.kafka_admin import KafkaTopicAdmin
from bems_streams.adapters.stores import open_reader
from bems_streams.local.account import Account, Accountant
from bems_streams.local.cell import Cell, CellOptions
from bems_streams.local.prove.reference import Expected, PlainEvent, Rules, read_event, shown
from bems_streams.ports import LogUnavailableError, StoreReader
from bems_streams.topics import Catalogue, load_catalogue
from bems_streams.topics_plan import Patience, apply_plan

REPOSITORY = Path(__file__).resolve().parents[1]
REAL_LOG = Path(os.environ.get("BEMS_REAL_LOG", REPOSITORY.parent / "shared" / "data" / "bpic2019-sample.jsonl.gz"))
"""9,704 real events of 676 invoices (2018). A missing file fails the tests that need it."""

STAGES = ["ingestion", "reconciliation", "authorization", "posting"]

T = TypeVar("T")


def eventually(ask: Callable[[], T], accept: Callable[[T], bool], deadline_seconds: float = 90.0) -> T:
    """Ask until the answer is accepted; fail with the last answer after the deadline."""
    end = time.monotonic() + deadline_seconds
    while True:
        answer = ask()
        if accept(answer):
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"after {deadline_seconds:g} s the answer is still {answer!r}")
        time.sleep(0.05)


def real_events() -> list[dict[str, Any]]:
    """The real log, decoded: 9,704 events of 676 invoices."""
    with gzip.open(REAL_LOG, "rb") as lines:
        return [json.loads(line) for line in lines]


def real_lines() -> Iterator[bytes]:
    """The real log as bytes, one event a line."""
    with gzip.open(REAL_LOG, "rb") as lines:
        for line in lines:
            yield line.rstrip(b"\n")


def expected_states() -> dict[str, Expected]:
    """What each invoice's state must be, computed from the log alone, by the reference that shares no code with it."""
    by_invoice: dict[str, list[PlainEvent]] = defaultdict(list)
    for line in real_lines():
        event = read_event(line)
        assert event is not None, line
        by_invoice[event.invoice_id].append(event)
    rules = Rules(STAGES, {})
    return {invoice: _timeless(rules.expected(events)) for invoice, events in by_invoice.items()}


def shown_states(statuses: Mapping[str, dict[str, Any]]) -> dict[str, Expected]:
    """The same facts, from the status documents that a cell shows, by invoice id."""
    return {invoice: _timeless(shown(status)) for invoice, status in statuses.items()}


def _timeless(state: Expected) -> Expected:
    """Without what depends on when the events were accepted."""
    stages = {name: stage._replace(first_accepted_us=0) for name, stage in state.stages.items()}
    return replace(state, entered_us=0, deadline_us=None, stages=stages)


def append_events(bootstrap: str, catalogue: Catalogue, lines: Sequence[bytes]) -> None:
    """Write events straight to their stage topics, as an upstream system may; all durable on return."""
    producer = Producer(
        {"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "acks": "all", "enable.idempotence": True,
         "linger.ms": 5, "log_level": 3, "queue.buffering.max.messages": 200_000, "message.timeout.ms": 60_000}
    )  # fmt: skip
    failed: list[Any] = []

    def delivered(error: Any, _: Any) -> None:
        if error is not None:
            failed.append(error)

    for line in lines:
        event = json.loads(line)
        topic = catalogue.stage_topics[event["stage"]]
        producer.produce(topic, key=event["invoice_id"].encode(), value=line, on_delivery=delivered)
        producer.poll(0)
    assert producer.flush(60) == 0
    assert not failed, failed[:3]


def read_topic(bootstrap: str, topic: str, partitions: int) -> list[Any]:
    """All committed records of a topic, by partition and offset."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "test-reader", "isolation.level": "read_committed",
         "enable.partition.eof": True, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    )  # fmt: skip
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    open_partitions, records = set(range(partitions)), []
    deadline = time.monotonic() + 60
    while open_partitions:
        assert time.monotonic() < deadline, f"{topic}: {open_partitions} did not end"
        for message in consumer.consume(5000, 0.5):
            if message.error() is None:
                records.append(message)
            else:
                open_partitions.discard(message.partition() or 0)
    consumer.close()
    return sorted(records, key=lambda message: (message.partition(), message.offset()))


@dataclass
class RunningCell:
    """A cell with what a test asks of it."""

    cell: Cell
    catalogue: Catalogue
    reader: StoreReader = field(init=False)
    accountant: Accountant = field(init=False)

    def __post_init__(self) -> None:
        self.reader = open_reader(self.cell.options.store)
        bootstrap = self.cell.kafka.bootstrap
        topics = list(self.catalogue.stage_topics.values())
        self.accountant = Accountant(bootstrap, topics, self.catalogue.partitions, self.reader)

    @property
    def bootstrap(self) -> str:
        """Of its broker."""
        return self.cell.kafka.bootstrap

    def append(self, lines: Sequence[bytes]) -> None:
        """Write events straight to the topics."""
        append_events(self.bootstrap, self.catalogue, lines)

    def settle(self, accepted: int, deadline_seconds: float = 120.0) -> Account:
        """Wait until that many events are accepted and all are stored and tracked."""
        account = eventually(
            self.account,
            lambda account: account is not None and account.settled and account.accepted >= accepted,
            deadline_seconds,
        )
        assert account is not None
        return account

    def account(self) -> Account | None:
        """The cell's totals now; None while the broker is away."""
        try:
            return self.accountant.account()
        except LogUnavailableError:
            return None

    def kill(self, role: str) -> None:
        """SIGKILL; the supervisor starts it again."""
        pid = eventually(lambda: self.cell.pid(role), lambda pid: pid is not None)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def statuses(self) -> dict[str, dict[str, Any]]:
        """Every invoice's status document, by id."""
        return {row.invoice_id: json.loads(row.document) for row in self.reader.invoices()}

    def records(self, topic: str) -> list[Any]:
        """All committed records of a topic."""
        return read_topic(self.bootstrap, topic, self.catalogue.partitions)

    def close(self) -> None:
        """Release clients; the cell is stopped by whoever started it."""
        self.reader.close()


def start_cell(state_dir: Path, roles: Sequence[str], **options: Any) -> RunningCell:
    """Start a cell of real processes. Stop it with `stop_cell`."""
    catalogue = load_catalogue(options.get("catalogue"))

    def make_topics(bootstrap: str) -> None:
        applied = apply_plan(catalogue, KafkaTopicAdmin(bootstrap, 20.0), Patience(20.0))
        assert not applied.refused, applied.refused

    cell = Cell(CellOptions(state_dir, roles=roles, **options), make_topics)
    cell.start()
    return RunningCell(cell, catalogue)


def stop_cell(running: RunningCell) -> None:
    """Stop everything."""
    running.close()
    running.cell.stop()

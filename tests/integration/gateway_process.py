"""A gateway as a process of its own over a real Kafka, and what its topics really hold.

Not here: any test.
"""

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from bems_streams.adapters.kafka_admin import KafkaTopicAdmin
from bems_streams.topics import Catalogue, load_catalogue
from bems_streams.topics_plan import Patience, apply_plan

REPOSITORY = Path(__file__).parents[2]
START_SECONDS = 60.0
STOP_SECONDS = 30.0


class OwnTopics(NamedTuple):
    """A catalogue whose topics no other test uses."""

    path: Path
    catalogue: Catalogue

    def apply(self, bootstrap: str) -> None:
        """Create them. The broker may still be opening partitions, and refuse records of some, when this returns."""
        apply_plan(self.catalogue, KafkaTopicAdmin(bootstrap, 10), Patience(20))

    def create(self, bootstrap: str) -> None:
        """Create them, and return once the broker has opened every partition of the stages."""
        self.apply(bootstrap)
        with reader(bootstrap) as consumer:
            assert dict(_ends(consumer, [*self.catalogue.stage_topics.values()]))


def own_topics(folder: Path) -> OwnTopics:
    """The catalogue of the repository with other topic names."""
    text = (REPOSITORY / "topics.yaml").read_text()
    path = folder / "topics.yaml"
    path.write_text(text.replace("invoices.", f"t{uuid.uuid4().hex[:8]}."))
    return OwnTopics(path, load_catalogue(path))


class GatewayProcess:
    """`bems gateway` on a free port; `url` is where it listens."""

    def __init__(self, bootstrap: str, topics: OwnTopics, log: Path, *options: str) -> None:
        self._log = log
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-c", "from bems_streams.cli.main import main; main()", "gateway", "--port", "0"),
                    *("--bootstrap", bootstrap, "--catalogue", str(topics.path), "--cell", "cell-7", *options),
                ],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("gateway: http://"), f"it said {line!r} and {log.read_text()}"
        self.url = line.split()[1].removesuffix("/docs")
        self.host, _, port = self.url.removeprefix("http://").partition(":")
        self.port = int(port)

    def health_url(self) -> str:
        """Where it answers probes apart from the events; it must have been started with --health-port."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().split()[1]

    def client(self) -> httpx.Client:
        """A client whose requests outlast the gateway's own timeouts."""
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def readiness(self) -> httpx.Response:
        """What /readyz says."""
        return httpx.get(f"{self.url}/readyz", timeout=10, trust_env=False)

    def await_ready(self) -> None:
        """Return once it takes events."""
        poll(lambda: self.readiness().status_code == 200, START_SECONDS, self._log.read_text)

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        self.process.terminate()
        return self.process.wait(STOP_SECONDS)

    def close(self) -> None:
        """Whatever happened, it is gone."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextmanager
def running_gateway(bootstrap: str, topics: OwnTopics, folder: Path, *options: str) -> Iterator[GatewayProcess]:
    """A gateway for the length of a block, ready or not."""
    gateway = GatewayProcess(bootstrap, topics, folder / "gateway.log", *options)
    try:
        yield gateway
    finally:
        gateway.close()


def poll(condition: Callable[[], bool], seconds: float, explain: Callable[[], str] = lambda: "") -> None:
    """Return once the condition holds; AssertionError when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s; {explain()}"
        time.sleep(0.05)


def event(number: int, stage: str = "ingestion", **more: Any) -> dict[str, Any]:
    """A valid event."""
    return {
        "event_id": f"e-{number}",
        "source": "erp",
        "occurred_at": "2025-11-03T10:15:00+01:00",
        "invoice_id": f"INV-{number % 50}",
        "stage": stage,
        **more,
    }


def records(bootstrap: str, topics: Sequence[str]) -> Mapping[tuple[str, int, int], Message]:
    """Everything in the topics, by topic, partition and offset."""
    with reader(bootstrap) as consumer:
        ends = dict(_ends(consumer, topics))
        consumer.assign([TopicPartition(topic, partition, 0) for topic, partition in ends])
        found: dict[tuple[str, int, int], Message] = {}
        deadline = time.monotonic() + 60
        while len(found) < sum(ends.values()):
            assert time.monotonic() < deadline, f"read {len(found)} of {sum(ends.values())} records"
            for message in consumer.consume(1000, timeout=1):
                assert message.error() is None
                found[(message.topic() or "", message.partition() or 0, message.offset() or 0)] = message
        return found


@contextmanager
def reader(bootstrap: str) -> Iterator[Consumer]:
    """A consumer without a past or a future."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": uuid.uuid4().hex, "enable.auto.commit": False})
    try:
        yield consumer
    finally:
        consumer.close()


def _ends(consumer: Consumer, topics: Sequence[str]) -> Iterator[tuple[tuple[str, int], int]]:
    for topic in topics:
        for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
            ends: list[int] = []
            poll(partial(_ask_end, consumer, TopicPartition(topic, partition), ends), 20)
            yield (topic, partition), ends[0]


def _ask_end(consumer: Consumer, at: TopicPartition, ends: list[int]) -> bool:
    """Whether the broker told; it may not lead a new topic's partition yet."""
    try:
        ends.append(consumer.get_watermark_offsets(at, timeout=10)[1])
    except KafkaException as failure:
        if failure.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION:
            raise
    return bool(ends)

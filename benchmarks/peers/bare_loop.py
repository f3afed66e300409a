"""The practical limit of Python: a consumer loop with the product's decoding and folding into a dict, nothing durable.

Run by tracker_peers.py with a task and a CLIENT, one of confluent, aiokafka, raw-confluent, raw-aiokafka; the raw ones
only count. It commits nothing and publishes nothing; who started it ends it when nothing comes.
Not here: the work itself (invoices.py).
"""

import asyncio
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as Place
from confluent_kafka import Consumer, TopicPartition

from bems_streams.domain.codec import TrackedInvoice
from benchmarks.peers.invoices import Invoices
from benchmarks.peers.results import Results
from benchmarks.peers.task import Marks, Task, read_task

BATCH: Final = 10_000
WAIT_SECONDS: Final = 0.2

Take = Callable[[Any], None]
"""Handle a batch of one client's messages."""


class Fold:
    """Every invoice in a dict."""

    def __init__(self, task: Task) -> None:
        self._invoices = Invoices(task)
        self._states: defaultdict[bytes, TrackedInvoice] = defaultdict(TrackedInvoice.new)

    def take_confluent(self, messages: Iterable[Any]) -> None:
        """Of confluent-kafka."""
        states, take = self._states, self._invoices.take
        for message in messages:
            take(states[message.key()], message.value(), message.timestamp()[1])

    def take_aiokafka(self, records: Iterable[Any]) -> None:
        """Of aiokafka."""
        states, take = self._states, self._invoices.take
        for record in records:
            take(states[record.key], record.value, record.timestamp)

    def results(self) -> dict[str, int]:
        """What came out, told as for everybody else."""
        results = Results()
        for key, invoice in self._states.items():
            results.add(self._invoices.status(key, invoice))
        return results.document()


def drain_confluent(task: Task, marks: Marks, take: Take) -> None:
    """All records, by librdkafka."""
    consumer = Consumer(
        {"bootstrap.servers": task.bootstrap, "group.id": task.group, "enable.auto.commit": False,
         "auto.offset.reset": "earliest"}
    )  # fmt: skip
    consumer.assign([TopicPartition(topic, n, 0) for topic in task.topics for n in range(task.partitions)])
    begun, done = False, False
    while not done:
        messages = consumer.consume(BATCH, WAIT_SECONDS)
        if messages and not begun:
            marks.begin()
            begun = True
        take(messages)
        done = marks.add(len(messages))
    consumer.close()


async def drain_aiokafka(task: Task, marks: Marks, take: Take) -> None:
    """All records, by aiokafka."""
    consumer = AIOKafkaConsumer(bootstrap_servers=task.bootstrap, enable_auto_commit=False)
    await consumer.start()
    places = [Place(topic, n) for topic in task.topics for n in range(task.partitions)]
    consumer.assign(places)
    await consumer.seek_to_beginning(*places)
    begun, done = False, False
    while not done:
        fetched = await consumer.getmany(timeout_ms=int(WAIT_SECONDS * 1000), max_records=BATCH)
        if fetched and not begun:
            marks.begin()
            begun = True
        for records in fetched.values():
            take(records)
            done = marks.add(len(records)) or done
    await consumer.stop()


def main(client: str, task: Task) -> None:
    """Drain, then tell the results."""
    marks, fold = Marks(task), Fold(task)
    raw = client.startswith("raw-")
    if client.endswith("aiokafka"):
        asyncio.run(drain_aiokafka(task, marks, _ignore if raw else fold.take_aiokafka))
    else:
        drain_confluent(task, marks, _ignore if raw else fold.take_confluent)
    marks.write("durable")
    marks.write("results", {} if raw else fold.results())


def _ignore(_: Any) -> None:
    """Reading is all."""


if __name__ == "__main__":
    main(sys.argv[2], read_task())

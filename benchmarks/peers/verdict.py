"""Whether a peer really did the work: what it published, what its changelog holds, and what it committed.

Not here: what makes two results equal (results.py).
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from bems_streams.adapters.kafka_group import KafkaGroup
from bems_streams.ports import Place
from bems_streams.runtime.positions import log_ends
from benchmarks.peers.results import Results

ANSWER_SECONDS: Final = 30.0
SILENCE_SECONDS: Final = 60.0
BATCH: Final = 10_000
CHANGELOG: Final = "changelog"


def ends_of(bootstrap: str, topics: Sequence[str], partitions: int) -> dict[Place, int]:
    """Where each partition of the topics ends now."""
    places = [(topic, number) for topic in topics for number in range(partitions)]
    ends = log_ends({"bootstrap.servers": bootstrap}, places, ANSWER_SECONDS)
    return {place: end for place, (_, end) in ends.items()}


def newest(bootstrap: str, starts: Mapping[Place, int]) -> dict[bytes, bytes]:
    """The newest value by key of what was appended to these partitions since, committed records only."""
    found: dict[bytes, bytes] = {}
    for message in _records(bootstrap, starts):
        key, value = message.key(), message.value()
        if key is not None and value is not None:
            found[key] = value
    return found


def _records(bootstrap: str, starts: Mapping[Place, int]) -> Iterator[Any]:
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "bench-verdict", "isolation.level": "read_committed",
         "enable.partition.eof": True, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    )  # fmt: skip
    consumer.assign([TopicPartition(topic, number, start) for (topic, number), start in starts.items()])
    left = set(starts)
    end = time.monotonic() + SILENCE_SECONDS
    while left:
        messages = consumer.consume(BATCH, 1.0)
        if time.monotonic() > end:
            raise click.ClickException(f"{sorted(left)[0]} was not read to its end within {SILENCE_SECONDS:g} s")
        for message in messages:
            if message.error() is None:
                yield message
            else:
                left.discard((message.topic() or "", message.partition() or 0))
    consumer.close()


def published(bootstrap: str, starts: Mapping[Place, int]) -> dict[str, int]:
    """The results that the newest status documents give."""
    results = Results()
    for document in newest(bootstrap, starts).values():
        results.add(document)
    return results.document()


def check_changelog(name: str, bootstrap: str, group: str, invoices: int) -> None:
    """ClickException unless the engine's changelog has a record of every invoice."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 3})
    topics = admin.list_topics(timeout=ANSWER_SECONDS).topics
    changelogs = [topic for topic in topics if group in topic and CHANGELOG in topic]
    starts = {(topic, number): 0 for topic in changelogs for number in topics[topic].partitions}
    held = len(newest(bootstrap, starts))
    if held != invoices:
        raise click.ClickException(f"{name}: its changelog {changelogs} holds {held} invoices, not {invoices}")


def check_committed(name: str, bootstrap: str, group: str, topics: Sequence[str], partitions: int) -> None:
    """ClickException unless every offset of these topics is committed."""
    ends = ends_of(bootstrap, topics, partitions)
    asked = KafkaGroup(bootstrap, group)
    committed = asked.committed(list(ends))
    asked.close()
    behind = {place: (committed.get(place, 0), end) for place, end in ends.items() if committed.get(place, 0) != end}
    if behind:
        raise click.ClickException(f"{name} says that it is done, but has not committed (committed, end): {behind}")


def create(bootstrap: str, topics: Sequence[str], partitions: int, config: Mapping[str, str]) -> None:
    """Make topics for a benchmark."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 3})
    wanted = [NewTopic(topic, partitions, 1, config=dict(config)) for topic in topics]
    for created in admin.create_topics(wanted).values():
        created.result(ANSWER_SECONDS)


def delete_all_of(bootstrap: str, group: str) -> None:
    """Remove every topic with the group in its name: the disk is not endless."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 3})
    names = [topic for topic in admin.list_topics(timeout=ANSWER_SECONDS).topics if group in topic]
    for deleted in admin.delete_topics(names).values() if names else ():
        deleted.result(ANSWER_SECONDS)

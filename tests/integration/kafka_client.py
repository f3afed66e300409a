"""Plain Kafka clients for tests: create a topic, write with acks=all, read everything. Not here: fixtures."""

import time
from collections.abc import Callable, Sequence
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # re-exported implicitly

ANSWER_SECONDS = 30.0


def until(true: Callable[[], bool], what: str, deadline_seconds: float = 60.0) -> None:
    """Poll with a deadline."""
    deadline = time.monotonic() + deadline_seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {deadline_seconds} s: {what}"
        time.sleep(0.05)


def new_topic(bootstrap: str, partitions: int = 3) -> str:
    """A topic of its own for one test, replicated as the cluster does by default."""
    name = f"test-{uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, partitions)])[name].result(ANSWER_SECONDS)
    return name


def write(bootstrap: str, topic: str, values: Sequence[str], deadline_seconds: float = ANSWER_SECONDS) -> set[str]:
    """Write with acks=all; the values that the cluster acknowledged before the deadline."""
    acknowledged: set[str] = set()

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is None:
            acknowledged.add((message.value() or b"").decode())

    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "message.timeout.ms": int(deadline_seconds * 1000),
            "log_level": 0,
        }
    )
    for value in values:
        producer.produce(topic, key=value, value=value, on_delivery=delivered)
    assert producer.flush(deadline_seconds + 10) == 0
    return acknowledged


def read_all(bootstrap: str, topic: str, partitions: int = 3) -> list[str]:
    """Every value in the topic now, sorted."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"read-{uuid4().hex}", "log_level": 0})
    try:
        values: list[str] = []
        for partition in range(partitions):
            at = TopicPartition(topic, partition, 0)
            end = _end_offset(consumer, at)
            consumer.assign([at])
            read = 0
            while read < end:
                message = consumer.poll(ANSWER_SECONDS)
                assert message is not None, f"{topic}/{partition} has {end} records, read {read}"
                values.append((message.value() or b"").decode())
                read += 1
        return sorted(values)
    finally:
        consumer.close()


def _end_offset(consumer: Consumer, at: TopicPartition) -> int:
    """One past the last record. Just after a topic was created or its leader changed, answers may be errors."""
    ends: list[int] = []

    def answered() -> bool:
        try:
            ends.append(consumer.get_watermark_offsets(at, timeout=ANSWER_SECONDS)[1])
        except KafkaException:
            return False
        return True

    until(answered, f"{at.topic}/{at.partition} has a leader that answers")
    return ends[0]

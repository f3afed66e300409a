"""What the benchmarks' filler leaves in the topics of a real broker."""

from collections import Counter

from confluent_kafka import murmur2
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from bems_streams.local.kafka import EmbeddedKafka
from benchmarks.feed import VISITS, Feed, fill_topics
from tests.support import read_topic

EVENTS = 3000
PARTITIONS = 5


def test_every_event_is_in_its_stage_topic_in_the_partition_of_its_key(kafka: EmbeddedKafka) -> None:
    """The partitioner is the product's, so an invoice's events meet on one worker; nothing is missing or twice."""
    topics = {stage: f"feed-of-benchmarks.{stage}" for stage in dict.fromkeys(VISITS)}
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for created in admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics.values()]).values():
        created.result(30)

    filled = fill_topics(kafka.bootstrap, topics, PARTITIONS, Feed(EVENTS, 3))

    found = {stage: read_topic(kafka.bootstrap, topic, PARTITIONS) for stage, topic in topics.items()}
    wanted = Counter(Feed(EVENTS, 3))
    assert (
        Counter((s, message.key(), message.value()) for s, messages in found.items() for message in messages) == wanted
    )
    assert all(
        message.partition() == murmur2(message.key(), PARTITIONS) for messages in found.values() for message in messages
    )
    assert filled.events == EVENTS
    assert filled.payload_bytes == sum(len(record.value) for record in wanted.elements())

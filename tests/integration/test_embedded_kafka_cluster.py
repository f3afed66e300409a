"""Three embedded brokers survive what a cluster must survive, and refuse what they could lose."""

from uuid import uuid4

from confluent_kafka import Consumer, Producer, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its package re-exports them implicitly
    AdminClient,
    ConfigResource,
    ResourceType,
)

from bems_streams.local.kafka import EmbeddedKafka
from tests.integration.kafka_client import ANSWER_SECONDS, new_topic, read_all, until, write


def in_sync(kafka: EmbeddedKafka, topic: str) -> list[int]:
    """In-sync replicas of each partition."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    described = admin.describe_topics(TopicCollection([topic]), request_timeout=ANSWER_SECONDS)[topic].result()
    return [len(partition.isr) for partition in described.partitions]


def test_internal_topics_are_replicated_too(kafka_cluster: EmbeddedKafka) -> None:
    """Committed positions and transactions are on three brokers, and are accepted by two at least."""
    # given a transaction, and a group that committed
    topic = new_topic(kafka_cluster.bootstrap)
    producer = Producer({"bootstrap.servers": kafka_cluster.bootstrap, "transactional.id": uuid4().hex})
    producer.init_transactions(60)
    producer.begin_transaction()
    producer.produce(topic, value=b"x")
    producer.commit_transaction(60)
    consumer = Consumer(
        {"bootstrap.servers": kafka_cluster.bootstrap, "group.id": topic, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    message = consumer.poll(60)
    assert message is not None
    consumer.commit(message=message, asynchronous=False)
    consumer.close()
    # then
    admin = AdminClient({"bootstrap.servers": kafka_cluster.bootstrap})
    for name in ("__consumer_offsets", "__transaction_state", topic):
        described = admin.describe_topics(TopicCollection([name]))[name].result(ANSWER_SECONDS)
        assert {len(partition.replicas) for partition in described.partitions} == {3}, name
        resource = ConfigResource(ResourceType.TOPIC, name)
        settings = admin.describe_configs([resource])[resource].result(ANSWER_SECONDS)
        assert settings["min.insync.replicas"].value == "2", name


def test_one_dead_broker_stops_nothing_and_two_stop_writes(kafka_cluster: EmbeddedKafka) -> None:
    """One dead: acks=all writes go on. Two dead: they are refused. Restarted: nothing acknowledged is lost."""
    kafka = kafka_cluster
    topic = new_topic(kafka.bootstrap)
    written = write(kafka.bootstrap, topic, [f"before-{n}" for n in range(30)])
    try:
        # when one is killed
        kafka.kill(1)
        more = [f"one-dead-{n}" for n in range(30)]
        assert write(kafka.bootstrap, topic, more, deadline_seconds=60) == set(more)
        # when two are dead
        kafka.kill(2)
        assert sorted(kafka.pids) == [3]
        refused = [f"two-dead-{n}" for n in range(30)]
        assert write(kafka.bootstrap, topic, refused, deadline_seconds=8) == set()
    finally:
        for broker in (1, 2):
            if broker not in kafka.pids:
                kafka.restart(broker)
    # then, once restarted, all three take part again
    until(lambda: in_sync(kafka, topic) == [3, 3, 3], "every replica is in sync", deadline_seconds=90)
    after = [f"after-{n}" for n in range(30)]
    assert write(kafka.bootstrap, topic, after, deadline_seconds=60) == set(after)
    assert written | set(more) | set(after) <= set(read_all(kafka.bootstrap, topic))


def test_every_broker_names_all_three(kafka_cluster: EmbeddedKafka) -> None:
    """A client may begin with any of the addresses."""
    for address in kafka_cluster.bootstrap.split(","):
        known = AdminClient({"bootstrap.servers": address}).list_topics(timeout=ANSWER_SECONDS).brokers
        assert sorted(known) == [1, 2, 3]

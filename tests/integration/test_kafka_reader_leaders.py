"""A bystander that asks for a long time, while the brokers it asks come and go."""

from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # re-exported implicitly

from bems_streams.adapters.kafka_reader import KafkaLogReader
from bems_streams.local.kafka import EmbeddedKafka
from bems_streams.ports import LogUnavailableError, Offsets
from tests.integration.kafka_client import ANSWER_SECONDS, write
from tests.support import eventually

TOPIC, PARTITIONS = "asked-for-long", 6


def ends(reader: KafkaLogReader) -> Offsets | None:
    """Where the topic ends, or None while that cannot be known."""
    try:
        return reader.high_watermarks([(TOPIC, number) for number in range(PARTITIONS)])
    except LogUnavailableError:
        return None


def test_leaders_that_move_are_found_again(kafka_cluster: EmbeddedKafka) -> None:
    """Each broker dies and comes back: the same reader answers again within seconds, and never with a wrong number."""
    admin = AdminClient({"bootstrap.servers": kafka_cluster.bootstrap, "log_level": 0})
    for made in admin.create_topics([NewTopic(TOPIC, PARTITIONS, 3)]).values():
        made.result(ANSWER_SECONDS)
    write(kafka_cluster.bootstrap, TOPIC, ["one", "two", "three"])
    reader = KafkaLogReader(kafka_cluster.bootstrap, answer_seconds=3)
    before = eventually(lambda: ends(reader), lambda found: found is not None)
    assert before is not None
    assert sum(before.values()) == 3

    for node in (1, 2, 3):
        kafka_cluster.kill(node)
        # while its leaders are not replaced yet, and then
        seen = [ends(reader) for _ in range(2)]
        assert eventually(lambda: ends(reader), lambda found: found is not None, 30.0) == before
        kafka_cluster.restart(node)
        seen += [ends(reader) for _ in range(2)]
        assert eventually(lambda: ends(reader), lambda found: found is not None, 30.0) == before
        assert all(found in (None, before) for found in seen)

"""Our form of consumer group metadata against librdkafka's own, which the fence depends on."""

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from bems_streams.runtime.membership import Membership

QUIET = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}


@pytest.mark.parametrize("group", ["bems-tracker", "g", "größe"])
@pytest.mark.parametrize("instance", [None, "tracker-0"])
def test_it_is_what_a_consumer_of_librdkafka_says_of_itself(group: str, instance: str | None) -> None:
    """A consumer that has not joined: no generation, no member id, with and without an instance."""
    config = {**QUIET, "group.id": group} | ({} if instance is None else {"group.instance.id": instance})
    consumer = Consumer(config)
    try:
        told = consumer.consumer_group_metadata()
    finally:
        consumer.close()

    assert Membership(group, -1, "", instance).metadata() == told


def verdict(metadata: bytes) -> int:
    """What librdkafka says when a producer without transactions hands it group metadata: it reads that first."""
    with pytest.raises(KafkaException) as refused:
        Producer(QUIET).send_offsets_to_transaction([TopicPartition("t", 0, 1)], metadata, 0.1)
    return int(refused.value.args[0].code())


@pytest.mark.parametrize("generation", [0, 1, 2**31 - 1, -1])
@pytest.mark.parametrize("instance", [None, "tracker-0"])
def test_librdkafka_reads_it(generation: int, instance: str | None) -> None:
    """It gets past the metadata to what is really missing: a transactional id."""
    whole = Membership("bems-tracker", generation, "faust-1-6a5c", instance).metadata()

    assert verdict(whole) == KafkaError._NOT_CONFIGURED


def test_librdkafka_would_notice_a_wrong_form() -> None:
    """The check above can fail: one byte less, one more, or another version is refused."""
    whole = Membership("bems-tracker", 7, "faust-1-6a5c", "tracker-0").metadata()

    wrong = [whole[:-1], whole + b"x", whole.replace(b"v2", b"v1"), b""]

    assert [verdict(metadata) for metadata in wrong] == [KafkaError._BAD_MSG] * len(wrong)


def parsed(metadata: bytes) -> Membership:
    """The inverse, read independently."""
    assert metadata.startswith(b"CGMDv2:")
    generation = int.from_bytes(metadata[7:11], "little", signed=True)
    group, member, rest = metadata[11:].split(b"\0", 2)
    if rest[:1] == b"\1":
        assert rest == b"\1"
        return Membership(group.decode(), generation, member.decode(), None)
    assert (rest[:1], rest[-1:]) == (b"\0", b"\0")
    return Membership(group.decode(), generation, member.decode(), rest[1:-1].decode())


@pytest.mark.parametrize("generation", [-1, 0, 300, 2**31 - 1])
@pytest.mark.parametrize("instance", [None, "tracker-0"])
def test_nothing_of_it_gets_lost(generation: int, instance: str | None) -> None:
    """Group, generation, member and instance can all be read back."""
    membership = Membership("bems-tracker", generation, "faust-1-6a5c", instance)

    assert parsed(membership.metadata()) == membership

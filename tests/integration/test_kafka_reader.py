"""Reading the log of a real broker as a bystander: what counts as a record, and that reading always ends."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from bems_streams.adapters.kafka_reader import KafkaLogReader
from bems_streams.local.kafka import EmbeddedKafka
from bems_streams.ports import Coordinates, Extent, LogUnavailableError, RawRecord
from tests.integration.kafka_client import new_topic
from tests.support import eventually

HUGE = Extent(0, 2**62)


@pytest.fixture
def reader(kafka: EmbeddedKafka) -> KafkaLogReader:
    return KafkaLogReader(kafka.bootstrap, stall_seconds=20.0)


@pytest.fixture
def producer(kafka: EmbeddedKafka) -> Iterator[Producer]:
    """A transactional producer, with no transaction open at the end."""
    writer = Producer(
        {"bootstrap.servers": kafka.bootstrap, "transactional.id": f"reader-{uuid4().hex}", "linger.ms": 0}
    )
    writer.init_transactions(30)
    yield writer


def transaction(producer: Producer, topic: str, values: list[str], *, commit: bool) -> None:
    """Write to partition 0; both ends take one offset for their marker."""
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value=value, partition=0)
    producer.flush(30)
    (producer.commit_transaction if commit else producer.abort_transaction)(30)


def values(records: Iterator[RawRecord]) -> list[tuple[int, str]]:
    return [(record.at.offset, (record.value or b"").decode()) for record in records]


def test_only_committed_records_are_read_and_markers_at_the_end_do_not_hold_it_up(
    kafka: EmbeddedKafka, reader: KafkaLogReader, producer: Producer
) -> None:
    """Aborted records and markers are no records, and a span that ends with them still ends."""
    topic = new_topic(kafka.bootstrap, 1)
    transaction(producer, topic, ["a", "b"], commit=True)  # offsets 0 1, marker 2
    transaction(producer, topic, ["x", "y"], commit=False)  # 3 4, marker 5
    transaction(producer, topic, ["c"], commit=True)  # 6, marker 7
    transaction(producer, topic, ["z"], commit=False)  # 8, marker 9

    extents = reader.extents([(topic, 0)])
    found = values(reader.read(extents))

    assert extents == {(topic, 0): Extent(0, 10)}
    assert found == [(0, "a"), (1, "b"), (6, "c")]


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (Extent(1, 3), ["b"]),
        (Extent(2, 3), []),
        (Extent(3, 6), []),
        (Extent(2, 7), ["c"]),
        (Extent(7, 8), []),
        (Extent(0, 0), []),
        (Extent(8, 2**40), []),
        (Extent(900, 1000), []),
        (HUGE, ["a", "b", "c"]),
    ],
)
def test_a_span_may_begin_and_end_anywhere(
    kafka: EmbeddedKafka, reader: KafkaLogReader, producer: Producer, span: Extent, expected: list[str]
) -> None:
    """At a marker, within aborted records, beyond the end: what is read are the records within, then it ends."""
    topic = new_topic(kafka.bootstrap, 1)
    transaction(producer, topic, ["a", "b"], commit=True)  # 0 1, marker 2
    transaction(producer, topic, ["x", "y"], commit=False)  # 3 4, marker 5
    transaction(producer, topic, ["c"], commit=True)  # 6, marker 7

    found = [value for _, value in values(reader.read({(topic, 0): span}))]

    assert found == expected


def test_what_is_not_committed_yet_is_beyond_the_end(
    kafka: EmbeddedKafka, reader: KafkaLogReader, producer: Producer
) -> None:
    """An open transaction hides its records, and everything after them, until it ends."""
    topic = new_topic(kafka.bootstrap, 1)
    transaction(producer, topic, ["a"], commit=True)
    producer.begin_transaction()
    producer.produce(topic, value="open", partition=0)
    producer.flush(30)

    before = reader.extents([(topic, 0)])
    seen = values(reader.read({(topic, 0): HUGE}))
    producer.commit_transaction(30)

    assert before == {(topic, 0): Extent(0, 2)}
    assert seen == [(0, "a")]
    assert values(reader.read({(topic, 0): HUGE})) == [(0, "a"), (2, "open")]


def test_records_come_as_they_were_written(kafka: EmbeddedKafka, reader: KafkaLogReader) -> None:
    """Key, value and headers are the producer's bytes, or None; the time is the broker's, in microseconds."""
    topic = new_topic(kafka.bootstrap, 2)
    plain = Producer({"bootstrap.servers": kafka.bootstrap})
    proofs: list[int] = []
    headers: list[tuple[str, str | bytes | None]] = [("h", b"1"), ("h", b"2"), ("void", None)]
    plain.produce(
        topic,
        key=b"k",
        value=b"\xff\x00",
        headers=headers,
        partition=1,
        on_delivery=lambda _, message: proofs.append(message.timestamp()[1]),
    )
    plain.produce(topic, key=None, value=None, partition=1)
    assert plain.flush(30) == 0

    first, second = reader.read({(topic, 0): HUGE, (topic, 1): HUGE})

    at = Coordinates(topic, 1, 0)
    assert first == RawRecord(at, b"k", b"\xff\x00", [("h", b"1"), ("h", b"2"), ("void", None)], proofs[0] * 1000)
    assert (second.key, second.value, second.headers) == (None, None, [])


def test_what_is_durable_behind_an_open_transaction_is_below_the_high_watermark(
    kafka: EmbeddedKafka, reader: KafkaLogReader, producer: Producer
) -> None:
    """Readers stop before the transaction, although an event behind it was accepted, with a receipt."""
    topic = new_topic(kafka.bootstrap, 1)
    producer.begin_transaction()
    producer.produce(topic, value="open", partition=0)
    assert producer.flush(30) == 0
    plain = Producer({"bootstrap.servers": kafka.bootstrap})
    plain.produce(topic, value="accepted", partition=0)
    assert plain.flush(30) == 0

    place = (topic, 0)
    assert (reader.extents([place])[place], reader.high_watermarks([place])) == (Extent(0, 0), {place: 2})

    producer.abort_transaction(30)  # its marker takes an offset, a moment later
    assert eventually(lambda: reader.extents([place])[place], lambda extent: extent == Extent(0, 3))
    assert reader.high_watermarks([place]) == {place: 3}


def test_many_partitions_with_many_records_each_come_in_order(kafka: EmbeddedKafka, reader: KafkaLogReader) -> None:
    """Nothing is left out or read twice when one partition ends long before another."""
    topic = new_topic(kafka.bootstrap, 4)
    plain = Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 5})
    sizes = {0: 0, 1: 1, 2: 3_000, 3: 20_000}
    for number, size in sizes.items():
        for index in range(size):
            plain.produce(topic, value=str(index), partition=number)
            plain.poll(0)
    assert plain.flush(60) == 0

    found: dict[int, list[int]] = {number: [] for number in sizes}
    for record in reader.read({(topic, number): Extent(0, 15_000) for number in sizes}):
        found[record.at.partition].append(record.at.offset)

    assert found == {number: list(range(min(size, 15_000))) for number, size in sizes.items()}


def test_the_offset_at_a_moment_is_of_the_first_record_accepted_since(
    kafka: EmbeddedKafka, reader: KafkaLogReader
) -> None:
    """To the part of a millisecond; the end where nothing was accepted since."""
    topic = new_topic(kafka.bootstrap, 2)
    plain = Producer({"bootstrap.servers": kafka.bootstrap})
    for moment_ms in (1_000_000, 1_000_001, 1_000_005):
        plain.produce(topic, value="v", partition=0, timestamp=moment_ms)
    assert plain.flush(30) == 0

    def at(moment_us: int) -> dict[tuple[str, int], int]:
        return dict(reader.offsets_at([(topic, 0), (topic, 1)], moment_us))

    assert at(1_000_001_000) == {(topic, 0): 1, (topic, 1): 0}
    assert at(1_000_001_001) == {(topic, 0): 2, (topic, 1): 0}
    assert at(1_000_005_001) == {(topic, 0): 3, (topic, 1): 0}


def test_a_topic_that_does_not_exist_is_no_empty_topic(kafka: EmbeddedKafka) -> None:
    """The message says how to create it."""
    reader = KafkaLogReader(kafka.bootstrap, answer_seconds=1.0)

    with pytest.raises(LogUnavailableError, match="bems topics apply"):
        reader.extents([("no-such-topic", 0)])


def test_a_log_that_is_not_there_is_said_within_the_time_given() -> None:
    """The message says what to check."""
    reader = KafkaLogReader("127.0.0.1:1", answer_seconds=1.0, stall_seconds=1.0)

    with pytest.raises(LogUnavailableError, match="brokers run"):
        list(reader.read({("invoices.ingestion", 0): HUGE}))

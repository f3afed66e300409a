"""What the fenced producer is set to, as far as it can be seen without a broker."""

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from bems_streams.catalogue.broker_config import MAX_BATCH_BYTES, MAX_DEAD_LETTER_BYTES
from bems_streams.flows.track import MAX_STATE_BYTES
from bems_streams.runtime.fence import SETTINGS

QUIET = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}


@pytest.mark.parametrize("size_bytes", [MAX_STATE_BYTES, MAX_BATCH_BYTES, MAX_DEAD_LETTER_BYTES, 20 * MAX_BATCH_BYTES])
def test_whatever_a_topic_took_can_become_a_dead_letter(size_bytes: int) -> None:
    """A topic limits compressed bytes, the client plain ones: its limit must not stop a partition for good."""
    producer, fate = Producer({**QUIET, **SETTINGS}), list[int]()

    producer.produce(
        "t.dlq", value=b"x" * size_bytes, on_delivery=lambda error, _: fate.append(error.code() if error else 0)
    )
    producer.purge()
    producer.poll(5.0)

    assert fate == [KafkaError._PURGE_QUEUE]  # it was in the queue


def test_the_default_would_refuse_it() -> None:
    """The check above can fail."""
    with pytest.raises(KafkaException, match="MSG_SIZE_TOO_LARGE"):
        Producer(QUIET).produce("t", value=b"x" * MAX_BATCH_BYTES)

"""Asking where the group goes on while its coordinator is just coming back."""

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from bems_streams.runtime.positions import committed_offsets


class Coming:
    """A consumer whose group coordinator gives these errors, one an answer, then the offsets."""

    def __init__(self, *errors: int) -> None:
        self._errors = list(errors)

    def committed(self, places: list[TopicPartition], _timeout_seconds: float) -> list[TopicPartition]:
        """As confluent_kafka.Consumer."""
        if self._errors:
            raise KafkaException(KafkaError(self._errors.pop(0)))
        return [TopicPartition(place.topic, place.partition, 7) for place in places]


def offsets(consumer: Any, timeout_seconds: float) -> list[int]:
    """What is learnt about one partition."""
    return [tp.offset for tp in committed_offsets(consumer, [TopicPartition("source", 0)], timeout_seconds)]


def test_a_broker_that_just_came_back_ends_no_worker() -> None:
    """It coordinates the group a moment later."""
    coming = Coming(KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS)

    assert offsets(coming, 10.0) == [7]


def test_asking_again_ends_at_the_timeout() -> None:
    """A coordinator that never comes stops the worker."""
    with pytest.raises(KafkaException, match="NOT_COORDINATOR"):
        offsets(Coming(*[KafkaError.NOT_COORDINATOR] * 100), 0.3)


def test_other_errors_are_told_at_once() -> None:
    """Waiting would not heal them."""
    with pytest.raises(KafkaException, match="GROUP_AUTHORIZATION_FAILED"):
        offsets(Coming(KafkaError.GROUP_AUTHORIZATION_FAILED), 10.0)

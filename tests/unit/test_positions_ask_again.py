"""Asking where the group goes on while its coordinator is just coming back."""

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from bems_streams.runtime.positions import PositionError, committed_offsets, extents


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


class Answered:
    """What an admin client gives: a number, whatever it means."""

    def __init__(self, offset: int) -> None:
        self.offset = offset

    def result(self, _timeout_seconds: float) -> "Answered":
        """As a future."""
        return self


class Admin:
    """First the starts are asked for, then the ends."""

    def __init__(self, *offsets: int) -> None:
        self._offsets = list(offsets)

    def list_offsets(self, asked: dict[TopicPartition, Any], **_: Any) -> dict[TopicPartition, Answered]:
        """As confluent_kafka's."""
        offset = self._offsets.pop(0)
        return {place: Answered(offset) for place in asked}


def extent(*offsets: int) -> tuple[int, int]:
    """How far one log reaches, by these answers."""
    admin: Any = Admin(*offsets)
    return extents(admin, [TopicPartition("changelog", 3)], 1.0)["changelog", 3]


def test_a_log_reaches_from_its_start_to_its_end() -> None:
    """An empty one too."""
    assert extent(3, 9) == (3, 9)
    assert extent(9, 9) == (9, 9)


@pytest.mark.parametrize("answers", [(0, -1001), (-1001, 9), (-1, -1), (7, 3)])
def test_a_number_that_is_no_offset_is_never_taken_for_the_end_of_a_log(answers: tuple[int, int]) -> None:
    """A leader was away: a table opened by it would lack everything since, and fold new events into old states."""
    with pytest.raises(PositionError, match=r"changelog\[3\]: the broker did not tell"):
        extent(*answers)

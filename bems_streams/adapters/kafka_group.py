"""How far a consumer group has come, asked of the broker without joining it.

Not here: being a member (runtime), what the group's agent does.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from bems_streams.ports import LogUnavailableError, Offsets, Place
from bems_streams.runtime.positions import committed_offsets

logger = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 10.0


class KafkaGroup:
    """The GroupOffsets of one group; see ports/log.py. Offsets of open transactions do not count."""

    def __init__(
        self,
        bootstrap: str,
        group: str,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._bootstrap = bootstrap
        self._answer_seconds = answer_seconds
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group,  # never subscribed, so never a member
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "metadata.recovery.strategy": "none",
                "logger": logger,
                **(options or {}),
            }
        )

    def committed(self, places: Sequence[Place]) -> Offsets:
        """See the port."""
        try:
            answers = committed_offsets(
                self._consumer, [TopicPartition(*place) for place in places], self._answer_seconds
            )
        except KafkaException as error:
            raise self._unavailable(error.args[0]) from error
        for answer in answers:
            if answer.error is not None:
                raise self._unavailable(answer.error)
        return {(answer.topic, answer.partition): answer.offset for answer in answers if answer.offset >= 0}

    def _unavailable(self, error: KafkaError) -> LogUnavailableError:
        return LogUnavailableError(
            f"the broker at {self._bootstrap} does not tell how far the group has come: {error.str()}; "
            "check that the brokers run and can be reached from here (--bootstrap)"
        )

    def close(self) -> None:
        """Release connections."""
        self._consumer.close()

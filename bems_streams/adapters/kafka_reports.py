"""What librdkafka reports of the records of one call, and which of it is proof that a record is durable.

Not here: queueing records, asking for reports (kafka_producer.py).
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Final

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, Message

from bems_streams.ports import Appended, Coordinates, NotAppended, OutRecord

# What `Coordinates(...)` does after sorting its arguments out, which is half of its cost; as often as there are events.
_new: Final[Any] = tuple.__new__

Delivered = Callable[[KafkaError | None, Message], None]


class Reports:
    """The outcomes of one call. Told on any thread; `complete` is set on the event loop that waits, once all are known.

    Until then each outcome is that nobody knows.
    """

    __slots__ = ("_last", "_loop", "_records", "_settled", "_thread", "complete", "outcomes")

    def __init__(self, records: Sequence[OutRecord], loop: asyncio.AbstractEventLoop) -> None:
        self._records = records
        self._loop = loop
        self._thread = threading.get_ident()
        self._settled = count(1)  # in one step, whichever thread counts
        self._last = len(records)
        self.complete: asyncio.Future[None] = loop.create_future()
        self.outcomes: list[Appended | NotAppended] = [UNKNOWN] * len(records)
        if not records:
            self.complete.set_result(None)

    def delivered(self, place: int, error: KafkaError | None, message: Message) -> None:
        """librdkafka's word on the record at `place`, which is not always the broker's word."""
        # librdkafka also reports success for records that the success of a later one seems to imply. A partition that
        # just got its leader may refuse the first and take the second: the first is lost (confluent-kafka-go#921).
        # What the broker itself acknowledged has an offset and, as all our topics do, the broker's time.
        offset = message.offset()
        kind, moment_ms = message.timestamp()
        if error is not None:
            reason = f"may or may not be written: {words(error)}"
            outcome: Appended | NotAppended = NotAppended(reason, retriable=error.code() not in _REFUSED)
        elif offset is None or offset < 0 or kind != TIMESTAMP_LOG_APPEND_TIME:
            outcome = UNKNOWN
        else:
            at = _new(Coordinates, (self._records[place].topic, message.partition() or 0, offset))
            outcome = _new(Appended, (at, moment_ms * 1000))
        self.settle(place, outcome)

    def settle(self, place: int, outcome: Appended | NotAppended) -> None:
        """The outcome of the record at `place`, once."""
        self.outcomes[place] = outcome
        if next(self._settled) < self._last:
            return
        if threading.get_ident() == self._thread:
            self._wake()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if not self.complete.done():  # whoever waited may have been cancelled
            self.complete.set_result(None)


def words(error: KafkaError) -> str:
    """For people."""
    return f"{error.name()}: {error.str()}"


UNKNOWN: Final = NotAppended("may or may not be written: the broker did not confirm this very record", retriable=True)

# The broker is there and says no: trying again changes nothing before somebody changes the cluster.
_REFUSED: Final = frozenset(
    {
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError.POLICY_VIOLATION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)

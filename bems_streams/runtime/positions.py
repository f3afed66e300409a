"""Where partitions begin, end, and go on: asked of the broker, with every earlier member's transaction settled first.

Not here: seeking there (transport.py) or rebuilding tables (restore.py).
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from bems_streams.ports import Place

logger = logging.getLogger(__name__)

ASK_AGAIN_SECONDS: Final = 0.2
ASK_SECONDS: Final = 2.0
ASK_TIMES: Final = 3
"""Within a timeout: one leader that hangs must not use it all up."""

LogEnds = Mapping[Place, tuple[int, int]]
"""(first offset, offset after the last record) by (topic, partition), uncommitted records included."""


class PositionError(Exception):
    """A partition cannot go on without losing records; the message says which and what to do."""


def log_ends(config: Mapping[str, Any], places: Iterable[Place], timeout_seconds: float) -> LogEnds:
    """The extent of each log. Blocking; leaders that move meanwhile are found again until the timeout."""
    asked, end = [TopicPartition(topic, partition) for topic, partition in places], time.monotonic() + timeout_seconds
    while True:
        try:
            with _admin(config) as admin:  # a new one knows today's leaders
                return extents(admin, asked, max(ASK_SECONDS, min(end - time.monotonic(), timeout_seconds / ASK_TIMES)))
        except (KafkaException, TimeoutError, PositionError) as error:
            passing = not isinstance(error, KafkaException) or error.args[0].code() in _LEADERLESS
            if not passing or time.monotonic() + ASK_AGAIN_SECONDS > end:
                raise
            logger.info("asking again how far the logs reach: %s", error)
        time.sleep(ASK_AGAIN_SECONDS)


def extents(admin: Any, asked: Sequence[TopicPartition], timeout_seconds: float) -> LogEnds:
    """One answer. PositionError for a number that is no offset, which librdkafka gives for a leader that did not
    answer: taken for the end of a changelog, it would open a table that lacks everything since.
    """
    uncommitted = IsolationLevel.READ_UNCOMMITTED
    answers = [
        admin.list_offsets(dict.fromkeys(asked, spec), isolation_level=uncommitted, request_timeout=timeout_seconds)
        for spec in (OffsetSpec.earliest(), OffsetSpec.latest())  # type: ignore[no-untyped-call]
    ]
    starts, ends = (
        {(tp.topic, tp.partition): answer.result(timeout_seconds).offset for tp, answer in answered.items()}
        for answered in answers
    )
    for (topic, number), start in starts.items():
        if not 0 <= start <= ends[topic, number]:
            raise PositionError(
                f"{topic}[{number}]: the broker did not tell how far the log reaches: is one away? The worker goes on "
                "once every partition has a leader."
            )
    return {place: (starts[place], ends[place]) for place in starts}


def stable_positions(
    config: Mapping[str, Any], group: str, places: Sequence[Place], timeout_seconds: float
) -> dict[Place, int]:
    """Where the group goes on: its committed offset, else the log's start. Blocking.

    This is the fence against predecessors. The broker answers only once no transaction of any earlier member holds
    offsets that may still be committed, and it takes none from an earlier generation; so after this nobody else can
    move these positions, nor commit what they published. Raises PositionError when records were deleted unread.
    """
    consumer = Consumer(
        {
            **config,
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "logger": logger,
        }
    )
    try:
        committed = committed_offsets(consumer, [TopicPartition(*place) for place in places], timeout_seconds)
    finally:
        consumer.close()
    ends = log_ends(config, places, timeout_seconds)
    positions: dict[Place, int] = {}
    for tp in committed:
        if tp.error is not None:
            raise PositionError(f"the broker did not tell where {tp.topic}[{tp.partition}] goes on: {tp.error}")
        start, end = ends[tp.topic, tp.partition]
        if tp.offset >= 0 and not start <= tp.offset <= end:
            raise PositionError(
                f"{tp.topic}[{tp.partition}] is committed at {tp.offset}, but the log holds {start}..{end}: records "
                "were deleted unread, or the topic was made anew. Restore them from the archive, then reset the "
                f"offsets of group {group}."
            )
        positions[tp.topic, tp.partition] = tp.offset if tp.offset >= 0 else start
    return positions


def topic_id(config: Mapping[str, Any], topic: str, timeout_seconds: float) -> bytes:
    """Which topic of that name this is: another one after it was deleted and made anew. Blocking."""
    with _admin(config) as admin:
        asked = admin.describe_topics(TopicCollection([topic]), request_timeout=timeout_seconds)
        return str(asked[topic].result(timeout_seconds).topic_id).encode()


def _admin(config: Mapping[str, Any]) -> AdminClient:
    """Use as `with _admin(…)`: left to the garbage collector, which may run in the client's own thread, destroying it
    there makes librdkafka abort the process.
    """
    return AdminClient({**config, "logger": logger})  # type: ignore[dict-item]


def committed_offsets(
    consumer: Consumer, places: Sequence[TopicPartition], timeout_seconds: float
) -> Sequence[TopicPartition]:
    """A broker that came back a moment ago may not coordinate the group yet: asked again until the timeout."""
    end = time.monotonic() + timeout_seconds
    while True:
        try:
            return consumer.committed(list(places), max(end - time.monotonic(), ASK_AGAIN_SECONDS))
        except KafkaException as error:
            if error.args[0].code() not in _NOT_YET or time.monotonic() + ASK_AGAIN_SECONDS > end:
                raise
        time.sleep(ASK_AGAIN_SECONDS)


_NOT_YET: Final = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)

_LEADERLESS: Final = (
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
)

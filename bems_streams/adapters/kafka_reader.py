"""Reads what is in a Kafka log as a bystander: no group is joined, nothing is committed, only committed records count.

Not here: consuming in a group (runtime), what the records mean.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # re-exported implicitly

from bems_streams.ports import Coordinates, Extent, LogUnavailableError, Offsets, Place, RawRecord

logger = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 10.0
STALL_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.2
ASK_AGAIN_SECONDS: Final = 0.2
TRIES: Final = 3
"""Of a question within its deadline: a leader that hangs must not use it all up."""
BATCH_RECORDS: Final = 2_000
PREFETCH_KBYTES: Final = 16 * 1024
NO_OFFSET: Final = -1  # the broker's answer when nothing was accepted since the moment asked for

T = TypeVar("T")


class KafkaLogReader:
    """LogReader and HighWatermarks of a real cluster; see ports/log.py. One instance may serve several threads.

    Questions are asked again until `answer_seconds` while brokers come and go; a read ends with LogUnavailableError
    when no partition moves on for `stall_seconds`. `options` are librdkafka's, for TLS and SASL.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        client_id: str = "bems-reader",
        answer_seconds: float = ANSWER_SECONDS,
        stall_seconds: float = STALL_SECONDS,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._bootstrap = bootstrap
        self._answer_seconds = answer_seconds
        self._stall_seconds = stall_seconds
        self._config: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "client.id": client_id,
            "metadata.recovery.strategy": "none",  # re-bootstrapping after all brokers were away leaves dead handles
            "reconnect.backoff.max.ms": 1000,
            "logger": logger,
            **(options or {}),
        }
        self._admin = AdminClient(self._config)

    def extents(self, places: Sequence[Place]) -> Mapping[Place, Extent]:
        """How far each partition reaches; the end is where read_committed readers stop."""
        starts = self._offsets(places, OffsetSpec.earliest)
        ends = self._offsets(places, OffsetSpec.latest)
        return {place: Extent(starts[place], max(starts[place], ends[place])) for place in places}

    def high_watermarks(self, places: Sequence[Place]) -> Offsets:
        """Where each partition ends, whether or not a transaction before it is still open."""
        return self._offsets(places, OffsetSpec.latest, IsolationLevel.READ_UNCOMMITTED)

    def offsets_at(self, places: Sequence[Place], moment_us: int) -> Offsets:
        """The first offset accepted at or after the moment; the end where there is none."""
        moment_ms = -(-moment_us // 1000)  # the broker counts in milliseconds: a part of one is later than its start
        found = self._offsets(places, lambda: OffsetSpec.for_timestamp(moment_ms))
        nowhere = [place for place in places if found[place] == NO_OFFSET]
        ends = self._offsets(nowhere, OffsetSpec.latest)
        return {**found, **ends}

    def read(self, spans: Mapping[Place, Extent]) -> Iterator[RawRecord]:
        """Every committed record of these offsets that is still kept, each partition in order."""
        kept = self.extents(list(spans))
        clipped = {
            place: Extent(max(span.start, kept[place].start), min(span.end, kept[place].end))
            for place, span in spans.items()
        }
        wanted = {place: span for place, span in clipped.items() if span.start < span.end}
        if not wanted:
            return
        consumer = Consumer(
            {
                **self._config,
                "group.id": f"{self._config['client.id']}-bystander",  # required, but never joined or committed to
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",  # retention overtook us: go on with what is kept
                "queued.max.messages.kbytes": PREFETCH_KBYTES,
            }
        )
        try:
            consumer.assign([TopicPartition(*place, span.start) for place, span in wanted.items()])
            yield from self._records(consumer, wanted)
        except KafkaException as error:
            raise self._unavailable(error.args[0].str(), error.args[0].code()) from error
        finally:
            consumer.close()

    def _records(self, consumer: Consumer, wanted: Mapping[Place, Extent]) -> Iterator[RawRecord]:
        open_spans = dict(wanted)
        trouble, waited_seconds = "no record came", 0.0
        while open_spans:
            began = time.monotonic()
            messages = consumer.consume(BATCH_RECORDS, POLL_SECONDS)
            # Only waiting for the broker counts: how long the caller takes over a record is its own affair.
            waited_seconds += time.monotonic() - began
            for message in messages:
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    trouble = error.str()
                    continue
                waited_seconds = 0.0
                place, offset = _place(message), _offset(message)
                span = open_spans.get(place)
                if span is None:
                    continue
                if error is None and span.start <= offset < span.end:
                    yield _raw_record(message)
                # The end of the log says that nothing but markers and aborted records is left before it.
                if (offset if error is not None else offset + 1) >= span.end:
                    del open_spans[place]
                    consumer.pause([TopicPartition(*place)])
            if waited_seconds > self._stall_seconds:
                behind = ", ".join(f"{topic}[{number}]" for topic, number in sorted(open_spans)[:5])
                raise self._unavailable(f"{trouble} for {self._stall_seconds:g} s from {behind}")

    def _offsets(
        self,
        places: Sequence[Place],
        spec: Callable[[], OffsetSpec],
        isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
    ) -> dict[Place, int]:
        if not places:
            return {}
        asked = {TopicPartition(topic, number): spec() for topic, number in places}

        def ask() -> dict[Place, int]:
            seconds = self._answer_seconds / TRIES
            answers = self._admin.list_offsets(asked, isolation_level=isolation, request_timeout=seconds)
            found = {(tp.topic, tp.partition): answer.result(seconds).offset for tp, answer in answers.items()}
            if min(found.values()) < NO_OFFSET:
                raise TimeoutError("librdkafka gives a number that is no offset for a leader that did not answer")
            return found

        return self._until_answered(ask)

    def _until_answered(self, ask: Callable[[], T]) -> T:
        """Leaders move while brokers come and go: asked again until the deadline."""
        end = time.monotonic() + self._answer_seconds
        while True:
            try:
                return ask()
            except (KafkaException, TimeoutError) as error:
                cause = error.args[0] if isinstance(error, KafkaException) else KafkaError(KafkaError._TIMED_OUT)
                if cause.code() not in _PASSING or time.monotonic() + ASK_AGAIN_SECONDS > end:
                    raise self._unavailable(cause.str(), cause.code()) from error
            self._learn_leaders()

    def _learn_leaders(self) -> None:
        """librdkafka asks whom it knows as leader until its metadata are minutes old, whatever that one answers."""
        with contextlib.suppress(KafkaException):  # no broker answers: the question is asked again, until its deadline
            self._admin.list_topics(timeout=self._answer_seconds / TRIES)
        time.sleep(ASK_AGAIN_SECONDS)

    def _unavailable(self, reason: str, code: int | None = None) -> LogUnavailableError:
        advice = _ADVICE.get(code, "check that the brokers run and can be reached from here (--bootstrap)")
        return LogUnavailableError(f"the log at {self._bootstrap} cannot be read: {reason}; {advice}")


_PASSING: Final = frozenset(
    {
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError._NOENT,  # no leader, or no such topic: librdkafka does not tell which
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._ALL_BROKERS_DOWN,
    }
)
_ADVICE: Final[Mapping[int | None, str]] = {
    KafkaError._NOENT: "start the brokers that are away; if it is a topic that is missing, run `bems topics apply`",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "create what is missing with `bems topics apply`",
    KafkaError._UNKNOWN_TOPIC: "create what is missing with `bems topics apply`",
    KafkaError._UNKNOWN_PARTITION: "create what is missing with `bems topics apply`",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "grant this user Describe and Read on the topics",
}


def _place(message: Message) -> Place:
    topic, number = message.topic(), message.partition()
    assert topic is not None and number is not None  # of everything that consume() returns, bar broker trouble
    return topic, number


def _offset(message: Message) -> int:
    offset = message.offset()
    assert offset is not None
    return offset


def _raw_record(message: Message) -> RawRecord:
    given = cast(Sequence[tuple[str, str | bytes | None]], message.headers() or ())  # a list when read
    headers = [(name, _bytes(value)) for name, value in given]
    _, accepted_ms = message.timestamp()
    topic, number = _place(message)
    at = Coordinates(topic, number, _offset(message))
    return RawRecord(at, _bytes(message.key()), _bytes(message.value()), headers, accepted_ms * 1000)


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value

"""Appends records to Kafka with librdkafka: idempotent, acks=all, one wake-up of the event loop per call.

Not here: transactions (runtime), topics and their settings (kafka_admin.py), what a record means.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException, Message, Producer

from bems_streams.ports import Appended, Coordinates, NotAppended, OutRecord, PublishFailedError

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.1
PURGE_SECONDS: Final = 5.0

Delivered = Callable[[KafkaError | None, Message], None]


class Client(Protocol):
    """The part of confluent_kafka.Producer that is used here."""

    def produce(
        self,
        topic: str,
        *,
        value: bytes | None,
        key: bytes | None,
        partition: int,
        on_delivery: Delivered,
        headers: list[tuple[str, str | bytes | None]],
    ) -> None:
        """Queue one record; BufferError when the queue is full, KafkaException when it is refused at once."""

    def poll(self, timeout: float) -> int:
        """Run callbacks, waiting at most `timeout` seconds for the first."""

    def flush(self, timeout: float) -> int:
        """Wait for deliveries; how many are still missing."""

    def purge(self) -> None:
        """Give up everything queued or in flight; callbacks say so."""

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> Any:
        """Metadata of the cluster; KafkaException when no broker answers in time."""


@dataclass(frozen=True, slots=True)
class ProducerConfig:
    """How to reach the cluster and how long to try."""

    bootstrap: str
    client_id: str
    delivery_timeout_seconds: float = 10.0
    linger_ms: float = 1.0
    queue_bytes: int = 256 * 1024 * 1024
    queue_records: int = 200_000

    def librdkafka(self) -> dict[str, str | int | float | bool]:
        """librdkafka's names. The partitioner is the Java client's, so that every client agrees where a key lives."""
        return {
            "bootstrap.servers": self.bootstrap,
            "client.id": self.client_id,
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "delivery.timeout.ms": int(self.delivery_timeout_seconds * 1000),
            "linger.ms": self.linger_ms,
            "queue.buffering.max.kbytes": self.queue_bytes // 1024,
            "queue.buffering.max.messages": self.queue_records,
            "reconnect.backoff.ms": 100,
            "reconnect.backoff.max.ms": 1000,
            "message.max.bytes": 32 << 20,  # before compression: what fitted into its topic fits the dead letters too
            "metadata.recovery.strategy": "none",  # re-bootstrapping after all brokers were away leaves dead handles
            "topic.metadata.propagation.max.ms": 5000,  # how long a topic may be unknown before its records fail
        }


class KafkaProducer:
    """Fulfils Appender and Publisher. Call from event loops; callbacks run on a thread of its own until `close`.

    Topics must have message.timestamp.type=LogAppendTime: without the broker's time there is no proof. A client that
    librdkafka declares unusable is replaced; what it held is NotAppended.
    """

    def __init__(
        self, config: ProducerConfig, make_client: Callable[[Mapping[str, Any]], Client] | None = None
    ) -> None:
        self._config = config
        self._make_client: Callable[[Mapping[str, Any]], Client] = make_client or _confluent
        self._unusable = threading.Event()
        self._stopping = threading.Event()
        self._acknowledged = 0
        self._client = self._new_client()
        self._thread = threading.Thread(target=self._serve, name="kafka-producer", daemon=True)
        self._thread.start()

    async def append(self, records: Sequence[OutRecord]) -> Sequence[Appended | NotAppended]:
        """Queue all, then wait for the broker's word on each."""
        pending = _Pending(records, asyncio.get_running_loop())
        client = self._client
        for place, record in enumerate(records):
            refusal = self._queue(client, record, partial(self._delivered, pending, place))
            if refusal is not None:
                pending.settle(place, refusal)
        return await pending.outcomes()

    async def publish(self, records: Sequence[OutRecord]) -> Sequence[Appended]:
        """All or PublishFailedError; records before and after a failed one may be durable all the same."""
        outcomes = await self.append(records)
        failed = [outcome for outcome in outcomes if isinstance(outcome, NotAppended)]
        if failed:
            message = f"{len(failed)} of {len(records)} records have no proof of being durable: {failed[0].reason}"
            raise PublishFailedError(message, retriable=all(failure.retriable for failure in failed))
        return [outcome for outcome in outcomes if isinstance(outcome, Appended)]

    def unreachable(self, topics: Collection[str], timeout_seconds: float) -> str | None:
        """Why appending to these topics would fail now, else None. Blocks at most `timeout_seconds`."""
        if self._stopping.is_set():
            return "the producer is stopping"
        before = self._acknowledged
        try:
            known = self._client.list_topics(timeout=timeout_seconds).topics
        except KafkaException as failure:
            if self._acknowledged != before:
                return None  # busy rather than away: it acknowledged records meanwhile
            reason = _words(failure.args[0])
            return f"no broker of {self._config.bootstrap} answers ({reason}); start it or check the address"
        missing = [topic for topic in topics if topic not in known or known[topic].error is not None]
        return f"topics missing: {', '.join(missing)}; create them with `bems topics apply`" if missing else None

    async def close(self, timeout_seconds: float) -> int:
        """Wait for what is under way, give up the rest, stop the thread. Returns how many records were given up."""
        return await asyncio.to_thread(self._close, timeout_seconds)

    def _close(self, timeout_seconds: float) -> int:
        self._stopping.set()
        self._thread.join()
        given_up = self._client.flush(timeout_seconds)
        if given_up:
            self._client.purge()
            self._client.flush(PURGE_SECONDS)
        return given_up

    def _queue(self, client: Client, record: OutRecord, on_delivery: Delivered) -> NotAppended | None:
        if self._stopping.is_set():
            return NotAppended("not written: the producer is stopping", retriable=True)
        partition = -1 if record.partition is None else record.partition
        try:
            client.produce(
                record.topic,
                value=record.value,
                key=record.key,
                partition=partition,
                on_delivery=on_delivery,
                headers=[*record.headers],
            )
        except BufferError:
            return NotAppended("not written: the queue towards the broker is full", retriable=True)
        except KafkaException as failure:
            error: KafkaError = failure.args[0]
            if error.fatal() and client is self._client:
                self._unusable.set()
            return NotAppended(f"not written: {_words(error)}", retriable=error.retriable() or error.fatal())
        return None

    def _delivered(self, pending: "_Pending", place: int, error: KafkaError | None, message: Message) -> None:
        """Runs on the producer's thread, once per record."""
        if error is not None:
            reason = f"may or may not be written: {_words(error)}"
            pending.settle(place, NotAppended(reason, retriable=error.code() not in _REFUSED))
            return
        # librdkafka also reports success for records that the success of a later one seems to imply. A partition that
        # just got its leader may refuse the first and take the second: the first is lost (confluent-kafka-go#921).
        # What the broker itself acknowledged has an offset and, as all our topics do, the broker's time.
        offset = message.offset()
        kind, moment_ms = message.timestamp()
        if offset is None or offset < 0 or kind != TIMESTAMP_LOG_APPEND_TIME:
            reason = "may or may not be written: the broker did not confirm this very record"
            pending.settle(place, NotAppended(reason, retriable=True))
            return
        self._acknowledged += 1
        at = Coordinates(pending.topic(place), message.partition() or 0, offset)
        pending.settle(place, Appended(at, moment_ms * 1000))

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                self._client.poll(POLL_SECONDS)
                if self._unusable.is_set():
                    self._replace_client()
            except Exception:
                log.exception("a delivery callback failed; going on, because others wait for theirs")

    def _replace_client(self) -> None:
        log.error("the producer is unusable after a fatal error: giving up what it holds and starting another")
        self._client.purge()
        self._client.flush(PURGE_SECONDS)
        self._client = self._new_client()
        self._unusable.clear()

    def _new_client(self) -> Client:
        return self._make_client(self._config.librdkafka() | {"error_cb": self._on_error, "logger": log})

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._unusable.set()
        log.warning("kafka: %s", _words(error))


class _Pending:
    """The outcomes of one call. Settled from any thread; the event loop is woken once, by the last."""

    __slots__ = ("_future", "_loop", "_outcomes", "_records", "_settled")

    def __init__(self, records: Sequence[OutRecord], loop: asyncio.AbstractEventLoop) -> None:
        self._records = records
        self._loop = loop
        self._future: asyncio.Future[None] = loop.create_future()
        self._outcomes: list[Appended | NotAppended | None] = [None] * len(records)
        self._settled: list[int] = []  # appending is atomic, counting up is not
        if not records:
            self._future.set_result(None)

    def topic(self, place: int) -> str:
        return self._records[place].topic

    def settle(self, place: int, outcome: Appended | NotAppended) -> None:
        self._outcomes[place] = outcome
        self._settled.append(place)
        if len(self._settled) == len(self._records) and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if not self._future.done():  # the waiting request may have been cancelled
            self._future.set_result(None)

    async def outcomes(self) -> list[Appended | NotAppended]:
        await self._future
        return [outcome for outcome in self._outcomes if outcome is not None]


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


def _words(error: KafkaError) -> str:
    return f"{error.name()}: {error.str()}"


def _confluent(config: Mapping[str, Any]) -> Client:
    return Producer(dict(config))

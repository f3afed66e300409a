"""Appends records to Kafka with librdkafka: idempotent, acks=all, delivery reports served on the event loop that waits.

Not here: transactions (runtime), topics and their settings (kafka_admin.py), what a record means.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from confluent_kafka import KafkaError, KafkaException, Producer

from bems_streams.adapters.kafka_reports import Delivered, Reports, words
from bems_streams.ports import Appended, NotAppended, OutRecord, PublishFailedError

log = logging.getLogger(__name__)

TURN_SECONDS: Final = 0.001
SLOW_TURN_SECONDS: Final = 0.004
IDLE_SECONDS: Final = 0.5
PURGE_SECONDS: Final = 5.0


class Client(Protocol):
    """The part of confluent_kafka.Producer that is used here."""

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        partition: int,
        on_delivery: Delivered,
        _alias: None,
        timestamp_ms: int,
        headers: list[tuple[str, str | bytes | None]],
        /,
    ) -> None:
        """Queue one record; BufferError when the queue is full, KafkaException when it is refused at once.

        By position, because names cost 0.4 of its 1.7 us.
        """

    def __len__(self) -> int:
        """Records and delivery reports not yet told of."""

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
    """Fulfils Appender and Publisher. Call from event loops.

    While records are under way, the event loop that appended them asks for their reports every few milliseconds: a
    thread that did it would fight with the loop for the interpreter over each record (docs/performance/gateway.md).
    A thread is there for what must not wait for a loop, or must not hold one up: errors and logs while nothing is
    under way, and the end of a client that librdkafka declares unusable. That one is replaced; what it held is
    NotAppended.

    Topics must have message.timestamp.type=LogAppendTime: without the broker's time there is no proof.
    """

    def __init__(
        self, config: ProducerConfig, make_client: Callable[[Mapping[str, Any]], Client] | None = None
    ) -> None:
        self._config = config
        self._make_client: Callable[[Mapping[str, Any]], Client] = make_client or _confluent
        self._unusable = False
        self._stopping = False
        self._attention = threading.Event()
        self._serving: asyncio.AbstractEventLoop | None = None
        self._turns = 0
        self._proofs = 0
        self._client = self._new_client()
        self._thread = threading.Thread(target=self._look_after, name="kafka-producer", daemon=True)
        self._thread.start()

    async def append(self, records: Sequence[OutRecord]) -> Sequence[Appended | NotAppended]:
        """Queue all, then wait for the broker's word on each."""
        if self._stopping:
            return [NotAppended("not written: the producer is stopping", retriable=True)] * len(records)
        loop = asyncio.get_running_loop()
        reports = Reports(records, loop)
        self._queue(records, reports)
        if self._serving is None or self._serving.is_closed():
            self._serving = loop
            loop.call_later(TURN_SECONDS, self._turn, loop, TURN_SECONDS)
        await reports.complete
        self._proofs += Appended in map(type, reports.outcomes)
        return reports.outcomes

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
        if self._stopping:
            return "the producer is stopping"
        before = self._proofs
        try:
            known = self._client.list_topics(timeout=timeout_seconds).topics
        except KafkaException as failure:
            if self._proofs != before:
                return None  # busy rather than away: it acknowledged records meanwhile
            reason = words(failure.args[0])
            return f"no broker of {self._config.bootstrap} answers ({reason}); start it or check the address"
        missing = [topic for topic in topics if topic not in known or known[topic].error is not None]
        return f"topics missing: {', '.join(missing)}; create them with `bems topics apply`" if missing else None

    async def close(self, timeout_seconds: float) -> int:
        """Wait for what is under way, give up the rest, stop the thread. Returns how many records were given up."""
        self._stopping = True
        self._attention.set()
        return await asyncio.to_thread(self._close, timeout_seconds)

    def _close(self, timeout_seconds: float) -> int:
        self._thread.join()
        given_up = self._client.flush(timeout_seconds)
        if given_up:
            self._client.purge()
            self._client.flush(PURGE_SECONDS)
        return given_up

    def _queue(self, records: Sequence[OutRecord], reports: Reports) -> None:
        client, headers = self._client, None
        listed: list[tuple[str, str | bytes | None]] = []
        for place, record in enumerate(records):
            topic, key, value, record_headers, partition = record
            if record_headers is not headers:  # records of one request share theirs
                headers, listed = record_headers, [*record_headers]
            on_delivery = partial(reports.delivered, place)
            try:
                client.produce(topic, value, key, -1 if partition is None else partition, on_delivery, None, 0, listed)
            except BufferError:
                reports.settle(place, NotAppended("not written: the queue towards the broker is full", retriable=True))
            except KafkaException as failure:
                error: KafkaError = failure.args[0]
                if error.fatal() and client is self._client:
                    self._replace_soon()
                retriable = error.retriable() or error.fatal()
                reports.settle(place, NotAppended(f"not written: {words(error)}", retriable))

    def _turn(self, loop: asyncio.AbstractEventLoop, after_seconds: float) -> None:
        """On the event loop: whatever is there, without waiting; again as long as anything is under way.

        Less often while nothing comes: a broker that takes long is not asked for its answer a hundred times.
        """
        self._turns += 1
        after_seconds = TURN_SECONDS if self._serve() else min(2 * after_seconds, SLOW_TURN_SECONDS)
        if len(self._client) and not self._stopping:
            loop.call_later(after_seconds, self._turn, loop, after_seconds)
        else:
            self._serving = None

    def _look_after(self) -> None:
        """On the thread."""
        seen = -1
        while not self._stopping:
            if self._unusable:
                self._replace_client()
            elif self._turns == seen:  # no event loop did it
                self._serve()
            seen = self._turns
            self._attention.wait(IDLE_SECONDS)
            self._attention.clear()

    def _serve(self) -> int:
        """How many reports and errors there were."""
        try:
            return self._client.poll(0)
        except KafkaException as failure:
            self._on_error(failure.args[0])
        except Exception:
            log.exception("a delivery callback failed; going on, because others wait for theirs")
        return 1

    def _replace_client(self) -> None:
        log.error("the producer is unusable after a fatal error: giving up what it holds and starting another")
        self._client.purge()
        self._client.flush(PURGE_SECONDS)
        self._client = self._new_client()
        self._unusable = False

    def _replace_soon(self) -> None:
        self._unusable = True
        self._attention.set()

    def _new_client(self) -> Client:
        return self._make_client(self._config.librdkafka() | {"error_cb": self._on_error, "logger": log})

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._replace_soon()
        log.warning("kafka: %s", words(error))


def _confluent(config: Mapping[str, Any]) -> Client:
    return Producer(dict(config))

"""One transactional producer per worker, fenced by the group's generation: a batch's outputs and offsets, or none.

KIP-447 by librdkafka: the broker refuses the offsets of a worker that has lost its place in the group, and with them
everything else in the transaction. Every transaction therefore names an offset, also one that only publishes alerts.
Not here: what is published (flows), who the worker is (membership.py).
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from bems_streams.ports import Offsets, OutRecord, Place
from bems_streams.runtime.membership import Membership

logger = logging.getLogger(__name__)

TRANSACTION_TIMEOUT_SECONDS: Final = 15
"""How long a dead worker's open transaction can hold back its successor. Must exceed a slow broker's answer."""

STALL_SECONDS: Final = TRANSACTION_TIMEOUT_SECONDS + 5.0
"""By then the broker gives a transaction up. librdkafka may not: registering offsets heeds no timeout while it
waits for a group coordinator that went away (seen with 2.16: 38 s, and all other workers waiting in the rebalance)."""

START_TIMEOUT_SECONDS: Final = 60.0

MAX_MESSAGE_BYTES: Final = 32 << 20
"""Before compression: a record that fitted into its topic compressed must fit into the dead letters as well."""

SETTINGS: Final[Mapping[str, str | int]] = {
    "transaction.timeout.ms": TRANSACTION_TIMEOUT_SECONDS * 1000,
    "message.timeout.ms": TRANSACTION_TIMEOUT_SECONDS * 1000 - 1000,
    "message.max.bytes": MAX_MESSAGE_BYTES,
    "partitioner": "murmur2_random",
    "linger.ms": 5,
    "batch.size": 1_000_000,
    "queue.buffering.max.messages": 1_000_000,
    "compression.type": "lz4",
    # With more, librdkafka may take a later request's success for an earlier one's, which the broker had refused.
    "max.in.flight.requests.per.connection": 1,
    "metadata.recovery.strategy": "none",  # else it forgets all brokers while none answers, but not who coordinates
}


class FencedError(Exception):
    """The broker refused the transaction: this worker no longer owns what it wrote about. Nothing became visible."""


class StalledError(Exception):
    """A transaction did not end in time. Whether it was committed is not known: only a restart finds out."""


class UnprovenError(Exception):
    """A record of the transaction has no proof of being in the log. It was aborted: nothing became visible."""


class Proofs:
    """Delivery reports of one transaction: of the last record per topic and partition, which vouches for those before.

    A report proves something only with an offset: librdkafka also reports success where it merely infers it.
    """

    def __init__(self, wanted: int) -> None:
        self.ends: dict[Place, int] = {}
        self._wanted = wanted
        self._proven = 0
        self._errors: list[KafkaError] = []

    def delivered(self, error: KafkaError | None, message: Message) -> None:
        """The callback of one record."""
        offset = message.offset()
        if error is not None:
            self._errors.append(error)
        elif offset is not None and offset >= 0:
            self._proven += 1
            self.ends[str(message.topic()), int(message.partition() or 0)] = offset + 1

    def require_all(self) -> None:
        """KafkaException with the first error, or UnprovenError."""
        if self._errors:
            raise KafkaException(self._errors[0])
        if self._proven < self._wanted:
            raise UnprovenError(
                f"{self._wanted - self._proven} of {self._wanted} partitions written to are not proven written: is a "
                "broker away? Started again, the worker goes on from what is committed."
            )


class KafkaFencedLog:
    """Publishes by librdkafka. One transaction at a time; not for use from several tasks at once."""

    def __init__(self, config: Mapping[str, Any], transactional_id: str, stall_seconds: float = STALL_SECONDS) -> None:
        self._stall_seconds = stall_seconds
        self._producer = Producer({**config, **SETTINGS, "transactional.id": transactional_id, "logger": logger})

    def start(self) -> None:
        """InitProducerId: ends any transaction that a previous process with the same id left open. Blocking."""
        self._producer.init_transactions(START_TIMEOUT_SECONDS)

    async def publish(self, records: Sequence[OutRecord], offsets: Offsets, membership: Membership) -> Offsets:
        """Commit `records` and `offsets` in one transaction, in the name of `membership`.

        Returns, per (topic, partition) written to, the offset after its last record. FencedError, StalledError,
        UnprovenError or KafkaException: then nothing of it is visible, or only a restart finds out.
        """
        try:
            async with asyncio.timeout(self._stall_seconds):
                return await self._transaction(records, offsets, membership)
        except TimeoutError as error:
            raise StalledError(
                f"a transaction did not end within {self._stall_seconds:g} s: is a broker away? Started again, the "
                "worker goes on from what is committed."
            ) from error

    async def _transaction(self, records: Sequence[OutRecord], offsets: Offsets, membership: Membership) -> Offsets:
        assert offsets, "a transaction without offsets would not be fenced"
        self._producer.begin_transaction()
        last = {(record.topic, record.partition): place for place, record in enumerate(records)}
        proofs, reporting = Proofs(len(last)), frozenset(last.values())
        for place, record in enumerate(records):
            while not self._produce(record, proofs.delivered if place in reporting else None):
                await asyncio.to_thread(self._producer.poll, 0.1)  # let the queue drain, the transaction is open
        await asyncio.to_thread(self._finish, proofs, offsets, membership)
        return proofs.ends

    def _produce(self, record: OutRecord, report: Any) -> bool:
        """False when the local queue is full."""
        topic, key, value, headers, number = record
        partition = -1 if number is None else number
        try:
            if headers:
                self._producer.produce(topic, value, key, partition, on_delivery=report, headers=list(headers))
            else:
                self._producer.produce(topic, value, key, partition, on_delivery=report)
        except BufferError:
            return False
        return True

    def _finish(self, proofs: "Proofs", offsets: Offsets, membership: Membership) -> None:
        positions = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
        timeout_seconds = TRANSACTION_TIMEOUT_SECONDS - 2.0
        try:
            self._producer.flush(timeout_seconds)
            proofs.require_all()
            self._producer.send_offsets_to_transaction(positions, membership.metadata(), timeout_seconds)
            self._commit_retriably(timeout_seconds)
        except UnprovenError:
            self._abort()
            raise
        except KafkaException as error:
            self._abort()
            if error.args[0].code() in _FENCED:
                raise FencedError(f"{error.args[0].str()} as {membership}") from error
            raise

    def _commit_retriably(self, timeout_seconds: float) -> None:
        try:
            self._producer.commit_transaction(timeout_seconds)
        except KafkaException as error:
            if not error.args[0].retriable():
                raise
            self._producer.commit_transaction(timeout_seconds)

    def _abort(self) -> None:
        """Best effort: the worker ends after this, and its successor's InitProducerId or the timeout aborts as well."""
        try:
            self._producer.abort_transaction(5.0)
        except KafkaException as error:
            logger.warning("abort of a failed transaction: %s", error.args[0].str())


_FENCED: Final = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.PRODUCER_FENCED,
        KafkaError._FENCED,
        KafkaError.REBALANCE_IN_PROGRESS,
    }
)

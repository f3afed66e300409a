"""Bringing table partitions up to their changelog: all of it on an empty disk, the tail on a warm one.

Not here: deciding when (ownership.py), where source partitions go on (positions.py), the table's format (table.py).
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from bems_streams.runtime.positions import LogEnds
from bems_streams.runtime.table import TablePartition

logger = logging.getLogger(__name__)

READ_RECORDS: Final = 20_000
PROGRESS_SECONDS: Final = 2.0
Progress = Callable[[int, int], None]
"""Called with (records applied since the last call, records still to read)."""


class RestoreError(Exception):
    """The table could not be brought up to date; the message says why and what to do."""


class Restore:
    """One run over some partitions. Blocking: run it in a thread.

    Reads committed records only, up to the end of the log as it is now, open transactions included: those of dead
    workers end by their timeout, and what living ones commit behind them must not be missed.
    """

    def __init__(
        self, config: Mapping[str, Any], topic: str, ends: LogEnds, timeout_seconds: float, progress: Progress
    ) -> None:
        self._config = config
        self._topic = topic
        self._ends = ends
        self._timeout_seconds = timeout_seconds
        self._progress = progress
        self._behind: dict[int, TablePartition] = {}

    def run(self, tables: Sequence[TablePartition]) -> int:
        """Apply what `tables` lack; returns the number of records applied."""
        for table in tables:
            start, end = self._ends[self._topic, table.number]
            if table.changelog_offset > end or 0 < table.changelog_offset < start:
                logger.warning(
                    "table %d stands at %d, its changelog holds %d..%d: rebuilt from the changelog",
                    table.number, table.changelog_offset, start, end,
                )  # fmt: skip
                table.wipe()
            if max(table.changelog_offset, start) < end:
                self._behind[table.number] = table
                if not table.changelog_offset:
                    table.begin_filling()
            else:
                table.end_filling()
        if not self._behind:
            return 0
        consumer = Consumer(
            {
                **self._config,
                "group.id": f"{self._topic}.restore",  # never joined: partitions are assigned by hand
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 100,
                "fetch.queue.backoff.ms": 5,  # of 1,000, which a restore that keeps up with the broker mostly waits
                "logger": logger,
            }
        )
        try:
            consumer.assign(
                [
                    TopicPartition(self._topic, number, max(table.changelog_offset, self._ends[self._topic, number][0]))
                    for number, table in self._behind.items()
                ]
            )
            return self._read(consumer)
        finally:
            consumer.close()

    def _read(self, consumer: Consumer) -> int:
        applied = 0
        moved = reported = time.monotonic()
        while self._behind:
            records, reached = _sort(consumer.consume(READ_RECORDS, 0.2))
            for number, messages in records.items():
                self._apply(number, messages)
            for number, offset in reached.items():
                self._reach(number, offset)
            count = sum(map(len, records.values()))
            applied += count
            self._progress(count, self._remaining())
            now = time.monotonic()
            if count or reached:
                moved = now
            elif now - moved > self._timeout_seconds:
                raise RestoreError(
                    f"no changelog record came for {self._timeout_seconds:g} s at {self}: is a broker or an open "
                    "transaction stuck? Check the cluster; the worker tries again when it is started again."
                )
            if now - reported > PROGRESS_SECONDS:
                reported = now
                logger.info("restoring: %d records applied, %s", applied, self)
        return applied

    def _apply(self, number: int, messages: Sequence[Message]) -> None:
        table = self._behind.get(number)
        if table is not None:
            records = [(bytes(message.key() or b""), message.value()) for message in messages]
            table.replay(records, int(messages[-1].offset() or 0) + 1)

    def _reach(self, number: int, offset: int) -> None:
        """The end of the committed part: done if it is the end of the log that was seen at the start."""
        table = self._behind.get(number)
        if table is not None and offset >= self._ends[self._topic, number][1]:
            table.end_filling()
            table.apply({}, max(offset, table.changelog_offset))
            del self._behind[number]

    def _remaining(self) -> int:
        return sum(
            self._ends[self._topic, number][1] - table.changelog_offset for number, table in self._behind.items()
        )

    def __str__(self) -> str:
        return ", ".join(
            f"partition {number}: {table.changelog_offset} of {self._ends[self._topic, number][1]}"
            for number, table in sorted(self._behind.items())
        )


def _sort(messages: Sequence[Message]) -> tuple[dict[int, list[Message]], dict[int, int]]:
    """(records by partition, offset by partition whose end was reached). Raises what cannot heal by itself."""
    records: dict[int, list[Message]] = {}
    reached: dict[int, int] = {}
    for message in messages:
        error = message.error()
        number = int(message.partition() or 0)
        if error is None:
            records.setdefault(number, []).append(message)
        elif error.code() == KafkaError._PARTITION_EOF:
            reached[number] = int(message.offset() or 0)
        elif not error.retriable():
            raise KafkaException(error)
    return records, reached

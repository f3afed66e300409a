"""Batches of raw records, and the position up to which a partition may be committed.

Not here: fetching (transport.py) or what is done with records (flows).
"""

from collections import deque
from collections.abc import Mapping, Sequence

from bems_streams.ports import RawRecord


class Batch:
    """Up to N consecutive records of one topic partition, of one epoch: the value of one Faust message."""

    __slots__ = ("acked", "epoch", "partition", "records", "topic")

    def __init__(self, topic: str, partition: int, epoch: int, records: Sequence[RawRecord]) -> None:
        self.topic = topic
        self.partition = partition
        self.epoch = epoch
        self.records = records
        self.acked = False

    @property
    def next_offset(self) -> int:
        """The offset to commit once this batch is done."""
        return self.records[-1].at.offset + 1

    def __len__(self) -> int:
        return len(self.records)


class Pipeline:
    """Batches delivered but not yet committed, in order, per topic partition.

    `committable` only ever names the end of the oldest unbroken run of acked batches: never past work in flight.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, int], deque[Batch]] = {}
        self._done: dict[tuple[str, int], int] = {}
        self.records = 0
        """Delivered and not committable, over all partitions."""

    def depth(self, topic: str, partition: int) -> int:
        """Batches delivered and not acked."""
        return len(self._waiting.get((topic, partition), ()))

    def deliver(self, batch: Batch) -> None:
        """Note a batch before it is handed to the agent."""
        self._waiting.setdefault((batch.topic, batch.partition), deque()).append(batch)
        self.records += len(batch)

    def ack(self, batch: Batch) -> None:
        """Mark a batch done; batches of an earlier assignment are no longer known and change nothing."""
        batch.acked = True
        place = (batch.topic, batch.partition)
        waiting = self._waiting.get(place)
        while waiting and waiting[0].acked:
            done = waiting.popleft()
            self._done[place] = done.next_offset
            self.records -= len(done)

    def committable(self) -> Mapping[tuple[str, int], int]:
        """Next offset per (topic, partition)."""
        return self._done

    def clear(self) -> None:
        """Forget everything: the partitions are gone or come back with committed positions."""
        self._waiting.clear()
        self._done.clear()
        self.records = 0

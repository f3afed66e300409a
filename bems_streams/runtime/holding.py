"""Records of lanes that were fetched and are not due yet: kept back in order, without holding up any other partition.

Not here: delivering them (transport.py), what a lane is (flows).
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from faust.types import TP

from bems_streams.ports import Clock, RawRecord


@dataclass(frozen=True, slots=True)
class LaneRule:
    """Which topics are lanes, and how long every record of each waits from when the broker appended it.

    By the broker's time, not by what the record says: a worker whose clock was wrong when it wrote one would hold up
    the whole lane, and what was appended first is due first.
    """

    waits_us: Mapping[str, int]
    clock: Clock

    def due_us(self, record: RawRecord) -> int:
        """When it may be tried again, microseconds since 1970 UTC."""
        return record.accepted_us + self.waits_us[record.at.topic]


class Holding:
    """Bounded by one fetch per partition: a partition that holds something is not fetched from."""

    def __init__(self, rule: LaneRule) -> None:
        self._rule = rule
        self._held: dict[TP, deque[RawRecord]] = {}

    def is_lane(self, topic: str) -> bool:
        """Whether its records wait until they are due."""
        return topic in self._rule.waits_us

    def holds(self, tp: TP) -> bool:
        """Whether something of this partition waits."""
        return tp in self._held

    def keep(self, tp: TP, records: Iterable[RawRecord]) -> None:
        """Take records in, in offset order, after those that wait already."""
        self._held.setdefault(tp, deque()).extend(records)

    def places(self) -> list[TP]:
        """Partitions of which something waits."""
        return list(self._held)

    def take_due(self, tp: TP, limit: int) -> list[RawRecord]:
        """The oldest records of the partition, as far as they are due now."""
        waiting, now_us = self._held[tp], self._rule.clock.now_us()
        due: list[RawRecord] = []
        while waiting and len(due) < limit and self._rule.due_us(waiting[0]) <= now_us:
            due.append(waiting.popleft())
        if not waiting:
            del self._held[tp]
        return due

    def clear(self) -> None:
        """Forget everything: what was held is fetched again by whoever owns it next."""
        self._held.clear()
